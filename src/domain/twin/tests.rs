//! Tables and properties of twins.

use proptest::prelude::*;
use serde_json::{Value, json};

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

proptest! {
    #[test]
    fn the_difference_turns_one_into_the_other(from in object(), to in object()) {
        let mut result = from.clone();
        if let Some(patch) = diff(&from, &to) {
            merge(&mut result, &patch);
        }
        prop_assert_eq!(result, to);
    }
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
