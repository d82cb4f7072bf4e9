//! Conditions on the body.

use super::*;

const JSON: &[u8] = "{\"t\": 31.5, \"n\": null, \"on\": true, \"off\": false, \"at\": \
    \"2017-03-09T00:00:00.000Z\", \"list\": [1, {\"x\": \"y\"}, [2]], \"도시\": {\"이름\": \"서울\"}, \
    \"o\": {\"a\": 1}, \"I'm%1\": \"\\u00fc\", \"big\": 12345678901234567890}"
    .as_bytes();

#[track_caller]
fn of(condition: &str, bag: &str, body: &[u8]) -> (Option<bool>, u32, bool) {
    let text = format!("FROM /messages WHERE {condition} INTO $upstream");
    let route = Route::parse("r", &text, "gw").unwrap();
    let (sender, bag) = (Identity::parse("leaf").unwrap(), Bag::parse(bag).unwrap());
    let message = Inbound::of(&sender, "gw", &bag, body);
    let truth = evaluate(route.condition.as_ref().unwrap(), &message, &mut ()).0;
    let outcome = RouteTable::new(1, vec![route], None).judge(&message, &mut ());
    assert_eq!(outcome.wins.len() == 1, truth == Some(true), "{condition}");
    (truth, outcome.parses, outcome.is_body_bad)
}

const IS_JSON: &str = "%24.ct=application%2Fjson&%24.ce=utf-8";

#[track_caller]
fn is(condition: &str, wanted: Option<bool>) {
    assert_eq!(of(condition, IS_JSON, JSON).0, wanted, "{condition}");
}

#[test]
fn values_of_a_body_have_the_type_that_they_have_there() {
    is("$body.t > 31 AND $body.t < 32 AND 31.5 = $BODY.t", Some(true));
    is("$body.on AND NOT $body.off AND $body.on = true", Some(true));
    is("$body.list[0] = 1 AND $body.list[1].x = 'y' AND {$body.o.a} + 1 = 2", Some(true));
    is("$body.도시.이름 = '서울' AND $body.I'm%1 = 'ü'", Some(true));
    is("$body.t = '31.5'", Some(false));
    is("$body.t <> '31.5' AND $body.on <> 1", Some(true));
    is("$body.at = '2017-03-09T00:00:00.000Z' AND starts_with($body.at, '2017')", Some(true));
    is("is_number($body.t) AND is_bool($body.on) AND is_string($body.at)", Some(true));
    is("as_number($body.t) = 31.5 AND ($body.t % 2) = 1.5 AND - $body.t < 0", Some(true));
    is("$body.big > 1e19", Some(true));
    is("true AND $body.on", Some(true));
}

#[test]
fn what_a_body_does_not_have_is_null_but_not_defined() {
    is("$body.none = null AND $body.n = null AND $body.none = $body.n", Some(true));
    is("is_null($body.none) AND is_null($body.n) AND NOT is_null($body.t)", Some(true));
    is("is_defined($body.n) AND NOT is_defined($body.none)", Some(true));
    is("($body.none ?? 5) = 5 AND ($body.t ?? 5) = 31.5", Some(true));
    is("$body.none <> '100' AND $body.t <> null", Some(true));
    is("$body.none <> some", None);
    is("$body.list[9] = null AND $body.list.x = null AND $body.t.x = null", Some(true));
    is("$body.T = null", Some(true));
    is("$body.none + 1 = 1", None);
}

/// In the reference what is not there is above every number.
#[test]
fn values_of_different_types_are_neither_above_nor_below() {
    for condition in ["$body.none > 30", "$body.n > 30", "$body.at > 30", "$body.on < 30"] {
        is(condition, None);
        is(&format!("NOT ({condition})"), None);
    }
    is("$body.none >= null", Some(true));
}

#[test]
fn objects_and_arrays_have_no_value() {
    is("$body.o = null", None);
    is("is_defined($body.o) OR is_null($body.list)", None);
    is("$body.list[2] = 2", None);
    is("$body", None);
}

#[test]
fn an_application_property_of_that_name_comes_first() {
    let bag = format!("{IS_JSON}&%24body.t=cold");
    assert_eq!(of("$body.t = 'cold'", &bag, JSON).0, Some(true));
    assert_eq!(of("{$body.t} = 31.5", &bag, JSON).0, Some(true));
}

#[test]
fn only_what_says_that_it_is_json_is_read() {
    let yes = (Some(true), 1, false);
    let utf16: Vec<u8> = "{\"t\": 1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf32: Vec<u8> = "{\"t\": 1}".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    let of = |kind: &str, encoding: &str, body: &[u8]| {
        let bag = Bag::from_pairs([("$.ct", Some(kind)), ("$.ce", Some(encoding))]);
        super::bodies::of("$body.t = 1", bag.as_str(), body)
    };
    let json = "application/json";
    assert_eq!(of(json, "utf-8", b"{\"t\": 1}"), yes);
    assert_eq!(of("Application/JSON", "UTF-8", "\u{feff}{\"t\":1}".as_bytes()), yes);
    assert_eq!(of(json, "Utf-16", &utf16), yes);
    assert_eq!(of(json, "utf-16", &[&[0xff, 0xfe], &utf16[..]].concat()), yes);
    assert_eq!(of(json, "utf-32", &[&[0, 0, 0xfe, 0xff], &utf32[..]].concat()), yes);
    let unread = (None, 0, false);
    assert_eq!(of("text/plain", "utf-8", b"{\"t\": 1}"), unread);
    assert_eq!(of(json, "latin1", b"{\"t\": 1}"), unread);
    assert_eq!(
        super::bodies::of("$body.t = 1", "%24.ct=application%2Fjson", b"{\"t\": 1}"),
        unread
    );
    let bad = (None, 1, true);
    let bodies: [&[u8]; 8] = [
        b"",
        b"cold",
        b"{\"t\": 1",
        b"{\"t\": 1} x",
        b"[1]",
        b"1",
        b"{\"t\": 1, \"a\": \"\xff\"}",
        &utf16,
    ];
    for body in bodies {
        assert_eq!(of(json, "utf-8", body), bad, "{body:?}");
    }
    assert_eq!(of(json, "utf-16", b"{\"t\": 1}x"), bad, "half a unit");
}

#[test]
fn of_a_name_that_is_there_twice_the_last_counts_whole() {
    let of =
        |condition: &str| of(condition, IS_JSON, br#"{"a": {"b": 1, "c": 2}, "a": {"c": 3}}"#).0;
    assert_eq!(of("$body.a.c = 3"), Some(true));
    assert_eq!(of("$body.a.b = null"), Some(true));
}

#[test]
fn a_hundred_conditions_parse_a_body_once_and_one_that_does_not_need_it_never() {
    let route = |n: usize, condition: &str| {
        let sink = format!("BrokeredEndpoint('/modules/m{n}/inputs/i')");
        let text = format!("FROM /messages WHERE {condition} INTO {sink}");
        Route::parse(&format!("r{n}"), &text, "gw").unwrap()
    };
    let judge = |routes: Vec<Route>, bag: &str| {
        let (sender, bag) = (Identity::parse("leaf").unwrap(), Bag::parse(bag).unwrap());
        let message = Inbound::of(&sender, "gw", &bag, JSON);
        let outcome = RouteTable::new(1, routes, None).judge(&message, &mut ());
        (outcome.wins.len(), outcome.parses)
    };
    let hundred = (0..100).map(|n| route(n, &format!("$body.t > {n} AND $body.list[0] = 1")));
    assert_eq!(judge(hundred.collect(), IS_JSON), (32, 1));
    let guarded = |bag: &str| judge(vec![route(0, "kind = 'x' AND $body.t > 1")], bag);
    assert_eq!(guarded(&format!("{IS_JSON}&kind=y")), (0, 0), "known without the body");
    assert_eq!(guarded(&format!("{IS_JSON}&kind=x")), (1, 1));
}
