//! The accounts that a transaction touches: read when first needed, written back at its end.

use std::collections::HashMap;
use std::sync::Arc;

use heed::{RoTxn, RwTxn};
use sha2::{Digest, Sha256};

use super::Tables;
use super::matcher::Win;
use super::records::{Account, EndpointRecord, Head, kind};
use crate::domain::row::Endpoint;
use crate::domain::store_time::Saved;
use crate::store::fault::Fault;
use crate::store::value::Damage;

const HEAD: &[u8] = b"head";

/// Route, endpoint, input.
type Party = (Arc<str>, Endpoint, Option<Arc<str>>);

/// See the module documentation. If it is dropped, nothing was written.
pub(super) struct Ledger {
    tables: Tables,
    pub(super) head: Head,
    endpoints: HashMap<Endpoint, EndpointRecord>,
    accounts: HashMap<u32, Account>,
    numbers: HashMap<Party, u32>,
}

/// The head, or that of an empty queue.
pub(super) fn head(tables: &Tables, txn: &RoTxn<'_>) -> Result<Head, Fault> {
    match tables.head.get(txn, kind::HEAD, HEAD)? {
        Some(payload) => Ok(Head::read(payload?)?),
        None => Ok(Head::default()),
    }
}

impl Ledger {
    pub(super) fn open(tables: Tables, txn: &RoTxn<'_>) -> Result<Self, Fault> {
        let head = head(&tables, txn)?;
        let (endpoints, accounts, numbers) = Default::default();
        Ok(Ledger { tables, head, endpoints, accounts, numbers })
    }

    /// The record of an endpoint, if it ever had rows.
    pub(super) fn endpoint(
        &mut self,
        txn: &RoTxn<'_>,
        endpoint: &Endpoint,
    ) -> Result<Option<&mut EndpointRecord>, Fault> {
        if !self.endpoints.contains_key(endpoint) {
            let key = endpoint.0.as_bytes();
            let Some(payload) = self.tables.endpoints.get(txn, kind::ENDPOINT, key)? else {
                return Ok(None);
            };
            self.endpoints.insert(endpoint.clone(), EndpointRecord::read(payload?)?);
        }
        Ok(self.endpoints.get_mut(endpoint))
    }

    /// The record of an endpoint; makes one.
    pub(super) fn endpoint_or_new(
        &mut self,
        txn: &RoTxn<'_>,
        endpoint: &Endpoint,
    ) -> Result<&mut EndpointRecord, Fault> {
        if self.endpoint(txn, endpoint)?.is_none() {
            self.head.last_endpoint += 1;
            let number = self.head.last_endpoint;
            let record = EndpointRecord { number, ..EndpointRecord::default() };
            self.endpoints.insert(endpoint.clone(), record);
        }
        Ok(self.endpoints.get_mut(endpoint).expect("it was found, or made just now"))
    }

    /// The account with this number.
    pub(super) fn account(
        &mut self,
        txn: &RoTxn<'_>,
        number: u32,
    ) -> Result<Option<&mut Account>, Fault> {
        if !self.accounts.contains_key(&number) {
            let key = number.to_be_bytes();
            let Some(payload) = self.tables.accounts.get(txn, kind::ACCOUNT, &key)? else {
                return Ok(None);
            };
            self.accounts.insert(number, Account::read(payload?)?);
        }
        Ok(self.accounts.get_mut(&number))
    }

    /// The account that a winning route counts in, and its number; makes one.
    pub(super) fn account_of(
        &mut self,
        txn: &RoTxn<'_>,
        win: &Win,
    ) -> Result<(u32, &mut Account), Fault> {
        let party = (Arc::clone(&win.route), win.endpoint.clone(), win.input.clone());
        let number = match self.numbers.get(&party) {
            Some(number) => *number,
            None => {
                let number = self.find(txn, &party)?;
                self.numbers.insert(party, number);
                number
            }
        };
        if self.account(txn, number)?.is_none() {
            let account = Account {
                route: win.route.to_string(),
                endpoint: win.endpoint.0.to_string(),
                input: win.input.as_ref().map(ToString::to_string),
                ..Account::default()
            };
            self.accounts.insert(number, account);
        }
        Ok((number, self.accounts.get_mut(&number).expect("it was found, or made just now")))
    }

    fn find(&mut self, txn: &RoTxn<'_>, party: &Party) -> Result<u32, Fault> {
        match self.tables.numbers.get(txn, kind::NUMBER, &number_key(party))? {
            Some(payload) => {
                let number = payload?.try_into().map_err(|_| Damage::Payload)?;
                Ok(u32::from_be_bytes(number))
            }
            None => {
                self.head.last_account += 1;
                Ok(self.head.last_account)
            }
        }
    }

    /// Writes everything back.
    pub(super) fn close(mut self, txn: &mut RwTxn<'_>, time: Saved) -> Result<(), Fault> {
        let Tables { head, endpoints, accounts, numbers, .. } = self.tables;
        for (party, number) in self.numbers {
            let key = number_key(&party);
            if numbers.get(txn, kind::NUMBER, &key)?.is_none() {
                numbers.put(txn, kind::NUMBER, &key, &[&number.to_be_bytes()])?;
            }
        }
        for (number, account) in self.accounts {
            accounts.put(txn, kind::ACCOUNT, &number.to_be_bytes(), &[&account.write()])?;
        }
        for (endpoint, record) in self.endpoints {
            endpoints.put(txn, kind::ENDPOINT, endpoint.0.as_bytes(), &[&record.write()])?;
        }
        self.head.time = Some(time);
        Ok(head.put(txn, kind::HEAD, HEAD, &[&self.head.write()])?)
    }
}

fn number_key((route, endpoint, input): &Party) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [Some(route), Some(&endpoint.0), input.as_ref()] {
        hash.update([u8::from(part.is_some())]);
        let part = part.map_or(&b""[..], |part| part.as_bytes());
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
