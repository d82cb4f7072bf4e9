//! The environment under the queue is exchanged for a copy of it while the queue is in use: it is
//! moved, or made smaller.
//!
//! Promises: the exchange lies between two transactions. What was answered before is in the copy;
//! what is handed in meanwhile waits, and is answered out of the new environment. Reads go on, on
//! the old one, until the new one is in force. Keys, offsets and the run of stamps stay, so nobody
//! who pulls notices.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::oneshot;

use super::{Inner, QueueStore, TABLES, migrate};
use crate::messages::state::StoreError;
use crate::store::env::{Environment, OpenError, Options};
use crate::store::writer::Exchanged;

/// Which environment is in use.
pub(super) struct Shelf(RwLock<Arc<Inner>>);

impl Shelf {
    pub(super) fn new(inner: Inner) -> Self {
        Shelf(RwLock::new(Arc::new(inner)))
    }

    /// As of now: not to be kept longer than for one transaction.
    pub(super) fn now(&self) -> Arc<Inner> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, inner: Inner) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(inner);
    }
}

/// Which of two environments counts from now on, after the attempt to make it the new one.
#[derive(Debug)]
pub enum Seal<E> {
    /// The new one.
    New,
    /// The old one, because of this.
    Old(E),
    /// Nobody can tell: neither may be written to, and the process has to exit.
    Unknown(String),
}

impl QueueStore {
    /// Opens an environment that a queue can be in. Blocks.
    pub fn environment(directory: &Path, options: Options) -> Result<Environment, OpenError> {
        let options = Options { migrations: migrate::MIGRATIONS, ..options };
        Environment::open(directory, &TABLES, options)
    }

    pub(super) fn inner(&self) -> Arc<Inner> {
        self.shelf.now()
    }

    /// The environment in use now.
    pub fn in_use(&self) -> Arc<Environment> {
        Arc::clone(&self.inner().environment)
    }

    /// Goes on with what `make` makes of the environment in use: a whole copy, with the same
    /// content. It was opened and looked through when `seal` makes it the one that counts, on disk;
    /// after that nothing can fail any more. Both run on the writer thread between two
    /// transactions, so they must not wait for work of this queue, and should be quick: PUBACKs
    /// are withheld meanwhile. Answers with the environment that was in use before; it is closed
    /// when the last of those who read in it have ended.
    pub fn exchange<E, M, S>(
        &self,
        make: M,
        seal: S,
    ) -> impl Future<Output = Result<Arc<Environment>, E>> + Send + 'static + use<E, M, S>
    where
        E: From<StoreError> + Send + 'static,
        M: FnOnce(&Environment) -> Result<Environment, E> + Send + 'static,
        S: FnOnce(&Environment) -> Seal<E> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let shelf = Arc::clone(&self.shelf);
        self.writer.exchange(move |old| {
            let before = shelf.now();
            let made = make(old).and_then(|environment| {
                let inner = Inner::of(Arc::new(environment), Arc::clone(&before.common));
                inner.check()?;
                Ok(inner)
            });
            let inner = match made {
                Ok(inner) => inner,
                Err(error) => {
                    let _ = reply.send(Err(error)); // nobody may wait any more
                    return Exchanged::Not;
                }
            };
            let sealed = catch_unwind(AssertUnwindSafe(|| seal(&inner.environment)));
            match sealed.unwrap_or_else(|_| Seal::Unknown("the exchange panicked".into())) {
                Seal::New => {
                    let new = Arc::clone(&inner.environment);
                    shelf.put(inner);
                    let _ = reply.send(Ok(Arc::clone(&before.environment)));
                    Exchanged::For(new)
                }
                Seal::Old(error) => {
                    let _ = reply.send(Err(error));
                    Exchanged::Not
                }
                Seal::Unknown(why) => Exchanged::Unknown(why),
            }
        });
        async move { answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable.into())) }
    }
}
