//! Stand-ins for the peers of an actor under test.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;

use super::port::Port;
use crate::messages::state::{Fetch, Pairs, Save, Scan, StoreError};

/// Answers `M` with a closure.
struct StandIn<M: Message>(Box<dyn FnMut(M) -> M::Result>);

impl<M: Message + 'static> Actor for StandIn<M> {
    type Context = Context<Self>;
}

impl<M: Message + 'static> Handler<M> for StandIn<M> {
    type Result = MessageResult<M>;

    fn handle(&mut self, message: M, _: &mut Self::Context) -> Self::Result {
        MessageResult((self.0)(message))
    }
}

/// A port behind which `answer` answers.
pub(crate) fn port<M>(answer: impl FnMut(M) -> M::Result + 'static) -> Port<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    let port = Port::default();
    plug(&port, answer);
    port
}

/// From now on `answer` answers.
pub(crate) fn plug<M>(port: &Port<M>, answer: impl FnMut(M) -> M::Result + 'static)
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    port.plug_recipient(StandIn(Box::new(answer)).start().recipient());
}

/// What was seen, shared with a closure.
pub(crate) type Log<T> = Rc<RefCell<Vec<T>>>;

/// A port whose messages are noted and answered with the default.
pub(crate) fn noted<M, T: 'static>(note: impl Fn(M) -> T + 'static) -> (Port<M>, Log<T>)
where
    M: Message + Send + 'static,
    M::Result: Send + Default,
{
    let log: Log<T> = Rc::default();
    let seen = Rc::clone(&log);
    let port = port(move |message| {
        seen.borrow_mut().push(note(message));
        M::Result::default()
    });
    (port, log)
}

/// A `state` in memory, which outlives the actors under test.
#[derive(Clone, Default)]
pub(crate) struct Shelf {
    values: Rc<RefCell<Values>>,
    is_full: Rc<RefCell<bool>>,
}

type Values = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

impl Shelf {
    pub(crate) fn save(&self) -> Port<Save> {
        let shelf = self.clone();
        port(move |Save(changes): Save| {
            if *shelf.is_full.borrow() {
                return Err(StoreError::Full { used: 1, limit: 1 });
            }
            for change in changes {
                let mut values = shelf.values.borrow_mut();
                match change.value {
                    Some(value) => drop(values.insert((change.table, change.key), value)),
                    None => drop(values.remove(&(change.table, change.key))),
                }
            }
            Ok(())
        })
    }

    pub(crate) fn scan(&self) -> Port<Scan> {
        let shelf = self.clone();
        port(move |scan: Scan| Ok(shelf.pairs(&scan)))
    }

    pub(crate) fn fetch(&self) -> Port<Fetch> {
        let shelf = self.clone();
        port(move |Fetch(table, key): Fetch| Ok(shelf.values.borrow().get(&(table, key)).cloned()))
    }

    fn pairs(&self, scan: &Scan) -> Pairs {
        let values = self.values.borrow();
        let of_table = values.iter().filter(|((table, _), _)| *table == scan.table);
        let wanted = of_table
            .filter(|((_, key), _)| key.starts_with(&scan.prefix) && *key >= scan.from)
            .take(scan.max);
        Arc::new(wanted.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    /// Whether `text` stands anywhere in the open.
    pub(crate) fn shows(&self, text: &str) -> bool {
        let values = self.values.borrow();
        values.values().any(|value| value.windows(text.len()).any(|part| part == text.as_bytes()))
    }

    pub(crate) fn set_full(&self, is_full: bool) {
        *self.is_full.borrow_mut() = is_full;
    }

    pub(crate) fn keys(&self, table: &str) -> Vec<String> {
        let values = self.values.borrow();
        let keys = values.keys().filter(|(of, _)| *of == table).map(|(_, key)| key);
        keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    pub(crate) fn len(&self, table: &str) -> usize {
        self.values.borrow().keys().filter(|(of, _)| *of == table).count()
    }
}

/// Lets all actors do what they can do now (paused time: no real wait).
pub(crate) async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}
