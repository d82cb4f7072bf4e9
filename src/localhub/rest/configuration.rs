//! `applyConfigurationContent`: desired properties of the modules of one device, at once.

use serde_json::{Value, json};

use super::{Answer, Rest, ask, identity, json as body};
use crate::domain::agent::layers::place;
use crate::domain::identity::Identity;
use crate::domain::registry::{Draft, IfMatch};
use crate::domain::service_error::ServiceError;
use crate::messages::registry::PutIdentity;
use crate::messages::service_twins::{ChangeTwin, TwinChange};
use crate::protocol::http::{HttpRequest, HttpResponse};

impl Rest {
    pub(super) async fn apply_configuration(&self, request: &HttpRequest, device: &str) -> Answer {
        let device = identity(device, None)?;
        let is_edge = self.find(&device).await?.is_edge;
        let content = body(request)?;
        let mut steps = steps(&device, &content)?;
        let system = |id: &Identity| id.module_id().is_some_and(|module| module.starts_with('$'));
        if let Some((id, _)) = steps.iter().find(|(id, _)| system(id) && !is_edge) {
            let why =
                format!("{id} is for edge devices, and {device} is none (capabilities.iotEdge)");
            return Err(ServiceError::bad(why));
        }
        // The agent starts modules: what they are to find must be there by then.
        steps.sort_by_key(|(id, _)| match id.module_id() {
            Some("$edgeAgent") => 2,
            Some("$edgeHub") => 1,
            _ => 0,
        });
        for (id, change) in steps {
            self.ensure(&id).await?;
            let change = ChangeTwin { identity: id, condition: IfMatch::Any, change };
            ask(&self.ports.change_twin, change).await?;
        }
        Ok(HttpResponse::empty(204))
    }

    /// A module that the deployment names comes to be by it.
    async fn ensure(&self, id: &Identity) -> Result<(), ServiceError> {
        match self.find(id).await {
            Err(error) if error.status == 404 => {}
            other => return other.map(|_| ()),
        }
        let draft = Draft::parse(id.clone(), &json!({ "managedBy": "IotEdge" }))?;
        match ask(&self.ports.put, PutIdentity { draft, condition: IfMatch::None }).await {
            Err(error) if error.status != 409 => Err(error),
            _ => Ok(()),
        }
    }
}

type Steps = Vec<(Identity, TwinChange)>;

fn steps(device: &Identity, content: &Value) -> Result<Steps, ServiceError> {
    // What az and the portal export wraps it.
    let content = content.get("content").unwrap_or(content);
    let modules = object(content, "modulesContent")?;
    let own = object(content, "deviceContent")?;
    if !object(content, "moduleContent")?.is_empty() {
        let why = "moduleContent does not say which module it is for: name it in modulesContent";
        return Err(ServiceError::bad(why));
    }
    if modules.is_empty() && own.is_empty() {
        return Err(ServiceError::bad("there is neither modulesContent nor deviceContent"));
    }
    let mut steps = Vec::new();
    for (module, content) in modules {
        let id = device.sibling(module).map_err(|bad| ServiceError::bad(bad.to_string()))?;
        steps.push((id, change(module, content)?));
    }
    if !own.is_empty() {
        let own = Value::Object(own.clone());
        steps.push((device.clone(), change("deviceContent", &own)?));
    }
    Ok(steps)
}

/// `properties.desired` in place of what is there, `properties.desired.a.b` at that path only: one
/// change, whatever it names.
fn change(whose: &str, content: &Value) -> Result<TwinChange, ServiceError> {
    let names = content.as_object();
    let names = names.ok_or_else(|| ServiceError::bad(format!("{whose} is not a JSON object")))?;
    for (name, value) in names {
        let is_good = place(name).is_some_and(|path| !path.is_empty() || value.is_object());
        if !is_good {
            let why = format!("{whose}: `{name}` is not properties.desired with an object");
            return Err(ServiceError::bad(why));
        }
    }
    Ok(TwinChange::Lay(content.clone()))
}

fn object<'a>(
    content: &'a Value,
    name: &str,
) -> Result<&'a serde_json::Map<String, Value>, ServiceError> {
    static EMPTY: std::sync::LazyLock<serde_json::Map<String, Value>> =
        std::sync::LazyLock::new(serde_json::Map::new);
    match content.get(name) {
        None | Some(Value::Null) => Ok(&EMPTY),
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(ServiceError::bad(format!("{name} is not a JSON object"))),
    }
}
