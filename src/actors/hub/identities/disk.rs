//! The cache on disk: a sealed record per identity, and beside them whose they are.

use actix::prelude::*;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::cache::Cache;
use super::{Identities, STORE_DEADLINE};
use crate::actors::hub::state::settled;
use crate::actors::supervision::Supervised;
use crate::messages::identities::IdentityRecord;
use crate::messages::state::{Change, Pairs, Save, Scan, StoreError};

/// The table of `state/`.
pub const TABLE: &str = "identities";
/// No identity has this key.
const META: &[u8] = b"\0meta";

/// Records of another hub or device are none of ours.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    hub: String,
    device: String,
    version: u64,
}

impl Identities {
    pub(super) fn load(&mut self, ctx: &mut Context<Self>) {
        let all = Scan { table: TABLE, prefix: Vec::new(), from: Vec::new(), max: usize::MAX };
        let (settled, port) = (settled(&self.ports.save), self.ports.scan.clone());
        let answer = async move {
            settled.await?;
            port.ask(all, STORE_DEADLINE).await.unwrap_or(Err(StoreError::Unavailable))
        };
        let answer = answer.into_actor(self).map(|answer, this, ctx| match answer {
            Ok(pairs) => {
                this.read(&pairs);
                this.refresh(ctx);
            }
            Err(error) => this.fail(&format!("identities cannot be read: {error}"), ctx),
        });
        answer.spawn(ctx);
    }

    /// What cannot be opened is left out, and the scope is read from the start.
    fn read(&mut self, pairs: &Pairs) {
        let mut version = None;
        let mut damaged = 0;
        let mut records = Vec::new();
        for (key, sealed) in &**pairs {
            let value = self.vault.open_value(key, sealed).ok();
            if key == META {
                let meta = value.and_then(|value| serde_json::from_slice::<Meta>(&value).ok());
                version = meta.filter(|meta| self.is_ours(meta)).map(|meta| meta.version);
            } else {
                let record = value.and_then(|value| serde_json::from_slice(&value).ok());
                damaged += usize::from(record.is_none());
                records.extend(record.map(|record: IdentityRecord| record));
            }
        }
        if damaged > 0 {
            warn!(damaged, "identities cannot be decrypted: unknown until the parent was asked");
        }
        match version {
            Some(version) => {
                self.is_ready = version > 0;
                self.cache = Cache::new(if damaged > 0 { 0 } else { version }, records);
            }
            None => self.unsaved = records.into_iter().map(|record| record.id).collect(),
        }
    }

    fn is_ours(&self, meta: &Meta) -> bool {
        meta.hub.eq_ignore_ascii_case(&self.config.hub_host) && meta.device == self.config.device_id
    }

    /// Writes the records that were not written yet, unless twins have to answer first.
    pub(super) fn save(&mut self, ctx: &mut Context<Self>) {
        if self.forgetting > 0 {
            return;
        }
        let touched = std::mem::take(&mut self.unsaved);
        let meta = Meta {
            hub: self.config.hub_host.clone(),
            device: self.config.device_id.clone(),
            version: self.cache.version,
        };
        let meta = serde_json::to_vec(&meta).expect("plain fields are JSON");
        let mut changes = vec![self.seal(META, Some(meta))];
        for id in &touched {
            let record = self.cache.get(id);
            let value = record.map(|record| serde_json::to_vec(record).expect("it is JSON"));
            changes.push(self.seal(id.as_str().as_bytes(), value));
        }
        let Some(changes) = changes.into_iter().collect::<Option<Vec<_>>>() else {
            self.unsaved = touched;
            return;
        };
        let answer = self.ports.save.ask(Save(changes), STORE_DEADLINE);
        let answer = answer.into_actor(self).map(|answer, this, _| {
            if let Err(error) = answer.unwrap_or(Err(StoreError::Unavailable)) {
                error!(%error, "identities are not on disk; they are written with the next change");
                this.unsaved.extend(touched);
            }
        });
        answer.spawn(ctx);
    }

    fn seal(&self, key: &[u8], value: Option<Vec<u8>>) -> Option<Change> {
        let Some(value) = value else { return Some(Change::delete(TABLE, key)) };
        let sealed = self.vault.seal(key, &value);
        let sealed = sealed.inspect_err(|error| error!(%error, "an identity is not written"));
        Some(Change::put(TABLE, key, sealed.ok()?))
    }
}
