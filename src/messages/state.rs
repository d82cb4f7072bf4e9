//! What the `state` actor answers to: a small key-value store, durable before it answers.

use std::sync::Arc;

use actix::Message;

use crate::domain::service_error::ServiceError;

/// The store could not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The configured budget, or the device, is full.
    #[error("store is full: {used} of {limit} bytes")]
    Full {
        /// Bytes in use.
        used: u64,
        /// Configured size.
        limit: u64,
    },
    /// Append with an older route table than the store has.
    #[error("route table is stale")]
    Stale,
    /// The environment itself failed; the store cannot go on.
    #[error("store is broken: {0}")]
    Broken(String),
    /// The device that it is on is not plugged in, say.
    #[error("the store cannot be had: {0}")]
    Absent(String),
    /// No answer, or nobody who could answer.
    #[error("store is not available")]
    Unavailable,
}

/// As a service client sees it: to be tried again.
impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        ServiceError::new(503, "ServiceUnavailable", error.to_string())
    }
}

/// One change of one value.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// Name of a table that the environment was opened with.
    pub table: &'static str,
    /// Up to 480 bytes; sorts by bytes.
    pub key: Vec<u8>,
    /// `None` deletes.
    pub value: Option<Vec<u8>>,
}

impl Change {
    /// Sets `key`.
    pub fn put(table: &'static str, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Change { table, key: key.into(), value: Some(value.into()) }
    }

    /// Deletes `key`, if it is there.
    pub fn delete(table: &'static str, key: impl Into<Vec<u8>>) -> Self {
        Change { table, key: key.into(), value: None }
    }
}

/// Makes all changes in one transaction and answers after its commit. Order of asking is order
/// of committing.
#[derive(Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Save(pub Vec<Change>);

/// Reads one value.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Vec<u8>>, StoreError>")]
pub struct Fetch(pub &'static str, pub Vec<u8>);

/// Reads all pairs whose key is not below `from` and begins with `prefix`, in order of keys,
/// `max` at most. Damaged values are left out, counted and logged.
#[derive(Debug, Message)]
#[rtype(result = "Result<Pairs, StoreError>")]
pub struct Scan {
    /// The table.
    pub table: &'static str,
    /// What keys begin with.
    pub prefix: Vec<u8>,
    /// First key; empty: from the beginning.
    pub from: Vec<u8>,
    /// Most pairs wanted.
    pub max: usize,
}

/// Keys and values.
pub type Pairs = Arc<Vec<(Vec<u8>, Vec<u8>)>>;
