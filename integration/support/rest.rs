//! The hub's REST as a service client calls it, and the runtime's management socket.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edge_runtime::domain::connection_string::ConnectionString;
use edge_runtime::domain::sas;
use edge_runtime::protocol::http_client::{ClientAnswer, ClientRequest, Place, ask};
use edge_runtime::protocol::tls::{TlsClient, Trust};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(20);

pub const HOUR: Duration = Duration::from_secs(3_600);

/// A token for an hour.
pub fn token(resource: &str, key: &str, policy: Option<&str>) -> String {
    token_for(resource, key, policy, HOUR)
}

pub fn token_for(resource: &str, key: &str, policy: Option<&str>, life: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    sas::make(resource, key, (now + life).as_secs(), policy).unwrap()
}

/// Asks from a test's own thread.
pub fn ask_now(place: &Place, request: ClientRequest) -> Result<ClientAnswer, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ask(place, request, DEADLINE)).map_err(|error| error.to_string())
}

/// The owner of a hub.
#[derive(Clone)]
pub struct Service {
    place: Place,
    host: String,
    key: String,
}

impl Service {
    /// With what localhub wrote into its state directory.
    pub fn new(state: &Path, host: &str, port: u16) -> Self {
        let owner = std::fs::read_to_string(state.join("iothubowner.connection-string")).unwrap();
        let owner = ConnectionString::parse(owner.trim()).unwrap();
        let trust = Trust::from_file(Some(&state.join("ca.pem"))).unwrap();
        let tls = TlsClient::new(&trust).unwrap();
        let key = owner.key.reveal().to_owned();
        Service { place: Place::Tls(host.into(), port, tls), host: owner.host, key }
    }

    /// Status and body; an error if the hub is away.
    pub fn try_call(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), String> {
        let token = token(&self.host, &self.key, Some("iothubowner"));
        let mut request = ClientRequest::new(method, target).with_header("Authorization", token);
        if let Some(body) = body {
            request = request.with_json(body);
        }
        let answer = ask_now(&self.place, request)?;
        Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
    }

    /// Sends a body as it is; the status.
    pub fn post(&self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
        let token = token(&self.host, &self.key, Some("iothubowner"));
        let request = ClientRequest::new("POST", target).with_header("Authorization", token);
        let add = |request: ClientRequest, (name, value): &(&str, &str)| {
            request.with_header(name, (*value).to_owned())
        };
        let mut request = headers.iter().fold(request, add);
        request.body = body.to_vec().into();
        ask_now(&self.place, request).unwrap().status
    }

    /// A body as it is, with headers of its own.
    #[track_caller]
    pub fn post_raw(&self, target: &str, headers: &[(&str, &str)], body: &str) {
        let token = token(&self.host, &self.key, Some("iothubowner"));
        let mut request = ClientRequest::new("POST", target).with_header("Authorization", token);
        for (name, value) in headers {
            request = request.with_header(name, *value);
        }
        request.body = body.to_owned().into();
        let answer = ask_now(&self.place, request).unwrap();
        assert!((200..300).contains(&answer.status), "POST {target}: {answer:?}");
    }

    /// The body of a success.
    #[track_caller]
    pub fn call(&self, method: &str, target: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.try_call(method, target, body).unwrap();
        assert!((200..300).contains(&status), "{method} {target}: {status} {answer}");
        answer
    }

    /// Makes an edge device; its key and its scope.
    pub fn make_edge(&self, id: &str) -> (String, String) {
        let body = json!({ "deviceId": id, "capabilities": { "iotEdge": true } });
        let made = self.call("PUT", &format!("/devices/{id}"), Some(&body));
        (key_of(&made), made["deviceScope"].as_str().unwrap().to_owned())
    }

    /// Makes a device below an edge; its key.
    pub fn make_leaf(&self, id: &str, scope: &str) -> String {
        let body = json!({ "deviceId": id, "deviceScope": scope });
        key_of(&self.call("PUT", &format!("/devices/{id}"), Some(&body)))
    }

    /// Makes a module; its key.
    pub fn make_module(&self, device: &str, module: &str) -> String {
        let body = json!({ "deviceId": device, "moduleId": module });
        key_of(&self.call("PUT", &format!("/devices/{device}/modules/{module}"), Some(&body)))
    }

    /// Desired properties of modules of a device: `{"$edgeHub": {…}, …}`.
    pub fn apply(&self, device: &str, modules: &Value) {
        let wrap = |(name, desired): (&String, &Value)| {
            (name.clone(), json!({ "properties.desired": desired }))
        };
        let content: serde_json::Map<_, _> =
            modules.as_object().unwrap().iter().map(wrap).collect();
        let target = format!("/devices/{device}/applyConfigurationContent");
        self.call("POST", &target, Some(&json!({ "modulesContent": content })));
    }

    /// The twin of a device or module.
    pub fn twin(&self, device: &str, module: &str) -> Value {
        self.call("GET", &format!("/twins/{device}/modules/{module}"), None)
    }

    /// Items from `since` on, and where to go on; `None` while the hub is away.
    pub fn telemetry(&self, since: u64) -> Option<(Vec<Value>, u64)> {
        let target = format!("/telemetry?since={since}&max=5000");
        let (status, body) = self.try_call("GET", &target, None).ok()?;
        let items = body["items"].as_array().filter(|_| status == 200)?.clone();
        Some((items, body["next"].as_u64()?))
    }
}

fn key_of(made: &Value) -> String {
    let key = made.pointer("/authentication/symmetricKey/primaryKey");
    key.and_then(Value::as_str).unwrap_or_else(|| panic!("no key in {made}")).to_owned()
}

/// The runtime's management socket.
#[derive(Clone)]
pub struct Management(pub PathBuf);

impl Management {
    /// Status and JSON; an error while nobody listens.
    pub fn try_call(&self, method: &str, target: &str) -> Result<(u16, Value), String> {
        let place = Place::Unix(self.0.clone());
        let answer = ask_now(&place, ClientRequest::new(method, target))?;
        Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
    }

    /// A JSON answer; `None` while there is none.
    pub fn get(&self, target: &str) -> Option<Value> {
        let (status, body) = self.try_call("GET", target).ok()?;
        (status == 200).then_some(body)
    }
}
