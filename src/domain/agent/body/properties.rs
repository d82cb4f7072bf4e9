//! Of any createOptions, all reaches the engine but what is named here.

use proptest::prelude::*;

use super::tests::{around, spec};
use super::*;
use crate::domain::agent::fields::field;

/// Some JSON, as deep as the engine's own.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zA-Z0-9:/=._-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[A-Za-z]{1,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A name in some case: the engine reads them in any.
fn cased(name: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(name.to_owned()),
        1 => Just(name.to_ascii_lowercase()),
        1 => Just(name.to_ascii_uppercase()),
    ]
}

type Pair = BoxedStrategy<(String, Value)>;

fn pair(name: &'static str, value: impl Strategy<Value = Value> + 'static) -> Pair {
    (cased(name), value).boxed()
}

fn texts(pattern: &'static str) -> impl Strategy<Value = Value> {
    prop::collection::vec(pattern, 0..4).prop_map(Value::from)
}

/// Some of these, and others that nobody knows; none of them twice in two cases.
fn object_of(known: Vec<Pair>) -> BoxedStrategy<Value> {
    let some: Vec<_> = known.into_iter().map(prop::option::of).collect();
    let others = prop::collection::btree_map("Future[A-Z][a-z]{0,4}", any_json(), 0..4);
    let all = (some, others).prop_map(|(some, others)| {
        let pairs: Vec<(String, Value)> = some.into_iter().flatten().chain(others).collect();
        let mut object = Object::new();
        for (name, value) in pairs {
            if field(&object, &name).is_none() {
                object.insert(name, value);
            }
        }
        Value::Object(object)
    });
    all.boxed()
}

/// createOptions that are well formed.
pub(crate) fn options() -> BoxedStrategy<Value> {
    let mode = prop_oneof![Just(""), Just("host"), Just("none"), Just("container:x"), Just("own")];
    let endpoints = object_of(vec![]);
    let host = object_of(vec![
        pair("Binds", texts("/[a-z]{1,3}:/[a-z]{1,3}")),
        pair("Mounts", Just(json!([{"Type": "volume", "Source": "v", "Target": "/v"}]))),
        pair("ExtraHosts", texts("[a-z]{1,3}:10.0.0.1")),
        pair("NetworkMode", mode.prop_map(Value::from)),
        pair("LogConfig", object_of(vec![pair("Type", Just("local".into()))])),
        pair("RestartPolicy", Just(json!({"Name": "always"}))),
        pair("PortBindings", Just(json!({"80/tcp": [{"HostPort": "80"}]}))),
        pair("Privileged", any_json()),
        pair("NanoCPUs", any_json()),
        pair("Devices", any_json()),
    ]);
    object_of(vec![
        pair("Env", texts("[A-C]{1,2}(=[a-z=]{0,3})?")),
        pair("Labels", object_of(vec![pair("mine", Just("1".into()))])),
        pair("HostConfig", prop_oneof![6 => host, 1 => Just(Value::Null)]),
        pair("NetworkingConfig", object_of(vec![pair("EndpointsConfig", endpoints)])),
        pair("Image", Just("forged".into())),
        pair("Cmd", any_json()),
        pair("StopTimeout", (1..99_i64).prop_map(Value::from)),
        pair("ExposedPorts", object_of(vec![])),
        pair("Healthcheck", any_json()),
        pair("Tty", any_json()),
    ])
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

fn in_object<'a>(body: &'a Value, name: &str) -> Option<&'a Value> {
    field(body.as_object()?, name)
}

fn members(options: &Value, name: &str) -> Object {
    in_object(options, name).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Every key of createOptions is in the body with its value, but for the few that are named here.
#[track_caller]
pub(crate) fn assert_nothing_lost(options: &Value, body: &Value) {
    let same = |kept: Option<&Value>, name: &str, value: &Value| {
        assert_eq!(kept, Some(value), "{name} of {options} in {body}");
    };
    for (name, value) in options.as_object().unwrap() {
        match name.to_ascii_lowercase().as_str() {
            "env" | "labels" | "hostconfig" | "networkingconfig" => {} // looked at below
            "exposedports" => {
                let kept = in_object(body, name).unwrap();
                for (port, value) in value.as_object().unwrap() {
                    same(kept.get(port), port, value); // ports that are bound are added
                }
            }
            "image" => assert_ne!(body["Image"], "forged"),
            _ => same(in_object(body, name), name, value),
        }
    }
    let env = in_object(options, "Env").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut last = BTreeMap::new();
    for entry in env.iter().filter_map(Value::as_str) {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        last.insert(name, value);
    }
    let given = body["Env"].as_array().unwrap();
    for (name, value) in last {
        assert!(given.contains(&json!(format!("{name}={value}"))), "{name} of {options}: {body}");
    }
    for (name, value) in members(options, "Labels") {
        same(body["Labels"].get(&name), &name, &value);
    }
    for (name, value) in members(options, "HostConfig") {
        let kept = in_object(&body["HostConfig"], &name);
        match name.to_ascii_lowercase().as_str() {
            "restartpolicy" => assert_eq!(kept, None, "the module's own counts"),
            "logconfig" | "networkmode" if is_empty(&value) => {} // as good as none
            "binds" | "mounts" | "extrahosts" if is_empty(&value) => {}
            "binds" | "mounts" | "extrahosts" => {
                let (own, all) = (value.as_array().unwrap(), kept.unwrap().as_array().unwrap());
                assert!(all.starts_with(own), "{name} of {options} in {body}");
            }
            _ => same(kept, &name, &value),
        }
    }
    for (name, value) in members(options, "NetworkingConfig") {
        if !(name.eq_ignore_ascii_case("EndpointsConfig") && is_empty(&value)) {
            same(in_object(&body["NetworkingConfig"], &name), &name, &value);
        }
    }
    let twice = body.as_object().unwrap().keys().map(|name| name.to_ascii_lowercase());
    let names: std::collections::BTreeSet<String> = twice.collect();
    assert_eq!(names.len(), body.as_object().unwrap().len(), "a name in two cases: {body}");
}

/// The body of a module with these createOptions.
pub(crate) fn body_of(options: &Value) -> Value {
    let settings = json!({"settings": {"image": "a:1", "createOptions": options}});
    Body::new(&spec(settings), &around()).for_generation("g1")
}

proptest! {
    #[test]
    fn every_key_of_create_options_reaches_the_engine_but_those_that_are_named(options in options()) {
        assert_nothing_lost(&options, &body_of(&options));
    }

    #[test]
    fn options_cut_into_pieces_make_the_same_container(options in options()) {
        let pieces = crate::domain::agent::create_options::pieces(options.as_object().unwrap());
        let mut settings = json!({"image": "a:1"});
        for (name, piece) in pieces {
            settings[name] = piece.into();
        }
        let cut = Body::new(&spec(json!({"settings": settings})), &around());
        prop_assert_eq!(cut.for_generation("g1"), body_of(&options));
    }
}
