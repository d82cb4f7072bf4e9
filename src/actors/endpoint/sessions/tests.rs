//! Sessions with probes for connections: fights for an id, identities that are no more.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::actors::stand_in::{Log, Shelf, settle};
use crate::domain::method::Call;
use crate::messages::sessions::{Invoke, MethodAnswered};

/// Stands in for a connection; notes what it is told, and the number of the last call.
struct Probe(Log<String>, Rc<Cell<Option<u64>>>);

impl Actor for Probe {
    type Context = Context<Self>;
}

impl Handler<Downlink> for Probe {
    type Result = ();

    fn handle(&mut self, Downlink { what, .. }: Downlink, ctx: &mut Self::Context) {
        self.0.borrow_mut().push(format!("{what:?}"));
        if let Down::Method { call, .. } = what {
            self.1.set(Some(call));
        }
        if matches!(what, Down::Close(_)) {
            ctx.stop();
        }
    }
}

struct House {
    sessions: Addr<Sessions>,
    shelf: Shelf,
    last_call: Rc<Cell<Option<u64>>>,
}

impl House {
    async fn new() -> Self {
        tokio::time::pause();
        let shelf = Shelf::default();
        let settings = ConnectionSettings {
            limits: Limits { packets: 1, bytes: 1 },
            parking: Shared::new(1),
            window: 1,
            share: Share::NONE,
            live: LiveShare::NONE,
            unwritten: Default::default(),
            watch: Default::default(),
        };
        let (save, scan) = (shelf.save(), shelf.scan());
        let backend = Backend::default();
        let sessions = Sessions::new(backend, save, scan, settings, Obituary::unsupervised());
        let sessions = sessions.start();
        settle().await;
        House { sessions, shelf, last_call: Rc::default() }
    }

    /// Opens a session on a connection of its own; what that is told, and what is answered.
    fn open(&self) -> (Log<String>, tokio::task::JoinHandle<Result<Opened, StoreError>>) {
        let told = Log::default();
        let downlink = Probe(told.clone(), Rc::clone(&self.last_call)).start().recipient();
        let open = self.sessions.send(Open { identity: who(), is_clean: false, downlink });
        (told, actix::spawn(async move { open.await.unwrap() }))
    }

    async fn send(&self, what: Down) {
        self.sessions.send(crate::messages::sessions::Send { to: who(), what }).await.unwrap();
        settle().await;
    }
}

fn who() -> Identity {
    Identity::parse("d").unwrap()
}

fn closed(epoch: u64) -> Closed {
    Closed { identity: who(), epoch, unacked: vec![], has_locked: false }
}

#[actix::test]
async fn clients_that_fight_for_one_id_take_it_from_each_other_ever_more_slowly() {
    let house = House::new().await;
    let begin = tokio::time::Instant::now();
    let mut last = house.open();
    last.1.await.unwrap().unwrap();
    let mut spaces = Vec::new();
    for _ in 0..8 {
        let before = tokio::time::Instant::now();
        let next = house.open();
        next.1.await.unwrap().unwrap();
        assert_eq!(last.0.borrow().len(), 1, "the earlier one was told to close");
        spaces.push(before.elapsed().as_secs());
        last.0 = next.0;
    }
    // Nobody says that the probes' connections have closed: two seconds are waited for each.
    assert_eq!(spaces, [2, 2, 2, 2, 2, 3, 4, 6]);
    assert!(begin.elapsed() > Duration::from_secs(20));
}

/// A token that is good for two minutes only makes the SDK connect anew at once, for ever.
#[actix::test]
async fn a_client_that_leaves_before_it_comes_again_is_never_held_back() {
    let house = House::new().await;
    let begin = tokio::time::Instant::now();
    for _ in 0..200 {
        let epoch = house.open().1.await.unwrap().unwrap().epoch;
        house.sessions.send(closed(epoch)).await.unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[actix::test]
async fn who_is_held_back_is_closed_with_the_others_and_takes_nothing_over() {
    let house = House::new().await;
    for _ in 0..7 {
        house.open().1.await.unwrap().unwrap();
    }
    let (held, opened) = house.open();
    settle().await;
    house.send(Down::Close("disabled".into())).await;
    assert_eq!(*held.borrow(), [r#"Close("disabled")"#]);
    assert!(opened.await.unwrap().is_err());
}

#[actix::test]
async fn who_bears_a_deleted_id_anew_has_none_of_its_subscriptions() {
    let house = House::new().await;
    let (told, opened) = house.open();
    let epoch = opened.await.unwrap().unwrap().epoch;
    let add = vec![("$iothub/methods/POST/#".to_owned(), true)];
    let subscribe = Subscribe { identity: who(), epoch, add, remove: vec![] };
    house.sessions.send(subscribe).await.unwrap().unwrap();
    assert_eq!(house.shelf.len(TABLE), 1);
    house.send(Down::Close("its key was changed".into())).await;
    assert_eq!(house.shelf.len(TABLE), 1, "the same device comes again");
    house.send(Down::Gone("deleted".into())).await;
    assert_eq!(house.shelf.len(TABLE), 0);
    house.sessions.do_send(closed(epoch));
    assert_eq!(told.borrow()[0], r#"Close("its key was changed")"#);
    assert!(!house.open().1.await.unwrap().unwrap().is_present);
}

#[actix::test]
async fn a_call_to_a_client_that_leaves_ends_soon_unless_it_comes_back_and_answers() {
    let house = House::new().await;
    let call = Call {
        name: "reset".into(),
        payload: "null".into(),
        response_timeout: Duration::from_secs(300),
        connect_timeout: Duration::ZERO,
    };
    let (_, opened) = house.open();
    let mut epoch = opened.await.unwrap().unwrap().epoch;
    let add = vec![("$iothub/methods/POST/#".to_owned(), true)];
    let subscribe = Subscribe { identity: who(), epoch, add, remove: vec![] };
    house.sessions.send(subscribe).await.unwrap().unwrap();
    for is_back in [true, false] {
        let outcome =
            actix::spawn(house.sessions.send(Invoke { target: who(), call: call.clone() }));
        settle().await;
        let begin = tokio::time::Instant::now();
        house.sessions.do_send(closed(epoch));
        settle().await;
        if is_back {
            let (told, opened) = house.open();
            epoch = opened.await.unwrap().unwrap().epoch;
            assert!(told.borrow().is_empty(), "it is not told again: {told:?}");
            tokio::time::sleep(Duration::from_secs(60)).await;
            let (from, call) = (who(), house.last_call.take().unwrap());
            let answered = Outcome::Answered(200, "1".into());
            house.sessions.do_send(MethodAnswered { from, call, outcome: answered.clone() });
            assert_eq!(outcome.await.unwrap().unwrap(), answered);
        } else {
            assert_eq!(outcome.await.unwrap().unwrap(), Outcome::TimedOut);
            assert_eq!(begin.elapsed().as_secs(), 3);
        }
    }
}
