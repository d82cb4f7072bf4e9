//! Many identities in one call: `POST /devices`.

use serde_json::{Value, json};

use super::{Answer, Rest, ask, identity, json as body};
use crate::domain::identity::Identity;
use crate::domain::registry::{Draft, IfMatch};
use crate::domain::service_error::ServiceError;
use crate::messages::registry::{DeleteIdentity, PutIdentity};
use crate::messages::service_twins::{ChangeTwin, TwinChange};
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
        let mode = text("importMode").unwrap_or("createOrUpdate");
        let lower = mode.to_ascii_lowercase();
        let (action, has_etag) = match lower.strip_suffix("ifmatchetag") {
            Some(action) => (action, true),
            None => (&*lower, false),
        };
        let names =
            if action == "updatetwin" { ["twinETag", "twinEtag"] } else { ["eTag", "etag"] };
        let condition = match IfMatch::parse(text(names[0]).or(text(names[1]))) {
            IfMatch::None if has_etag => {
                let why = format!("importMode {mode} needs {}", names[0]);
                return Err(ServiceError::bad(why));
            }
            etag if has_etag => etag,
            _ => IfMatch::Any,
        };
        match action {
            "create" if !has_etag => self.bulk_put(id, item, IfMatch::None).await,
            "update" => self.bulk_put(id, item, condition).await,
            "createorupdate" => match self.find(&id).await {
                Err(error) if error.status == 404 => self.bulk_put(id, item, IfMatch::None).await,
                _ => self.bulk_put(id, item, condition).await,
            },
            "updatetwin" => {
                self.find(&id).await?;
                let change = TwinChange::Merge(item.clone());
                self.bulk_twin(ChangeTwin { identity: id, condition, change }).await
            }
            "delete" => ask(&self.ports.delete, DeleteIdentity { identity: id, condition }).await,
            _ => {
                let known = "create, update, updateTwin, delete, createOrUpdate, and all but \
                             create with IfMatchETag behind it";
                Err(ServiceError::bad(format!("importMode is one of {known}, not {mode}")))
            }
        }
    }

    /// An identity, and its twin if the item has a part of one.
    async fn bulk_put(
        &self,
        id: Identity,
        item: &Value,
        condition: IfMatch,
    ) -> Result<(), ServiceError> {
        let draft = Draft::parse(id.clone(), item)?;
        ask(&self.ports.put, PutIdentity { draft, condition }).await?;
        let parts = [item.get("tags"), item.pointer("/properties/desired")];
        if parts.into_iter().flatten().all(Value::is_null) {
            return Ok(());
        }
        let change = TwinChange::Merge(item.clone());
        self.bulk_twin(ChangeTwin { identity: id, condition: IfMatch::Any, change }).await
    }

    async fn bulk_twin(&self, change: ChangeTwin) -> Result<(), ServiceError> {
        ask(&self.ports.change_twin, change).await.map(|_| ())
    }
}
