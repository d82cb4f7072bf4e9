//! Why a transaction did not succeed, and what follows from it.

use crate::messages::state::StoreError;
use crate::store::value::Damage;

/// Why a write could not be carried out.
#[derive(Debug)]
pub enum Fault {
    /// The work itself refuses; nothing of it is written.
    Refused(StoreError),
    /// LMDB refuses.
    Lmdb(heed::Error),
    /// The store is not what it must be.
    Corrupt(String),
    /// The work panicked.
    Panicked(String),
}

impl From<heed::Error> for Fault {
    fn from(error: heed::Error) -> Self {
        Fault::Lmdb(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Refused(error)
    }
}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Self {
        Fault::Corrupt(format!("a record that others hang on: {damage}"))
    }
}

/// What follows from a fault.
#[derive(Debug)]
pub(super) enum Verdict {
    /// This work cannot be done; other work can.
    Refuse(StoreError),
    /// The device does not take it now: again later, nothing is answered meanwhile.
    Later(String),
    /// The environment is lost for this process.
    Broken(String),
    /// … and so it is for the next, unless it is salvaged.
    Damaged(String),
}

impl Fault {
    /// For those who asked to read.
    pub(super) fn for_reader(self) -> StoreError {
        match self {
            Fault::Lmdb(error) => of_read(&error),
            Fault::Refused(error) => error,
            Fault::Corrupt(why) | Fault::Panicked(why) => StoreError::Broken(why),
        }
    }

    /// What was met that no sound store has.
    pub(super) fn damage(&self) -> Option<String> {
        use heed::MdbError as Mdb;
        match self {
            Fault::Corrupt(why) => Some(why.clone()),
            Fault::Lmdb(heed::Error::Mdb(
                error @ (Mdb::PageNotFound
                | Mdb::Corrupted
                | Mdb::Invalid
                | Mdb::CursorFull
                | Mdb::PageFull
                | Mdb::Incompatible
                | Mdb::Problem),
            )) => Some(error.to_string()),
            _ => None,
        }
    }

    /// `used` and `limit`: bytes of the map, for what people read.
    pub(super) fn verdict(self, used: u64, limit: u64) -> Verdict {
        use heed::MdbError as Mdb;
        if let Some(why) = self.damage() {
            return Verdict::Damaged(why);
        }
        match self {
            Fault::Refused(error) => Verdict::Refuse(error),
            Fault::Corrupt(why) => Verdict::Damaged(why),
            Fault::Panicked(why) => {
                Verdict::Refuse(StoreError::Broken(format!("a write panicked: {why}")))
            }
            // A short write on a full disk comes as EIO (measured).
            Fault::Lmdb(heed::Error::Io(error)) => Verdict::Later(error.to_string()),
            Fault::Lmdb(heed::Error::Mdb(Mdb::MapFull | Mdb::TxnFull)) => {
                Verdict::Refuse(StoreError::Full { used, limit })
            }
            Fault::Lmdb(heed::Error::Mdb(error @ (Mdb::BadValSize | Mdb::KeyExist))) => {
                Verdict::Refuse(StoreError::Broken(error.to_string()))
            }
            Fault::Lmdb(error) => Verdict::Broken(error.to_string()),
        }
    }
}

/// An error of a read, for those who asked.
pub(super) fn of_read(error: &heed::Error) -> StoreError {
    StoreError::Broken(format!("cannot read: {error}"))
}
