//! The check of a client that wants to come in, and signatures for those that are known.

use actix::prelude::*;
use tracing::debug;

use super::Identities;
use super::lookups::Looked;
use crate::actors::clock;
use crate::domain::identity::Identity;
use crate::domain::proof::{Door, Registered, Shown, is_of_device, prove};
use crate::domain::sas::{self, SasToken};
use crate::messages::identities::{
    Granted, IdentityRecord, IdentityStatus, LogIn, Lookup, Refusal, Sign, SignError,
};
use crate::messages::state::StoreError;

/// Seconds by which the clocks of a client and of this device may differ.
const SKEW: u64 = 30;

impl Identities {
    /// By what is in the cache. `Err` says what is wrong; whether that is so for good only a
    /// fresh answer of the parent can tell.
    fn judge(&self, log_in: &LogIn) -> Result<Granted, String> {
        let id = &log_in.identity;
        let Some(record) = self.cache.get(id) else {
            return Err("it is not in the scope of this edge".into());
        };
        let device = id.module_id().and_then(|_| self.cache.get(&id.of_device()));
        for (who, known) in [("it", Some(record)), ("its device", device)] {
            if known.is_some_and(|known| known.status == IdentityStatus::Disabled) {
                return Err(format!("{who} is disabled"));
            }
        }
        let registered = Registered {
            keys: &record.keys,
            thumbprints: &record.thumbprints,
            by_authority: record.ca,
        };
        let shown =
            Shown { token: log_in.token.as_deref(), certificate: log_in.certificate.as_ref() };
        let door = Door {
            hosts: &[&self.config.hub_host, &self.config.gateway_hostname],
            now: clock::unix_time().as_secs(),
            skew: SKEW,
        };
        let device_keys = device.map_or(&[][..], |device| &device.keys);
        prove(id, shown, registered, device_keys, door).map_err(|why| why.to_string())
    }

    /// Messages in their names are the hub's own.
    fn lives_here(&self, id: &Identity) -> bool {
        id.device_id() == self.config.device_id
            && matches!(id.module_id(), Some("$edgeAgent" | "$edgeHub"))
    }

    /// With what the parent said just now, if it could be asked.
    fn decide(&self, log_in: &LogIn, looked: Looked) -> Result<Granted, Refusal> {
        let identity = &log_in.identity;
        let refusal = match (self.judge(log_in), looked) {
            (Ok(granted), _) => return Ok(granted),
            (Err(why), Ok(())) => Refusal::Denied(why),
            (Err(why), Err(unasked)) => Refusal::NotReady(format!("{why}, and {unasked}")),
        };
        debug!(%identity, %refusal, "client is not let in"); // who asked has it in the log
        Err(refusal)
    }
}

impl Handler<LogIn> for Identities {
    type Result = ResponseActFuture<Self, Result<Granted, Refusal>>;

    fn handle(&mut self, log_in: LogIn, ctx: &mut Self::Context) -> Self::Result {
        let now = |answer| Box::pin(actix::fut::ready(answer)) as Self::Result;
        if log_in.link.is_some() {
            return now(Err(Refusal::Denied("this edge serves no links".into())));
        }
        if self.lives_here(&log_in.identity) {
            let why = "it lives in this edge, and does not come in from outside";
            return now(Err(Refusal::Denied(why.into())));
        }
        if !self.is_ready {
            return now(Err(Refusal::NotReady("the scope was never read".into())));
        }
        if let Ok(granted) = self.judge(&log_in) {
            return now(Ok(granted));
        }
        let (id, place) = (&log_in.identity, log_in.place);
        let token = log_in.token.as_deref().and_then(|token| SasToken::parse(token).ok());
        let by_device = token.is_some_and(|token| is_of_device(&token, id));
        let is_disabled = |known: &IdentityRecord| known.status == IdentityStatus::Disabled;
        let device = id.module_id().map(|_| id.of_device()); // it may be what has changed
        let device = device.filter(|id| by_device || self.cache.get(id).is_some_and(is_disabled));
        let device = device.map(|id| self.look_up_for_stranger(&id, place, ctx));
        let own = self.look_up_for_stranger(id, place, ctx);
        let looked = async move {
            match device {
                Some(device) => own.await.and(device.await),
                None => own.await,
            }
        };
        let looked = looked.into_actor(self);
        Box::pin(looked.map(move |looked, this, _| this.decide(&log_in, looked)))
    }
}

impl Handler<Lookup> for Identities {
    type Result = ResponseActFuture<Self, Result<Option<IdentityRecord>, StoreError>>;

    fn handle(&mut self, lookup: Lookup, ctx: &mut Self::Context) -> Self::Result {
        let identity = lookup.identity;
        if self.cache.get(&identity).is_some() || !lookup.ask_parent {
            let known = self.cache.get(&identity).cloned();
            return Box::pin(actix::fut::ready(Ok(known)));
        }
        let looked = self.look_up_anew(&identity, ctx).into_actor(self);
        Box::pin(looked.map(move |looked, this, _| match looked {
            Ok(()) => Ok(this.cache.get(&identity).cloned()),
            Err(_) => Err(StoreError::Unavailable),
        }))
    }
}

impl Handler<Sign> for Identities {
    type Result = ResponseActFuture<Self, Result<Vec<u8>, SignError>>;

    fn handle(&mut self, sign: Sign, ctx: &mut Self::Context) -> Self::Result {
        if self.cache.get(&sign.identity).is_some() {
            return Box::pin(actix::fut::ready(self.sign(&sign)));
        }
        let looked = self.look_up(&sign.identity, ctx).into_actor(self);
        Box::pin(looked.map(move |_, this, _| this.sign(&sign)))
    }
}

impl Identities {
    fn sign(&self, Sign { identity, data }: &Sign) -> Result<Vec<u8>, SignError> {
        let record = self.cache.get(identity);
        let record = record.ok_or_else(|| SignError::Unknown(identity.clone()))?;
        let key = record.keys.first().ok_or_else(|| SignError::NoKey(identity.clone()))?;
        sas::sign(key, data).map_err(|_| SignError::NoKey(identity.clone()))
    }
}
