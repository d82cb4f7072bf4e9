//! How many files and sockets the process may have open: as many as the system lets it.
//!
//! Service managers and shells often give 1,024, and a client needs one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What an unlimited number is taken for.
const PLENTY: u64 = 1 << 20;

/// Raises the soft limit to the hard one, says so, and answers what is in force.
pub fn raise() -> usize {
    let had = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: had.maximum, maximum: had.maximum };
    let raised = setrlimit(Resource::Nofile, wanted);
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(PLENTY).min(PLENTY);
    match raised {
        Ok(()) => tracing::info!(limit, was = had.current, "open files"),
        Err(error) => tracing::warn!(limit, %error, "the limit of open files cannot be raised"),
    }
    usize::try_from(limit).unwrap_or(usize::MAX)
}
