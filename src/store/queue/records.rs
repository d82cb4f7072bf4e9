//! The records of a queue and how they are written. See `mod.rs` for the tables.

use std::time::Duration;

use super::codec::{Reader, Writer};
use crate::domain::row::{End, Key, Offset, Priority};
use crate::domain::store_time::{Reading, Saved};
use crate::store::value::Damage;

/// Type bytes of the frames; never used twice.
pub(super) mod kind {
    pub(in crate::store::queue) const HEAD: u8 = 10;
    pub(in crate::store::queue) const ENDPOINT: u8 = 11;
    // 12: accounts of format 1
    pub(in crate::store::queue) const NUMBER: u8 = 13;
    pub(in crate::store::queue) const MESSAGE: u8 = 14;
    pub(in crate::store::queue) const ROW: u8 = 15;
    // 16: dead letters of format 1
    pub(in crate::store::queue) const RAW: u8 = 17;
    pub(in crate::store::queue) const SEEN: u8 = 18;
    pub(in crate::store::queue) const RESENT: u8 = 19;
    pub(in crate::store::queue) const ACCOUNT: u8 = 20;
    pub(in crate::store::queue) const DEAD: u8 = 21;
    pub(in crate::store::queue) const UNROUTED: u8 = 22;
    pub(in crate::store::queue) const PAUSED: u8 = 23;
    pub(in crate::store::queue) const LANE: u8 = 24;
}

/// What there is one of.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Head {
    pub(super) last_message: u64,
    pub(super) last_endpoint: u32,
    pub(super) last_account: u32,
    pub(super) messages_in: u64,
    pub(super) unrouted: u64,
    pub(super) resent: u64,
    /// With `QoS` 0, at a full budget.
    pub(super) refused: u64,
    pub(super) time: Option<Saved>,
}

impl Head {
    pub(super) fn write(&self) -> Vec<u8> {
        let head = Writer::default().u64(self.last_message).u32(self.last_endpoint);
        let head = head.u32(self.last_account).u64(self.messages_in).u64(self.unrouted);
        let head = head.u64(self.resent);
        let Some(Saved { at, reading }) = self.time else { return head.u8(0).u64(self.refused).0 };
        let head = head.u8(1).u64(micros(at)).u128(reading.boot_id);
        let head = head.u64(micros(reading.since_boot)).u64(micros(reading.wall));
        head.u8(reading.is_synchronised.into()).u64(self.refused).0
    }

    pub(super) fn read(payload: &[u8]) -> Result<Self, Damage> {
        let mut from = Reader(payload);
        let mut head = Head {
            last_message: from.u64()?,
            last_endpoint: from.u32()?,
            last_account: from.u32()?,
            messages_in: from.u64()?,
            unrouted: from.u64()?,
            resent: from.u64()?,
            refused: 0,
            time: None,
        };
        if from.u8()? == 1 {
            let at = Duration::from_micros(from.u64()?);
            let reading = Reading {
                boot_id: from.u128()?,
                since_boot: Duration::from_micros(from.u64()?),
                wall: Duration::from_micros(from.u64()?),
                is_synchronised: from.u8()? == 1,
            };
            head.time = Some(Saved { at, reading });
        }
        if !from.0.is_empty() {
            head.refused = from.u64()?; // since format 3
        }
        from.end(head)
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// An endpoint; its key is its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EndpointRecord {
    pub(super) number: u32,
    /// Offsets given so far: they grow by one, so that the parent's memory of them stays short.
    pub(super) last_offset: u64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl EndpointRecord {
    pub(super) fn write(&self) -> Vec<u8> {
        let record = Writer::default().u32(self.number).u64(self.last_offset);
        record.u64(self.rows).u64(self.bytes).0
    }

    pub(super) fn read(payload: &[u8]) -> Result<Self, Damage> {
        let mut from = Reader(payload);
        let record = EndpointRecord {
            number: from.u32()?,
            last_offset: from.u64()?,
            rows: from.u64()?,
            bytes: from.u64()?,
        };
        from.end(record)
    }
}

/// The account of one route at one endpoint and input; its key is its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) route: String,
    pub(super) endpoint: String,
    pub(super) input: Option<String>,
    pub(super) received: u64,
    pub(super) stored: u64,
    /// By [`end_index`]; dead letters are those that are there now.
    pub(super) ends: [u64; 6],
    /// Of what is stored.
    pub(super) bytes: u64,
    /// Of dead letters.
    pub(super) dead_bytes: u64,
    /// Dead letters that were owed again, and that were discarded.
    pub(super) replayed: u64,
    pub(super) dropped: u64,
}

impl Account {
    pub(super) fn write(&self) -> Vec<u8> {
        let account = Writer::default().text(&self.route).text(&self.endpoint);
        let account = match &self.input {
            Some(input) => account.u8(1).text(input),
            None => account.u8(0),
        };
        let account = account.u64(self.received).u64(self.stored);
        let account = self.ends.iter().fold(account, |account, end| account.u64(*end));
        account.u64(self.bytes).u64(self.dead_bytes).u64(self.replayed).u64(self.dropped).0
    }

    pub(super) fn read(payload: &[u8]) -> Result<Self, Damage> {
        let mut from = Reader(payload);
        let mut account = Self::read_first(&mut from)?;
        account.bytes = from.u64()?;
        account.dead_bytes = from.u64()?;
        account.replayed = from.u64()?;
        account.dropped = from.u64()?;
        from.end(account)
    }

    /// What format 1 had of it.
    pub(super) fn read_first(from: &mut Reader<'_>) -> Result<Self, Damage> {
        let mut account = Account {
            route: from.text()?.into(),
            endpoint: from.text()?.into(),
            input: if from.u8()? == 1 { Some(from.text()?.into()) } else { None },
            received: from.u64()?,
            stored: from.u64()?,
            ..Account::default()
        };
        for end in &mut account.ends {
            *end = from.u64()?;
        }
        Ok(account)
    }
}

/// Which counter an end is counted in.
pub(super) fn end_index(end: &End) -> usize {
    match end {
        End::Delivered => 0,
        End::Expired => 1,
        End::DeadLettered { .. } => DEAD_LETTERED,
        End::Evicted => 3,
        End::Discarded => DISCARDED,
        End::Quarantined => QUARANTINED,
    }
}

pub(super) const DEAD_LETTERED: usize = 2;
pub(super) const DISCARDED: usize = 4;
pub(super) const QUARANTINED: usize = 5;

/// Where a row stands: endpoint, priority, offset; then the account that it is counted in and its
/// message, so that it can be ended even if its value is damaged. Sorts in the order of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowKey {
    pub(super) endpoint: u32,
    pub(super) key: Key,
    pub(super) account: u32,
    pub(super) message: u64,
}

/// Bytes of a [`RowKey`] that say where it stands.
pub(super) const PLACE: usize = 13;

impl RowKey {
    pub(super) fn write(self) -> [u8; 25] {
        let mut bytes = [0; 25];
        bytes[..PLACE].copy_from_slice(&place(self.endpoint, self.key.priority, self.key.offset));
        bytes[PLACE..17].copy_from_slice(&self.account.to_be_bytes());
        bytes[17..].copy_from_slice(&self.message.to_be_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, Damage> {
        let mut from = Reader(bytes);
        let endpoint = from.u32()?;
        let key = Key { priority: Priority(from.u8()?), offset: Offset(from.u64()?) };
        let row = RowKey { endpoint, key, account: from.u32()?, message: from.u64()? };
        from.end(row)
    }
}

/// What the keys of the rows at this place begin with.
pub(super) fn place(endpoint: u32, priority: Priority, offset: Offset) -> [u8; PLACE] {
    let mut bytes = [0; PLACE];
    bytes[..4].copy_from_slice(&endpoint.to_be_bytes());
    bytes[4] = priority.0;
    bytes[5..].copy_from_slice(&offset.0.to_be_bytes());
    bytes
}

/// What is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowRecord<'p> {
    /// In store time.
    pub(super) stored_at: Duration,
    /// As it was when it was stored; counts once the route is gone.
    pub(super) time_to_live: Option<Duration>,
    /// Of properties and body.
    pub(super) bytes: u64,
    /// Of the stamp; `None`: none is needed.
    pub(super) run: Option<u64>,
    pub(super) sender: &'p str,
}

/// The first byte of rows and messages since format 3. In format 2 it was the highest byte of a
/// time, or of a length: 0. Such records are read as they are, until they have ended.
const SHORT: u8 = 0x80;
const HAS_RUN: u8 = 1;
const HAS_TIME_TO_LIVE: u8 = 2;

impl<'p> RowRecord<'p> {
    pub(super) fn write(&self) -> Vec<u8> {
        let has = |is: bool, flag| if is { flag } else { 0 };
        let flags =
            has(self.run.is_some(), HAS_RUN) | has(self.time_to_live.is_some(), HAS_TIME_TO_LIVE);
        let row = Writer(Vec::with_capacity(32 + self.sender.len()))
            .u8(SHORT | flags)
            .short(micros(self.stored_at));
        let row = self.time_to_live.map(micros).into_iter().fold(row, Writer::short);
        let row = self.run.into_iter().fold(row.short(self.bytes), Writer::u64);
        row.rest(self.sender).0
    }

    pub(super) fn read(payload: &'p [u8]) -> Result<Self, Damage> {
        let mut from = Reader(payload);
        let Some(flags) = payload.first().filter(|first| **first & SHORT != 0).copied() else {
            return Self::read_long(from);
        };
        from.u8()?;
        let stored_at = Duration::from_micros(from.short()?);
        let has_time_to_live = flags & HAS_TIME_TO_LIVE != 0;
        let time_to_live = if has_time_to_live { Some(from.short()?) } else { None };
        let row = RowRecord {
            stored_at,
            time_to_live: time_to_live.map(Duration::from_micros),
            bytes: from.short()?,
            run: if flags & HAS_RUN == 0 { None } else { Some(from.u64()?) },
            sender: from.rest()?,
        };
        Ok(row)
    }

    /// As format 2 wrote it.
    fn read_long(mut from: Reader<'p>) -> Result<Self, Damage> {
        let row = RowRecord {
            stored_at: Duration::from_micros(from.u64()?),
            time_to_live: Some(from.u64()?).filter(|t| *t < u64::MAX).map(Duration::from_micros),
            bytes: from.u64()?,
            run: if from.u8()? == 1 { Some(from.u64()?) } else { None },
            sender: from.text()?,
        };
        from.end(row)
    }
}

/// What stands before a body: the properties. Who sent it stands in each row.
pub(super) fn message_head(bag: &str) -> Vec<u8> {
    let head = Writer(Vec::with_capacity(8 + bag.len())).u8(SHORT).short(bag.len() as u64);
    head.rest(bag).0
}

/// Properties, body.
pub(super) fn read_message(payload: &[u8]) -> Result<(&str, &[u8]), Damage> {
    let mut from = Reader(payload);
    if payload.first().is_none_or(|first| first & SHORT == 0) {
        from.text()?; // format 2 had the sender here too
        return Ok((from.text()?, from.0));
    }
    from.u8()?;
    let length = from.short()?;
    let bag = from.take(usize::try_from(length).map_err(|_| Damage::Payload)?)?;
    Ok((str::from_utf8(bag).map_err(|_| Damage::Payload)?, from.0))
}

/// A row that ended as a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LetterRecord<'p> {
    /// When, in store time.
    pub(super) at: Duration,
    pub(super) tries: u32,
    pub(super) why: &'p str,
    /// As it was owed.
    pub(super) row: RowRecord<'p>,
}

impl<'p> LetterRecord<'p> {
    pub(super) fn write(&self) -> Vec<u8> {
        let letter = Writer::default().u64(micros(self.at)).u32(self.tries).text(self.why);
        [letter.0, self.row.write()].concat()
    }

    pub(super) fn read(payload: &'p [u8]) -> Result<Self, Damage> {
        let mut from = Reader(payload);
        let (at, tries) = (Duration::from_micros(from.u64()?), from.u32()?);
        let why = from.text()?;
        Ok(LetterRecord { at, tries, why, row: RowRecord::read(from.0)? })
    }
}
