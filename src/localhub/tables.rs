//! The tables of localhub's store, and how a whole one is read.
//!
//! Keys: an identity is its text; numbers are big-endian, so that bytes sort as numbers do.

use std::time::Duration;

use crate::actors::port::Port;
use crate::messages::state::{Change, Pairs, Save, Scan, StoreError};

/// Identity → `Entry`, JSON.
pub const IDENTITIES: &str = "identities";
/// Edge, `\n`, identity → version (number): left the scope of that edge.
pub const REMOVED: &str = "removed";
/// Identity → `Presence`, JSON.
pub const PRESENCE: &str = "presence";
/// Identity → twin, JSON.
pub const TWINS: &str = "twins";
/// Offset (number) → item.
pub const TELEMETRY: &str = "telemetry";
/// `log` → first and next offset, bytes; `run`, edge, run → intervals.
pub const TELEMETRY_STATE: &str = "telemetry-state";
/// Identity → its last messages: `domain/resent.rs`.
pub const RESENT: &str = "resent";
/// Device, `\n`, number → message.
pub const DEVICEBOUND: &str = "devicebound";
/// Number → feedback record, JSON.
pub const FEEDBACK: &str = "feedback";

/// All that the store is to be opened with, beside the tables of sessions.
pub const TABLES: [&str; 9] = [
    IDENTITIES,
    REMOVED,
    PRESENCE,
    TWINS,
    TELEMETRY,
    TELEMETRY_STATE,
    RESENT,
    DEVICEBOUND,
    FEEDBACK,
];

/// How long the store may take for anything; a full disk is waited for.
const DEADLINE: Duration = Duration::from_secs(30);
/// Pairs read at a time: the store's reads are to be short.
const PAGE: usize = 100;

/// Writes, and answers when it is on disk.
pub(super) fn save(
    port: &Port<Save>,
    changes: Vec<Change>,
) -> impl Future<Output = Result<(), StoreError>> + use<> {
    let saved = port.ask(Save(changes), DEADLINE);
    async move { saved.await.unwrap_or(Err(StoreError::Unavailable)) }
}

/// A page of a table.
pub(super) fn scan(
    port: &Port<Scan>,
    scan: Scan,
) -> impl Future<Output = Result<Pairs, StoreError>> + use<> {
    let read = port.ask(scan, DEADLINE);
    async move { read.await.unwrap_or(Err(StoreError::Unavailable)) }
}

/// Reads a whole table, page by page.
pub(super) async fn load<T>(
    port: Port<Scan>,
    table: &'static str,
    mut read: impl FnMut(&[u8], &[u8]) -> Option<T>,
) -> Result<Vec<T>, StoreError> {
    let (mut all, mut from) = (Vec::new(), Vec::new());
    loop {
        let page = scan(&port, Scan { table, prefix: Vec::new(), from, max: PAGE }).await?;
        for (key, value) in page.iter() {
            match read(key, value) {
                Some(value) => all.push(value),
                None => {
                    let key = String::from_utf8_lossy(key);
                    tracing::error!(table, %key, "a stored value cannot be understood; left out");
                }
            }
        }
        let Some((last, _)) = page.last().filter(|_| page.len() == PAGE) else { return Ok(all) };
        from = [last.as_slice(), &[0]].concat(); // the next key there can be
    }
}

/// A number that sorts as bytes.
pub(super) fn number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The number that a key or value ends in.
pub(super) fn read_number(bytes: &[u8]) -> Option<u64> {
    let last = bytes.len().checked_sub(8).map(|start| &bytes[start..])?;
    last.try_into().ok().map(u64::from_be_bytes)
}

/// A value: a length, JSON of what is known of a body, and the body.
pub(super) fn encode(head: &impl serde::Serialize, body: &[u8]) -> Vec<u8> {
    let head = serde_json::to_vec(head).expect("a head is JSON");
    let length = u32::try_from(head.len()).expect("a head is bounded by its topic");
    [length.to_be_bytes().as_slice(), &head, body].concat()
}

/// What [`encode`] made.
pub(super) fn decode<H: serde::de::DeserializeOwned>(value: &[u8]) -> Option<(H, bytes::Bytes)> {
    let (length, rest) = value.split_first_chunk::<4>()?;
    let (head, body) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((serde_json::from_slice(head).ok()?, bytes::Bytes::copy_from_slice(body)))
}
