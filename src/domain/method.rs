//! A direct method: what is called, and how a call ends; and both in the JSON of service clients
//! and of modules (spec sdk.md 2).

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::identity::Identity;
use super::service_error::ServiceError;

/// A call.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// Raw, up to 100 characters.
    pub name: String,
    /// JSON; `null` if there is none.
    pub payload: Bytes,
    /// How long the answer may take, 5 to 300 s.
    pub response_timeout: Duration,
    /// How long to wait for the target to connect and subscribe, 0 to 300 s.
    pub connect_timeout: Duration,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "method {}, {} bytes", self.name, self.payload.len())
    }
}

/// Most bytes of a payload, as JSON.
const MOST: usize = 128 * 1024;

/// How a call ended. Each call ends once, and runs at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target's own status and JSON.
    Answered(i32, Bytes),
    /// 404: not connected, or not subscribed to methods.
    NotConnected,
    /// 504: no answer in time.
    TimedOut,
}

impl Call {
    /// Of the body of a request. An error names the field.
    pub fn from_json(json: &Value) -> Result<Self, ServiceError> {
        let name = json.get("methodName").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() || name.chars().count() > 100 {
            return Err(ServiceError::bad("methodName has 1 to 100 characters"));
        }
        let payload = Bytes::from(json.get("payload").unwrap_or(&Value::Null).to_string());
        if payload.len() > MOST {
            let why = format!("the payload of a method has {MOST} bytes at most");
            return Err(ServiceError::new(413, "MessageTooLarge", why));
        }
        Ok(Call {
            name: name.to_owned(),
            payload,
            response_timeout: seconds(json, "responseTimeoutInSeconds", 30, 5)?,
            connect_timeout: seconds(json, "connectTimeoutInSeconds", 0, 0)?,
        })
    }

    /// When whoever was asked must have answered. It ends each call by the call's own time-outs;
    /// this is for one that is gone.
    pub fn deadline(&self) -> Duration {
        self.response_timeout + self.connect_timeout + Duration::from_secs(10)
    }
}

/// A number, or a number as text (az), up to 300.
fn seconds(json: &Value, name: &str, default: u64, least: u64) -> Result<Duration, ServiceError> {
    let given = match json.get(name) {
        None | Some(Value::Null) => Some(default),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(number) => number.as_u64(),
    };
    let given = given.filter(|given| (least..=300).contains(given));
    let why = || ServiceError::bad(format!("{name} is a number from {least} to 300"));
    given.map(Duration::from_secs).ok_or_else(why)
}

/// The body of the answer to a request: `{"status", "payload"}`. `None`: whoever was asked is gone.
pub fn answer(target: &Identity, outcome: Option<Outcome>) -> Result<Value, ServiceError> {
    match outcome {
        Some(Outcome::Answered(status, payload)) if payload.is_empty() => {
            Ok(json!({ "status": status, "payload": null }))
        }
        Some(Outcome::Answered(status, payload)) => {
            let payload: Value = serde_json::from_slice(&payload)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&payload).into_owned()));
            Ok(json!({ "status": status, "payload": payload }))
        }
        Some(Outcome::NotConnected) => {
            let why = format!("{target} is not connected, or takes no methods");
            Err(ServiceError::of_method(404, "DeviceNotOnline", 404_103, &why))
        }
        Some(Outcome::TimedOut) => {
            let why = format!("{target} did not answer in time, or left before it did");
            Err(ServiceError::of_method(504, "GatewayTimeout", 504_101, &why))
        }
        None => {
            let why = "the call was lost; whether it ran is not known";
            Err(ServiceError::of_method(504, "GatewayTimeout", 504_101, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_with_its_defaults_and_what_is_wrong_is_named() {
        let call = Call::from_json(&json!({ "methodName": "reboot" })).unwrap();
        assert_eq!((call.name.as_str(), &call.payload[..]), ("reboot", &b"null"[..]));
        assert_eq!((call.response_timeout.as_secs(), call.connect_timeout.as_secs()), (30, 0));
        let large = |size: usize| json!({ "methodName": "m", "payload": "x".repeat(size) });
        assert!(Call::from_json(&large(128 * 1024 - 2)).is_ok());
        assert_eq!(Call::from_json(&large(128 * 1024 - 1)).unwrap_err().status, 413);
        let call = json!({ "methodName": "m", "payload": 1, "responseTimeoutInSeconds": "7",
                           "connectTimeoutInSeconds": 300 });
        let call = Call::from_json(&call).unwrap();
        assert_eq!((call.response_timeout.as_secs(), call.connect_timeout.as_secs()), (7, 300));
        for (wrong, named) in [
            (json!({}), "methodName"),
            (json!({ "methodName": "x".repeat(101) }), "methodName"),
            (json!({ "methodName": "m", "responseTimeoutInSeconds": 4 }), "responseTimeout"),
            (json!({ "methodName": "m", "connectTimeoutInSeconds": 301 }), "connectTimeout"),
        ] {
            let error = Call::from_json(&wrong).unwrap_err();
            assert!(error.status == 400 && error.message.contains(named), "{error}");
        }
    }

    #[test]
    fn each_end_of_a_call_has_its_status() {
        let target = Identity::parse("leaf").unwrap();
        let status = |outcome| answer(&target, outcome).map_err(|error| error.status);
        let nothing = answer(&target, Some(Outcome::Answered(200, Bytes::new()))).unwrap();
        assert_eq!(nothing, json!({ "status": 200, "payload": null }));
        let answered = Outcome::Answered(201, Bytes::from_static(b"{\"a\":1}"));
        assert_eq!(status(Some(answered)), Ok(json!({ "status": 201, "payload": { "a": 1 } })));
        assert_eq!(status(Some(Outcome::NotConnected)), Err(404));
        assert_eq!(status(Some(Outcome::TimedOut)), Err(504));
        assert_eq!(status(None), Err(504));
        let body = answer(&target, Some(Outcome::TimedOut)).unwrap_err().body();
        let body: Value = serde_json::from_str(&body).unwrap();
        let nested = r#"{"errorCode":504101,"message":"leaf did not answer in time, or left before it did"}"#;
        assert_eq!(body, json!({ "Message": nested, "ExceptionMessage": "" }));
    }
}
