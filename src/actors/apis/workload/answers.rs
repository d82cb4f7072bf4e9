//! What is asked on a workload socket, and what is answered (spec sdk.md 1.3, edgeagent.md 7.2).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::actors::port::Port;
use crate::domain::identity::Identity;
use crate::messages::agent::{GetAgentStatus, ModuleStatusLine};
use crate::messages::identities::{Lookup, Sign, SignError};
use crate::protocol::http::{HttpRequest, HttpResponse};

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
    device: Identity,
    trust_bundle: String,
    ports: WorkloadPorts,
}

/// `keyId` and `algo` are not looked at, as in the reference.
#[derive(Deserialize)]
struct SignBody {
    data: String,
}

impl Answers {
    pub(super) fn new(device: Identity, trust_bundle: String, ports: WorkloadPorts) -> Self {
        Answers { device, trust_bundle, ports }
    }

    pub(super) async fn answer(&self, caller: &Caller, request: &HttpRequest) -> HttpResponse {
        let segments = request.segments();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["trust-bundle"]) => {
                HttpResponse::json(200, &json!({ "certificate": self.trust_bundle }))
            }
            ("GET", ["modules"]) => self.modules().await,
            ("POST", ["modules", module, "genid", _, "sign"]) => {
                self.sign(caller, module, request).await
            }
            (_, ["trust-bundle" | "modules"] | ["modules", _, "genid", _, "sign"]) => {
                HttpResponse::error(405, format!("{} is not served here", request.method))
            }
            _ => HttpResponse::error(404, format!("there is no {} here", request.path)),
        }
    }

    async fn sign(&self, caller: &Caller, module: &str, request: &HttpRequest) -> HttpResponse {
        match caller {
            Caller::Module(own) if own != module => {
                let message = format!("this socket signs for module {own}, not for {module}");
                return HttpResponse::error(403, message);
            }
            _ => {}
        }
        let identity = match self.device.sibling(module) {
            Ok(identity) => identity,
            Err(e) => return HttpResponse::error(400, e),
        };
        let body = request.json::<SignBody>();
        let data = body.and_then(|body| {
            STANDARD.decode(&body.data).map_err(|_| "`data` is not base64".to_owned())
        });
        match data {
            Ok(data) => self.signature(identity, data).await.unwrap_or_else(|refusal| refusal),
            Err(why) => HttpResponse::error(422, why),
        }
    }

    /// An identity that is not known here may be new at the parent.
    async fn signature(
        &self,
        identity: Identity,
        data: Vec<u8>,
    ) -> Result<HttpResponse, HttpResponse> {
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
                tracing::warn!(%identity, "a module asked for a signature and is not known here");
                Err(HttpResponse::error(404, why))
            }
            Err(why) => Err(HttpResponse::error(500, why)),
        }
    }

    async fn modules(&self) -> HttpResponse {
        match self.ports.agent.ask(GetAgentStatus, DEADLINE).await {
            Ok(status) => {
                let modules: Vec<_> = status.modules.iter().map(details).collect();
                HttpResponse::json(200, &json!({ "modules": modules }))
            }
            Err(_) => HttpResponse::error(503, "the agent is not available now: try again"),
        }
    }
}

/// As the reference's daemon shows a module: its environment is not given.
fn details(module: &ModuleStatusLine) -> Value {
    json!({
        "id": module.name,
        "name": module.name,
        "type": "docker",
        "config": { "settings": { "image": module.image }, "env": [] },
        "status": {
            "startTime": module.since,
            "runtimeStatus": { "status": module.status, "description": module.why },
        },
    })
}
