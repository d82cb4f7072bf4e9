//! Files with routes: deployments in every form that `deploy` takes, or only routes.

use std::path::Path;

use serde_json::{Value, json};

use crate::ctl::error::CtlError;
use crate::ctl::manifest;
use crate::domain::route::{RouteSet, RouteTable};
use crate::protocol::files::read_text;

/// JSON of a file.
pub(super) fn read(file: &Path) -> Result<Value, CtlError> {
    let text = read_text(file).map_err(|e| CtlError::new("no file").because(e))?;
    serde_json::from_str(&text)
        .map_err(|e| CtlError::new(format!("{} is not JSON", file.display())).because(e))
}

/// The desired properties of `$edgeHub` that a file says.
pub(super) fn desired(file: &Path) -> Result<Value, CtlError> {
    of(&read(file)?).map_err(|e| e.hint(format!("it is {}", file.display())))
}

fn of(file: &Value) -> Result<Value, CtlError> {
    let forms = "a deployment, {\"routes\": {…}}, or {\"NAME\": \"FROM … INTO …\"}";
    let Some(members) = file.as_object() else {
        return Err(CtlError::new(format!("this is no file of routes: it must be {forms}")));
    };
    if ["content", "modulesContent", "$edgeHub", "$edgeAgent"]
        .iter()
        .any(|key| members.contains_key(*key))
    {
        let content = manifest::parse(&file.to_string())?;
        let Some(hub) = content.get("$edgeHub") else {
            return Err(CtlError::new(
                "the deployment has no $edgeHub: it leaves the routes alone",
            ));
        };
        let mut desired = manifest::desired(hub, &json!({}));
        if hub.get("properties.desired").is_none() {
            // Single properties, on top of what is deployed.
            desired["schemaVersion"] = json!("1.1");
        }
        return Ok(desired);
    }
    let is_route = |value: &Value| value.is_string() || value.get("route").is_some();
    match members.get("routes") {
        Some(routes) if !is_route(routes) => {
            let mut desired = file.clone();
            if desired.get("schemaVersion").is_none() {
                desired["schemaVersion"] = json!("1.1");
            }
            let known = ["routes", "schemaVersion", "storeAndForwardConfiguration"];
            match members.keys().find(|key| !known.contains(&key.as_str())) {
                Some(key) => Err(CtlError::new(format!("unknown key `{key}`"))
                    .hint(format!("beside `routes` there may be {}", known[1..].join(" and ")))),
                None => Ok(desired),
            }
        }
        _ => Ok(json!({ "schemaVersion": "1.1", "routes": file })),
    }
}

/// The routes of a file; all of them must be good.
pub(super) fn table(file: &Path, edge_device: &str) -> Result<RouteTable, CtlError> {
    let set = RouteSet::parse(&desired(file)?, edge_device);
    let hint = || format!("`edgectl route check {}` shows all that is wrong", file.display());
    let bad = set.schema_error.or(set.bad.first().map(|bad| bad.error.to_string()));
    match bad {
        Some(why) => {
            let what = format!("{} has a route that is not good", file.display());
            Err(CtlError::new(what).because(why).hint(hint()))
        }
        None => Ok(RouteTable::new(1, set.good, set.global_ttl)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_found_in_every_form_of_a_file() {
        let routes = json!({ "a": "FROM /* INTO $upstream" });
        let desired = json!({ "schemaVersion": "1.1", "routes": routes });
        let hub = json!({ "$edgeHub": { "properties.desired": desired } });
        let forms = [
            routes.clone(),
            json!({ "routes": routes }),
            desired.clone(),
            hub.clone(),
            json!({ "modulesContent": hub }),
            json!({ "id": "x", "content": { "modulesContent": hub } }),
            json!({ "$edgeHub": { "properties.desired.routes.a": routes["a"] } }),
        ];
        for form in forms {
            assert_eq!(of(&form).unwrap(), desired, "{form}");
        }
        let named = json!({ "routes": "FROM /* INTO $upstream" });
        assert_eq!(of(&named).unwrap()["routes"], named, "a route may have this name");
        for (bad, why) in [
            (json!([]), "no file of routes"),
            (json!({ "routes": {}, "route": {} }), "unknown key `route`"),
            (json!({ "$edgeAgent": {} }), "no $edgeHub"),
            (json!({ "$edgeHub": { "a": "${B}" } }), "template"),
        ] {
            let error = of(&bad).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
