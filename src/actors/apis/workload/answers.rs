//! What is asked on a workload socket, and what is answered (spec sdk.md 1.3, edgeagent.md 7.2).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::WorkloadConfig;
use super::keys::Keys;
use crate::actors::apis::details::details;
use crate::actors::apis::refusals::Refusals;
use crate::actors::apis::versions::check;
use crate::actors::port::Port;
use crate::domain::agent::daemon_api::{Who, workload};
use crate::domain::identity::Identity;
use crate::messages::agent::GetAgentStatus;
use crate::messages::identities::{Lookup, Sign, SignError};
use crate::protocol::http::{HttpRequest, HttpResponse};
use crate::protocol::logging::cut;

/// Looking up at the parent takes a round trip; an SDK waits longer than this.
const DEADLINE: Duration = Duration::from_secs(8);

/// Whom the workload API asks.
#[derive(Clone, Default)]
pub struct WorkloadPorts {
    /// Signs.
    pub sign: Port<Sign>,
    /// Knows identities, and the parent.
    pub lookup: Port<Lookup>,
    /// Knows the modules.
    pub agent: Port<GetAgentStatus>,
}

/// Whose socket a request came in by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Module(String),
    /// The development socket.
    Anybody,
}

pub(super) struct Answers {
    config: WorkloadConfig,
    ports: WorkloadPorts,
    keys: Keys,
    refusals: Refusals,
}

/// `keyId` and `algo` are not looked at, as in the reference.
#[derive(Deserialize)]
struct SignBody {
    data: String,
}

type Answer = Result<HttpResponse, HttpResponse>;

impl Answers {
    pub(super) fn new(config: WorkloadConfig, ports: WorkloadPorts, keys: Keys) -> Self {
        Answers { config, ports, keys, refusals: Refusals::default() }
    }

    pub(super) async fn answer(&self, caller: &Caller, request: &HttpRequest) -> HttpResponse {
        self.try_answer(caller, request).await.unwrap_or_else(|refusal| refusal)
    }

    async fn try_answer(&self, caller: &Caller, request: &HttpRequest) -> Answer {
        let segments = request.segments();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        let (since, who) = workload(&request.method, &segments).ok_or_else(|| nothing(request))?;
        if who == Who::Nobody {
            let why = format!("{} is not served here", request.method);
            return Err(HttpResponse::error(405, why));
        }
        check(request, since)?;
        if let Who::Module(module) = who {
            let identity = self.caller_is(caller, module)?;
            return self.of_module(identity, module, &segments, request).await;
        }
        match segments.as_slice() {
            ["trust-bundle"] => Ok(certificate(&self.config.trust_bundle.pem())),
            ["modules"] => self.modules().await,
            _ => Ok(certificate("")), // no deployment is signed here
        }
    }

    /// A call that only the module itself may make.
    async fn of_module(
        &self,
        identity: Identity,
        module: &str,
        path: &[&str],
        request: &HttpRequest,
    ) -> Answer {
        match path {
            [_, _, "genid", _, "sign"] => self.sign(identity, request).await,
            [_, _, "genid", generation, "encrypt"] => {
                self.encrypt(module, generation, request).await
            }
            [_, _, "genid", generation, "decrypt"] => {
                self.decrypt(module, generation, request).await
            }
            [_, _, "genid", _, "certificate", "server"] => self.certify_server(&identity, request),
            _ => self.certify_identity(&identity),
        }
    }

    /// Whose socket it is, is who calls: it is mounted into no other container.
    fn caller_is(&self, caller: &Caller, module: &str) -> Result<Identity, HttpResponse> {
        if let Caller::Module(own) = caller
            && own != module
        {
            if self.refusals.is_said(own) {
                let asked = cut(module);
                tracing::warn!(target: "audit", own, asked, "workload call refused");
            }
            let message = format!("this socket is that of module {own}, not of {module}");
            return Err(HttpResponse::error(403, message));
        }
        self.config.device.sibling(module).map_err(|e| HttpResponse::error(400, e))
    }

    async fn sign(&self, identity: Identity, request: &HttpRequest) -> Answer {
        let body = request.json::<SignBody>().map_err(unprocessable)?;
        self.signature(identity, decoded("data", &body.data)?).await
    }

    /// An identity that is not known here may be new at the parent.
    async fn signature(&self, identity: Identity, data: Vec<u8>) -> Answer {
        let late = |_| HttpResponse::error(503, "identities are not available now: try again");
        let sign = || {
            self.ports.sign.ask(Sign { identity: identity.clone(), data: data.clone() }, DEADLINE)
        };
        let mut signed = sign().await.map_err(late)?;
        if matches!(signed, Err(SignError::Unknown(_))) {
            let lookup = Lookup { identity: identity.clone(), ask_parent: true };
            let found = self.ports.lookup.ask(lookup, DEADLINE).await.map_err(late)?;
            match found {
                Ok(Some(_)) => signed = sign().await.map_err(late)?,
                Ok(None) => {}
                Err(why) => return Err(HttpResponse::error(503, why)),
            }
        }
        match signed {
            Ok(digest) => {
                Ok(HttpResponse::json(200, &json!({ "digest": STANDARD.encode(digest) })))
            }
            Err(why @ SignError::Unknown(_)) => {
                if self.refusals.is_said(identity.module_id().unwrap_or_default()) {
                    tracing::warn!(%identity, "a module that is not known here wants a signature");
                }
                Err(HttpResponse::error(404, why))
            }
            Err(why) => Err(HttpResponse::error(500, why)),
        }
    }

    async fn modules(&self) -> Answer {
        let status = self.ports.agent.ask(GetAgentStatus, DEADLINE).await;
        let away = |_| HttpResponse::error(503, "the agent is not available now: try again");
        let status = status.map_err(away)?;
        let modules: Vec<_> = status.modules.iter().map(details).collect();
        Ok(HttpResponse::json(200, &json!({ "modules": modules })))
    }

    pub(super) fn config(&self) -> &WorkloadConfig {
        &self.config
    }

    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }
}

fn certificate(pem: &str) -> HttpResponse {
    HttpResponse::json(200, &json!({ "certificate": pem }))
}

fn nothing(request: &HttpRequest) -> HttpResponse {
    HttpResponse::error(404, format!("there is no {} here", request.path))
}

pub(super) fn unprocessable(why: String) -> HttpResponse {
    HttpResponse::error(422, why)
}

pub(super) fn decoded(name: &str, text: &str) -> Result<Vec<u8>, HttpResponse> {
    STANDARD.decode(text).map_err(|_| unprocessable(format!("`{name}` is not base64")))
}
