//! The accounts that a transaction touches: read when first needed, written back at its end, by
//! all work in it together.

use std::collections::HashMap;
use std::sync::Arc;

use heed::{RoTxn, RwTxn};
use sha2::{Digest, Sha256};

use super::lanes::{self, LaneRecord};
use super::matcher::Win;
use super::records::{Account, EndpointRecord, Head, kind};
use super::{Inner, Tables};
use crate::domain::identity::Identity;
use crate::domain::resent::Resent;
use crate::domain::row::Endpoint;
use crate::domain::store_time::Saved;
use crate::store::fault::Fault;
use crate::store::value::Damage;
use crate::store::writer::Shared;

const HEAD: &[u8] = b"head";

/// Route, endpoint, input.
pub(super) type Party = (Arc<str>, Endpoint, Option<Arc<str>>);

/// What the work of one transaction shares: one ledger.
#[derive(Default)]
pub(super) struct Books(Option<Ledger>);

impl Books {
    /// The ledger of this transaction.
    pub(super) fn ledger(&mut self, inner: &Inner, txn: &RoTxn<'_>) -> Result<&mut Ledger, Fault> {
        let ledger = match self.0.take() {
            Some(ledger) => ledger,
            None => Ledger::open(inner.tables, txn, inner.saved_time())?,
        };
        Ok(self.0.insert(ledger))
    }

    /// The same, for work that looks at the tables too: all that is counted so far is in them.
    pub(super) fn settled(
        &mut self,
        inner: &Inner,
        txn: &mut RwTxn<'_>,
    ) -> Result<&mut Ledger, Fault> {
        self.write(txn)?;
        self.ledger(inner, txn)
    }
}

impl Shared for Books {
    fn write(&mut self, txn: &mut RwTxn<'_>) -> Result<(), Fault> {
        self.0.take().map_or(Ok(()), |ledger| ledger.close(txn))
    }
}

/// See the module documentation. If it is dropped, nothing was written.
pub(super) struct Ledger {
    pub(super) tables: Tables,
    pub(super) head: Head,
    /// Of all that is done in the transaction.
    pub(super) time: Saved,
    endpoints: Vec<(Endpoint, EndpointRecord)>,
    /// Where in that.
    places: HashMap<Endpoint, usize>,
    accounts: HashMap<u32, Account>,
    slots: HashMap<Party, Slot>,
    /// The last one that was asked for: of a batch of messages most go the same way.
    last: Option<(Party, Slot)>,
    /// Numbers that were given in this transaction.
    given: Vec<(Party, u32)>,
    resent: HashMap<Identity, Resent>,
    /// Otherwise there are no lanes.
    pub(super) keeps_lanes: bool,
    pub(super) lanes: HashMap<Vec<u8>, LaneRecord>,
    /// To look one up with.
    pub(super) lane_key: Vec<u8>,
}

/// Where a winning route counts.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    endpoint: usize,
    account: u32,
}

/// The head, or that of an empty queue.
pub(super) fn head(tables: &Tables, txn: &RoTxn<'_>) -> Result<Head, Fault> {
    match tables.head.get(txn, kind::HEAD, HEAD)? {
        Some(payload) => Ok(Head::read(payload?)?),
        None => Ok(Head::default()),
    }
}

impl Ledger {
    pub(super) fn open(tables: Tables, txn: &RoTxn<'_>, time: Saved) -> Result<Self, Fault> {
        let head = head(&tables, txn)?;
        let keeps_lanes = lanes::are_kept(&tables, txn)?;
        let (endpoints, places, accounts, slots, last) = Default::default();
        let (given, resent, lanes, lane_key) = Default::default();
        Ok(Ledger {
            tables,
            head,
            time,
            endpoints,
            places,
            accounts,
            slots,
            last,
            given,
            resent,
            keeps_lanes,
            lanes,
            lane_key,
        })
    }

    /// The record of an endpoint, if it ever had rows.
    pub(super) fn endpoint(
        &mut self,
        txn: &RoTxn<'_>,
        endpoint: &Endpoint,
    ) -> Result<Option<&mut EndpointRecord>, Fault> {
        let place = self.place(txn, endpoint)?;
        Ok(place.map(|place| &mut self.endpoints[place].1))
    }

    fn place(&mut self, txn: &RoTxn<'_>, endpoint: &Endpoint) -> Result<Option<usize>, Fault> {
        if let Some(place) = self.places.get(endpoint) {
            return Ok(Some(*place));
        }
        let key = endpoint.0.as_bytes();
        let Some(payload) = self.tables.endpoints.get(txn, kind::ENDPOINT, key)? else {
            return Ok(None);
        };
        Ok(Some(self.note(endpoint, EndpointRecord::read(payload?)?)))
    }

    fn note(&mut self, endpoint: &Endpoint, record: EndpointRecord) -> usize {
        self.places.insert(endpoint.clone(), self.endpoints.len());
        self.endpoints.push((endpoint.clone(), record));
        self.endpoints.len() - 1
    }

    fn place_or_new(&mut self, txn: &RoTxn<'_>, endpoint: &Endpoint) -> Result<usize, Fault> {
        if let Some(place) = self.place(txn, endpoint)? {
            return Ok(place);
        }
        self.head.last_endpoint += 1;
        let number = self.head.last_endpoint;
        Ok(self.note(endpoint, EndpointRecord { number, ..EndpointRecord::default() }))
    }

    /// The record of an endpoint; makes one.
    pub(super) fn endpoint_or_new(
        &mut self,
        txn: &RoTxn<'_>,
        endpoint: &Endpoint,
    ) -> Result<&mut EndpointRecord, Fault> {
        let place = self.place_or_new(txn, endpoint)?;
        Ok(&mut self.endpoints[place].1)
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

    /// Where a winning route counts: its endpoint, number of its account, and the account; makes
    /// what is not there.
    pub(super) fn of_win(
        &mut self,
        txn: &RoTxn<'_>,
        win: &Win,
    ) -> Result<(&mut EndpointRecord, u32, &mut Account), Fault> {
        let slot = match &self.last {
            Some((party, slot)) if is_of(party, win) => *slot,
            _ => self.slot(txn, win)?,
        };
        let endpoint = &mut self.endpoints[slot.endpoint].1;
        let account = self.accounts.get_mut(&slot.account);
        Ok((endpoint, slot.account, account.expect("slots are of accounts that were read")))
    }

    fn slot(&mut self, txn: &RoTxn<'_>, win: &Win) -> Result<Slot, Fault> {
        let party = (Arc::clone(&win.route), win.endpoint.clone(), win.input.clone());
        let slot = match self.slots.get(&party) {
            Some(slot) => *slot,
            None => {
                let endpoint = self.place_or_new(txn, &win.endpoint)?;
                let account = self.number(txn, &party)?;
                if self.account(txn, account)?.is_none() {
                    let made = Account {
                        route: win.route.to_string(),
                        endpoint: win.endpoint.0.to_string(),
                        input: win.input.as_ref().map(ToString::to_string),
                        ..Account::default()
                    };
                    self.accounts.insert(account, made);
                }
                let slot = Slot { endpoint, account };
                self.slots.insert(party.clone(), slot);
                slot
            }
        };
        self.last = Some((party, slot));
        Ok(slot)
    }

    fn number(&mut self, txn: &RoTxn<'_>, party: &Party) -> Result<u32, Fault> {
        match self.tables.numbers.get(txn, kind::NUMBER, &number_key(party))? {
            Some(payload) => {
                let number = payload?.try_into().map_err(|_| Damage::Payload)?;
                Ok(u32::from_be_bytes(number))
            }
            None => {
                self.head.last_account += 1;
                self.given.push((party.clone(), self.head.last_account));
                Ok(self.head.last_account)
            }
        }
    }

    /// The last messages of a sender, to be changed. A damaged memory may let a message in twice.
    pub(super) fn resent(
        &mut self,
        txn: &RoTxn<'_>,
        sender: &Identity,
    ) -> Result<&mut Resent, Fault> {
        if !self.resent.contains_key(sender) {
            let key = sender.as_str().as_bytes();
            let payload = self.tables.resent.get(txn, kind::RESENT, key)?;
            let resent = payload.and_then(Result::ok).and_then(Resent::from_bytes);
            self.resent.insert(sender.clone(), resent.unwrap_or_default());
        }
        Ok(self.resent.get_mut(sender).expect("it was found, or made just now"))
    }

    /// Writes everything back.
    fn close(mut self, txn: &mut RwTxn<'_>) -> Result<(), Fault> {
        self.write_lanes(txn)?;
        let Tables { head, endpoints, accounts, numbers, resent, .. } = self.tables;
        for (party, number) in self.given {
            numbers.put(txn, kind::NUMBER, &number_key(&party), &[&number.to_be_bytes()])?;
        }
        for (number, account) in self.accounts {
            accounts.put(txn, kind::ACCOUNT, &number.to_be_bytes(), &[&account.write()])?;
        }
        for (endpoint, record) in self.endpoints {
            endpoints.put(txn, kind::ENDPOINT, endpoint.0.as_bytes(), &[&record.write()])?;
        }
        for (sender, last) in self.resent {
            resent.put(txn, kind::RESENT, sender.as_str().as_bytes(), &[&last.to_bytes()])?;
        }
        self.head.time = Some(self.time);
        Ok(head.put(txn, kind::HEAD, HEAD, &[&self.head.write()])?)
    }
}

/// By the texts of one route table, which are shared; others are compared by bytes elsewhere.
fn is_of((route, endpoint, input): &Party, win: &Win) -> bool {
    let is_same_input = match (input, &win.input) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    };
    Arc::ptr_eq(route, &win.route) && Arc::ptr_eq(&endpoint.0, &win.endpoint.0) && is_same_input
}

pub(super) fn number_key((route, endpoint, input): &Party) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [Some(route), Some(&endpoint.0), input.as_ref()] {
        hash.update([u8::from(part.is_some())]);
        let part = part.map_or(&b""[..], |part| part.as_bytes());
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
