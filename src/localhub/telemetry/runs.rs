//! What edges have sent already, as it is kept beside the log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::actors::port::Port;
use crate::domain::link::intervals::Seen;
use crate::domain::row::Stamp;
use crate::localhub::tables::{self, TELEMETRY_STATE};
use crate::messages::queue::LinkStamp;
use crate::messages::state::{Change, Scan, StoreError};
use crate::mutant;

/// Keys of this kind are followed by the edge.
const PREFIX: &str = "run\n";

/// Per edge what has come.
#[derive(Debug, Default)]
pub(super) struct Runs {
    edges: BTreeMap<String, Seen>,
    changed: BTreeSet<String>,
}

impl Runs {
    pub(super) async fn load(scan: Port<Scan>) -> Result<Self, StoreError> {
        let pairs = tables::load(scan, TELEMETRY_STATE, |key, value| {
            match std::str::from_utf8(key).ok()?.strip_prefix(PREFIX) {
                Some(edge) => Some(Some((edge.to_owned(), serde_json::from_slice(value).ok()?))),
                None => Some(None), // the log's own record
            }
        });
        let edges = pairs.await?.into_iter().flatten().collect();
        Ok(Runs { edges, changed: BTreeSet::new() })
    }

    /// Whether the message has come before.
    pub(super) fn has(&self, link: &LinkStamp) -> bool {
        let Some(seen) = self.edges.get(&link.edge) else { return false };
        if mutant::is("high-water-dedupe") {
            return seen.highest(link.stamp.run).is_some_and(|highest| link.stamp.seq <= highest);
        }
        seen.has(link.stamp)
    }

    /// It has come now.
    pub(super) fn note(&mut self, link: &LinkStamp, now: Duration) {
        let seen = self.edges.entry(link.edge.clone()).or_default();
        seen.on_arrival(link.stamp, link.low, now.as_secs());
        self.changed.insert(link.edge.clone());
    }

    /// It is in the log, whatever was kept of the run that it is of.
    pub(super) fn note_again(&mut self, edge: String, stamp: Stamp, now: Duration) {
        let seen = self.edges.entry(edge).or_default();
        if !seen.has(stamp) {
            seen.on_arrival(stamp, 0, now.as_secs());
        }
    }

    /// What is to be written since the last time.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        let changed = std::mem::take(&mut self.changed);
        let seen = changed.into_iter().filter_map(|edge| Some((self.edges.get(&edge)?, edge)));
        let change = |(seen, edge): (&Seen, String)| {
            let json = serde_json::to_vec(seen).expect("numbers are JSON");
            Change::put(TELEMETRY_STATE, format!("{PREFIX}{edge}"), json)
        };
        seen.map(change).collect()
    }
}
