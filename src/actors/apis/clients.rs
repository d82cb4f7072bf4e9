//! HTTPS for the clients of this gateway: a module calls a direct method of another one, or of a
//! leaf device, also with the upstream away (spec sdk.md 2, edgehub.md 5.2). The hand-shake of a
//! file upload, which the SDKs send to their gateway, goes on to the parent.
//!
//! next: `actors/endpoint/sessions/methods.rs`, which carries the call out

use std::rc::Rc;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::actors::port::Port;
use crate::domain::identity::Identity;
use crate::domain::method::{Call, answer};
use crate::domain::sas::SasToken;
use crate::domain::service_error::ServiceError;
use crate::messages::identities::{LogIn, Refusal};
use crate::messages::sessions::Invoke;
use crate::protocol::http::{Handler, HttpRequest, HttpResponse, handler};
use crate::protocol::http_client::{ClientRequest, Place, ask};

/// A token may have to be looked up at the parent.
const LOG_IN: Duration = Duration::from_secs(30);
/// Python gives up after 10 s.
const FORWARD: Duration = Duration::from_secs(10);
/// The caller's own name, `device/module`.
const CALLER: &str = "x-ms-edge-moduleid";

/// See the module documentation.
pub struct ClientsApi {
    /// This edge device: only its modules may call.
    pub device: Identity,
    /// Identities: a caller is checked as at its log-in.
    pub log_in: Port<LogIn>,
    /// Sessions.
    pub invoke: Port<Invoke>,
    /// The parent's HTTPS.
    pub parent: Place,
}

impl ClientsApi {
    /// For the HTTPS door.
    pub fn handler(self) -> Handler {
        let api = Rc::new(self);
        handler(move |request| {
            let api = Rc::clone(&api);
            async move {
                match api.answer(&request).await {
                    Ok(response) => response,
                    // Who is refused is in the audit log, as far as the door lets it.
                    Err(error) if error.status == 401 => {
                        let refused = Some(error.to_string());
                        HttpResponse { refused, ..error.into() }
                    }
                    Err(error) => {
                        let path = &request.path;
                        tracing::debug!(path, status = error.status, %error, "not answered");
                        error.into()
                    }
                }
            }
        })
    }

    async fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, ServiceError> {
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let target = match (request.method.as_str(), path.as_slice()) {
            ("POST", ["devices", _, "files", ..]) => return self.forward(request).await,
            ("POST", ["twins", device, "methods"]) => Identity::device(device),
            ("POST", ["twins", device, "modules", module, "methods"]) => {
                Identity::module(device, module)
            }
            (method, _) => {
                let why = format!("this gateway has no {method} {}", request.path);
                return Err(ServiceError::new(404, "ResourceNotFound", why));
            }
        };
        let target = target.map_err(|bad| ServiceError::bad(bad.to_string()))?;
        self.check_caller(request).await?;
        let call = Call::from_json(&request.json().map_err(ServiceError::bad)?)?;
        let deadline = call.deadline();
        let invoke = Invoke { target: target.clone(), call };
        let outcome = self.invoke.ask(invoke, deadline).await;
        Ok(HttpResponse::json(200, &answer(&target, outcome.ok())?))
    }

    /// The parent checks the caller's token: it is the device's own.
    async fn forward(&self, request: &HttpRequest) -> Result<HttpResponse, ServiceError> {
        let query = request.query.get("api-version").map(|version| {
            format!("?api-version={}", utf8_percent_encode(version, NON_ALPHANUMERIC))
        });
        let target = format!("{}{}", request.path, query.unwrap_or_default());
        let mut asked = ClientRequest::new("POST", target);
        for name in ["authorization", "content-type"] {
            if let Some(value) = request.header(name) {
                asked = asked.with_header(name, value);
            }
        }
        asked.body = request.body.clone();
        let answer = ask(&self.parent, asked, FORWARD).await.map_err(not_ready)?;
        Ok(HttpResponse::bytes(answer.status, "application/json", answer.body))
    }

    /// A module of this device, by a token of its own.
    async fn check_caller(&self, request: &HttpRequest) -> Result<(), ServiceError> {
        let token = request.header("authorization");
        let token = token.ok_or_else(|| refused("there is no Authorization header"))?;
        let parsed = SasToken::parse(&token).map_err(refused)?;
        let identity = parsed.identity().ok_or_else(|| refused("the token is nobody's here"))?;
        let is_ours = identity.device_id() == self.device.device_id();
        if !is_ours || identity.module_id().is_none() {
            let why = format!("{identity} is not a module of {}", self.device);
            return Err(refused(why));
        }
        if request.header(CALLER).is_some_and(|named| named != identity.as_str()) {
            return Err(refused(format!("{CALLER} differs from the token's {identity}")));
        }
        let (certificate, link, place) = (None, None, None);
        let log_in = LogIn { identity, token: Some(token), certificate, link, place };
        match self.log_in.ask(log_in, LOG_IN).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(refusal @ Refusal::Denied(_))) => Err(refused(refusal)),
            Ok(Err(refusal)) => Err(not_ready(refusal)),
            Err(error) => Err(not_ready(error)),
        }
    }
}

fn refused(why: impl ToString) -> ServiceError {
    ServiceError::unauthorized(why.to_string())
}

fn not_ready(why: impl ToString) -> ServiceError {
    ServiceError::new(503, "ServiceUnavailable", why.to_string())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::actors::stand_in::port;
    use crate::domain::method::Outcome;
    use crate::domain::sas;
    use crate::messages::identities::Granted;
    use crate::protocol::http::{Limits, Server};

    const GRANTED: Granted = Granted { until: u64::MAX, by_device: false };
    const KEY: &str = "c2VjcmV0IGtleQ==";
    const BODY: &str = r#"{"methodName":"reboot","payload":{"a":1}}"#;

    /// Its log-ins end so.
    fn clients(log_in: Result<Granted, Refusal>, called: &Rc<RefCell<Vec<String>>>) -> ClientsApi {
        let called = Rc::clone(called);
        ClientsApi {
            device: Identity::parse("gw").unwrap(),
            log_in: port(move |_| log_in.clone()),
            parent: Place::Unix("/nobody/is/there".into()),
            invoke: port(move |Invoke { target, call }| {
                called.borrow_mut().push(format!("{target} {}", call.name));
                match target.as_str() {
                    "gw/b" => Outcome::Answered(201, call.payload),
                    _ => Outcome::NotConnected,
                }
            }),
        }
    }

    fn request(target: &str, caller: Option<&str>, body: &'static str) -> HttpRequest {
        let mut request = HttpRequest::new("POST", target);
        request.body = body.into();
        if let Some(caller) = caller {
            let token = sas::make(&format!("hub/devices/{caller}"), KEY, 9_999_999_999, None);
            request.headers.push(("authorization".into(), token.unwrap().into()));
        }
        request
    }

    async fn call(handler: &Handler, request: HttpRequest) -> (u16, String) {
        let response = handler(request).await;
        let body = response.full_body().unwrap();
        (response.status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[actix::test]
    async fn a_module_calls_another_one_and_hears_how_it_ended() {
        let called = Rc::default();
        let api = clients(Ok(GRANTED), &called).handler();
        let target = "/twins/gw/modules/b/methods"; // Node sends no api-version
        let (status, body) = call(&api, request(target, Some("gw/modules/a"), BODY)).await;
        assert_eq!((status, body.as_str()), (200, r#"{"status":201,"payload":{"a":1}}"#));
        let target = "/twins/leaf%401/methods?api-version=2019-10-01";
        let (status, body) = call(&api, request(target, Some("gw/modules/a"), BODY)).await;
        assert!(status == 404 && body.contains("404103"), "{status} {body}");
        assert_eq!(*called.borrow(), ["gw/b reboot", "leaf@1 reboot"]);
    }

    #[actix::test]
    async fn who_is_not_a_module_of_this_device_calls_nothing() {
        let called = Rc::default();
        let good = clients(Ok(GRANTED), &called).handler();
        let target = "/twins/gw/modules/b/methods";
        for caller in [None, Some("leaf"), Some("gw"), Some("other/modules/a")] {
            assert_eq!(call(&good, request(target, caller, BODY)).await.0, 401, "{caller:?}");
        }
        let mut other = request(target, Some("gw/modules/a"), BODY);
        other.headers.push((CALLER.into(), "gw/c".into()));
        assert_eq!(call(&good, other).await.0, 401);
        let denied = clients(Err(Refusal::Denied("wrong key".into())), &called).handler();
        assert_eq!(call(&denied, request(target, Some("gw/modules/a"), BODY)).await.0, 401);
        let away = clients(Err(Refusal::NotReady("away".into())), &called).handler();
        assert_eq!(call(&away, request(target, Some("gw/modules/a"), BODY)).await.0, 503);
        assert!(called.borrow().is_empty());
    }

    #[actix::test]
    async fn a_file_upload_goes_to_the_parent_with_the_clients_own_token() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("parent.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let parent = handler(async |request: HttpRequest| {
            let token = request.header("authorization").unwrap_or_default();
            let of_leaf = token.contains("devices%2Fleaf");
            HttpResponse::json(200, &(request.path.as_str(), &request.query, of_leaf))
        });
        let _server = Server::unix(listener, parent, Limits::default());
        let called = Rc::default();
        let mut api = clients(Ok(GRANTED), &called);
        api.parent = Place::Unix(socket);
        let target = "/devices/leaf/files?api-version=2019-10-01";
        let upload = r#"{"blobName":"b"}"#;
        let answer = call(&api.handler(), request(target, Some("leaf"), upload)).await;
        let expected = r#"["/devices/leaf/files",{"api-version":"2019-10-01"},true]"#;
        assert_eq!(answer, (200, expected.to_owned()));
        let away = clients(Ok(GRANTED), &called).handler();
        assert_eq!(call(&away, request(target, Some("leaf"), upload)).await.0, 503);
    }

    #[actix::test]
    async fn what_cannot_be_read_is_named() {
        let called = Rc::default();
        let api = clients(Ok(GRANTED), &called).handler();
        for (target, body, status, named) in [
            ("/twins/gw/modules/b/methods", "{", 400, "body"),
            ("/twins/gw/modules/b/methods", "{}", 400, "methodName"),
            ("/devices/gw", BODY, 404, "/devices/gw"),
        ] {
            let answer = call(&api, request(target, Some("gw/modules/a"), body)).await;
            assert!(answer.0 == status && answer.1.contains(named), "{answer:?}");
        }
        assert!(called.borrow().is_empty());
    }
}
