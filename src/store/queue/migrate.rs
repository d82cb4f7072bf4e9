//! From one format of the queue to the next, in one transaction each.
//!
//! | format | what is new |
//! |---|---|
//! | 2 | accounts count bytes, and what became of dead letters; those tell how often they were tried; unrouted messages are counted by source |
//! | 3 | rows and messages are shorter; those of format 2 stay as they are until they have ended |
//! | 4 | lanes may be kept; there are none yet, so only older programs have to keep out |

use std::collections::HashMap;
use std::time::Duration;

use heed::RwTxn;

use super::codec::Reader;
use super::records::{Account, LetterRecord, RowKey, RowRecord, kind};
use super::status::ALL;
use super::unrouted::{self, UnroutedRecord};
use crate::store::env::Migration;
use crate::store::fault::Fault;
use crate::store::table::Table;
use crate::store::value::Damage;

/// See the module documentation.
pub(super) const MIGRATIONS: &[Migration] = &[to_second, |_, _| Ok(()), |_, _| Ok(())];

const FIRST_ACCOUNT: u8 = 12;
const FIRST_DEAD: u8 = 16;

type Pair = (Vec<u8>, Vec<u8>);

fn table(tables: &[Table<'static>], name: &str) -> Table<'static> {
    *tables.iter().find(|table| table.name == name).expect("the queue is opened with it")
}

/// Sound values; those that are damaged stay as they are, and are damaged to whoever reads them.
fn pairs(table: Table<'_>, txn: &RwTxn<'_>, kind: u8) -> Result<Vec<Pair>, Fault> {
    let mut pairs = Vec::new();
    for pair in table.range(txn, kind, &ALL)? {
        if let (key, Ok(payload)) = pair? {
            pairs.push((key.to_vec(), payload.to_vec()));
        }
    }
    Ok(pairs)
}

fn to_second(tables: &[Table<'static>], txn: &mut RwTxn<'_>) -> Result<(), Fault> {
    let mut stored: HashMap<u32, u64> = HashMap::new();
    for pair in table(tables, "rows").range(txn, kind::ROW, &ALL)? {
        let (key, value) = pair?;
        let bytes = value.and_then(RowRecord::read).map_or(0, |row| row.bytes);
        *stored.entry(RowKey::read(key)?.account).or_default() += bytes;
    }
    let (dead, mut letters) = (table(tables, "dead"), HashMap::<u32, u64>::new());
    for (key, payload) in pairs(dead, txn, FIRST_DEAD)? {
        let (at, why, row) = first_letter(&payload)?;
        *letters.entry(RowKey::read(&key)?.account).or_default() += row.bytes;
        let letter = LetterRecord { at, tries: 0, why, row };
        dead.put(txn, kind::DEAD, &key, &[&letter.write()])?;
    }
    let accounts = table(tables, "accounts");
    for (key, payload) in pairs(accounts, txn, FIRST_ACCOUNT)? {
        let mut from = Reader(&payload);
        let mut account = Account::read_first(&mut from)?;
        from.end(())?;
        let number = key.as_slice().try_into().map(u32::from_be_bytes).unwrap_or_default();
        account.bytes = stored.get(&number).copied().unwrap_or_default();
        account.dead_bytes = letters.get(&number).copied().unwrap_or_default();
        accounts.put(txn, kind::ACCOUNT, &key, &[&account.write()])?;
    }
    let sources = table(tables, "unrouted");
    for (sender, payload) in pairs(sources, txn, kind::NUMBER)? {
        let count = payload.try_into().map_or(0, u64::from_be_bytes);
        let key = unrouted::key(&String::from_utf8_lossy(&sender), "");
        sources.delete(txn, &sender)?;
        let record = UnroutedRecord { count, ..UnroutedRecord::default() };
        sources.put(txn, kind::UNROUTED, &key, &[&record.write()])?;
    }
    Ok(())
}

fn first_letter(payload: &[u8]) -> Result<(Duration, &str, RowRecord<'_>), Damage> {
    let mut from = Reader(payload);
    let (at, why) = (Duration::from_micros(from.u64()?), from.text()?);
    Ok((at, why, RowRecord::read(from.0)?))
}
