//! Devices: create, read, change, delete, list, count.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::telemetry::number;
use super::{Answer, Rest, ask, identity, if_match, json as body};
use crate::domain::identity::Identity;
use crate::domain::iso8601;
use crate::domain::registry::{Draft, Entry, not_found};
use crate::domain::service_error::ServiceError;
use crate::messages::devicebound::CountDevicebound;
use crate::messages::registry::{
    DeleteIdentity, ListIdentities, ListPresence, Presence, PutIdentity,
};
use crate::messages::service_twins::ReadTwins;
use crate::protocol::http::{HttpRequest, HttpResponse};

/// What other actors know of identities.
pub(super) struct About {
    presence: BTreeMap<Identity, Presence>,
    waiting: BTreeMap<Identity, u64>,
}

impl About {
    pub(super) fn presence(&self, id: &Identity) -> Presence {
        self.presence.get(id).cloned().unwrap_or_default()
    }

    /// Adds it to what the registry says.
    pub(super) fn add_to(&self, id: &Identity, json: &mut Map<String, Value>) {
        let presence = self.presence(id);
        let time = |time: Option<std::time::Duration>| {
            Value::from(time.map_or_else(|| iso8601::NEVER.to_owned(), iso8601::text))
        };
        let state = if presence.is_connected { "Connected" } else { "Disconnected" };
        json.insert("connectionState".into(), state.into());
        json.insert("connectionStateUpdatedTime".into(), time(presence.since));
        json.insert("lastActivityTime".into(), time(presence.last_activity));
        let waiting = self.waiting.get(id).copied().unwrap_or(0);
        json.insert("cloudToDeviceMessageCount".into(), waiting.into());
    }
}

impl Rest {
    pub(super) async fn about(&self, who: ListPresence) -> Result<About, ServiceError> {
        let presence = ask(&self.ports.presence, who);
        let waiting = ask(&self.ports.count, CountDevicebound);
        let (presence, waiting) = futures_util::future::join(presence, waiting).await;
        Ok(About { presence: presence?, waiting: waiting? })
    }

    pub(super) async fn find(&self, id: &Identity) -> Result<Entry, ServiceError> {
        let found = ask(&self.ports.list, ListIdentities::One(id.clone())).await?;
        found.into_iter().next().ok_or_else(|| not_found(id))
    }

    pub(super) async fn show(&self, entry: &Entry) -> Result<Map<String, Value>, ServiceError> {
        let about = self.about(ListPresence::Of(vec![entry.id.clone()])).await?;
        let mut json = entry.json();
        about.add_to(&entry.id, &mut json);
        Ok(json)
    }

    pub(super) async fn get_device(&self, device: &str) -> Answer {
        let entry = self.find(&identity(device, None)?).await?;
        let mut json = self.show(&entry).await?;
        if entry.is_edge {
            json.insert("edgeStatus".into(), self.edge_status(&entry.id).await?);
        }
        Ok(HttpResponse::json(200, &json).with_header("ETag", &quoted(&entry.etag())))
    }

    /// What the edge's agent last reported; 406 once its link is gone for a minute.
    async fn edge_status(&self, edge: &Identity) -> Result<Value, ServiceError> {
        let own = |name: &str| edge.sibling(name).expect("the name is an id");
        let (hub, agent) = (own("$edgeHub"), own("$edgeAgent"));
        let about = self.about(ListPresence::Of(vec![hub.clone()])).await?;
        let twins = ask(&self.ports.read_twins, ReadTwins(vec![agent])).await?;
        let reported = twins.first().and_then(|twin| twin.pointer("/properties/reported"));
        let at = |path: &str| reported.and_then(|reported| reported.pointer(path));
        let code = at("/lastDesiredStatus/code").and_then(Value::as_u64);
        let presence = about.presence(&hub);
        let is_away = presence.is_long_gone || presence.since.is_none();
        let last_report = at("/lastDesiredStatus").and(at("/$metadata/$lastUpdated"));
        let last_report = last_report.and_then(Value::as_str).unwrap_or(iso8601::NEVER);
        Ok(json!({
            "code": if is_away { 406 } else { code.unwrap_or(406) },
            "lastReportTime": last_report,
        }))
    }

    pub(super) async fn put_device(&self, request: &HttpRequest, device: &str) -> Answer {
        self.put(request, identity(device, None)?).await
    }

    pub(super) async fn put(&self, request: &HttpRequest, id: Identity) -> Answer {
        let draft = Draft::parse(id, &body(request)?)?;
        let put = PutIdentity { draft, condition: if_match(request) };
        let entry = ask(&self.ports.put, put).await?;
        let json = self.show(&entry).await?;
        Ok(HttpResponse::json(200, &json).with_header("ETag", &quoted(&entry.etag())))
    }

    pub(super) async fn delete(&self, request: &HttpRequest, identity: Identity) -> Answer {
        let condition = if_match(request);
        ask(&self.ports.delete, DeleteIdentity { identity, condition }).await?;
        Ok(HttpResponse::empty(204))
    }

    pub(super) async fn list_devices(&self, request: &HttpRequest) -> Answer {
        let top = number(request, "top")?.or(number(request, "maxCount")?).unwrap_or(1000);
        let top = usize::try_from(top).unwrap_or(usize::MAX);
        let entries = ask(&self.ports.list, ListIdentities::Devices).await?;
        let about = self.about(ListPresence::All).await?;
        Ok(HttpResponse::json(200, &list(entries.iter().take(top), &about)))
    }

    pub(super) async fn device_statistics(&self) -> Answer {
        let entries = ask(&self.ports.list, ListIdentities::Devices).await?;
        let enabled = entries.iter().filter(|entry| entry.is_enabled).count();
        Ok(HttpResponse::json(
            200,
            &json!({
                "totalDeviceCount": entries.len(),
                "enabledDeviceCount": enabled,
                "disabledDeviceCount": entries.len() - enabled,
            }),
        ))
    }

    pub(super) async fn service_statistics(&self) -> Answer {
        let presence = ask(&self.ports.presence, ListPresence::All).await?;
        let is_device = |id: &Identity| id.module_id().is_none();
        let connected = presence.iter().filter(|(id, shown)| is_device(id) && shown.is_connected);
        Ok(HttpResponse::json(200, &json!({ "connectedDeviceCount": connected.count() })))
    }
}

/// The entries as JSON.
pub(super) fn list<'a>(entries: impl Iterator<Item = &'a Entry>, about: &About) -> Vec<Value> {
    let show = |entry: &Entry| {
        let mut json = entry.json();
        about.add_to(&entry.id, &mut json);
        Value::Object(json)
    };
    entries.map(show).collect()
}

pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}
