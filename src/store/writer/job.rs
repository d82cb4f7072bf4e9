//! A piece of work and the one who waits for its answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use heed::RwTxn;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Kind, Size, Whose};
use crate::messages::chain::{Chain, Link};
use crate::messages::state::StoreError;
use crate::store::fault::Fault;

/// A [`Work`] whose result the writer need not know.
pub(super) trait Job<S>: Send {
    fn kind(&self) -> Kind;

    fn weight(&self) -> usize;

    /// What it takes of the disk, about.
    fn bytes(&self) -> u64;

    /// Whose it is: pieces of one party are done in order.
    fn party(&self) -> Option<&Arc<str>>;

    fn allow(&mut self, permit: OwnedSemaphorePermit);

    /// Does it, in a transaction that may still be aborted.
    fn run(&mut self, txn: &mut RwTxn<'_>, shared: &mut S) -> Result<(), Fault>;

    /// Tells how it ended.
    fn answer(self: Box<Self>, end: Result<(), StoreError>);
}

pub(super) struct Work<T, F> {
    kind: Kind,
    size: Size,
    party: Option<Arc<str>>,
    link: Link,
    work: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    /// Its place in line, given back when it is answered.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl<T, F> Work<T, F> {
    pub(super) fn new(
        kind: Kind,
        size: Size,
        Whose { party, chain }: Whose,
        work: F,
        reply: oneshot::Sender<Result<T, StoreError>>,
    ) -> Self {
        let link = chain.map(|chain| chain.link()).unwrap_or_default();
        Work { kind, size, party, link, work, result: None, reply, permit: None }
    }
}

impl<S, T, F> Job<S> for Work<T, F>
where
    T: Send,
    F: FnMut(&mut RwTxn<'_>, &mut S) -> Result<T, Fault> + Send,
{
    fn kind(&self) -> Kind {
        self.kind
    }

    fn weight(&self) -> usize {
        self.size.weight.max(1)
    }

    fn bytes(&self) -> u64 {
        self.size.bytes
    }

    fn party(&self) -> Option<&Arc<str>> {
        self.party.as_ref()
    }

    fn allow(&mut self, permit: OwnedSemaphorePermit) {
        self.permit = Some(permit);
    }

    fn run(&mut self, txn: &mut RwTxn<'_>, shared: &mut S) -> Result<(), Fault> {
        if self.link.chain().is_some_and(Chain::is_broken) {
            return Err(StoreError::Unavailable.into()); // it comes again, behind what failed
        }
        // The transaction is aborted after a panic, and work keeps nothing outside of it.
        let result = catch_unwind(AssertUnwindSafe(|| (self.work)(txn, shared)));
        let result = result.unwrap_or_else(|panic| Err(Fault::Panicked(words(&*panic))));
        self.result = Some(result?);
        Ok(())
    }

    fn answer(self: Box<Self>, end: Result<(), StoreError>) {
        let Work { result, reply, permit, link, .. } = *self;
        drop(permit);
        let result = end.and_then(|()| result.ok_or(StoreError::Unavailable));
        if result.is_ok() {
            link.on_stored();
        }
        let _ = reply.send(result); // nobody may wait any more
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
