//! Tables of routes, sources and sinks.

mod bodies;
mod errors;
mod language;
mod properties;

use serde_json::{Value, json};

use super::*;
use crate::domain::bag::Bag;
use crate::domain::identity::Identity;

#[track_caller]
fn reads(text: &str, displayed: &str) {
    let statement = Statement::parse("r", text).map(|s| s.to_string()).map_err(|e| e.to_string());
    assert_eq!(statement, Ok(displayed.to_owned()), "{text}");
}

#[test]
fn routes_are_read_whatever_the_case_and_spacing() {
    reads("FROM /messages INTO $upstream", "FROM /messages INTO $upstream");
    reads(" select * from /* into $UPSTREAM ", "FROM / INTO $upstream");
    reads("FROM / INTO $upstream", "FROM / INTO $upstream");
    reads("FROM /messages/modules/ INTO $upstream", "FROM /messages/modules INTO $upstream");
    reads("FROM /Messages/* INTO $upstream", "FROM /Messages INTO $upstream");
    reads("FROM /* all */ /messages INTO $upstream", "FROM /messages INTO $upstream");
    reads(
        "FROM /messages/modules/a.b/outputs/* WHERE not is_defined( x-y )\r\n INTO \
         brokeredendpoint('modules/m/inputs/i')",
        "FROM /messages/modules/a.b/outputs WHERE NOT is_defined(x-y) INTO \
         BrokeredEndpoint(\"/modules/m/inputs/i\")",
    );
    reads(
        r#"FROM / INTO BrokeredEndpoint('/modules/m/inputs/\u00e9\"\uD83D\ude00x')"#,
        r#"FROM / INTO BrokeredEndpoint("/modules/m/inputs/é\"😀x")"#,
    );
    for name in
        ["name", "True", "is_defined", "$connectionModuleId", "{$outputName}", "a.b", "5x", "$"]
    {
        let text = format!("FROM /messages WHERE is_defined({name}) INTO $upstream");
        reads(&text, &text);
    }
}

fn takes(text: &str, sender: &str, bag: &str) -> bool {
    let (sender, bag) = (Identity::parse(sender).unwrap(), Bag::parse(bag).unwrap());
    let route = Route::parse("r", text, "gw").unwrap();
    if bag.get("twin").is_some() {
        let (hub, bag) = (Identity::parse("gw/$edgeHub").unwrap(), twin_change(&sender));
        return route.takes(&Inbound::of(&hub, "gw", &bag, b""));
    }
    route.takes(&Inbound::of(&sender, "gw", &bag, b""))
}

#[track_caller]
fn covers(source: &str, table: &[(&str, &str, bool)]) {
    for (sender, bag, wanted) in table {
        let text = format!("FROM {source} INTO $upstream");
        assert_eq!(takes(&text, sender, bag), *wanted, "{source} {sender} {bag}");
    }
}

#[test]
fn sources_cover_what_begins_with_them() {
    let (leaf, module) = (("leaf", "", true), ("gw/m", "%24.on=o", true));
    let no = |(sender, bag, _)| (sender, bag, false);
    let (plain, twin) = (("gw/M", "", true), ("leaf", "twin", true));
    covers("/messages", &[leaf, module, plain, no(twin)]);
    covers("/*", &[leaf, module, plain, twin]);
    covers("/messages/modules/*", &[no(leaf), module, plain, no(twin)]);
    covers("/messages/modules/m", &[no(leaf), module, plain]);
    covers("/messages/modules/m/outputs", &[no(leaf), module, no(plain)]);
    covers("/MESSAGES/modules/m/outputs/O", &[module, no(plain), ("gw/m", "%24.on=oo", false)]);
    covers("/messages/modules/n", &[no(leaf), no(module), no(plain)]);
    covers("/twinChangeNotifications", &[no(leaf), no(module), twin, ("gw/m", "twin", true)]);
    covers("/messages/modules/m/outputs/a", &[("gw/m", "%24.on=a%2Fb", true)]);
}

#[track_caller]
fn defined(name: &str, sender: &str, bag: &str, wanted: bool) {
    let plain = format!("FROM /* WHERE IS_DEFINED({name}) INTO $upstream");
    let not = format!("FROM /* WHERE NOT IS_DEFINED({name}) INTO $upstream");
    assert_eq!(takes(&plain, sender, bag), wanted, "{name} {bag}");
    assert_eq!(takes(&not, sender, bag), !wanted, "NOT {name} {bag}");
}

#[test]
fn properties_are_found_by_the_rules_of_their_names() {
    defined("temp", "leaf", "Temp=1", true);
    defined("temp", "leaf", "temp", true);
    defined("temp", "leaf", "temper=1", false);
    defined("$mid", "leaf", "%24.mid=1", false);
    defined("$messageid", "leaf", "%24.mid=1", true);
    defined("{$messageId}", "leaf", "messageId=1", false);
    defined("$messageId", "leaf", "messageId=1", false);
    defined("$messageId", "leaf", "%24messageId=1", true);
    defined("{$messageId}", "leaf", "%24messageId=1", false);
    defined("$.mid", "leaf", "%24.mid=1", false);
    defined("ack", "leaf", "ack=full", false);
    defined("$ack", "leaf", "ack=full", true);
    defined("$connectionDeviceId", "leaf", "", true);
    defined("$connectionModuleId", "leaf", "", false);
    defined("$connectionModuleId", "gw/m", "", true);
    defined("$connectionModuleId", "leaf", "twin", true);
    defined("$outputName", "gw/m", "%24.on=o", true);
    defined("$messageType", "leaf", "twin", true);
    defined("$messageType", "leaf", "messageType=x", false);
}

fn table(desired: &Value) -> RouteTable {
    let set = RouteSet::parse(desired, "gw");
    assert_eq!((set.schema_error, set.bad), (None, vec![]));
    RouteTable::new(7, set.good, set.global_ttl)
}

#[test]
fn one_route_wins_each_endpoint_and_input() {
    let to = |input: &str| format!("FROM /* INTO BrokeredEndpoint(\"/modules/m/inputs/{input}\")");
    let table = table(&json!({
        "schemaVersion": "1.1",
        "storeAndForwardConfiguration": {"timeToLiveSecs": 3600},
        "routes": {
            "late": {"route": "FROM /* INTO $upstream", "priority": 1, "timeToLiveSecs": 7},
            "b": {"route": "FROM /messages INTO $upstream", "priority": 0, "timeToLiveSecs": 60},
            "a": {"route": "FROM /messages WHERE IS_DEFINED(x) INTO $upstream", "priority": 0},
            "plain": to("one"), "z": to("one"), "other": to("two"),
        }
    }));
    assert_eq!(table.generation(), 7);
    let sender = Identity::parse("leaf").unwrap();
    let names = |bag: &str, kind| -> Vec<_> {
        let bag = Bag::parse(bag).unwrap();
        let wins = table.winners(&Inbound {
            sender: &sender,
            edge_device: "gw",
            bag: &bag,
            body: b"",
            kind,
        });
        let short = |win: &Win| format!("{} {} {:?}", win.route, win.endpoint.0, win.ttl);
        wins.iter().map(short).collect()
    };
    let inputs = ["other gw/m None", "plain gw/m None"];
    let with = |first: &'static str| [&[first], &inputs[..]].concat();
    let ttls = ["late", "b", "a", "gone"].map(|name| table.ttl_of(name));
    assert_eq!(ttls, [Some(7), Some(60), Some(3600), Some(3600)], "its own, else the global one");
    assert_eq!(RouteTable::default().ttl_of("late"), None);
    assert_eq!(RouteTable::default().generation(), 0);
    assert_eq!(names("", SourceKind::Telemetry), with("b $upstream Some(60)"));
    assert_eq!(names("x=1", SourceKind::Telemetry), with("a $upstream None"));
    assert_eq!(names("", SourceKind::TwinChange), with("late $upstream Some(7)"));
}

#[track_caller]
fn refused(desired: &Value, part: &str) {
    let error = RouteSet::parse(desired, "gw").schema_error.unwrap_or_default();
    assert!(!error.is_empty() && error.contains(part), "{error:?} of {desired}");
}

#[test]
fn a_schema_that_is_not_known_leaves_everything_as_it_was() {
    let routes = json!({"r": "FROM /* INTO $upstream"});
    for version in ["1", "2.0", "2.0.1", "1.4", "1.x", "1.+1", "", "1.1.0.0.0", "-1.1"] {
        refused(&json!({"schemaVersion": version, "routes": routes}), "schemaVersion");
    }
    refused(&json!({"routes": routes}), "missing");
    refused(&json!({"schemaVersion": 1.1, "routes": routes}), "string");
    refused(&json!({"schemaVersion": "1.1", "routes": []}), "object");
    refused(&json!([]), "object");
    let config = |config| json!({"schemaVersion": "1.1", "routes": {}, "storeAndForwardConfiguration": config});
    refused(&config(json!(5)), "object");
    for ttl in [json!("5"), json!(1.5), json!(u64::MAX), json!(5_000_000_000_u64)] {
        refused(&config(json!({"timeToLiveSecs": ttl})), "whole number");
    }
    let ttl = |value| RouteSet::parse(&config(json!({"timeToLiveSecs": value})), "gw").global_ttl;
    assert_eq!((ttl(7200), ttl(0), ttl(-1)), (Some(7200), Some(0), None));
}

#[test]
fn routes_that_were_read_can_be_written_and_read_again() {
    let desired = json!({
        "schemaVersion": "1.1",
        "routes": {
            "a": { "route": "FROM /messages/* WHERE NOT IS_DEFINED(x) INTO $upstream" },
            "b": { "route": "FROM /* INTO BrokeredEndpoint('/modules/m/inputs/i')", "priority": 0,
                   "timeToLiveSecs": 5 },
        },
        "storeAndForwardConfiguration": { "timeToLiveSecs": 60 },
    });
    let set = RouteSet::parse(&desired, "gw");
    assert_eq!(set.good.len(), 2, "{set:?}");
    assert_eq!(RouteSet::to_desired(set.good.iter(), set.global_ttl), desired);
    let none = RouteSet::to_desired([].iter(), None);
    assert_eq!(RouteSet::parse(&none, "gw"), RouteSet::default());
}

#[test]
fn a_twin_without_routes_has_a_known_empty_set() {
    let version = |version| json!({"schemaVersion": version, "$version": 3});
    for twin in [Value::Null, json!({}), json!({"$version": 1}), version("1.0"), version("1.3.0")] {
        assert_eq!(RouteSet::parse(&twin, "gw"), RouteSet::default(), "{twin}");
    }
}

#[test]
fn a_bad_route_is_named_and_leaves_the_others_alone() {
    let set = RouteSet::parse(
        &json!({"schemaVersion": "1.1.0", "routes": {
            "good": "FROM /* INTO $upstream",
            "syntax": "FROM", "null": null, "number": 5, "": "FROM /* INTO $upstream",
            "empty": " ", "no text": {"priority": 1},
            "far": {"route": "FROM /* INTO $upstream", "priority": 10},
            "word": {"route": "FROM /* INTO $upstream", "priority": "1"},
            "past": {"route": "FROM /* INTO $upstream", "timeToLiveSecs": -1},
            "typo": {"route": "FROM /* INTO $upstream", "timeToLive": 1},
            "constant": {"route": "FROM /* INTO $upstream", "priority": 2_000_000_000},
        }}),
        "gw",
    );
    let good: Vec<_> = set.good.iter().map(|route| (&*route.name, route.priority)).collect();
    assert_eq!(good, [("good", Priority::DEFAULT), ("constant", Priority::DEFAULT)]);
    let bad: Vec<_> = set.bad.iter().map(|bad| bad.name.as_str()).collect();
    let names = ["syntax", "null", "number", "", "empty", "no text", "far", "word", "past", "typo"];
    assert_eq!(bad, names);
    for BadRoute { name, error, .. } in &set.bad {
        let text = error.to_string();
        assert!(text.starts_with(&format!("route `{name}`, ")) && !text.contains('\n'), "{text}");
        let stored = serde_json::to_string(error).unwrap();
        assert_eq!(serde_json::from_str::<RouteError>(&stored).unwrap(), *error);
    }
    let places: Vec<_> = set.bad.iter().map(|bad| (bad.error.line, bad.error.column)).collect();
    assert_eq!(
        places,
        [(1, 5), (0, 0), (0, 0), (0, 0), (1, 2), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0)]
    );
    let far = "route `far`, at `10`: `priority` must be a whole number 0 to 9";
    assert_eq!(set.bad[6].error.to_string(), far);
    let old = json!({"schemaVersion": "1.0", "routes": {"r": {"route": "FROM /* INTO $upstream"}}});
    assert!(RouteSet::parse(&old, "gw").bad[0].error.expected.contains("1.1"));
}
