//! File upload as device clients ask for it: the hand-shake. Where the file itself goes is not a
//! part of this hub; it names itself as the host.

use serde_json::{Value, json};

use super::{Answer, Rest, identity, json as body};
use crate::domain::service_error::ServiceError;
use crate::localhub::random;
use crate::protocol::http::{HttpRequest, HttpResponse};

impl Rest {
    pub(super) async fn begin_upload(&self, request: &HttpRequest, device: &str) -> Answer {
        self.find(&identity(device, None)?).await?;
        let json = body(request)?;
        let name = json.get("blobName").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() || name.len() > 1024 {
            return Err(ServiceError::bad("blobName has 1 to 1024 characters"));
        }
        Ok(HttpResponse::json(
            200,
            &json!({
                "correlationId": random::token(),
                "hostName": self.owner.hostname,
                "containerName": "uploads",
                "blobName": format!("{device}/{name}"),
                "sasToken": format!("?sig={}", random::token()),
            }),
        ))
    }
}

/// The client says how its upload went.
pub(super) fn end_upload(request: &HttpRequest) -> Answer {
    let json = body(request)?;
    let named = request.segments().len() > 4;
    if !named && json.get("correlationId").and_then(Value::as_str).is_none() {
        return Err(ServiceError::bad("correlationId is missing"));
    }
    Ok(HttpResponse::empty(204))
}
