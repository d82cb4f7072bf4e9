//! What queries take, show and refuse.

use serde_json::{Value, json};

use super::*;

fn twin() -> Value {
    json!({
        "deviceId": "a'b", "tags": {"site": "x", "floor": 2, "old": null, "1a": {"2": 3}},
        "properties": {"reported": {"on": true, "t": -1.5, "list": [1], "name": "pump-7"}},
    })
}

#[track_caller]
fn takes(text: &str, twin: &Value) -> bool {
    Query::parse(text).unwrap_or_else(|why| panic!("{why}")).takes(twin)
}

#[test]
fn conditions_hold_against_any_place_of_a_twin() {
    let twin = twin();
    assert!(takes("SELECT * FROM devices", &twin));
    assert!(Query::parse("select * from devices.modules ;").unwrap().is_of_modules);
    for yes in [
        "deviceId = 'a''b'",
        "tags.site = \"x\" AND tags.floor=2",
        "tags.site <> 'y' and tags.floor != 3",
        "properties.reported.on = true",
        "properties.reported.t = -1.5",
        "properties.reported.t>-1.6e0",
        "[[tags]].site = 'x'",
        "tags.floor > 1.5 AND tags.floor<=2.0 AND 3 > tags.floor",
        "tags.site >= 'w' AND NOT tags.site < 'x'",
        "tags.site = 'y' OR (tags.floor = 2 AND NOT (tags.site = 'z'))",
        "tags.none = 1 OR tags.floor IN [1, 2]",
        "tags.site nin ['a', 'b'] AND is_defined(tags.old) AND tags.old = null",
        "NOT NOT tags.floor = 2.0",
        "NOT IS_DEFINED( tags.none )",
        "devices.tags.site = 'x' AND devices.deviceId = 'a''b'",
        "tags.1a.2 = 3",
        "STARTS_WITH(deviceId, 'a') AND endswith(properties.reported.name, '-7')",
        "CONTAINS(properties.reported.name, 'mp') AND NOT starts_with(deviceId, 'b')",
        "is_number(tags.floor) AND is_string(tags.site) AND is_bool(properties.reported.on)",
        "is_null(tags.old) AND is_array(properties.reported.list) AND is_object(tags)",
        "is_primitive(tags.floor) AND NOT is_primitive(tags)",
    ] {
        assert!(takes(&format!("SELECT * FROM devices WHERE {yes}"), &twin), "{yes}");
    }
    for no in [
        "tags.site = 'y'",
        "tags.none = 'x'",
        "tags.none != 'x'",
        "tags.floor = '2'",
        "NOT tags.none = 'x'",
        "tags.floor > '1'",
        "tags.site > 1",
        "tags.floor NIN [2]",
        "tags.none IN []",
        "NOT starts_with(tags.floor, '2')",
        "NOT is_number(tags.none)",
    ] {
        assert!(!takes(&format!("SELECT * FROM devices WHERE {no}"), &twin), "{no}");
    }
    let named = "select * from devices.modules as m where devices.modules.tags.site = 'x' \
                 and m.tags.floor = 2";
    assert!(takes(named, &twin));
}

#[test]
fn a_query_shows_whole_twins_places_of_them_or_how_many() {
    let of = |text: &str| Query::parse(text).unwrap();
    assert_eq!(of("SELECT * FROM devices").shows(twin()), Some(twin()));
    let some = of("SELECT deviceId, d.tags.floor AS level, tags.none FROM devices d");
    assert_eq!(some.shows(twin()), Some(json!({"deviceId": "a'b", "level": 2})));
    let count = of("select count() as [[all of them]] from devices where tags.floor = 2");
    assert_eq!(count.select, Select::Count("all of them".into()));
    assert_eq!(count.shows(twin()), None);
    assert_eq!(of("SELECT COUNT(*) FROM devices").select, Select::Count("count".into()));
    assert_eq!(of("SELECT TOP 3 * FROM devices").top, Some(3));
}

#[test]
fn what_is_not_known_is_refused_with_its_place() {
    let deep = format!("SELECT * FROM devices WHERE {}a = 1{}", "(".repeat(90), ")".repeat(90));
    for (bad, at, why) in [
        ("", 1, "SELECT is expected"),
        ("SELECT * FORM devices", 10, "FROM is expected"),
        ("SELECT", 7, "a place"),
        ("SELECT * FROM jobs", 15, "devices or devices.modules"),
        ("SELECT * FROM devices.jobs", 23, "devices or devices.modules"),
        ("SELECT * FROM devices WHERE", 28, "a place"),
        ("SELECT * FROM devices WHERE (a = 1", 35, "`)` is expected"),
        ("SELECT * FROM devices WHERE a = 1 OR", 37, "a place"),
        ("SELECT * FROM devices WHERE a LIKE 'x'", 31, "=, !=, <>"),
        ("SELECT * FROM devices WHERE a IN 1", 34, "`[` is expected"),
        ("SELECT * FROM devices WHERE a = 'x' 'y'", 37, "AND, OR or the end"),
        ("SELECT * FROM devices WHERE ä = 'x", 33, "not closed"),
        ("SELECT * FROM devices WHERE a = 1 + 1", 35, "no meaning"),
        ("SELECT * FROM devices WHERE lower(a) = 'x'", 29, "not known here"),
        ("SELECT * FROM devices GROUP BY tags.x", 23, "GROUP BY"),
        ("SELECT AVG(tags.x) FROM devices", 8, "COUNT(), alone"),
        ("SELECT COUNT(), tags.x FROM devices", 15, "stands alone"),
        ("SELECT TOP 0 * FROM devices", 12, "above 0"),
        ("SELECT tags. FROM devices", 19, "FROM is expected"),
        (deep.as_str(), 79, "50 deep"),
    ] {
        let error = Query::parse(bad).expect_err(bad).to_string();
        let place = format!("at character {at},");
        assert!(error.contains(&place) && error.contains(why), "{bad}: {error}");
    }
}
