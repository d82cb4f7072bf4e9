//! Many identities in one call: `POST /devices`.

use serde_json::{Value, json};

use super::{Answer, Rest, ask, identity, json as body};
use crate::domain::registry::{Draft, IfMatch};
use crate::domain::service_error::ServiceError;
use crate::messages::registry::{DeleteIdentity, PutIdentity};
use crate::protocol::http::{HttpRequest, HttpResponse};

impl Rest {
    /// Each by itself; those that failed are named.
    pub(super) async fn bulk(&self, request: &HttpRequest) -> Answer {
        let json = body(request)?;
        let items = json.as_array().ok_or_else(|| ServiceError::bad("the body is no list"))?;
        if items.len() > 100 {
            return Err(ServiceError::bad("a call takes 100 identities at most"));
        }
        let mut errors = Vec::new();
        for item in items {
            if let Err(error) = self.bulk_item(item).await {
                errors.push(json!({
                    "deviceId": item["id"],
                    "moduleId": item["moduleId"],
                    "errorCode": error.code,
                    "errorStatus": error.message,
                }));
            }
        }
        let status = if errors.is_empty() { 200 } else { 400 };
        let result = json!({ "isSuccessful": errors.is_empty(), "errors": errors, "warnings": [] });
        Ok(HttpResponse::json(status, &result))
    }

    async fn bulk_item(&self, item: &Value) -> Result<(), ServiceError> {
        let text = |name: &str| item.get(name).and_then(Value::as_str);
        let device = text("id").or(text("deviceId")).unwrap_or_default();
        let id = identity(device, text("moduleId").filter(|module| !module.is_empty()))?;
        let etag = IfMatch::parse(text("eTag").or(text("etag")));
        let mode = text("importMode").unwrap_or("createOrUpdate").to_ascii_lowercase();
        let condition = match mode.as_str() {
            "create" => IfMatch::None,
            "createorupdate" => match self.find(&id).await {
                Err(error) if error.status == 404 => IfMatch::None,
                _ => IfMatch::Any,
            },
            "update" | "delete" => IfMatch::Any,
            "updateifmatchetag" | "createorupdateifmatchetag" | "deleteifmatchetag" => etag,
            _ => return Err(ServiceError::bad(format!("importMode {mode} is not known"))),
        };
        if mode.starts_with("delete") {
            return ask(&self.ports.delete, DeleteIdentity { identity: id, condition }).await;
        }
        let draft = Draft::parse(id, item)?;
        ask(&self.ports.put, PutIdentity { draft, condition }).await.map(|_| ())
    }
}
