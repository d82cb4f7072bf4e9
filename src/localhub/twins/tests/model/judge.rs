//! What must be so at quiet.

use serde_json::{Map, Value};

use super::hub::is_refused;
use super::world::World;

fn properties(section: &Value) -> (u64, Map<String, Value>) {
    let mut section = section.as_object().cloned().unwrap_or_default();
    let version = section.remove("$version").and_then(|it| it.as_u64()).unwrap_or_default();
    (version, section)
}

impl World {
    /// What is wrong.
    pub(super) async fn judge(&self) -> Vec<String> {
        let mut wrong = self.faults.take();
        let refused = self.gateway.refused().await;
        for client in &self.clients {
            let id = client.id().clone();
            if client.waits() > 0 {
                wrong.push(format!("{id}: {} requests were never answered", client.waits()));
            }
            let hub = self.hub.read(&id).await;
            let kept = self.gateway.kept(&id);
            let (version, desired) = properties(&hub["desired"]);
            let desired = Value::Object(desired);
            let view = client.view().map(|(version, view)| (version, Value::Object(view)));
            if view.as_ref().map(|(_, view)| view) != Some(&desired) {
                wrong.push(format!("{id}: wants {desired} at the hub, the client has {view:?}"));
            }
            if (kept["desired"]["version"].as_u64(), &kept["desired"]["properties"])
                != (Some(version), &desired)
            {
                let kept = &kept["desired"];
                wrong.push(format!("{id}: wants {version} {desired}, the gateway has {kept}"));
            }
            let (version, reported) = properties(&hub["reported"]);
            let reported = Value::Object(reported);
            if reported != client.reported() {
                let sent = client.reported();
                wrong.push(format!("{id}: reported {sent}, the hub has {reported}"));
            }
            if (kept["reported"]["version"].as_u64(), &kept["reported"]["properties"])
                != (Some(version), &reported)
            {
                let kept = &kept["reported"];
                wrong.push(format!("{id}: {version} {reported} at the hub, the gateway {kept}"));
            }
            // One that was sent again after a cut may be refused twice; neighbours may be one.
            let kept = refused.iter().filter(|it| it.identity == id.as_str());
            let kept: Vec<_> = kept.collect();
            if (client.refused() == 0) != kept.is_empty()
                || kept.iter().any(|it| it.status != 400 || it.why != "only here")
                || kept.iter().any(|it| !is_refused(it.patch.to_string().as_bytes()))
            {
                wrong.push(format!("{id}: {} refused, kept {kept:?}", client.refused()));
            }
            let mut routed = self.gateway.routed(&id);
            for patch in client.accepted() {
                match routed.iter().position(|it| *it == patch) {
                    Some(at) => drop(routed.remove(at)),
                    None => wrong.push(format!("{id}: {patch} was not routed")),
                }
            }
        }
        if self.gateway.owed() != (0, 0) {
            wrong.push(format!("patches, changes still owed: {:?}", self.gateway.owed()));
        }
        wrong
    }
}
