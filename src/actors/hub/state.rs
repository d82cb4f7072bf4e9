//! The `state` actor: a shell over the writer thread of a key-value store.
//!
//! Serves EdgeHub (`state/`) and the local hub alike. The store outlives it: after a restart
//! nothing was lost, and what was handed in is still written. next: `store/kv.rs`.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use crate::actors::port::Port;
use crate::actors::supervision::{Obituary, Supervised};
use crate::messages::state::{Fetch, Pairs, Save, Scan, StoreError};
use crate::messages::supervision::Health;
use crate::store::{Kv, WriterState};

/// How long what waits to be written may take.
const SETTLE: Duration = Duration::from_secs(30);

/// Waits until everything that was handed in so far is on disk. Whoever starts does so before it
/// reads: an earlier life of it may have left something in line, and what is read while that is
/// being written is of two times.
pub fn settled(save: &Port<Save>) -> impl Future<Output = Result<(), StoreError>> + use<> {
    let saved = save.ask(Save(Vec::new()), SETTLE); // answered in order
    async move { saved.await.unwrap_or(Err(StoreError::Unavailable)) }
}

/// See the module documentation.
#[derive(Debug)]
pub struct State {
    store: Arc<Kv>,
    obituary: Obituary,
}

impl State {
    /// Answers for `store`.
    pub fn new(store: Arc<Kv>, obituary: Obituary) -> Self {
        State { store, obituary }
    }
}

impl Actor for State {
    type Context = Context<Self>;
}

impl Supervised for State {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let state = match &*self.store.state().borrow() {
            WriterState::Ready => String::new(),
            WriterState::Full(why) | WriterState::Retrying(why) => {
                format!("cannot write, trying again: {why}")
            }
            WriterState::Broken(why) => format!("broken: {why}"),
            WriterState::Stopped => "stopped".into(),
        };
        match self.store.damaged() {
            0 => Health { state },
            damaged => Health { state: format!("{damaged} damaged records met; {state}") },
        }
    }
}

crate::supervised!(State);

impl Handler<Save> for State {
    type Result = ResponseFuture<Result<(), StoreError>>;

    fn handle(&mut self, Save(changes): Save, _: &mut Context<Self>) -> Self::Result {
        Box::pin(self.store.save(changes)) // in line already: order of asking is kept
    }
}

impl Handler<Fetch> for State {
    type Result = Result<Option<Vec<u8>>, StoreError>;

    fn handle(&mut self, Fetch(table, key): Fetch, _: &mut Context<Self>) -> Self::Result {
        self.store.fetch(table, &key)
    }
}

impl Handler<Scan> for State {
    type Result = Result<Pairs, StoreError>;

    fn handle(&mut self, ask: Scan, _: &mut Context<Self>) -> Self::Result {
        self.store.scan(ask.table, &ask.prefix, &ask.from, ask.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::state::Change;
    use crate::store::Options;

    #[actix::test]
    async fn what_was_saved_is_read_by_the_next_life_of_the_actor() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { reserve: 0, ..Options::state() };
        let store = Kv::open(directory.path(), &["meta"], options).unwrap();
        let first = State::new(Arc::clone(&store), Obituary::unsupervised()).start();
        for n in 0..10u8 {
            first.do_send(Save(vec![Change::put("meta", [1, n], [n])]));
        }
        first.send(Save(vec![Change::delete("meta", [1, 4])])).await.unwrap().unwrap();
        first.do_send(Save(vec![Change::put("meta", [2], [2])])); // nobody waits for it
        first.do_send(crate::messages::supervision::Shutdown);

        let second = State::new(store, Obituary::unsupervised()).start();
        let save = Port::default();
        save.plug(&second);
        settled(&save).await.unwrap();
        assert_eq!(second.send(Fetch("meta", vec![2])).await.unwrap(), Ok(Some(vec![2])));
        assert_eq!(second.send(Fetch("meta", vec![1, 3])).await.unwrap(), Ok(Some(vec![3])));
        assert_eq!(second.send(Fetch("meta", vec![1, 4])).await.unwrap(), Ok(None));
        let scan = Scan { table: "meta", prefix: vec![1], from: vec![1, 2], max: 3 };
        let pairs = second.send(scan).await.unwrap().unwrap();
        let keys: Vec<u8> = pairs.iter().map(|(key, _)| key[1]).collect();
        assert_eq!(keys, [2, 3, 5]);
        let unknown = second.send(Fetch("nothing", vec![1])).await.unwrap();
        assert!(matches!(unknown, Err(StoreError::Broken(_))));
    }
}
