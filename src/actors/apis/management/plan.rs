//! What a manifest would do to this device: its modules, by the agent's own planner; routes; desired
//! properties of `$edgeHub` and of modules. Nothing is changed.

use serde_json::{Map, Value, json};

use super::answers::{Answers, LONG, SOON, away};
use crate::domain::agent::layers::desired;
use crate::domain::route::preview::{properties, routes};
use crate::messages::agent::{PreviewDeployment, Previewed};
use crate::messages::twins::GetDesired;
use crate::protocol::http::{HttpRequest, HttpResponse};

const HUB: &str = "$edgeHub";
const AGENT: &str = "$edgeAgent";

impl Answers {
    /// The body is modulesContent; what it does not name stays.
    pub(super) async fn plan(&self, request: &HttpRequest) -> Result<HttpResponse, HttpResponse> {
        let bad =
            |e: serde_json::Error| HttpResponse::error(400, format!("not modulesContent: {e}"));
        let content: Map<String, Value> = serde_json::from_slice(&request.body).map_err(bad)?;
        let planned = match content.get(AGENT) {
            Some(given) => {
                let asked = self.ports.preview.ask(PreviewDeployment(given.clone()), LONG).await;
                let planned = asked.map_err(|e| away("the agent", e))?;
                planned.map_err(|why| HttpResponse::error(409, why))?
            }
            None => Previewed::default(),
        };
        let mut planned = json!(planned);
        let mut others = Vec::new();
        for (module, given) in content.iter().filter(|(module, _)| *module != AGENT) {
            let device = &self.about.device;
            let identity = device.sibling(module).map_err(|e| HttpResponse::error(400, e))?;
            let now = self.ports.desired.ask(GetDesired(identity), SOON).await;
            let now = now.map_err(|e| away("twins", e))?;
            let now = now.map_or_else(|| json!({}), |it| Value::clone(&it.properties));
            let new = desired(given, &now);
            let but: &[&str] = if module == HUB { &["routes", "schemaVersion"] } else { &[] };
            others.push(properties(module, &now, &new, but));
            if module == HUB {
                planned["routes"] = json!(routes(&now, &new, device.device_id()));
            }
        }
        planned["properties"] = json!(others);
        Ok(HttpResponse::json(200, &planned))
    }
}
