//! Tables and properties of twins.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::merge::join;
use super::pending::Outcome;
use super::*;

fn object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0..5i32).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
        prop::collection::vec(0..3i32, 0..2).prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 12, 3, |inner| {
        prop::collection::btree_map("[a-c]", inner, 0..3)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    });
    prop::collection::btree_map("[a-c]", value, 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// Like `object`, with nulls that delete.
fn patch() -> impl Strategy<Value = Value> {
    (object(), prop::collection::vec("[a-c]", 0..2)).prop_map(|(mut patch, gone)| {
        for key in gone {
            patch[key] = Value::Null;
        }
        patch
    })
}

proptest! {
    #[test]
    fn the_difference_turns_one_into_the_other(from in object(), to in object()) {
        let mut result = from.clone();
        if let Some(patch) = diff(&from, &to) {
            merge(&mut result, &patch);
        }
        prop_assert_eq!(result, to);
    }

    #[test]
    fn joint_patches_do_what_they_do_one_by_one(start in object(), patches in prop::collection::vec(patch(), 1..5)) {
        let (mut one_by_one, mut joint) = (start.clone(), patches[0].clone());
        patches.iter().for_each(|patch| merge(&mut one_by_one, patch));
        patches[1..].iter().for_each(|patch| join(&mut joint, patch));
        let mut at_once = start;
        merge(&mut at_once, &joint);
        // An object that replaced a value of another kind may keep what it would have deleted:
        // nothing is lost, and the client's own document stands.
        if !patches.iter().any(has_nested_objects) {
            prop_assert_eq!(at_once, one_by_one);
        }
    }

    #[test]
    fn all_patches_but_the_refused_ones_reach_the_parent_in_order(
        patches in prop::collection::vec(any::<bool>(), 1..90),
        answers in prop::collection::vec(0..4u8, 0..200),
    ) {
        let mut pending = PendingPatches::default();
        let mut answers = answers.into_iter();
        let (mut parent, mut refused) = (json!({}), 0);
        let is_small = patches.len() <= 64;
        for (number, is_bad) in patches.iter().enumerate() {
            let key = if *is_bad { format!("bad{number}") } else { format!("ok{number}") };
            pending.push(json!({ key: number, "last": number }));
        }
        while let Some(sent) = pending.next_to_send() {
            if answers.next() == Some(0) {
                pending.on_disconnected();
                continue;
            }
            let has_bad = sent.as_object().unwrap().keys().any(|key| key.starts_with("bad"));
            match pending.on_answer(if has_bad { 400 } else { 204 }) {
                Outcome::Done(_) => merge(&mut parent, &sent),
                Outcome::Refused(..) => refused += 1,
                Outcome::Again => prop_assert!(has_bad),
            }
        }
        prop_assert!(pending.is_empty());
        let bad = patches.iter().filter(|is_bad| **is_bad).count();
        if is_small {
            prop_assert_eq!(refused, bad);
            for (number, is_bad) in patches.iter().enumerate() {
                prop_assert_eq!(parent.get(format!("ok{number}")).is_some(), !is_bad);
            }
        }
        let last = patches.iter().rposition(|is_bad| !is_bad);
        prop_assert_eq!(parent.get("last").cloned(), last.map(Value::from));
    }
}

fn has_nested_objects(patch: &Value) -> bool {
    patch.as_object().unwrap().values().any(Value::is_object)
}

#[test]
fn limits_are_named_with_their_place() {
    let long = "x".repeat(4097);
    let table = [
        (json!({"a": {"b c": 1}}), TwinError::BadKey("b c".into())),
        (json!({"a": {"b": long}}), TwinError::LongString("a.b".into(), 4097)),
        (json!({"a": 4_503_599_627_370_496_i64}), TwinError::BigInteger("a".into())),
        (json!({"a": [{"b": null}]}), TwinError::NullInArray("a.b".into())),
        (json!([1]), TwinError::NotAnObject),
    ];
    for (patch, error) in table {
        assert_eq!(validate_reported(patch.to_string().as_bytes()), Err(error), "{patch}");
    }
    let fine = json!({"a": null, "b": -4_503_599_627_370_496_i64, "c": [1, {"d": 1.5}]});
    assert_eq!(validate_reported(fine.to_string().as_bytes()), Ok(fine));
    let deep = (0..11).fold(json!(1), |inner, _| json!({ "a": inner }));
    assert!(validate_desired(&deep).is_ok());
    let deeper = json!({ "a": deep });
    assert!(matches!(validate_desired(&deeper), Err(TwinError::TooDeep(_))));
    let large = json!({ "a": vec![1; 20_000] }).to_string();
    assert!(matches!(validate_reported(large.as_bytes()), Err(TwinError::TooLarge(_))));
}

#[test]
fn a_desired_patch_applies_only_if_it_is_the_next_one() {
    let mut twin = Document::empty();
    assert_eq!(apply_desired(&mut twin, 2, &json!({"a": 1, "$version": 2})), Applied::Applied);
    assert_eq!(apply_desired(&mut twin, 2, &json!({"a": 1})), Applied::AlreadyKnown);
    assert_eq!(apply_desired(&mut twin, 4, &json!({"a": 2})), Applied::NeedsFullGet);
    assert_eq!(apply_desired(&mut twin, 1, &json!({"a": 2})), Applied::NeedsFullGet);
    let text = twin.client_json();
    assert_eq!(text, r#"{"desired":{"a":1,"$version":2},"reported":{"$version":1}}"#);
    assert_eq!(Document::from_client_json(text.as_bytes()), Ok(twin));
}

#[test]
fn the_times_of_changes_follow_the_values() {
    let mut half = Tracked::new("t0");
    half.apply(&json!({"a": {"b": 1, "c": 2}, "d": 3}), "t1");
    half.apply(&json!({"a": {"b": null}, "d": 4}), "t2");
    let wanted = json!({
        "a": {"c": 2}, "d": 4,
        "$metadata": {
            "$lastUpdated": "t2",
            "a": {"$lastUpdated": "t2", "c": {"$lastUpdated": "t1"}},
            "d": {"$lastUpdated": "t2"},
        },
        "$version": 3,
    });
    assert_eq!(half.service_json(), wanted);
    assert_eq!(half.replace(&json!({"d": 4}), "t3"), json!({"a": null}));
    assert_eq!(half.properties.version, 4);
}
