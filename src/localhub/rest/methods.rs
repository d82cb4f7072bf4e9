//! Direct methods.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Answer, Rest, json as body};
use crate::domain::identity::Identity;
use crate::domain::method::{Call, Outcome};
use crate::domain::service_error::ServiceError;
use crate::messages::sessions::Invoke;
use crate::protocol::http::{HttpRequest, HttpResponse};

impl Rest {
    pub(super) async fn method(&self, request: &HttpRequest, target: Identity) -> Answer {
        let call = call(&body(request)?)?;
        self.find(&target).await?;
        // Sessions end each call by its own time-outs; this one is for sessions that are gone.
        let deadline = call.response_timeout + call.connect_timeout + Duration::from_secs(10);
        let invoke = Invoke { target: target.clone(), call };
        match self.ports.invoke.ask(invoke, deadline).await {
            Ok(Outcome::Answered(status, payload)) => {
                let payload: Value = serde_json::from_slice(&payload).unwrap_or_else(|_| {
                    Value::String(String::from_utf8_lossy(&payload).into_owned())
                });
                Ok(HttpResponse::json(200, &json!({ "status": status, "payload": payload })))
            }
            Ok(Outcome::NotConnected) => {
                let why = format!("{target} is not connected, or takes no methods");
                Err(failed(404, "DeviceNotOnline", 404_103, &why))
            }
            Ok(Outcome::TimedOut) => {
                let why = format!("{target} did not answer in time");
                Err(failed(504, "GatewayTimeout", 504_101, &why))
            }
            Err(_) => {
                let why = "the hub lost the call; whether it ran is not known";
                Err(failed(504, "GatewayTimeout", 504_101, why))
            }
        }
    }
}

/// The hub nests JSON in the message of a failed method.
fn failed(status: u16, code: &'static str, number: u32, why: &str) -> ServiceError {
    let nested = json!({ "errorCode": number, "message": why });
    ServiceError::new(status, code, nested.to_string())
}

fn call(json: &Value) -> Result<Call, ServiceError> {
    let name = json.get("methodName").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() || name.chars().count() > 100 {
        return Err(ServiceError::bad("methodName has 1 to 100 characters"));
    }
    let payload = json.get("payload").unwrap_or(&Value::Null);
    let response = seconds(json, "responseTimeoutInSeconds", 30, 5)?;
    let connect = seconds(json, "connectTimeoutInSeconds", 0, 0)?;
    Ok(Call {
        name: name.to_owned(),
        payload: Bytes::from(payload.to_string()),
        response_timeout: response,
        connect_timeout: connect,
    })
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
