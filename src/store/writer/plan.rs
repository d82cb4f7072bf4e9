//! Planned failures, for tests: what the device, or this code, may do at the worst moment.

/// What fails, once.
#[cfg(any(test, feature = "faults"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    /// The commit fails with this error of the operating system; nothing is written.
    Commit(i32),
    /// The commit fails in this way, if there are appends in the transaction.
    CommitOfAppends(i32),
    /// The thread panics before the commit.
    PanicBeforeCommit,
    /// The thread panics after the commit: all is on disk, nobody is answered.
    PanicAfterCommit,
    /// LMDB gives up.
    Broken,
}

#[cfg(any(test, feature = "faults"))]
mod real {
    use std::collections::VecDeque;
    use std::sync::{Mutex, PoisonError};

    use super::Planned;

    /// Failures to come, in order.
    #[derive(Default)]
    pub(in super::super) struct Plan(Mutex<VecDeque<Planned>>);

    impl Plan {
        pub(in super::super) fn extend(&self, failures: impl IntoIterator<Item = Planned>) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(failures);
        }

        #[cfg(test)]
        pub(in super::super) fn forget(&self) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }

        fn next_if(&self, is_due: impl Fn(Planned) -> bool) -> Option<Planned> {
            let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if plan.front().copied().is_some_and(is_due) { plan.pop_front() } else { None }
        }

        pub(in super::super) fn before_commit(&self, has_appends: bool) -> heed::Result<()> {
            let is_due = |failure| match failure {
                Planned::CommitOfAppends(_) => has_appends,
                failure => failure != Planned::PanicAfterCommit,
            };
            match self.next_if(is_due) {
                Some(Planned::Commit(code) | Planned::CommitOfAppends(code)) => {
                    Err(std::io::Error::from_raw_os_error(code).into())
                }
                Some(Planned::Broken) => Err(heed::MdbError::Panic.into()),
                Some(Planned::PanicBeforeCommit) => panic!("planned, before the commit"),
                _ => Ok(()),
            }
        }

        pub(in super::super) fn after_commit(&self) {
            if self.next_if(|failure| failure == Planned::PanicAfterCommit).is_some() {
                panic!("planned, after the commit");
            }
        }
    }
}

#[cfg(not(any(test, feature = "faults")))]
mod real {
    /// Nothing is planned.
    #[derive(Default)]
    pub(in super::super) struct Plan(());

    impl Plan {
        #[expect(clippy::unused_self, reason = "as in test builds")]
        pub(in super::super) fn before_commit(&self, _: bool) -> heed::Result<()> {
            Ok(())
        }

        #[expect(clippy::unused_self, reason = "as in test builds")]
        pub(in super::super) fn after_commit(&self) {}
    }
}

pub(super) use self::real::Plan;
