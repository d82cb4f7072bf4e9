//! Tables of policies; and a policy against a model that looks at every topic.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn who(id: &str) -> Identity {
    Identity::parse(id).unwrap()
}

fn desired(authorizations: &Value) -> Value {
    json!({ "schemaVersion": "1.2", "routes": {}, "mqttBroker": { "authorizations": authorizations } })
}

/// As the twin has it: `[identities, allow, deny]`, `publish` and `subscribe` alike.
fn policy(statements: &[(&[&str], &[&str], &[&str])]) -> Policy {
    let both = ["mqtt:publish", "mqtt:subscribe"];
    let rules = |topics: &[&str]| match topics {
        [] => json!([]),
        topics => json!([{ "operations": both, "resources": topics }]),
    };
    let each = statements.iter().map(|(identities, allow, deny)| {
        json!({ "identities": identities, "allow": rules(allow), "deny": rules(deny) })
    });
    Policy::of_desired(&desired(&each.collect())).unwrap()
}

#[track_caller]
fn check(policy: &Policy, id: &str, filter: &str, wanted: bool) {
    let may = policy.permissions(&who(id), "gw");
    assert_eq!(may.may_subscribe(filter), wanted, "{id} subscribes to {filter}");
    if !filter.contains(['+', '#']) {
        assert_eq!(may.may_publish(filter), wanted, "{id} publishes to {filter}");
    }
}

#[test]
fn nothing_is_allowed_unless_a_statement_does_and_a_denial_wins_wherever_it_stands() {
    check(&Policy::default(), "d", "a", false);
    let one = policy(&[
        (&["d"], &["plant/#", "日本/+"], &["plant/secret/#"]),
        (&["e", "gw/m"], &[], &["plant/#"]),
        (&["e", "f"], &["plant/#"], &[]),
    ]);
    for (id, filter, wanted) in [
        ("d", "plant", true),
        ("d", "plant/1", true),
        ("d", "plant/secret", false),
        ("d", "plant/secret/x", false),
        ("d", "plant/#", false), // would bring what is denied
        ("d", "plant/+", false),
        ("d", "plant/1/#", true),
        ("d", "日本/温度", true),
        ("d", "日本/#", false), // more than is allowed
        ("d", "#", false),
        ("e", "plant/1", false),
        ("f", "plant/#", true),
        ("gw/m", "plant/1", false),
        ("nobody", "plant/1", false),
    ] {
        check(&one, id, filter, wanted);
    }
}

#[test]
fn variables_stand_for_who_asks() {
    let table: [(&str, &str, &str, &str, bool); 12] = [
        ("{{iot:identity}}", "of/{{iot:identity}}/#", "gw/m", "of/gw/m/x", true),
        ("{{iot:identity}}", "of/{{iot:identity}}/#", "gw/m", "of/gw/n/x", false),
        ("{{mqtt:client_id}}", "{{mqtt:client_id}}", "d", "d", true),
        ("d", "{{iot:device_id}}/{{iot:device_id}}", "d", "d/d", true),
        ("{{iot:identity}}", "x/{{iot:module_id}}", "gw/m", "x/m", true),
        ("{{iot:identity}}", "x/{{iot:module_id}}", "d", "x/", false),
        ("{{iot:this_device_id}}/m", "x", "gw/m", "x", true),
        ("{{iot:this_device_id}}/m", "x", "other/m", "x", false),
        ("{{iot:device_id}}/m", "x", "other/m", "x", true),
        ("{{iot:device_id}}", "x", "gw/m", "x", false), // devices only
        ("d", "{{mqtt:topic}}", "d", "any/thing", true),
        ("d", "{{mqtt:topic}}", "e", "any/thing", false),
    ];
    for (identity, resource, id, topic, wanted) in table {
        check(&policy(&[(&[identity], &[resource], &[])]), id, topic, wanted);
    }
}

#[test]
fn operations_are_told_apart_and_who_may_not_connect_may_nothing() {
    let allow = |operation: &str| json!([{ "operations": [operation], "resources": ["a"] }]);
    let one = |rules: Value, deny: Value| {
        let all = json!([{ "identities": ["{{iot:identity}}"], "allow": rules, "deny": deny }]);
        let policy = Policy::of_desired(&desired(&all)).unwrap();
        let may = policy.permissions(&who("d"), "gw");
        (may.may_publish("a"), may.may_subscribe("a"))
    };
    assert_eq!(one(allow("mqtt:publish"), json!(null)), (true, false));
    assert_eq!(one(allow("mqtt:subscribe"), json!([])), (false, true));
    assert_eq!(one(json!([{ "operations": ["mqtt:connect"] }]), json!([])), (false, false));
    let connect = json!([{ "operations": ["mqtt:connect"], "resources": [] }]);
    assert_eq!(one(allow("mqtt:publish"), connect), (false, false));
}

#[test]
fn the_settings_and_the_twin_hold_together() {
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let rule = |is_allowed, topics: &[&str]| {
        Policy::of_rule(is_allowed, &texts(&["d"]), &texts(&["publish"]), &texts(topics)).unwrap()
    };
    let both = rule(true, &["a/#"]).with(&rule(false, &["a/x"])).with(&policy(&[(
        &["d"],
        &["a/x", "b"],
        &["a/y"],
    )]));
    let may = both.permissions(&who("d"), "gw");
    let wanted = [("a/1", true), ("a/x", false), ("a/y", false), ("b", true), ("c", false)];
    for (topic, wanted) in wanted {
        assert_eq!(may.may_publish(topic), wanted, "{topic}");
    }
    let bad = Policy::of_rule(true, &texts(&["d"]), &texts(&["fly"]), &texts(&["a"]));
    assert!(bad.unwrap_err().to_string().contains("not `mqtt:fly`"));
}

#[test]
fn what_cannot_be_read_is_named_with_its_place_and_what_was_expected() {
    let rule = |rule: Value| json!([{ "identities": ["d"], "allow": [rule] }]);
    let publish =
        |resources: Value| json!({ "operations": ["mqtt:publish"], "resources": resources });
    let table = [
        (json!({}), "mqttBroker.authorizations: expected a list of objects, not an object"),
        (
            json!(["x"]),
            "mqttBroker.authorizations[0]: expected an object with identities, allow, deny, not a text",
        ),
        (json!([{ "allow": [] }]), "mqttBroker.authorizations[0].identities: is missing"),
        (
            json!([{ "identities": [] }]),
            "mqttBroker.authorizations[0].identities: expected one text",
        ),
        (
            json!([{ "identities": ["d"], "alow": [] }]),
            "mqttBroker.authorizations[0]: expected an object with identities, allow, deny, and not `alow`",
        ),
        (
            json!([{ "identities": ["d", "{{iot:nobody}}"] }]),
            "mqttBroker.authorizations[0].identities[1]: expected `device`",
        ),
        (
            json!([{ "identities": ["d"], "allow": {} }]),
            "mqttBroker.authorizations[0].allow: expected a list",
        ),
        (
            rule(json!({ "operations": ["mqtt:fly"], "resources": ["a"] })),
            "mqttBroker.authorizations[0].allow[0].operations[0]: expected mqtt:connect, mqtt:publish or mqtt:subscribe, not `mqtt:fly`",
        ),
        (
            rule(json!({ "operations": ["mqtt:publish"] })),
            "mqttBroker.authorizations[0].allow[0].resources: is missing",
        ),
        (
            rule(publish(json!(["a#"]))),
            "mqttBroker.authorizations[0].allow[0].resources[0]: expected a topic filter (`#` stands alone",
        ),
        (
            rule(publish(json!(["$SYS/#"]))),
            "mqttBroker.authorizations[0].allow[0].resources[0]: expected a topic filter (topics that begin",
        ),
        (
            rule(publish(json!(["x/{{mqtt:topic}}"]))),
            "mqttBroker.authorizations[0].allow[0].resources[0]: expected a topic filter with",
        ),
        (
            rule(publish(json!([7]))),
            "mqttBroker.authorizations[0].allow[0].resources[0]: expected a text, not a number",
        ),
    ];
    for (authorizations, wanted) in table {
        let said = Policy::of_desired(&desired(&authorizations)).unwrap_err().to_string();
        assert!(said.starts_with(wanted), "{said}\n{wanted}");
    }
    let mut old = desired(&json!([]));
    for (version, is_good) in [("1.0", false), ("1.1", false), ("1.1.9", false), ("1.3", true)] {
        old["schemaVersion"] = version.into();
        assert_eq!(Policy::of_desired(&old).is_ok(), is_good, "{version}");
    }
    let nothing = json!({ "schemaVersion": "1.0" });
    assert_eq!(Policy::of_desired(&nothing), Ok(Policy::default()));
    let bridges = json!({ "schemaVersion": "1.2", "mqttBroker": { "bridges": [] } });
    assert_eq!(Policy::of_desired(&bridges), Ok(Policy::default()));
}

fn a_filter() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["#", "a", "a/#", "a/+", "+/é", "+", "a/é", "é/#", "+/+/#"])
}

proptest! {
    #[test]
    fn what_is_granted_brings_nothing_that_is_not_allowed(
        allowed in prop::collection::vec(a_filter(), 1..4),
        denied in prop::collection::vec(a_filter(), 0..3),
        asked in a_filter(),
    ) {
        let one = policy(&[(&["d"], &allowed, &denied)]);
        let may = one.permissions(&who("d"), "gw");
        let names = ["a", "é", "z"];
        let mut topics: Vec<String> = names.map(str::to_owned).into();
        for depth in 1..4 {
            let of_depth = |topic: &&String| topic.matches('/').count() == depth - 1;
            let last: Vec<_> = topics.iter().filter(of_depth).cloned().collect();
            topics.extend(last.iter().flat_map(|t| names.map(|name| format!("{t}/{name}"))));
        }
        let is_allowed = |topic: &str| {
            let has = |filters: &[&str]| filters.iter().any(|it| topic::matches(it, topic));
            has(&allowed) && !has(&denied)
        };
        for topic in &topics {
            prop_assert_eq!(may.may_publish(topic), is_allowed(topic), "{}", topic);
        }
        let mut brought = topics.iter().filter(|topic| topic::matches(asked, topic));
        if may.may_subscribe(asked) {
            prop_assert!(brought.all(|topic| is_allowed(topic)));
        } else if allowed.len() == 1 {
            prop_assert!(!brought.all(|topic| is_allowed(topic)), "it could have been granted");
        }
    }
}
