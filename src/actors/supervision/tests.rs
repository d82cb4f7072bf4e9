//! Supervision in virtual time: workers that panic, fail and stop, below a tree of two levels.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;

use super::{Factory, Obituary, Running, Supervised, Supervisor};
use crate::domain::restart::{Intensity, RestartPolicy};
use crate::domain::tree::{Node, Restart, Strategy};
use crate::messages::supervision::{
    ChildExited, Health, PanicAt, Shutdown, Snapshot, TakeSnapshot,
};

const ALWAYS: Restart = Restart::As(RestartPolicy::Always, Intensity::ESCALATES);
const INNER: Node = Node::Supervisor(
    "inner",
    Strategy::RestForOne,
    Restart::As(RestartPolicy::Always, Intensity::NEVER_ESCALATES),
    &[Node::Worker("one", ALWAYS), Node::Worker("two", ALWAYS), Node::Worker("three", ALWAYS)],
);
const TREE: Node =
    Node::Supervisor("root", Strategy::OneForOne, ALWAYS, &[Node::Worker("alone", ALWAYS), INNER]);

/// Notes when it starts and stops.
struct Worker {
    name: &'static str,
    log: Log,
    /// How long it takes to stop.
    linger: Rc<Cell<Duration>>,
    obituary: Obituary,
}

type Log = Rc<RefCell<Vec<String>>>;

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.log.borrow_mut().push(format!("+{}", self.name));
    }
}

impl Supervised for Worker {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        Health { state: self.name.to_owned() }
    }

    fn shut_down(&mut self, ctx: &mut Context<Self>) {
        match self.linger.get() {
            Duration::ZERO => ctx.stop(),
            linger => drop(ctx.run_later(linger, |_, ctx| ctx.stop())),
        }
    }
}
crate::supervised!(Worker);

impl Drop for Worker {
    fn drop(&mut self) {
        self.log.borrow_mut().push(format!("-{}", self.name));
    }
}

struct Workers(Log, Rc<Cell<Duration>>);

impl Factory for Workers {
    fn start(&self, name: &'static str, obituary: Obituary) -> Running {
        Running::worker(
            &Worker { name, log: Rc::clone(&self.0), linger: Rc::clone(&self.1), obituary }.start(),
        )
    }
}

/// Takes the obituary of the root.
struct Top(Rc<RefCell<Vec<String>>>);

impl Actor for Top {
    type Context = Context<Self>;
}

impl Handler<ChildExited> for Top {
    type Result = ();

    fn handle(&mut self, exited: ChildExited, _: &mut Self::Context) {
        self.0.borrow_mut().push(format!("{:?} {}", exited.exit, exited.why));
    }
}

struct World {
    log: Log,
    ends: Log,
    linger: Rc<Cell<Duration>>,
    root: Running,
}

impl World {
    async fn new() -> World {
        static HOOK: std::sync::Once = std::sync::Once::new();
        HOOK.call_once(super::remember_panics);
        tokio::time::pause();
        let (log, ends): (Log, Log) = Default::default();
        let top = Top(Rc::clone(&ends)).start();
        let linger = Rc::new(Cell::new(Duration::ZERO));
        let factory: Rc<dyn Factory> = Rc::new(Workers(Rc::clone(&log), Rc::clone(&linger)));
        let obituary = Obituary::new("", "root", 1, top.recipient());
        let root = Supervisor::start_tree(&TREE, &factory, obituary);
        let world = World { log, ends, linger, root };
        world.pass(Duration::ZERO).await;
        world
    }

    /// Lets time pass in small steps, so that everything due happens in its order.
    async fn pass(&self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        loop {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            if tokio::time::Instant::now() >= end {
                return;
            }
            tokio::time::advance(Duration::from_millis(10)).await;
        }
    }

    async fn panic(&self, path: &[&str]) {
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        let panic_at = self.root.panic_at.as_ref().unwrap();
        assert!(panic_at.send(PanicAt(path)).await.unwrap());
        self.pass(Duration::from_millis(20)).await;
    }

    /// Ten restarts are tolerated; one panic more is too much.
    async fn panic_too_often(&self, path: &[&str]) {
        for restart in 0..11 {
            self.panic(path).await;
            self.pass(Intensity::ESCALATES.backoff.delay(restart) + Duration::from_millis(200))
                .await;
        }
    }

    fn news(&self) -> String {
        std::mem::take(&mut *self.log.borrow_mut()).join(" ")
    }

    async fn snapshot(&self) -> Vec<Snapshot> {
        self.root.snapshot.as_ref().unwrap().send(TakeSnapshot).await.unwrap()
    }
}

#[actix::test]
async fn children_start_top_to_bottom_and_stop_bottom_to_top() {
    let world = World::new().await;
    assert_eq!(world.news(), "+alone +one +two +three");
    world.root.shutdown.do_send(Shutdown);
    world.pass(Duration::from_millis(50)).await;
    assert_eq!(world.news(), "-three -two -one -alone");
    assert_eq!(world.ends.borrow().join(" "), "Normal ");
}

#[actix::test]
async fn a_panic_restarts_the_child_and_its_younger_siblings_after_a_delay_and_nobody_else() {
    let world = World::new().await;
    world.news();
    world.panic(&["inner", "two"]).await;
    assert_eq!(world.news(), "-two -three");
    world.pass(Duration::from_millis(90)).await;
    assert_eq!(world.news(), "+two +three");
    world.panic(&["alone"]).await;
    world.pass(Duration::from_millis(90)).await;
    assert_eq!(world.news(), "-alone +alone");
    let all = world.snapshot().await;
    let told: Vec<_> = all.iter().map(|one| (one.path.as_str(), one.restarts)).collect();
    let expected =
        [("alone", 1), ("inner", 0), ("inner/one", 0), ("inner/two", 1), ("inner/three", 1)];
    assert_eq!(told, expected);
    let why = all[3].last_error.as_deref().unwrap();
    assert!(why.starts_with("Panicked") && why.contains("asked to panic"), "{why}");
}

#[actix::test]
async fn two_that_fail_at_once_start_in_their_order_each_after_its_own_delay() {
    let world = World::new().await;
    for _ in 0..2 {
        world.panic(&["inner", "one"]).await;
        world.pass(Duration::from_millis(300)).await;
    }
    world.news();
    world.panic(&["inner", "two"]).await; // due in 100 ms
    world.panic(&["inner", "one"]).await; // due in 400 ms
    world.pass(Duration::from_millis(300)).await;
    assert_eq!(world.news(), "-two -three -one");
    world.pass(Duration::from_millis(100)).await;
    assert_eq!(world.news(), "+one +two +three");
    world.panic(&["inner", "three"]).await;
    world.pass(Duration::from_millis(300)).await;
    world.panic(&["inner", "three"]).await; // due in 200 ms
    world.news();
    world.panic(&["inner", "two"]).await; // for the second time: due in 200 ms, too
    world.pass(Duration::from_millis(190)).await;
    assert_eq!(world.news(), "-two +two +three");
}

#[actix::test]
async fn a_supervisor_that_panics_starts_anew_when_its_children_are_gone_and_not_before() {
    let world = World::new().await;
    world.news();
    world.linger.set(Duration::from_millis(100));
    world.panic(&["inner"]).await;
    world.pass(Duration::from_millis(350)).await;
    assert_eq!(world.news(), "-three -two -one");
    world.pass(Duration::from_millis(150)).await;
    assert_eq!(world.news(), "+one +two +three");
    let all = world.snapshot().await;
    let why = all[1].last_error.as_deref().unwrap();
    assert!(why.contains("asked to panic") && all[1].restarts == 1, "{:?}", all[1]);
}

#[actix::test]
async fn a_child_that_fails_too_often_takes_its_supervisor_with_it() {
    let world = World::new().await;
    world.news();
    world.panic_too_often(&["inner", "three"]).await;
    // The inner supervisor was built anew by the root, with all its children.
    let news = world.news();
    assert!(news.contains("-three -two -one +one +two +three"), "{news}");
    let all = world.snapshot().await;
    assert_eq!(all.iter().find(|one| one.path == "inner").unwrap().restarts, 1);
    assert!(world.ends.borrow().is_empty(), "the root lives");
}

#[actix::test]
async fn the_root_fails_when_a_child_of_its_own_fails_too_often() {
    let world = World::new().await;
    world.panic_too_often(&["alone"]).await;
    let ends = world.ends.borrow().join(" ");
    assert!(ends.starts_with("Failed alone failed too often"), "{ends}");
}
