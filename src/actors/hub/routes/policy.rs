//! The policy of local topics that is deployed with the routes: `mqttBroker.authorizations`. One
//! that cannot be read is reported, and the last good one stays, also over a restart.

use std::time::Duration;

use actix::prelude::*;
use serde_json::{Value, json};

use super::{RETRY, Routes};
use crate::domain::local_topics::policy::Policy;
use crate::messages::state::{Change, Fetch, Save, StoreError};

const TABLE: &str = "meta";
const KEY: &str = "local-policy";
const STORE_DEADLINE: Duration = Duration::from_secs(30);

/// What is in force, and what is wrong with what is desired.
#[derive(Default)]
pub(super) struct Deployed {
    /// `None`: nothing was read yet.
    policy: Option<Policy>,
    pub(super) error: Option<String>,
}

impl Routes {
    /// The last good one, unless what is desired was read meanwhile.
    pub(super) fn load_policy(&mut self, ctx: &mut Context<Self>) {
        let fetched = self.ports.fetch.ask(Fetch(TABLE, KEY.into()), STORE_DEADLINE);
        let fetched = fetched.into_actor(self).map(|fetched, this, ctx| {
            match fetched.unwrap_or(Err(StoreError::Unavailable)) {
                Ok(bytes) => {
                    let kept = bytes.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
                    let kept = kept.and_then(|desired| Policy::of_desired(&desired).ok());
                    if let (None, Some(kept)) = (&this.deployed.policy, kept) {
                        this.put_in_force(kept);
                    }
                }
                Err(_) => drop(ctx.run_later(RETRY, Self::load_policy)),
            }
        });
        fetched.spawn(ctx);
    }

    fn put_in_force(&mut self, policy: Policy) {
        if let Some(local) = &self.ports.local {
            local.deploy(policy.clone());
        }
        self.deployed.policy = Some(policy);
    }

    /// Reads it out of the desired properties; an error is to be reported.
    pub(super) fn deploy_policy(&mut self, desired: &Value) -> Option<String> {
        match Policy::of_desired(desired) {
            Ok(policy) => {
                self.deployed.error = None;
                if self.deployed.policy.as_ref() != Some(&policy) {
                    self.put_in_force(policy);
                    self.keep_policy(desired);
                }
            }
            Err(error) => {
                tracing::error!(%error, "policy of local topics refused: the last good one stays");
                self.deployed.error = Some(error.to_string());
            }
        }
        self.deployed.error.clone()
    }

    fn keep_policy(&self, desired: &Value) {
        let kept = json!({
            "schemaVersion": desired.get("schemaVersion"),
            "mqttBroker": desired.get("mqttBroker"),
        });
        let save = Save(vec![Change::put(TABLE, KEY, kept.to_string())]);
        let saved = self.ports.save.ask(save, STORE_DEADLINE);
        actix::spawn(async move {
            if !matches!(saved.await, Ok(Ok(()))) {
                // It is desired: it is read again after a restart, unless it has become bad.
                tracing::warn!("the policy of local topics is not on disk");
            }
        });
    }
}
