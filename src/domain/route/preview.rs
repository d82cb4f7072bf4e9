//! What desired properties of `$edgeHub`, and of modules, would change. Nothing is changed by it.

use serde::Serialize;
use serde_json::{Map, Value};

use super::RouteSet;

/// What becomes of one route, or of all of a module's other desired properties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The route; or the module, `$edgeHub` among them.
    pub name: String,
    /// `added`, `changed`, `removed`, `untouched` or `wrong`.
    pub change: &'static str,
    /// What differs; of a wrong one, why.
    pub differences: Vec<String>,
}

/// Route by route; `device` is this edge's.
pub fn routes(now: &Value, new: &Value, device: &str) -> Vec<Change> {
    let set = RouteSet::parse(new, device);
    if let Some(why) = set.schema_error {
        let name = "$edgeHub".into();
        return vec![Change { name, change: "wrong", differences: vec![why] }];
    }
    let of = |desired: &Value| -> Map<String, Value> {
        let routes = desired.get("routes").and_then(Value::as_object).cloned();
        let routes = routes.unwrap_or_default().into_iter();
        routes.filter(|(name, route)| !name.starts_with('$') && !route.is_null()).collect()
    };
    let (before, after) = (of(now), of(new));
    let mut all: Vec<Change> = Vec::new();
    for (name, route) in &after {
        let wrong = set.bad.iter().find(|bad| bad.name == *name);
        let (change, differences) = match (wrong, before.get(name)) {
            (Some(bad), _) => ("wrong", vec![bad.error.to_string()]),
            (None, None) => ("added", vec![text(route).to_owned()]),
            (None, Some(before)) => {
                let differences = differences(before, route);
                (if differences.is_empty() { "untouched" } else { "changed" }, differences)
            }
        };
        all.push(Change { name: name.clone(), change, differences });
    }
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    all.extend(gone.map(|(name, route)| Change {
        name: name.clone(),
        change: "removed",
        differences: vec![text(route).to_owned()],
    }));
    all
}

fn text(route: &Value) -> &str {
    route.as_str().or_else(|| route.get("route")?.as_str()).unwrap_or_default()
}

fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut all = Vec::new();
    if text(before) != text(after) {
        all.push(format!("{} -> {}", text(before), text(after)));
    }
    for name in ["priority", "timeToLiveSecs"] {
        let (was, is) = (before.get(name), after.get(name));
        if was != is {
            let word = |value: Option<&Value>| value.map_or("none".into(), Value::to_string);
            all.push(format!("{name} {} -> {}", word(was), word(is)));
        }
    }
    all
}

/// Desired properties but for those that others tell of; by the places where they differ. Values may
/// be secrets, and are not told.
pub fn properties(name: &str, now: &Value, new: &Value, but: &[&str]) -> Change {
    let mut differences = Vec::new();
    let of = |desired: &Value| -> Map<String, Value> {
        let all = desired.as_object().cloned().unwrap_or_default().into_iter();
        all.filter(|(name, _)| !name.starts_with('$') && !but.contains(&name.as_str())).collect()
    };
    walk("", &of(now), &of(new), &mut differences);
    let change = if differences.is_empty() { "untouched" } else { "changed" };
    Change { name: name.to_owned(), change, differences }
}

fn walk(path: &str, now: &Map<String, Value>, new: &Map<String, Value>, found: &mut Vec<String>) {
    let at = |name: &str| if path.is_empty() { name.into() } else { format!("{path}.{name}") };
    for (name, value) in new {
        let place = at(name);
        match (now.get(name), value) {
            (None, _) => found.push(format!("{place} added")),
            (Some(Value::Object(now)), Value::Object(new)) => walk(&place, now, new, found),
            (Some(now), value) if now != value => found.push(format!("{place} changed")),
            (Some(_), _) => {}
        }
    }
    for name in now.keys().filter(|name| !new.contains_key(*name)) {
        found.push(format!("{} removed", at(name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_route_is_told_with_what_differs() {
        let all = "FROM /messages/* INTO $upstream";
        let none = "FROM /messages/* WHERE false INTO $upstream";
        let now = json!({"schemaVersion": "1.1", "routes": {
            "same": all, "text": all, "share": {"route": all, "priority": 1}, "gone": all,
        }});
        let new = json!({"schemaVersion": "1.1", "routes": {
            "same": all, "text": none, "share": {"route": all, "priority": 2}, "new": all,
            "bad": "FROM nowhere",
        }});
        let told: Vec<String> = routes(&now, &new, "edge")
            .into_iter()
            .map(|it| format!("{} {} {}", it.change, it.name, it.differences.join(", ")))
            .collect();
        assert_eq!(told[0], "untouched same ");
        assert_eq!(told[1], format!("changed text {all} -> {none}"));
        assert_eq!(told[2], "changed share priority 1 -> 2");
        assert_eq!(told[3], format!("added new {all}"));
        assert!(told[4].starts_with("wrong bad "), "{}", told[4]);
        assert_eq!(told[5], format!("removed gone {all}"));
        assert_eq!(routes(&now, &json!({"routes": {}}), "edge")[0].change, "wrong");
    }

    #[test]
    fn other_properties_are_told_by_their_places() {
        let now = json!({"$version": 1, "a": {"b": 1, "c": "secret"}, "d": 1, "routes": {}});
        let new = json!({"a": {"b": 2, "c": "secret"}, "e": {"f": 1}, "routes": {"r": ""}});
        let change = properties("m", &now, &new, &["routes"]);
        assert_eq!(change.differences, ["a.b changed", "e added", "d removed"]);
        assert_eq!(properties("m", &now, &now, &[]).change, "untouched");
    }
}
