//! Properties that a deployment has and nobody reads: a slip of the pen changes nothing, and is
//! found by nobody, unless it is named. The schema ignores them, so they are no errors.

use serde_json::Value;

use crate::domain::agent::fields::{Object, some_field};
use crate::domain::nearest::nearest;

const ROOT: &[&str] = &["schemaVersion", "runtime", "systemModules", "modules", "integrity"];
const RUNTIME: &[&str] = &["type", "settings"];
const RUNTIME_SETTINGS: &[&str] = &["minDockerVersion", "loggingOptions", "registryCredentials"];
const MODULE: &[&str] = &[
    "type",
    "status",
    "version",
    "restartPolicy",
    "startupOrder",
    "imagePullPolicy",
    "settings",
    "env",
];
const SETTINGS: &[&str] = &["image", "createOptions", "digest"];
/// More are not told.
const MOST: usize = 20;

/// Each of them, in words.
pub(super) fn unknown(root: &Object) -> Vec<String> {
    let mut found = Vec::new();
    look(root, "", ROOT, &mut found);
    let within = |parent: &Object, name: &str| -> Object {
        some_field(parent, name).and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let runtime = within(root, "runtime");
    look(&runtime, "runtime.", RUNTIME, &mut found);
    look(&within(&runtime, "settings"), "runtime.settings.", RUNTIME_SETTINGS, &mut found);
    for (name, module) in &within(root, "modules") {
        let Some(module) = module.as_object() else { continue };
        look(module, &format!("modules.{name}."), MODULE, &mut found);
        let settings = within(module, "settings");
        look(&settings, &format!("modules.{name}.settings."), SETTINGS, &mut found);
    }
    let left_out = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    if left_out > 0 {
        found.push(format!("{left_out} more properties are not known, and are ignored"));
    }
    found
}

fn look(object: &Object, place: &str, known: &[&str], found: &mut Vec<String>) {
    for (key, value) in object {
        let bare = key.trim_end_matches(|c: char| c.is_ascii_digit());
        let is_piece = bare.eq_ignore_ascii_case("createOptions");
        let is_known = known.iter().any(|name| name.eq_ignore_ascii_case(key));
        if is_known || is_piece || key.starts_with('$') || value.is_null() {
            continue;
        }
        let near = nearest(key, known.iter().copied());
        let hint = near.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        found.push(format!("{place}{key} is not known, and is ignored{hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_slip_of_the_pen_is_named_with_what_was_meant_and_without_its_value() {
        let root = json!({
            "schemaVersion": "1.1", "$version": 3, "modul": {"a": 1},
            "runtime": {"type": "docker", "settings": {"registryCredential": "s3cret"}},
            "MODULES": {"m": {
                "resartPolicy": "never", "STATUS": "running", "old": null, "colour": "red",
                "settings": {"image": "i", "createOptions01": "", "createOption": "{}"},
            }},
        });
        let all = unknown(root.as_object().unwrap());
        let expected = [
            "modul is not known, and is ignored; did you mean modules?",
            "runtime.settings.registryCredential is not known, and is ignored; did you mean \
             registryCredentials?",
            "modules.m.resartPolicy is not known, and is ignored; did you mean restartPolicy?",
            "modules.m.colour is not known, and is ignored",
            "modules.m.settings.createOption is not known, and is ignored; did you mean \
             createOptions?",
        ];
        assert_eq!(all, expected);
        let many: Object = (0..30).map(|n| (format!("x{n}"), json!(1))).collect();
        let all = unknown(&many);
        assert_eq!(
            (all.len(), all[20].as_str()),
            (21, "10 more properties are not known, and are ignored")
        );
    }
}
