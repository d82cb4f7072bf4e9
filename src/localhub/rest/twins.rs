//! Twins as service clients see them: the registry's, presence's and the twin's own part in one.

use serde_json::{Map, Value, json};

use super::devices::{About, quoted};
use super::{Answer, Rest, ask, if_match, json as body};
use crate::domain::identity::Identity;
use crate::domain::registry::Entry;
use crate::domain::service_error::ServiceError;
use crate::messages::registry::ListPresence;
use crate::messages::service_twins::{ChangeTwin, ReadTwins, TwinChange};
use crate::protocol::http::{HttpRequest, HttpResponse};

impl Rest {
    pub(super) async fn twin(&self, request: &HttpRequest, id: Identity) -> Answer {
        let change = match request.method.as_str() {
            "GET" => None,
            "PATCH" => Some(TwinChange::Merge(body(request)?)),
            "PUT" => Some(TwinChange::Replace(body(request)?)),
            other => {
                let why = format!("a twin is read, patched or put, not {other}");
                return Err(ServiceError::new(405, "MethodNotAllowed", why));
            }
        };
        let entry = self.find(&id).await?;
        let twin = match change {
            Some(change) => {
                let condition = if_match(request);
                let change = ChangeTwin { identity: id.clone(), condition, change };
                ask(&self.ports.change_twin, change).await?
            }
            None => {
                let twins = ask(&self.ports.read_twins, ReadTwins(vec![id.clone()])).await?;
                twins.into_iter().next().unwrap_or_default()
            }
        };
        let about = self.about(ListPresence::Of(vec![id])).await?;
        let etag = quoted(twin["etag"].as_str().unwrap_or_default());
        Ok(HttpResponse::json(200, &whole(&entry, twin, &about)).with_header("ETag", &etag))
    }

    /// The twins of these identities, whole.
    pub(super) async fn whole_twins(&self, entries: &[Entry]) -> Result<Vec<Value>, ServiceError> {
        let ids: Vec<Identity> = entries.iter().map(|entry| entry.id.clone()).collect();
        let twins = ask(&self.ports.read_twins, ReadTwins(ids.clone())).await?;
        let about = self.about(ListPresence::Of(ids)).await?;
        let pairs = entries.iter().zip(twins);
        Ok(pairs.map(|(entry, twin)| whole(entry, twin, &about)).collect())
    }
}

fn whole(entry: &Entry, twin: Value, about: &About) -> Value {
    let identity = entry.json();
    let mut json = Map::new();
    let mut copy = |from: &str, to: &str| {
        if let Some(value) = identity.get(from) {
            json.insert(to.into(), value.clone());
        }
    };
    copy("deviceId", "deviceId");
    copy("moduleId", "moduleId");
    copy("etag", "deviceEtag");
    copy("status", "status");
    copy("statusReason", "statusReason");
    copy("statusUpdatedTime", "statusUpdateTime");
    copy("capabilities", "capabilities");
    copy("deviceScope", "deviceScope");
    copy("parentScopes", "parentScopes");
    about.add_to(&entry.id, &mut json);
    json.insert("authenticationType".into(), entry.authentication_type().into());
    json.insert("x509Thumbprint".into(), identity["authentication"]["x509Thumbprint"].clone());
    json.insert("modelId".into(), json!(""));
    if let Value::Object(twin) = twin {
        json.extend(twin);
    }
    Value::Object(json)
}
