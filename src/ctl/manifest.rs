//! Deployment manifests: what forms there are, and what one changes. Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::CtlError;
pub(super) use crate::domain::agent::layers::desired;

/// The `modulesContent` of a manifest: bare, wrapped in `content`, or in `modulesContent`.
pub(super) fn parse(text: &str) -> Result<Map<String, Value>, CtlError> {
    let manifest: Value = serde_json::from_str(text)
        .map_err(|e| CtlError::new("the manifest is not JSON").because(e))?;
    serde_json::from_str::<Once>(text)
        .map_err(|e| CtlError::new("of two of one name one would be ignored").because(e))?;
    let unexpanded = unexpanded(&manifest);
    if !unexpanded.is_empty() {
        let places = unexpanded.iter().map(|(path, name)| format!("\n    {name} at {path}"));
        let error = CtlError::new("this is a template: these variables are not expanded");
        return Err(error.because(places.collect::<String>()).hint(
            "write their values in, or deploy what your build tool made of it (for VS Code \
             config/deployment.*.json)",
        ));
    }
    let content = manifest.get("content").unwrap_or(&manifest);
    let content = content.get("modulesContent").unwrap_or(content);
    match content.as_object() {
        Some(modules) if modules.contains_key("$edgeAgent") => Ok(modules.clone()),
        Some(modules) if modules.contains_key("$edgeHub") => Ok(modules.clone()),
        _ => Err(CtlError::new("the manifest has no modulesContent with $edgeAgent").hint(
            "it is what `az iot edge set-modules` takes: {\"modulesContent\": {\"$edgeAgent\": \
             {\"properties.desired\": …}}}, also wrapped in \"content\"",
        )),
    }
}

/// JSON in which no object has a name twice.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format!("`{name}` stands here a second time")));
            }
            names.insert(name);
            map.next_value::<Once>()?;
        }
        Ok(Once)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Once, A::Error> {
        while list.next_element::<Once>()?.is_some() {}
        Ok(Once)
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_str<E>(self, _: &str) -> Result<Once, E> {
        Ok(Once)
    }
}

/// Every `${…}` in a text of the manifest, with its path.
fn unexpanded(manifest: &Value) -> Vec<(String, String)> {
    fn walk(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let dot = if path.is_empty() { "" } else { "." };
                    walk(&format!("{path}{dot}{key}"), value, found);
                }
            }
            Value::Array(list) => {
                let items = list.iter().enumerate();
                items.for_each(|(at, value)| walk(&format!("{path}[{at}]"), value, found));
            }
            Value::String(text) => {
                for part in text.split("${").skip(1) {
                    if let Some((name, _)) = part.split_once('}') {
                        found.push((path.to_owned(), format!("${{{name}}}")));
                    }
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk("", manifest, &mut found);
    found
}

/// What changes in the desired properties of one module: a line each, with `+`, `-` or `~`.
pub(super) fn changes(module: &str, current: &Value, wanted: &Value) -> Vec<String> {
    let empty = Map::new();
    let members = |value: &'static str, from: &Value| {
        from.get(value).and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let mut lines = Vec::new();
    let named: &[(&'static str, &str)] = match module {
        "$edgeAgent" => &[("systemModules", "system module"), ("modules", "module")],
        "$edgeHub" => &[("routes", "route")],
        _ => &[],
    };
    for (section, what) in named {
        compare(what, &members(section, current), &members(section, wanted), &mut lines);
    }
    let others = |value: &Value| {
        let all = value.as_object().unwrap_or(&empty).iter();
        let is_named = |key: &str| named.iter().any(|(section, _)| *section == key);
        let rest = all.filter(|(key, _)| !key.starts_with('$') && !is_named(key));
        rest.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>()
    };
    let what = format!("property of {module}");
    compare(&what, &others(current), &others(wanted), &mut lines);
    lines
}

fn compare(
    what: &str,
    current: &Map<String, Value>,
    wanted: &Map<String, Value>,
    lines: &mut Vec<String>,
) {
    for (name, new) in wanted {
        match current.get(name) {
            None => lines.push(format!("+ {what} {name}{}", brief(new))),
            Some(old) if old == new => {}
            Some(old) => lines.push(format!("~ {what} {name}: {}", difference(old, new))),
        }
    }
    let gone = current.keys().filter(|name| !wanted.contains_key(*name));
    gone.for_each(|name| lines.push(format!("- {what} {name}")));
}

fn image(value: &Value) -> Option<&str> {
    value.pointer("/settings/image")?.as_str()
}

fn route(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("route")?.as_str())
}

/// What is most worth knowing of something new.
fn brief(value: &Value) -> String {
    match (image(value), route(value)) {
        (Some(image), _) => format!(" ({image})"),
        (None, Some(route)) => format!(": {route}"),
        _ if value.is_object() || value.is_array() => String::new(),
        _ => format!(": {value}"),
    }
}

fn difference(old: &Value, new: &Value) -> String {
    let (Some(before), Some(after)) = (old.as_object(), new.as_object()) else {
        let short = |value: &Value| value.to_string().chars().take(60).collect::<String>();
        return format!("{} -> {}", short(old), short(new));
    };
    let mut parts = Vec::new();
    if let (Some(was), Some(is)) = (image(old), image(new))
        && was != is
    {
        parts.push(format!("image {was} -> {is}"));
    }
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    for key in keys.filter(|key| before.get(*key) != after.get(*key)) {
        let inner = |value: Option<&Value>| {
            let mut value = value.cloned().unwrap_or_default();
            if let Some(settings) = value.as_object_mut() {
                settings.remove("image");
            }
            value
        };
        if key != "settings" || inner(before.get(key)) != inner(after.get(key)) {
            parts.push(if key == "settings" { "createOptions".into() } else { key.clone() });
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn manifests_are_read_bare_or_wrapped() {
        let modules = json!({ "$edgeAgent": { "properties.desired": {} } });
        let bare = json!({ "modulesContent": modules });
        for text in [&modules, &bare, &json!({ "id": "x", "content": bare })] {
            assert_eq!(Value::from(parse(&text.to_string()).unwrap()), modules);
        }
        assert!(parse("{}").unwrap_err().to_string().contains("no modulesContent"));
        assert!(parse("{\n!").unwrap_err().to_string().contains("line 2"));
        let twice = "{\"$edgeAgent\": {\"a\": [{\"web\": 1,\n\"x\": 0.5, \"web\": {}}]}}";
        let error = parse(twice).unwrap_err().to_string();
        assert!(error.contains("`web` stands here a second time at line 2"), "{error}");
    }

    #[test]
    fn the_variables_of_a_template_are_named_with_their_places() {
        let text = r#"{"modulesContent":{"$edgeAgent":{"properties.desired":{"modules":{"m":
            {"settings":{"image":"${MODULES.m.amd64}"},"env":["$HOME", "${A}${B}"]}}}}}}"#;
        let error = parse(text).unwrap_err().to_string();
        let path = "modulesContent.$edgeAgent.properties.desired.modules.m";
        assert!(
            error.contains(&format!("${{MODULES.m.amd64}} at {path}.settings.image")),
            "{error}"
        );
        assert!(error.contains(&format!("${{B}} at {path}.env[1]")), "{error}");
    }

    #[test]
    fn what_goes_and_comes_is_told_by_module_and_route() {
        let module = |image: &str, status: &str| json!({ "status": status, "settings": { "image": image, "createOptions": "{}" } });
        let current = json!({ "$version": 3, "schemaVersion": "1.0", "modules": {
            "a": module("a:1", "running"), "b": module("b:1", "running"), "c": module("c:1", "running") }});
        let mut wanted = json!({ "schemaVersion": "1.1", "modules": {
            "a": module("a:2", "stopped"), "c": module("c:1", "running"), "d": module("d:1", "running") }});
        assert_eq!(
            changes("$edgeAgent", &current, &wanted),
            [
                "~ module a: image a:1 -> a:2, status",
                "+ module d (d:1)",
                "- module b",
                "~ property of $edgeAgent schemaVersion: \"1.0\" -> \"1.1\"",
            ]
        );
        wanted = current.clone();
        wanted["modules"]["a"]["settings"]["createOptions"] = "{\"x\":1}".into();
        assert_eq!(changes("$edgeAgent", &current, &wanted), ["~ module a: createOptions"]);
        assert!(changes("$edgeAgent", &current, &current).is_empty());
        let routes =
            json!({ "routes": { "up": "FROM /* INTO $upstream", "o": { "route": "FROM x" } } });
        assert_eq!(
            changes("$edgeHub", &json!({}), &routes),
            ["+ route up: FROM /* INTO $upstream", "+ route o: FROM x"]
        );
        assert_eq!(
            changes("m", &json!({"t": 25}), &json!({"t": 30})),
            ["~ property of m t: 25 -> 30"]
        );
    }

    #[test]
    fn single_properties_are_set_on_top_of_those_that_are_there() {
        let current = json!({ "a": { "b": 1, "c": 2 } });
        let given = json!({ "properties.desired.a.b": 5, "properties.desired.x": true });
        assert_eq!(desired(&given, &current), json!({ "a": { "b": 5, "c": 2 }, "x": true }));
        let given = json!({ "properties.desired": { "y": 1 } });
        assert_eq!(desired(&given, &current), json!({ "y": 1 }));
    }
}
