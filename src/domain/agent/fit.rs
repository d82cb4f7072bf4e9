//! The twin has a limit: what is told less of, and in which order, when there are many modules.
//!
//! How a module does is told last to go; what the deployment says anyway goes first. What is left out
//! is named in `shortened`.
//! next: `reported.rs`.

use serde_json::{Value, json};

use super::fields::Object;
use super::when::NEVER;

/// Of the whole document as JSON; the hub takes 32 KiB.
pub const LIMIT: usize = 31 * 1024;
/// Of a text: the hub takes 4 KiB.
const LONGEST_TEXT: usize = 2048;

/// What goes, and how.
type Step = (&'static str, fn(&mut Object));

/// In this order.
const STEPS: [Step; 6] = [
    ("createOptions", drop_create_options),
    ("env", |module| drop_from(module, "env")),
    ("imageHash", drop_image_hash),
    ("statusDescription", |module| cut(module, "statusDescription", 120)),
    ("times", drop_never),
    ("settings", drop_settings),
];

/// Makes it fit. Texts that are too long for the hub are cut in any case.
pub fn fit(document: &mut Value, limit: usize) {
    each_module(document, |module| cut(module, "statusDescription", LONGEST_TEXT));
    if let Some(status) = document["lastDesiredStatus"].as_object_mut() {
        cut(status, "description", LONGEST_TEXT);
    }
    let mut gone: Vec<&str> = Vec::new();
    for (name, step) in STEPS {
        if size(document) <= limit {
            break;
        }
        each_module(document, step);
        gone.push(name);
        document["shortened"] = json!(gone);
    }
    leave_out(document, limit);
}

/// At last modules that run, of which there is the least to say.
fn leave_out(document: &mut Value, limit: usize) {
    let mut too_much = match size(document).saturating_sub(limit) {
        0 => return,
        bytes => bytes + 64, // and what is said of it
    };
    let Some(modules) = document["modules"].as_object_mut() else { return };
    let mut left_out = 0;
    modules.retain(|name, module| {
        let keep = too_much == 0 || module["runtimeStatus"] != "running";
        if !keep {
            left_out += 1;
            too_much = too_much.saturating_sub(name.len() + module.to_string().len() + 4);
        }
        keep
    });
    if left_out > 0
        && let Some(gone) = document["shortened"].as_array_mut()
    {
        gone.push(json!(format!("{left_out} modules that run")));
    }
}

fn size(document: &Value) -> usize {
    document.to_string().len()
}

fn each_module(document: &mut Value, change: impl Fn(&mut Object)) {
    for part in ["modules", "systemModules"] {
        let modules = document.get_mut(part).and_then(Value::as_object_mut);
        for module in modules.into_iter().flat_map(|it| it.values_mut()) {
            module.as_object_mut().into_iter().for_each(&change);
        }
    }
}

fn drop_from(object: &mut Object, name: &str) {
    object.shift_remove(name);
}

fn settings(module: &mut Object) -> Option<&mut Object> {
    module.get_mut("settings").and_then(Value::as_object_mut)
}

fn drop_create_options(module: &mut Object) {
    if let Some(settings) = settings(module) {
        settings.retain(|name, _| !name.starts_with("createOptions"));
    }
}

fn drop_image_hash(module: &mut Object) {
    if let Some(settings) = settings(module) {
        settings.shift_remove("imageHash");
    }
}

fn drop_never(module: &mut Object) {
    module.retain(|_, value| value != NEVER && !value.is_null());
}

fn drop_settings(module: &mut Object) {
    for name in ["settings", "type", "version", "imagePullPolicy", "startupOrder"] {
        module.shift_remove(name);
    }
}

fn cut(object: &mut Object, name: &str, most: usize) {
    let Some(Value::String(text)) = object.get_mut(name) else { return };
    if text.len() > most {
        let end = text.floor_char_boundary(most);
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(modules: usize, options: usize) -> Value {
        let module = |at: usize| {
            let name = format!("module-{at:03}");
            let module = json!({
                "exitCode": 0, "statusDescription": "", "lastStartTimeUtc": "2026-11-26T03:00:00Z",
                "lastExitTimeUtc": NEVER, "restartCount": 0, "lastRestartTimeUtc": NEVER,
                "runtimeStatus": if at == 7 { "backoff" } else { "running" },
                "status": "running", "restartPolicy": "always", "imagePullPolicy": "on-create",
                "type": "docker",
                "settings": {"image": "registry.example.com/name:1.0",
                    "imageHash": format!("sha256:{at:064}"), "createOptions": "o".repeat(options)},
                "env": {"NAME": {"value": "***"}}, "version": "1.0",
            });
            (name, module)
        };
        let modules = (0..modules).map(module).collect::<Object>();
        json!({"lastDesiredStatus": {"code": 200, "description": ""}, "modules": modules})
    }

    #[test]
    fn what_fits_is_told_whole() {
        let whole = document(40, 10);
        let mut fitted = whole.clone();
        fit(&mut fitted, LIMIT);
        assert_eq!(fitted, whole);
    }

    #[test]
    fn how_a_module_does_is_the_last_to_go() {
        for (modules, options, shortened) in [
            (50, 400, json!(["createOptions"])),
            (70, 0, json!(["createOptions", "env", "imageHash"])),
            (
                120,
                0,
                json!([
                    "createOptions",
                    "env",
                    "imageHash",
                    "statusDescription",
                    "times",
                    "settings"
                ]),
            ),
        ] {
            let mut fitted = document(modules, options);
            fit(&mut fitted, LIMIT);
            assert!(fitted.to_string().len() <= LIMIT);
            assert_eq!(fitted["shortened"], shortened, "{modules} {options}");
            let all = fitted["modules"].as_object().unwrap();
            assert_eq!(all.len(), modules);
            assert!(all.values().all(|it| it["runtimeStatus"].is_string() && it["exitCode"] == 0));
        }
        let mut fitted = document(1000, 0);
        fit(&mut fitted, LIMIT);
        assert!(fitted.to_string().len() <= LIMIT);
        assert_eq!(fitted["modules"]["module-007"]["runtimeStatus"], "backoff");
        let left_out = fitted["shortened"][6].as_str().unwrap();
        assert!(left_out.ends_with("modules that run"), "{left_out}");
    }

    #[test]
    fn long_texts_are_cut_for_the_hub() {
        let mut fitted = document(1, 0);
        fitted["lastDesiredStatus"]["description"] = json!("é".repeat(4000));
        fitted["modules"]["module-000"]["statusDescription"] = json!("x".repeat(5000));
        fit(&mut fitted, LIMIT);
        assert!(
            crate::domain::twin::limits::validate_reported(fitted.to_string().as_bytes()).is_ok()
        );
    }
}
