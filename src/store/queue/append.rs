//! Takes messages in: the body once, a row for each queue it belongs to, all counts with them.
//!
//! next: `pull.rs`

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use heed::{RoTxn, RwTxn};

use super::matcher::{Message, Win};
use super::records::{RowKey, RowRecord, kind, message_head};
use super::unrouted::Unrouted;
use super::{Books, Inner, Ledger};
use crate::domain::link::intervals::{Arrival, Seen};
use crate::domain::resent::{Transmission, digest};
use crate::domain::row::{Endpoint, Key, Offset};
use crate::messages::state::StoreError;
use crate::store::fault::Fault;
use crate::store::writer::Size;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is on disk in every queue that it belongs to.
    Stored,
    /// It belongs to none, and is counted.
    Unrouted,
    /// It came before, over a link or from a client. It is not stored again, and acknowledged.
    Duplicate,
}

/// What an append did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// For each message.
    pub taken: Vec<Taken>,
    /// Who has rows now that were not there before.
    pub endpoints: Vec<Endpoint>,
}

/// Of a batch; about what it takes of the disk is more rather than less.
pub(super) fn size<'m>(messages: impl Iterator<Item = &'m Message>) -> Size {
    messages.fold(Size::default(), |size, message| {
        let bytes = (message.body.len() + message.bag.as_str().len()) as u64;
        let stored = if bytes > 1_900 { (bytes + 64).next_multiple_of(4_096) } else { bytes + 64 };
        let row = 128 + message.sender.as_str().len() as u64;
        Size {
            weight: size.weight + 1 + message.body.len() / 4_096,
            bytes: size.bytes + (stored + row) * 9 / 8,
        }
    })
}

impl Inner {
    /// Matches with the table in force now.
    pub(super) fn ingest(
        &self,
        txn: &mut RwTxn<'_>,
        books: &mut Books,
        messages: &[Message],
    ) -> Result<Appended, Fault> {
        let matcher = self.rules().matcher.ok_or(StoreError::Unavailable)?;
        let matched = messages.iter().map(|message| (message, matcher.winners(message)));
        self.append(txn, books, matched)
    }

    pub(super) fn append<'m>(
        &self,
        txn: &mut RwTxn<'_>,
        books: &mut Books,
        batch: impl Iterator<Item = (&'m Message, Vec<Win>)>,
    ) -> Result<Appended, Fault> {
        let ledger = books.ledger(self, txn)?;
        let mut done = Appended::default();
        let time = ledger.time;
        let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
        let mut unrouted = Unrouted::default();
        for (message, wins) in batch {
            if let Some(link) = &message.link {
                let seen = match seen.entry(link.edge.as_str()) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => entry.insert(self.seen(txn, &link.edge)?),
                };
                if seen.on_arrival(link.stamp, link.low, time.at.as_secs()) == Arrival::Duplicate {
                    done.taken.push(Taken::Duplicate);
                    continue;
                }
            }
            if let Some(how) = message.transmission.filter(|_| !wins.is_empty()) {
                let resent = ledger.resent(txn, &message.sender)?;
                // Connections are counted anew in each run.
                let connection = how.connection ^ self.common.run as u32;
                let how = Transmission { connection, ..how };
                if resent.on_arrival(how, digest(message.bag.as_str(), &message.body)) {
                    ledger.head.resent += 1;
                    done.taken.push(Taken::Duplicate);
                    continue;
                }
            }
            ledger.head.messages_in += 1;
            if wins.is_empty() {
                ledger.head.unrouted += 1;
                ledger.head.last_message += 1;
                self.note_unrouted(ledger.head.last_message, message, time.at);
                self.count_unrouted(txn, &mut unrouted, message, time.at)?;
                done.taken.push(Taken::Unrouted);
                continue;
            }
            let id = self.put_message(txn, ledger, message, wins.len())?;
            let row = RowRecord {
                stored_at: time.at,
                time_to_live: None,
                bytes: (message.bag.as_str().len() + message.body.len()) as u64,
                run: None,
                sender: message.sender.as_str(),
            };
            for win in &wins {
                let run = win.endpoint.is_upstream().then_some(self.common.run);
                let row = RowRecord { time_to_live: win.time_to_live, run, ..row };
                self.put_row(txn, ledger, win, id, &row)?;
            }
            for win in wins {
                if !done.endpoints.contains(&win.endpoint) {
                    done.endpoints.push(win.endpoint);
                }
            }
            done.taken.push(Taken::Stored);
        }
        for (edge, seen) in seen {
            let seen = serde_json::to_vec(&seen).expect("intervals are plain numbers");
            self.tables.seen.put(txn, kind::SEEN, edge.as_bytes(), &[&seen])?;
        }
        self.write_unrouted(txn, unrouted)?;
        Ok(done)
    }

    /// What has come from an edge already. A damaged memory may let a message in twice.
    fn seen(&self, txn: &RoTxn<'_>, edge: &str) -> Result<Seen, Fault> {
        let payload = self.tables.seen.get(txn, kind::SEEN, edge.as_bytes())?;
        let seen = payload.and_then(Result::ok).map(serde_json::from_slice);
        Ok(seen.and_then(Result::ok).unwrap_or_default())
    }

    fn put_message(
        &self,
        txn: &mut RwTxn<'_>,
        ledger: &mut Ledger,
        message: &Message,
        rows: usize,
    ) -> Result<u64, Fault> {
        ledger.head.last_message += 1;
        let id = ledger.head.last_message;
        let head = message_head(message.bag.as_str());
        let key = id.to_be_bytes();
        self.tables.messages.append(txn, kind::MESSAGE, &key, &[&head, &message.body])?;
        if rows > 1 {
            let count = u32::try_from(rows).expect("routes are few").to_be_bytes();
            self.tables.shared.put(txn, kind::NUMBER, &key, &[&count])?;
        }
        Ok(id)
    }

    fn put_row(
        &self,
        txn: &mut RwTxn<'_>,
        ledger: &mut Ledger,
        win: &Win,
        message: u64,
        row: &RowRecord<'_>,
    ) -> Result<(), Fault> {
        let (endpoint, number, account) = ledger.of_win(txn, win)?;
        endpoint.rows += 1;
        endpoint.bytes += row.bytes;
        endpoint.last_offset += 1;
        account.received += 1;
        account.stored += 1;
        account.bytes += row.bytes;
        let key = Key { priority: win.priority, offset: Offset(endpoint.last_offset) };
        let endpoint = endpoint.number;
        ledger.lane_grows(txn, endpoint, key, row.sender)?;
        let key = RowKey { endpoint, key, account: number, message }.write();
        Ok(self.tables.rows.append(txn, kind::ROW, &key, &[&row.write()])?)
    }
}
