//! Who comes in, and who has something signed.

use actix::prelude::*;

use super::Registry;
use crate::actors::clock;
use crate::domain::proof::Shown;
use crate::domain::sas;
use crate::messages::identities::{Granted, LogIn, Refusal, Sign, SignError};

impl Handler<LogIn> for Registry {
    type Result = Result<Granted, Refusal>;

    fn handle(&mut self, log_in: LogIn, _: &mut Self::Context) -> Self::Result {
        let Some(index) = &self.index else {
            return Err(Refusal::NotReady("the registry is still being read".to_owned()));
        };
        let LogIn { identity, token, certificate, link, place: _ } = log_in;
        let shown = Shown { token: token.as_deref(), certificate: certificate.as_ref() };
        let now = clock::unix_time().as_secs();
        let admitted = index.admit(&identity, shown, link, &self.hostname, now);
        admitted.map_err(|why| {
            tracing::debug!(%identity, %why, "log-in refused"); // who asked has it in the log
            Refusal::Denied(format!("{identity}: {why}"))
        })
    }
}

impl Handler<Sign> for Registry {
    type Result = Result<Vec<u8>, SignError>;

    fn handle(&mut self, sign: Sign, _: &mut Self::Context) -> Self::Result {
        let entry = self.index.as_ref().and_then(|index| index.get(&sign.identity));
        let entry = entry.ok_or_else(|| SignError::Unknown(sign.identity.clone()))?;
        let no_key = || SignError::NoKey(sign.identity.clone());
        let key = entry.keys().into_iter().next().ok_or_else(no_key)?;
        sas::sign(&key, &sign.data).map_err(|_| no_key())
    }
}
