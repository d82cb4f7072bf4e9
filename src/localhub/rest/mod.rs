//! REST for service clients, with the IoT Hub's paths and bodies (spec sdk.md 3.1).
//!
//! Who asks is settled first (`auth.rs`); then the path says which file answers. Every error has
//! the JSON that the service SDKs parse.
//!
//! next: `auth.rs`

mod auth;
mod bulk;
mod configuration;
mod devicebound;
mod devices;
mod faults;
mod files;
mod methods;
mod modules;
mod owner;
mod query;
mod telemetry;
#[cfg(test)]
mod tests;
mod twins;

use std::rc::Rc;
use std::time::Duration;

use actix::Message;
use serde_json::Value;

use self::auth::Caller;
pub use self::owner::{Owner, OwnerError};
use crate::actors::port::Port;
use crate::domain::identity::Identity;
use crate::domain::registry::IfMatch;
use crate::domain::service_error::ServiceError;
use crate::domain::upload::CONTAINER;
use crate::localhub::files::Files;
use crate::messages::devicebound::{CountDevicebound, Enqueue, Purge, TakeFeedback};
use crate::messages::identities::LogIn;
use crate::messages::registry::{DeleteIdentity, ListIdentities, ListPresence, PutIdentity};
use crate::messages::service_twins::{ChangeTwin, ReadTwins};
use crate::messages::sessions::Invoke;
use crate::messages::supervision::PanicAt;
use crate::messages::telemetry::{AwaitTelemetry, ReadTelemetry, RefuseTelemetry};
use crate::protocol::http::{Handler, HttpRequest, HttpResponse, handler};

/// How long an actor may take to answer; changes wait for the store.
const DEADLINE: Duration = Duration::from_secs(35);

/// Whom REST asks.
#[derive(Clone, Default)]
pub struct RestPorts {
    /// Registry: a device's own token is checked as at its log-in.
    pub log_in: Port<LogIn>,
    /// Registry.
    pub put: Port<PutIdentity>,
    /// Registry.
    pub delete: Port<DeleteIdentity>,
    /// Registry.
    pub list: Port<ListIdentities>,
    /// Presence.
    pub presence: Port<ListPresence>,
    /// Twins.
    pub read_twins: Port<ReadTwins>,
    /// Twins.
    pub change_twin: Port<ChangeTwin>,
    /// Sessions.
    pub invoke: Port<Invoke>,
    /// Devicebound.
    pub enqueue: Port<Enqueue>,
    /// Devicebound.
    pub purge: Port<Purge>,
    /// Devicebound.
    pub count: Port<CountDevicebound>,
    /// Devicebound.
    pub feedback: Port<TakeFeedback>,
    /// Telemetry.
    pub read_telemetry: Port<ReadTelemetry>,
    /// Telemetry.
    pub await_telemetry: Port<AwaitTelemetry>,
    /// Telemetry, in test builds.
    pub refuse_telemetry: Port<RefuseTelemetry>,
    /// The root supervisor, in test builds.
    pub panic: Port<PanicAt>,
}

/// What every call works with.
pub struct Rest {
    ports: RestPorts,
    owner: Owner,
    files: Rc<Files>,
}

type Answer = Result<HttpResponse, ServiceError>;

impl Rest {
    /// For the hub whose owner is `owner`.
    pub fn new(ports: RestPorts, owner: Owner, files: Rc<Files>) -> Rc<Self> {
        Rc::new(Rest { ports, owner, files })
    }

    /// Whether a body is to be read as it comes: that of a blob may be larger than memory.
    pub fn is_late(request: &HttpRequest) -> bool {
        request.segments().first().is_some_and(|first| first == CONTAINER)
    }

    /// For an HTTP server.
    pub fn handler(self: Rc<Self>) -> Handler {
        handler(move |request| {
            let rest = Rc::clone(&self);
            async move { rest.handle(request).await }
        })
    }

    /// Answers any request.
    pub async fn handle(&self, request: HttpRequest) -> HttpResponse {
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        if let [CONTAINER, path @ ..] = &path[..] {
            return self.blob(&request, path).await;
        }
        match self.answer(&request, &path).await {
            Ok(response) => response,
            Err(error) => {
                let (method, path) = (&request.method, &request.path);
                tracing::debug!(%method, %path, status = error.status, %error, "refused");
                error.into()
            }
        }
    }

    async fn answer(&self, request: &HttpRequest, path: &[&str]) -> Answer {
        match self.caller(request).await? {
            Caller::Service => {}
            Caller::Device(device) if self.device_may(&device, request, path).await? => {}
            Caller::Device(device) => {
                let why = format!("{device} may not do this; use a service policy's token");
                return Err(ServiceError::unauthorized(why));
            }
        }
        self.route(request, path).await
    }

    async fn route(&self, request: &HttpRequest, path: &[&str]) -> Answer {
        match (request.method.as_str(), path) {
            ("GET", ["devices"]) => self.list_devices(request).await,
            ("POST", ["devices"]) => self.bulk(request).await,
            ("POST", ["devices", "query"]) => self.query(request).await,
            ("GET", ["devices", d]) => self.get_device(d).await,
            ("PUT", ["devices", d]) => self.put_device(request, d).await,
            ("DELETE", ["devices", d]) => self.delete(request, identity(d, None)?).await,
            ("DELETE", ["devices", d, "commands"]) => self.purge(d).await,
            ("GET", ["devices", d, "modules"]) => self.list_modules(d).await,
            ("GET", ["devices", d, "modules", m]) => self.get_module(d, m).await,
            ("PUT", ["devices", d, "modules", m]) => self.put_module(request, d, m).await,
            ("DELETE", ["devices", d, "modules", m]) => {
                self.delete(request, identity(d, Some(m))?).await
            }
            ("POST", ["devices", d, "applyConfigurationContent"]) => {
                self.apply_configuration(request, d).await
            }
            ("POST", ["devices", d, "messages", "devicebound"]) => self.enqueue(request, d).await,
            ("POST", ["devices", d, "files"]) => self.begin_upload(request, d).await,
            ("GET", ["devices", d, "files"]) => self.list_files(d),
            ("POST", ["devices", d, "files", "notifications", id @ ..]) => {
                self.end_upload(request, d, id)
            }
            (_, ["twins", d]) => self.twin(request, identity(d, None)?).await,
            (_, ["twins", d, "modules", m]) => self.twin(request, identity(d, Some(m))?).await,
            ("POST", ["twins", d, "methods"]) => self.method(request, identity(d, None)?).await,
            ("POST", ["twins", d, "modules", m, "methods"]) => {
                self.method(request, identity(d, Some(m))?).await
            }
            ("GET", ["statistics", "devices"]) => self.device_statistics().await,
            ("GET", ["statistics", "service"]) => self.service_statistics().await,
            ("GET", ["messages", "serviceBound" | "servicebound", "feedback"]) => {
                self.feedback().await
            }
            ("DELETE", ["messages", "serviceBound" | "servicebound", "feedback", _]) => {
                Ok(HttpResponse::empty(204)) // what was given is forgotten already
            }
            ("GET", ["telemetry"]) => self.read_telemetry(request).await,
            ("GET", ["telemetry", "stream"]) => self.follow_telemetry(request),
            ("POST", ["faults", "refuse"]) if cfg!(feature = "faults") => {
                self.refuse_telemetry(request).await
            }
            ("POST", ["faults", "panic"]) if cfg!(feature = "faults") => self.panic(request).await,
            ("GET", ["configurations"]) => Ok(HttpResponse::json(200, &Value::Array(Vec::new()))),
            (_, ["configurations" | "jobs" | "digitaltwins", ..]) => Err(ServiceError::new(
                501,
                "NotImplemented",
                format!("{} is not a part of this hub", path[0]),
            )),
            ("POST", ["messages", "serviceBound" | "servicebound", "feedback", _, "abandon"]) => {
                let why = "feedback is forgotten once it is given: it cannot be abandoned";
                Err(ServiceError::new(501, "NotImplemented", why))
            }
            _ => Err(not_there(request, path)),
        }
    }
}

/// 405 if something else can be done there, else 404.
fn not_there(request: &HttpRequest, path: &[&str]) -> ServiceError {
    let HttpRequest { method, path: written, .. } = request;
    let methods = match path {
        ["devices"] => "GET and POST",
        ["devices", "query"] => "POST",
        ["devices", _] | ["devices", _, "modules", _] => "GET, PUT and DELETE",
        ["devices", _, "modules"] | ["statistics", _] => "GET",
        ["devices", _, "commands"] => "DELETE",
        ["devices", _, "files"] => "GET and POST",
        ["devices", _, "applyConfigurationContent"]
        | ["devices", _, "messages", "devicebound"]
        | ["twins", _, "methods"]
        | ["twins", _, "modules", _, "methods"] => "POST",
        _ => {
            let what =
                format!("there is no {method} {written}; docs/localhub.md lists what there is");
            return ServiceError::new(404, "ResourceNotFound", what);
        }
    };
    let why = format!("{written} takes {methods}, not {method}");
    ServiceError::new(405, "MethodNotAllowed", why)
}

/// Asks an actor; if nobody answers in time the call is to be tried again.
async fn ask<M, T, E>(port: &Port<M>, message: M) -> Result<T, ServiceError>
where
    M: Message<Result = Result<T, E>> + Send + 'static,
    T: Send,
    E: Send + Into<ServiceError>,
{
    match port.ask(message, DEADLINE).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => {
            Err(ServiceError::new(503, "ServiceUnavailable", "the hub is starting; try again"))
        }
    }
}

fn identity(device: &str, module: Option<&str>) -> Result<Identity, ServiceError> {
    let parsed = match module {
        Some(module) => Identity::module(device, module),
        None => Identity::device(device),
    };
    parsed.map_err(|bad| ServiceError::bad(bad.to_string()))
}

fn if_match(request: &HttpRequest) -> IfMatch {
    IfMatch::parse(request.header("if-match").as_deref())
}

fn json(request: &HttpRequest) -> Result<Value, ServiceError> {
    request.json().map_err(ServiceError::bad)
}
