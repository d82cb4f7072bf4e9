//! The check of a client that wants to come in, and signatures for those that are known.

use actix::prelude::*;
use tracing::warn;

use super::Identities;
use super::lookups::Looked;
use crate::actors::clock;
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
        let Some(record) = self.cache.get(&log_in.identity) else {
            return Err("it is not in the scope of this edge".into());
        };
        if record.status == IdentityStatus::Disabled {
            return Err("it is disabled".into());
        }
        match &log_in.token {
            Some(token) => self.check_token(record, token),
            None if log_in.thumbprints.is_empty() => {
                Err("it sent neither a token nor a certificate".into())
            }
            None => check_thumbprints(record, &log_in.thumbprints),
        }
    }

    fn check_token(&self, record: &IdentityRecord, token: &str) -> Result<Granted, String> {
        if record.keys.is_empty() {
            return Err("it sent a token, and has no symmetric key".into());
        }
        let token = SasToken::parse(token).map_err(|error| error.to_string())?;
        token.is_for(&record.id).map_err(|error| error.to_string())?;
        let resource = token.resource().map_err(|error| error.to_string())?;
        let host = resource.split('/').next().unwrap_or_default();
        let hosts = [&self.config.hub_host, &self.config.gateway_hostname];
        if !hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
            return Err(format!(
                "its token is for `{host}`, which is neither the hub nor this edge"
            ));
        }
        let until = token.check(&record.keys, clock::unix_time().as_secs(), SKEW);
        until.map(|until| Granted { until: Some(until + SKEW) }).map_err(|error| error.to_string())
    }

    /// With what the parent said just now, if it could be asked.
    fn decide(&self, log_in: &LogIn, looked: Looked) -> Result<Granted, Refusal> {
        let identity = &log_in.identity;
        let refusal = match (self.judge(log_in), looked) {
            (Ok(granted), _) => return Ok(granted),
            (Err(why), Ok(())) => Refusal::Denied(why),
            (Err(why), Err(unasked)) => Refusal::NotReady(format!("{why}, and {unasked}")),
        };
        warn!(%identity, %refusal, "client is not let in");
        Err(refusal)
    }
}

fn check_thumbprints(record: &IdentityRecord, shown: &[String]) -> Result<Granted, String> {
    if record.ca {
        return Err("certificates signed by an authority are not checked here; use a token".into());
    }
    let is_known =
        |shown: &String| record.thumbprints.iter().any(|known| known.eq_ignore_ascii_case(shown));
    match shown.iter().any(is_known) {
        true => Ok(Granted { until: None }),
        false => Err("its certificate has none of the thumbprints that were registered".into()),
    }
}

impl Handler<LogIn> for Identities {
    type Result = ResponseActFuture<Self, Result<Granted, Refusal>>;

    fn handle(&mut self, log_in: LogIn, ctx: &mut Self::Context) -> Self::Result {
        let now = |answer| Box::pin(actix::fut::ready(answer)) as Self::Result;
        if log_in.link.is_some() {
            return now(Err(Refusal::Denied("this edge serves no links".into())));
        }
        if !self.is_ready {
            return now(Err(Refusal::NotReady("the scope was never read".into())));
        }
        if let Ok(granted) = self.judge(&log_in) {
            return now(Ok(granted));
        }
        let looked = self.look_up(&log_in.identity, ctx).into_actor(self);
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
