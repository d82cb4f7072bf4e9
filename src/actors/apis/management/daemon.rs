//! The management API as the reference's daemon has it (spec edgeagent.md 7.1): calls that carry
//! `api-version`. What only its agent may do (modules and identities are made and removed) is
//! refused: here that is this process, and a deployment says what is to be there.

use std::time::Duration;

use serde_json::json;

use super::answers::{Answers, LONG, SOON, away};
use crate::actors::apis::details::details;
use crate::actors::apis::logs::is_ours;
use crate::actors::apis::versions::check;
use crate::domain::agent::daemon_api::{Who, management};
use crate::domain::agent::observed::newest;
use crate::messages::engine::{EngineError, ListContainers, Run};
use crate::messages::identities::Lookup;
use crate::protocol::http::{HttpRequest, HttpResponse};
use crate::protocol::system_info::{resources, system_info};

type Answer = Result<HttpResponse, HttpResponse>;

const AGENT_ONLY: &str = "only the agent may do that, and it is this process: deploy a manifest instead \
     (`edgectl deploy`)";
const ENGINE: Duration = Duration::from_secs(60);
impl Answers {
    /// `None`: it is none of the reference's calls.
    pub(super) async fn daemon(&self, request: &HttpRequest) -> Option<Answer> {
        let segments = request.segments();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        let call = (request.method.as_str(), segments.as_slice());
        // Calls that are ours, too, are the reference's when they carry a version.
        let is_versioned = request.query.contains_key("api-version");
        let (since, who) = management(call.0, call.1, is_versioned)?;
        if let Err(refused) = check(request, since) {
            return Some(Err(refused));
        }
        match who {
            Who::Agent => return Some(Err(HttpResponse::error(403, AGENT_ONLY))),
            Who::Nobody => {
                let why = format!("{} is not served here", request.method);
                return Some(Err(HttpResponse::error(405, why)));
            }
            Who::Anyone | Who::Module(_) => {}
        }
        Some(match call {
            ("GET", ["modules"]) => self.list().await,
            ("GET", ["modules", name]) => self.details_of(name).await,
            ("GET", ["modules", name, "logs"]) => self.logs(name, request).await,
            ("POST", ["modules", name, "restart"]) => self.restart(name).await,
            ("POST", ["modules", name, what @ ("start" | "stop")]) => {
                self.start_or_stop(name, *what == "start").await
            }
            ("GET", ["systeminfo"]) => {
                let mut info = system_info(env!("CARGO_PKG_VERSION"));
                let engine =
                    self.ports.engine.ask(crate::messages::engine::GetEngineStatus, ENGINE);
                info["server_version"] =
                    engine.await.map(|it| it.version).unwrap_or_default().into();
                Ok(HttpResponse::json(200, &info))
            }
            ("GET", ["systeminfo", "resources"]) => {
                Ok(HttpResponse::json(200, &resources(&self.about.state)))
            }
            ("GET", ["systeminfo", _]) => self.support_bundle(request),
            ("GET", ["identities"]) => self.identities().await,
            _ => return None,
        })
    }

    async fn list(&self) -> Answer {
        let status = self.ports.agent_status().await.map_err(|e| away("the agent", e))?;
        let modules: Vec<_> = status.modules.iter().map(details).collect();
        Ok(HttpResponse::json(200, &json!({ "modules": modules })))
    }

    async fn details_of(&self, name: &str) -> Answer {
        Ok(HttpResponse::json(200, &details(&self.module(name).await?)))
    }

    /// Of the modules of the deployment, as far as they are known here. All are said to be the
    /// agent's, as the reference does; which it made is in the audit log.
    async fn identities(&self) -> Answer {
        let status = self.ports.agent_status().await.map_err(|e| away("the agent", e))?;
        let mut identities = Vec::new();
        for module in &status.modules {
            let dollar = if is_ours(&module.name) { "$" } else { "" };
            let id = format!("{dollar}{}", module.name.trim_start_matches('$'));
            let Ok(identity) = self.about.device.sibling(&id) else { continue };
            let lookup = Lookup { identity, ask_parent: false };
            let found = self.ports.lookup.ask(lookup, SOON).await;
            let found = found.map_err(|e| away("identities", e))?;
            let found = found.map_err(|why| HttpResponse::error(503, why))?;
            identities.extend(found.map(|record| {
                let kind = if record.keys.is_empty() { "x509" } else { "sas" };
                json!({ "moduleId": id, "managedBy": "iotedge", "authType": kind,
                        "generationId": record.generation })
            }));
        }
        Ok(HttpResponse::json(200, &json!({ "identities": identities })))
    }

    /// Until its policy says otherwise: a deployment says what stays.
    async fn start_or_stop(&self, name: &str, is_start: bool) -> Answer {
        self.module(name).await?;
        if is_ours(name) {
            let message = "edgeAgent and edgeHub are the service itself: see `edgectl start`";
            return Err(HttpResponse::error(409, message));
        }
        let list = ListContainers { module: Some(name.to_owned()) };
        let containers = self.ports.list.ask(list, ENGINE).await;
        let containers = containers.map_err(|e| away("the container engine", e))?;
        let containers = containers.map_err(|why| of_engine(&why))?;
        let Some(newest) = newest(&containers) else {
            let message = format!("module {name} has no container now: see `edgectl why {name}`");
            return Err(HttpResponse::error(404, message));
        };
        // While an update is on trial there are two: never are both to run.
        let runs = match is_start {
            true => vec![Run::Start(newest.id.clone())],
            false => containers.iter().map(|it| Run::Stop(it.id.clone())).collect(),
        };
        for run in runs {
            let done = self.ports.run.order(run, LONG).await;
            done.map_err(|e| away("the container engine", e))?.map_err(|why| of_engine(&why))?;
        }
        Ok(HttpResponse::empty(204))
    }
}

/// The engine's own status, where it has one.
fn of_engine(why: &EngineError) -> HttpResponse {
    let status = match why {
        EngineError::NotFound(_) => 404,
        EngineError::Conflict(_) => 409,
        EngineError::Away(_) => 503,
        EngineError::Refused(_) => 500,
    };
    HttpResponse::error(status, why)
}
