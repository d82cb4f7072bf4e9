//! The conservation invariant, asserted at the end of every test that runs an edge: whoever ends a
//! [`super::program::Program`] ends it here, too, after a SIGKILL.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edge_runtime::store::{Kv, OpenError, Options, QueueStore, SystemClock};
use serde_json::Value;

use super::program::Program;

/// What is wrong in the queue of an edge that was killed: for each route received = stored + named
/// ends, by its rows, dead letters and bodies, all counted again.
pub fn broken_queue(program: &Program) -> Vec<String> {
    let setting = |name: &str| {
        let mut all = program.environment().iter();
        all.find(|(key, _)| key == name).map(|(_, value)| PathBuf::from(value))
    };
    let Some(state) = setting("EDGE_RUNTIME__STATE__PATH") else { return Vec::new() };
    let home = setting("EDGE_RUNTIME__STORE__QUEUE").unwrap_or_else(|| state.join("queue"));
    let place = place(&state).filter(|place| place.exists()).unwrap_or(home);
    if !place.join("data.mdb").exists() {
        return Vec::new(); // it never stored anything, or its place is gone
    }
    match open(&place) {
        Ok(store) => store.verify().unwrap_or_else(|error| vec![error.to_string()]),
        // Another process has it, which will be asked itself.
        Err(OpenError::InUse(..)) => Vec::new(),
        Err(error) => vec![error.to_string()],
    }
}

fn open(place: &Path) -> Result<Arc<QueueStore>, OpenError> {
    let options = Options { reserve: 0, ..Options::queue() };
    QueueStore::open(place, options, SystemClock::new())
}

/// Where `state/` says that the queue is.
fn place(state: &Path) -> Option<PathBuf> {
    let state = state.join("state");
    if !state.join("data.mdb").exists() {
        return None;
    }
    let options = Options { reserve: 0, ..Options::state() };
    let state = Kv::open(&state, &["meta"], options).ok()?;
    let known: Value = serde_json::from_slice(&state.fetch("meta", b"queue").ok()??).ok()?;
    Some(known["place"].as_str()?.into())
}
