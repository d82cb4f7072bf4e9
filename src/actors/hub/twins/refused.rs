//! Reported patches that the parent refused: the last of each client, with the reason, for the
//! operator (`edgectl refused`).

use actix::prelude::*;

use super::disk::{REFUSED, delete_refused, put_refused};
use super::{Entry, STORE_DEADLINE, Twins};
use crate::actors::clock;
use crate::domain::identity::Identity;
use crate::domain::iso8601;
use crate::messages::state::{Change, Scan, StoreError};
use crate::messages::twins::{ListRefused, Refused};
use crate::messages::upstream::LinkAnswer;

/// Of one identity: a client that reports the same over and over must not fill the disk.
const KEPT: usize = 32;
/// What a parent says is kept up to here.
const WHY: usize = 500;

impl Entry {
    /// Keeps a patch, and no more than so many.
    pub(super) fn keep_refused(
        &mut self,
        identity: &Identity,
        number: u64,
        refused: &Refused,
    ) -> Vec<Change> {
        let mut changes = vec![put_refused(identity, number, refused)];
        self.refused.push_back(number);
        while self.refused.len() > KEPT {
            let oldest = self.refused.pop_front().expect("there are many");
            changes.push(delete_refused(identity, oldest));
        }
        changes
    }
}

/// As it is kept.
pub(super) fn refusal(
    identity: &Identity,
    answer: &LinkAnswer,
    patch: serde_json::Value,
) -> Refused {
    let said = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
    let why = said["message"].as_str().unwrap_or("no reason was given");
    Refused {
        identity: identity.to_string(),
        time: iso8601::text(clock::unix_time()),
        status: answer.status,
        why: why.chars().take(WHY).collect(),
        patch,
    }
}

impl Handler<ListRefused> for Twins {
    type Result = ResponseFuture<Result<Vec<Refused>, StoreError>>;

    fn handle(&mut self, _: ListRefused, _: &mut Self::Context) -> Self::Result {
        let scan = Scan { table: REFUSED, prefix: Vec::new(), from: Vec::new(), max: usize::MAX };
        let read = self.ports.scan.ask(scan, STORE_DEADLINE);
        Box::pin(async move {
            let pairs = read.await.unwrap_or(Err(StoreError::Unavailable))?;
            let refused = pairs.iter().filter_map(|(_, value)| serde_json::from_slice(value).ok());
            let mut refused: Vec<Refused> = refused.collect();
            refused.sort_by(|one, other| one.time.cmp(&other.time)); // stable: in order of numbers
            Ok(refused)
        })
    }
}
