//! Why a service call failed, in the form that the service SDKs read.

use serde_json::json;

/// An HTTP status with the hub's error code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// HTTP status.
    pub status: u16,
    /// As in `ErrorCode:DeviceNotFound`.
    pub code: &'static str,
    /// For people.
    pub message: String,
    /// Of a failed method: the hub gives it as JSON in the JSON.
    pub number: Option<u32>,
}

impl ServiceError {
    /// Any error.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        ServiceError { status, code, message: message.into(), number: None }
    }

    /// Why a direct method was not answered.
    pub fn of_method(status: u16, code: &'static str, number: u32, why: &str) -> Self {
        ServiceError { number: Some(number), ..Self::new(status, code, why) }
    }

    /// 400: what was sent cannot be understood.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "ArgumentInvalid", message)
    }

    /// 401.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "IotHubUnauthorizedAccess", message)
    }

    /// 412: somebody else changed it first.
    pub fn precondition(what: impl std::fmt::Display) -> Self {
        Self::new(412, "PreconditionFailed", format!("{what} has another etag by now"))
    }

    /// The JSON that both service SDKs parse (spec sdk.md 2).
    pub fn body(&self) -> String {
        let message = match self.number {
            None => format!("ErrorCode:{};{}", self.code, self.message),
            Some(number) => json!({ "errorCode": number, "message": self.message }).to_string(),
        };
        json!({ "Message": message, "ExceptionMessage": "" }).to_string()
    }
}
