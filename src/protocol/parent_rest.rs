//! The parent's REST, as an edge device may use it: makes, reads and removes the identities of its
//! own modules.

use std::fmt;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::http_client::{AskError, ClientAnswer, ClientRequest, Place, ask};
use crate::domain::connection_string::Secret;
use crate::domain::identity::Identity;
use crate::domain::sas;

const API_VERSION: &str = "2021-04-12";
const DEADLINE: Duration = Duration::from_secs(30);
/// A token lives so long; each request gets one of its own.
const TOKEN: u64 = 600;

/// Asks the parent in the name of this device.
#[derive(Clone, Debug)]
pub struct ParentRest {
    /// Where its HTTPS listens.
    pub place: Place,
    /// `HostName`, as it stands in tokens.
    pub host: String,
    /// This device.
    pub device: Identity,
    /// Its key, base64.
    pub key: Secret,
}

/// An identity as the parent has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Changes when it is deleted and made again.
    pub generation: String,
    /// Changes when it is changed.
    pub etag: String,
    /// Its first key, base64; empty if it has none, or the parent does not show it.
    pub key: Secret,
}

/// Why the parent did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// It cannot be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Our key makes no token.
    #[error("the device's key makes no token: {0}")]
    Token(#[from] sas::SasError),
    /// It said no.
    #[error("the parent refused to {what} {identity}: status {status} {body}")]
    Refused {
        /// What it was to do.
        what: &'static str,
        /// With whom.
        identity: Identity,
        /// HTTP.
        status: u16,
        /// What it said, shortened.
        body: String,
    },
}

impl ParentRest {
    /// Makes the identity of a module of this device, with these keys; `None`: it is there
    /// already. `now` is in seconds of Unix time.
    pub async fn make_module(
        &self,
        identity: &Identity,
        [primary, secondary]: &[Secret; 2],
        now: u64,
    ) -> Result<Option<Known>, RestError> {
        let keys = json!({ "primaryKey": primary.reveal(), "secondaryKey": secondary.reveal() });
        let body = json!({
            "deviceId": self.device.device_id(),
            "moduleId": identity.module_id().unwrap_or_default(),
            "managedBy": "IotEdge",
            "authentication": { "type": "sas", "symmetricKey": keys },
        });
        let request = self.request("PUT", identity, now)?.with_json(&body);
        let answer = ask(&self.place, request, DEADLINE).await?;
        match answer.status {
            409 => Ok(None),
            _ if answer.is_success() => Ok(Some(known(&answer))),
            _ => Err(refused("make", identity, &answer)),
        }
    }

    /// What the parent knows of the identity of a module; `None`: it does not know it.
    pub async fn find_module(
        &self,
        identity: &Identity,
        now: u64,
    ) -> Result<Option<Known>, RestError> {
        let answer = ask(&self.place, self.request("GET", identity, now)?, DEADLINE).await?;
        match answer.status {
            404 => Ok(None),
            _ if answer.is_success() => Ok(Some(known(&answer))),
            _ => Err(refused("show", identity, &answer)),
        }
    }

    /// Removes the identity of a module, if it is as it was found; one that has gone is as good.
    pub async fn remove_module(
        &self,
        identity: &Identity,
        found: &Known,
        now: u64,
    ) -> Result<(), RestError> {
        let request = self.request("DELETE", identity, now)?;
        let request = request.with_header("If-Match", format!("\"{}\"", found.etag));
        let answer = ask(&self.place, request, DEADLINE).await?;
        match answer.is_success() || answer.status == 404 {
            true => Ok(()),
            false => Err(refused("remove", identity, &answer)),
        }
    }

    /// In the name of this device.
    fn request(
        &self,
        method: &str,
        identity: &Identity,
        now: u64,
    ) -> Result<ClientRequest, RestError> {
        let device = self.device.device_id();
        let resource = format!("{}/devices/{device}", self.host);
        let token = sas::make(&resource, self.key.reveal(), now + TOKEN, None)?;
        let escape = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let target = format!(
            "/devices/{}/modules/{}?api-version={API_VERSION}",
            escape(device),
            escape(identity.module_id().unwrap_or_default())
        );
        Ok(ClientRequest::new(method, target).with_header("Authorization", token))
    }
}

fn known(answer: &ClientAnswer) -> Known {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().trim_matches('"').to_owned();
    let key = body.pointer("/authentication/symmetricKey/primaryKey").and_then(Value::as_str);
    let key = Secret::new(key.unwrap_or_default());
    Known { generation: text("generationId"), etag: text("etag"), key }
}

fn refused(what: &'static str, identity: &Identity, answer: &ClientAnswer) -> RestError {
    let body = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
    RestError::Refused { what, identity: identity.clone(), status: answer.status, body }
}

impl fmt::Display for ParentRest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;
    use crate::domain::sas::SasToken;
    use crate::protocol::http::{HttpRequest, HttpResponse, Limits, Server, handler};

    const KEY: &str = "c2VjcmV0IGtleQ==";

    #[tokio::test]
    async fn a_module_is_made_with_a_token_of_the_device_and_is_made_once() {
        let test = async {
            let (status, seen) = (Rc::new(Cell::new(200)), Rc::new(RefCell::new(Vec::new())));
            let (answers, requests) = (status.clone(), seen.clone());
            let answer = handler(move |request: HttpRequest| {
                requests.borrow_mut().push(request);
                let known = r#"{"generationId":"7","etag":"AAA=","authentication":
                    {"symmetricKey":{"primaryKey":"a2V5"}}}"#;
                std::future::ready(HttpResponse::text(answers.get(), known.to_owned()))
            });
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let _server = Server::tcp(listener, answer, Limits::default());
            let rest = ParentRest {
                place: Place::Tcp("127.0.0.1".into(), port),
                host: "hub".into(),
                device: Identity::parse("edge-1").unwrap(),
                key: Secret::new(KEY),
            };
            let module = Identity::parse("edge-1/a$b").unwrap();
            let key = Secret::new("a2V5");
            let keys = [key.clone(), Secret::new("c2Vjb25k")];
            let known = Known { generation: "7".into(), etag: "AAA=".into(), key };
            for (code, made) in [(200, Some(known.clone())), (409, None)] {
                status.set(code);
                assert_eq!(rest.make_module(&module, &keys, 1000).await.unwrap(), made, "{code}");
            }
            status.set(403);
            let error = rest.make_module(&module, &keys, 1000).await.unwrap_err().to_string();
            assert!(error.starts_with("the parent refused to make edge-1/a$b: status 403"));
            status.set(404);
            assert_eq!(rest.find_module(&module, 1000).await.unwrap(), None);
            rest.remove_module(&module, &known, 1000).await.unwrap();
            assert_eq!(seen.borrow()[4].header("if-match").as_deref(), Some("\"AAA=\""));
            status.set(412);
            assert!(rest.remove_module(&module, &known, 1000).await.is_err());
            let seen = seen.borrow();
            assert_eq!(seen[0].method, "PUT");
            assert_eq!(seen[0].segments(), ["devices", "edge-1", "modules", "a$b"]);
            let body = String::from_utf8_lossy(&seen[0].body);
            assert!(body.contains(r#""primaryKey":"a2V5","secondaryKey":"c2Vjb25k""#), "{body}");
            let token = SasToken::parse(&seen[0].header("authorization").unwrap()).unwrap();
            assert_eq!(token.resource().unwrap(), "hub/devices/edge-1");
            assert_eq!(token.check(&[KEY.to_owned()], 1000, 0), Ok(1600));
        };
        LocalSet::new().run_until(test).await;
    }
}
