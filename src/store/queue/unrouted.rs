//! Messages that no route took: counted by who sent them and from which source, with the last few
//! as a sample: when, how large, and their properties. Bodies are not kept.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use heed::{RoTxn, RwTxn};

use super::codec::{Reader, Writer};
use super::matcher::Message;
use super::records::{kind, micros};
use super::status::ALL;
use super::{Inner, QueueStore};
use crate::domain::bag::Bag;
use crate::messages::queue::{UnroutedSample, UnroutedSource};
use crate::messages::state::StoreError;
use crate::store::fault::Fault;
use crate::store::value::Damage;

/// Messages in a sample.
const SAMPLE: usize = 3;
/// Bytes of properties kept of each.
const PROPERTIES: usize = 1_024;
/// Bytes of a key: LMDB takes no more than 511.
const KEY: usize = 480;
/// Sources told apart; a client may invent outputs. What comes after is counted together.
const SOURCES: u64 = 1_000;
const OTHERS: &[u8] = b"\0";

/// See the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnroutedRecord {
    pub(super) count: u64,
    /// When in store time, bytes, properties; oldest first.
    pub(super) last: Vec<(Duration, u64, String)>,
}

impl UnroutedRecord {
    pub(super) fn write(&self) -> Vec<u8> {
        let count = u8::try_from(self.last.len()).expect("a sample is small");
        let record = Writer::default().u64(self.count).u8(count);
        let record = self.last.iter().fold(record, |record, (at, bytes, properties)| {
            record.u64(micros(*at)).u64(*bytes).text(properties)
        });
        record.0
    }

    pub(super) fn read(payload: &[u8]) -> Result<Self, Damage> {
        let mut from = Reader(payload);
        let mut record = UnroutedRecord { count: from.u64()?, last: Vec::new() };
        for _ in 0..from.u8()? {
            let (at, bytes) = (Duration::from_micros(from.u64()?), from.u64()?);
            record.last.push((at, bytes, from.text()?.into()));
        }
        from.end(record)
    }

    fn add(&mut self, message: &Message, at: Duration) {
        self.count += 1;
        if self.last.len() >= SAMPLE {
            self.last.remove(0);
        }
        let bytes = message.body.len() as u64;
        self.last.push((at, bytes, beginning(message.bag.as_str()).into()));
    }
}

/// As many whole properties as there is room for.
fn beginning(properties: &str) -> &str {
    match properties.get(..properties.floor_char_boundary(PROPERTIES)) {
        Some(head) if head.len() < properties.len() => &head[..head.rfind('&').unwrap_or(0)],
        _ => properties,
    }
}

/// Sender, and the source as routes name it.
pub(super) fn key(sender: &str, source: &str) -> Vec<u8> {
    let mut key = [sender, source].join("\0");
    key.truncate(key.floor_char_boundary(KEY));
    key.into_bytes()
}

/// The records that a transaction touches.
#[derive(Default)]
pub(super) struct Unrouted(BTreeMap<Vec<u8>, UnroutedRecord>);

impl Inner {
    pub(super) fn count_unrouted(
        &self,
        txn: &RoTxn<'_>,
        unrouted: &mut Unrouted,
        message: &Message,
        at: Duration,
    ) -> Result<(), Fault> {
        let matcher = self.rules().matcher;
        let source = matcher.map(|matcher| matcher.source(message)).unwrap_or_default();
        let mut key = key(message.sender.as_str(), &source);
        let table = self.tables.unrouted;
        let is_known = unrouted.0.contains_key(&key) || table.raw.get(txn, &key)?.is_some();
        if !is_known && table.raw.len(txn)? + unrouted.0.len() as u64 >= SOURCES {
            key = OTHERS.to_vec();
        }
        let record = match unrouted.0.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let found = table.get(txn, kind::UNROUTED, entry.key())?.and_then(Result::ok);
                let found = found.and_then(|payload| UnroutedRecord::read(payload).ok());
                entry.insert(found.unwrap_or_default()) // a damaged one counts anew
            }
        };
        record.add(message, at);
        Ok(())
    }

    pub(super) fn write_unrouted(
        &self,
        txn: &mut RwTxn<'_>,
        unrouted: Unrouted,
    ) -> Result<(), Fault> {
        for (key, record) in unrouted.0 {
            self.tables.unrouted.put(txn, kind::UNROUTED, &key, &[&record.write()])?;
        }
        Ok(())
    }

    pub(super) fn unrouted(&self, txn: &RoTxn<'_>) -> Result<Vec<UnroutedSource>, Fault> {
        let (mut sources, now) = (Vec::new(), self.now());
        for pair in self.tables.unrouted.range(txn, kind::UNROUTED, &ALL)? {
            let (key, value) = pair?;
            let Ok(record) = value.and_then(UnroutedRecord::read) else { continue };
            let key = String::from_utf8_lossy(key);
            let (sender, source) = key.split_once('\0').unwrap_or_default();
            let last = record.last.into_iter().map(|(at, bytes, properties)| {
                let bag = Bag::from_stored(&properties);
                let pairs = bag.pairs().map(|(name, value)| {
                    (name.into_owned(), value.unwrap_or_default().into_owned())
                });
                let age_seconds = now.saturating_sub(at).as_secs();
                UnroutedSample { age_seconds, bytes, properties: pairs.collect() }
            });
            let (sender, source) = match sender {
                "" => ("others".into(), String::new()),
                sender => (sender.into(), source.into()),
            };
            let last = last.collect();
            sources.push(UnroutedSource { sender, source, count: record.count, last });
        }
        Ok(sources)
    }
}

impl QueueStore {
    /// Messages that no route took, by sender and source.
    pub fn unrouted(&self) -> Result<Vec<UnroutedSource>, StoreError> {
        let inner = self.inner();
        let txn = inner.environment.read()?;
        inner.unrouted(&txn).map_err(Fault::for_reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_keeps_whole_properties_only() {
        let long = format!("a=1&b={}&c=3", "é".repeat(600));
        assert_eq!(beginning(&long), "a=1");
        assert_eq!(beginning("a=1&b=2"), "a=1&b=2");
        assert_eq!(beginning(&"x".repeat(2_000)), "");
        assert!(key(&"s".repeat(300), &"ö".repeat(300)).len() <= KEY);
    }
}
