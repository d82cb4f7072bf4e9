//! Who asks, and what a device may ask for.

use std::fmt;

use super::Rest;
use super::owner::POLICY;
use crate::actors::clock;
use crate::domain::identity::Identity;
use crate::domain::sas::SasToken;
use crate::domain::service_error::ServiceError;
use crate::messages::identities::LogIn;
use crate::protocol::http::HttpRequest;

/// Who asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Whoever has the policy's key.
    Service,
    /// A device, by its own token.
    Device(Identity),
}

impl Rest {
    pub(super) async fn caller(&self, request: &HttpRequest) -> Result<Caller, ServiceError> {
        let text = request.header("authorization");
        let none = "there is no Authorization header: send a token of the policy iothubowner, as \
                    `edgectl hub token` prints it";
        let text = text.ok_or_else(|| ServiceError::unauthorized(none))?;
        let refused = |why: &dyn fmt::Display| ServiceError::unauthorized(why.to_string());
        let token = SasToken::parse(&text).map_err(|why| refused(&why))?;
        let device = token.identity().filter(|_| token.key_name.is_none());
        if let Some(identity) = device {
            return self.device(identity, text).await;
        }
        token.is_at(&[&self.owner.hostname]).map_err(|why| refused(&why))?;
        if token.key_name.as_deref().is_some_and(|name| name != POLICY) {
            return Err(ServiceError::unauthorized(format!("{POLICY} is the only policy")));
        }
        if !is_within(&token, request) {
            let why = "the token is for another path than this one";
            return Err(ServiceError::unauthorized(why));
        }
        let now = clock::unix_time().as_secs();
        let keys = std::slice::from_ref(&self.owner.key);
        token.check(keys, now, 0).map_err(|why| refused(&why))?;
        Ok(Caller::Service)
    }

    /// The registry decides, as for a log-in.
    async fn device(&self, identity: Identity, token: String) -> Result<Caller, ServiceError> {
        if identity.module_id().is_some() {
            let why = "a module's token is of no use here; use its device's";
            return Err(ServiceError::unauthorized(why));
        }
        let (who, token) = (identity.clone(), Some(token));
        let log_in = LogIn { identity: who, token, certificate: None, link: None, place: None };
        match self.ports.log_in.ask(log_in, super::DEADLINE).await {
            Ok(Ok(_)) => Ok(Caller::Device(identity)),
            Ok(Err(refusal)) => Err(ServiceError::unauthorized(refusal.to_string())),
            Err(_) => {
                Err(ServiceError::new(503, "ServiceUnavailable", "the hub is starting; try again"))
            }
        }
    }

    /// An edge device manages its own modules; every device uploads its own files.
    pub(super) async fn device_may(
        &self,
        device: &Identity,
        request: &HttpRequest,
        path: &[&str],
    ) -> Result<bool, ServiceError> {
        let ["devices", own, what, ..] = path else { return Ok(false) };
        if *own != device.device_id() {
            return Ok(false);
        }
        Ok(match (request.method.as_str(), *what) {
            ("POST", "files") => true,
            ("GET" | "PUT" | "DELETE", "modules") => self.find(device).await?.is_edge,
            _ => false,
        })
    }
}

/// A token of the policy may be for a part of the hub only: a path, segment by segment.
fn is_within(token: &SasToken, request: &HttpRequest) -> bool {
    let Ok(resource) = token.resource() else { return false };
    let (_, path) = resource.split_once('/').unwrap_or_default();
    let mut asked = request.segments().into_iter();
    path.split('/')
        .filter(|part| !part.is_empty())
        .all(|part| asked.next().as_deref() == Some(part))
}
