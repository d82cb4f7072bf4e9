//! The calls of the management API. All answers are JSON, but for logs. Those of the reference's
//! daemon are in `daemon.rs`.
//!
//! | call | answer |
//! |---|---|
//! | `GET /status` | [`Overview`](super::super::overview::Overview) |
//! | `GET /modules` | `AgentStatus` |
//! | `GET /modules/{m}/logs?tail=N&since=&until=&timestamps=true&follow=true` | text, as written |
//! | `GET /systeminfo/supportbundle?since=&until=&edge_runtime_only=true` | a zip file (`bundle.rs`) |
//! | `GET /modules/{m}/environment` | what it logs in with, outside of its container too |
//! | `POST /modules/{m}/restart` | 204 once its container was restarted |
//! | `POST /modules/stop` | 204 once every container has stopped |
//! | `POST /plan` | what the modulesContent in the body would do (`plan.rs`); nothing is changed |
//! | `GET /why/{m}` | the module, and its last lines |
//! | `GET /routes`, `GET /tree` | routes with their accounts, and unrouted messages; every actor |
//! | `POST /routes/{r}/pause`, `…/resume` | 204 once that is so, also after a restart |
//! | `POST /routes/replay?from_age=S&to_age=S` | `Tally`: what the routes in the body (desired properties of `$edgeHub`) would make of what was stored so many seconds ago |
//! | `GET /dead-letters?endpoint=&route=&after=N&max=N` | dead letters of an endpoint (`$upstream`), in order |
//! | `GET /dead-letters/{offset}?endpoint=` | one, with its properties and body (base64) |
//! | `POST /dead-letters/replay`, `…/drop` `?endpoint=&route=&offsets=1,2` | `{"messages","bytes"}`: they are owed again, or discarded |
//! | `POST /queue/compact` | `{"before_bytes","after_bytes"}`: of the disk |
//! | `GET /queue/peek?route=&max=N&body=BYTES` | what waits for a route; properties and bodies (base64) only with `body` |
//! | `GET /trace/{id}` | `Life` of a message, by its id or its client's message id |
//! | `POST /queue/discard?endpoint=&route=` | `{"messages","bytes"}`: what was owed |
//! | `GET /twins/refused` | reported patches that the hub refused, and why |
//! | `POST /faults/panic?path=a/b` | test builds only: that actor panics |

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use serde_json::json;

use super::super::logs::{Logs, is_ours};
use super::super::overview::{About, ApiPorts};
use super::super::refusals::Refusals;
use crate::actors::clock;
use crate::actors::port::NoAnswer;
use crate::domain::agent::methods::since::since;
use crate::messages::agent::{GetLogs, ModuleStatusLine, RestartModule, StopModules};
use crate::messages::dead_letters::How;
use crate::messages::twins::ListRefused;
use crate::protocol::http::{HttpRequest, HttpResponse};
use crate::protocol::logging::{LogRing, cut};

pub(super) const SOON: Duration = Duration::from_secs(5);
/// Stopping a container takes as long as it wants, up to Docker's patience; so does all of them.
pub(super) const LONG: Duration = Duration::from_secs(120);

type TextStream = BoxStream<'static, Result<Bytes, String>>;

pub(super) struct Answers {
    pub(super) about: About,
    pub(super) ports: ApiPorts,
    pub(super) logs: Logs,
    refusals: Refusals,
}

impl Answers {
    pub(super) fn new(about: About, ports: ApiPorts, log: LogRing) -> Self {
        let logs = Logs::new(log, ports.logs.clone());
        Answers { about, ports, logs, refusals: Refusals::default() }
    }

    pub(super) async fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let answered = match self.daemon(request).await {
            Some(answered) => answered.unwrap_or_else(|refusal| refusal),
            None => self.own(request).await,
        };
        if request.method != "GET" {
            let (uid, pid) = request.peer.map(|peer| (peer.uid, peer.pid)).unwrap_or_default();
            let (method, status) = (&request.method, answered.status);
            if status < 400 || self.refusals.is_said(&format!("user {uid}")) {
                let path = cut(&format!("/{}", request.segments().join("/")));
                tracing::info!(target: "audit", uid, pid, method, path, status, "management call");
            }
        }
        answered
    }

    async fn own(&self, request: &HttpRequest) -> HttpResponse {
        let segments = request.segments();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        let answered = match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["status"]) => {
                Ok(HttpResponse::json(200, &self.ports.overview(&self.about).await))
            }
            ("GET", ["modules"]) => match self.ports.agent_status().await {
                Ok(status) => Ok(HttpResponse::json(200, &status)),
                Err(e) => Err(away("the agent", e)),
            },
            ("GET", ["modules", module, "logs"]) => self.logs(module, request).await,
            ("GET", ["modules", module, "environment"]) => self.environment(module).await,
            ("POST", ["modules", "stop"]) => match self.ports.stop.ask(StopModules, LONG).await {
                Ok(()) => Ok(HttpResponse::empty(204)),
                Err(e) => Err(away("the agent", e)),
            },
            ("POST", ["modules", module, "restart"]) => self.restart(module).await,
            ("GET", ["systeminfo", "supportbundle"]) => self.support_bundle(request),
            ("POST", ["plan"]) => self.plan(request).await,
            ("GET", ["why", module]) => self.why(module).await,
            ("GET", ["routes"]) => self.routes().await,
            ("POST", ["routes", route, "pause"]) => self.pause(route, true).await,
            ("POST", ["routes", route, "resume"]) => self.pause(route, false).await,
            ("POST", ["routes", "replay"]) => self.try_routes(request).await,
            ("GET", ["dead-letters"]) => self.dead_letters(request).await,
            ("GET", ["dead-letters", offset]) => self.dead_letter(offset, request).await,
            ("POST", ["dead-letters", "replay"]) => self.settle(How::Replay, request).await,
            ("POST", ["dead-letters", "drop"]) => self.settle(How::Drop, request).await,
            ("POST", ["queue", "compact"]) => self.compact().await,
            ("GET", ["queue", "peek"]) => self.peek(request).await,
            ("GET", ["trace", id]) => self.trace(id).await,
            ("POST", ["queue", "discard"]) => self.settle(How::Discard, request).await,
            ("GET", ["twins", "refused"]) => self.refused().await,
            ("GET", ["tree"]) => match self.ports.tree().await {
                Ok(tree) => Ok(HttpResponse::json(200, &tree)),
                Err(e) => Err(away("the root supervisor", e)),
            },
            #[cfg(feature = "faults")]
            ("POST", ["faults", "panic"]) => self.panic(request).await,
            _ => {
                let what = format!("there is no {} {} here", request.method, request.path);
                Err(HttpResponse::error(404, what))
            }
        };
        answered.unwrap_or_else(|refusal| refusal)
    }

    /// The module; if there is none of that name, which there are.
    pub(super) async fn module(&self, name: &str) -> Result<ModuleStatusLine, HttpResponse> {
        let status = self.ports.agent_status().await.map_err(|e| away("the agent", e))?;
        let names: Vec<_> = status.modules.iter().map(|module| module.name.clone()).collect();
        let bare = name.strip_prefix('$').unwrap_or(name);
        let found = status.modules.into_iter().find(|m| m.name == name || m.name == bare);
        found.ok_or_else(|| {
            let hint = meant(name, &names);
            let message =
                format!("there is no module {name}{hint}; there are: {}", names.join(", "));
            HttpResponse::error(404, message)
        })
    }

    async fn module_logs(&self, ask: GetLogs) -> Result<TextStream, HttpResponse> {
        if !is_ours(&ask.module) {
            self.module(&ask.module).await?;
        }
        let logs = self.logs.chunks(ask).await;
        let logs = logs.map_err(|why| HttpResponse::error(500, why))?;
        Ok(logs.map(|chunk| chunk.map(|chunk| chunk.bytes)).boxed())
    }

    pub(super) async fn logs(
        &self,
        module: &str,
        request: &HttpRequest,
    ) -> Result<HttpResponse, HttpResponse> {
        let tail = match request.query.get("tail").map(String::as_str) {
            None | Some("all") => None,
            Some(tail) => Some(tail.parse().map_err(|_| {
                HttpResponse::error(400, format!("tail={tail} is not a number of lines"))
            })?),
        };
        let flag = |name: &str| request.query.get(name).is_some_and(|flag| flag != "false");
        let ask = GetLogs {
            module: module.into(),
            tail,
            since: time(request, "since")?.map(|at| at.as_secs()),
            until: time(request, "until")?.map(|at| at.as_secs()),
            is_stamped: flag("timestamps"),
            follow: flag("follow"),
        };
        let logs = self.module_logs(ask).await?;
        Ok(HttpResponse::stream(200, "text/plain; charset=utf-8", logs))
    }

    pub(super) async fn restart(&self, module: &str) -> Result<HttpResponse, HttpResponse> {
        if is_ours(module) {
            let message = "edgeAgent and edgeHub are the service itself: restart that, with \
                           `systemctl restart edge-runtime` or `edgectl stop` and `edgectl start`";
            return Err(HttpResponse::error(409, message));
        }
        self.module(module).await?;
        let asked = self.ports.restart.ask(RestartModule(module.into()), LONG).await;
        match asked.map_err(|e| away("the agent", e))? {
            Ok(()) => Ok(HttpResponse::empty(204)),
            Err(why) => Err(HttpResponse::error(500, why)),
        }
    }

    async fn why(&self, name: &str) -> Result<HttpResponse, HttpResponse> {
        let module = self.module(name).await?;
        let ask = GetLogs { module: name.into(), tail: Some(10), ..GetLogs::default() };
        let logs = self.module_logs(ask).await;
        let lines = match logs {
            Ok(logs) => {
                let chunks = logs.filter_map(|chunk| async { chunk.ok() }).collect::<Vec<_>>();
                let chunks = tokio::time::timeout(SOON, chunks).await.unwrap_or_default();
                String::from_utf8_lossy(&chunks.concat()).into_owned()
            }
            Err(_) => String::new(),
        };
        let lines: Vec<_> = lines.lines().collect();
        Ok(HttpResponse::json(200, &json!({ "module": module, "last_lines": lines })))
    }

    async fn refused(&self) -> Result<HttpResponse, HttpResponse> {
        let refused = self.ports.refused.ask(ListRefused, SOON).await;
        let refused = refused.map_err(|e| away("twins", e))?;
        let refused = refused.map_err(|e| HttpResponse::error(503, e.to_string()))?;
        Ok(HttpResponse::json(200, &json!({ "refused": refused })))
    }

    #[cfg(feature = "faults")]
    async fn panic(&self, request: &HttpRequest) -> Result<HttpResponse, HttpResponse> {
        let path = request.query.get("path").cloned().unwrap_or_default();
        let below = path.strip_prefix("edge-runtime/").unwrap_or(&path); // as snapshots name it
        let parts = below.split('/').map(str::to_owned).collect();
        let ask = crate::messages::supervision::PanicAt(parts);
        match self.ports.panic.ask(ask, SOON).await.map_err(|e| away("the root supervisor", e))? {
            true => Ok(HttpResponse::empty(204)),
            false => Err(HttpResponse::error(404, format!("there is no actor {path}"))),
        }
    }
}

/// The name that was meant, if one is near.
pub(super) fn meant(name: &str, names: &[String]) -> String {
    let alike = |known: &str| strsim::jaro_winkler(name, known);
    let nearest = names.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    let nearest = nearest.filter(|known| alike(known) > 0.7);
    nearest.map(|known| format!(" (did you mean {known}?)")).unwrap_or_default()
}

/// A time in the query.
pub(super) fn time(request: &HttpRequest, name: &str) -> Result<Option<Duration>, HttpResponse> {
    let Some(text) = request.query.get(name) else { return Ok(None) };
    let at = since(text, clock::unix_time());
    at.map(Some).map_err(|why| HttpResponse::error(400, format!("{name}: {why}")))
}

pub(super) fn away(who: &str, _: NoAnswer) -> HttpResponse {
    HttpResponse::error(
        503,
        format!("{who} does not answer now: try again, or see `edgectl status`"),
    )
}
