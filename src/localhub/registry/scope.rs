//! What an edge hears of those in its scope (link.md, scope and lookup).

use actix::prelude::*;
use serde::Serialize;

use super::Registry;
use crate::domain::identity::Identity;
use crate::domain::registry::{Authentication, Entry, Registry as Index};
use crate::messages::identities::{IdentityRecord, IdentityStatus, Lookup};
use crate::messages::registry::{AskScope, ScopeAsk};
use crate::messages::state::StoreError;
use crate::messages::upstream::LinkAnswer;

/// Most changes of a page.
const PAGE: usize = 100;

#[derive(Serialize)]
struct ScopePage {
    version: u64,
    identities: Vec<IdentityRecord>,
    removed: Vec<Identity>,
    more: bool,
}

/// What others need to know of an identity to let it in.
pub(super) fn record(index: &Index, entry: &Entry) -> IdentityRecord {
    let is_usable = index.is_usable(entry);
    IdentityRecord {
        id: entry.id.clone(),
        keys: entry.keys(),
        thumbprints: entry.thumbprints(),
        ca: entry.authentication == Authentication::CertificateAuthority,
        status: if is_usable { IdentityStatus::Enabled } else { IdentityStatus::Disabled },
        generation: entry.generation.clone(),
    }
}

impl Handler<AskScope> for Registry {
    type Result = MessageResult<AskScope>;

    fn handle(&mut self, ask: AskScope, _: &mut Self::Context) -> Self::Result {
        let Some(index) = &self.index else {
            return MessageResult(failed(503, "the registry is still being read"));
        };
        MessageResult(match ask.what {
            ScopeAsk::Since(since) => page(index, &ask.edge, since),
            ScopeAsk::One(id) => match in_scope(index, &ask.edge, &id) {
                Ok(record) => found(&record),
                Err(answer) => answer,
            },
            ScopeAsk::Attach(id) => match in_scope(index, &ask.edge, &id) {
                Ok(record) if record.status == IdentityStatus::Enabled => {
                    LinkAnswer { status: 200, body: Default::default(), version: None }
                }
                Ok(_) => failed(403, &format!("{id} is disabled")),
                Err(answer) => answer,
            },
        })
    }
}

impl Handler<Lookup> for Registry {
    type Result = Result<Option<IdentityRecord>, StoreError>;

    fn handle(&mut self, lookup: Lookup, _: &mut Self::Context) -> Self::Result {
        let index = self.index.as_ref().ok_or(StoreError::Unavailable)?;
        Ok(index.get(&lookup.identity).map(|entry| record(index, entry)))
    }
}

fn in_scope(index: &Index, edge: &str, id: &Identity) -> Result<IdentityRecord, LinkAnswer> {
    let entry = index.get(id).filter(|_| index.is_in_scope(edge, id));
    let entry = entry.ok_or_else(|| failed(404, &format!("{id} is not in the scope of {edge}")))?;
    Ok(record(index, entry))
}

fn page(index: &Index, edge: &str, since: u64) -> LinkAnswer {
    let page = index.page(edge, since, PAGE);
    found(&ScopePage {
        version: page.version,
        identities: page.entries.iter().map(|entry| record(index, entry)).collect(),
        removed: page.removed,
        more: page.has_more,
    })
}

fn found(what: &impl Serialize) -> LinkAnswer {
    let body = serde_json::to_vec(what).expect("a record is JSON");
    LinkAnswer { status: 200, body: body.into(), version: None }
}

fn failed(status: u16, message: &str) -> LinkAnswer {
    let body = serde_json::json!({ "message": message }).to_string();
    LinkAnswer { status, body: body.into(), version: None }
}
