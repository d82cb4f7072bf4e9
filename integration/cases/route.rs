//! Cases of routes: sources, sinks, sets, who wins a message. Conditions are in `condition.rs`.

use edge_runtime::domain::identity::Identity;
use edge_runtime::domain::route::case::{self as cases, Verdict as Judged, bag_of};
use edge_runtime::domain::route::{
    BadRoute, Inbound, Mistake, Route, RouteSet, RouteTable, Sink, Statement, twin_change,
};
use edge_runtime::domain::row::Priority;
use serde_json::Value;

use super::condition::{self, Sent};
use super::{Table, Verdict, equal, text};

pub(super) fn judge(table: &Table, case: &Value) -> Verdict {
    match text(case, "kind") {
        "route_parse" => parse(case),
        "source_match" => source(case),
        "message_source" => message_source(case),
        "endpoint" => endpoint(case),
        "config" => config(case),
        "route_e2e" => end_to_end(case),
        "evaluate" => evaluate(table, case),
        "condition" | "condition_no_throw" => condition::condition(table, case),
        "constant" => condition::constant(case),
        "operator" => condition::operator(case),
        "dynamic_equality" => condition::dynamic_equality(case),
        "json_path" => condition::json_path(case),
        "body_query" => condition::body_query(table, case),
        "condition_twin_change_includes" if text(case, "expect") == "compile_error" => {
            condition::condition(table, case)
        }
        "condition_twin_change_includes" | "twin_change_json_path" => {
            Verdict::Otherwise("no-twin-change-includes")
        }
        kind => Verdict::Fail(format!("kind `{kind}` is not known here")),
    }
}

fn parse(case: &Value) -> Verdict {
    let route = text(case, "route");
    let parsed = Statement::parse("r", route);
    let expect = &case["expect"];
    if expect["error"].is_string() {
        return equal(&parsed.is_err(), &true);
    }
    let statement = match parsed {
        Ok(statement) => statement,
        Err(error) if error.expected.contains("nothing more after the sink") => {
            return Verdict::Otherwise("no-trailing-text");
        }
        // The reference's parser takes it, its compiler refuses it later.
        Err(error) if error.kind == Mistake::Types => {
            return Verdict::Otherwise("types-are-checked-at-once");
        }
        Err(error) => return Verdict::Fail(error.to_string()),
    };
    let bare = |source: &str| source.trim_end_matches('*').trim_end_matches('/').to_owned();
    let sink = match expect["sink"]["system"].as_str() {
        Some(_) => Some(Sink::Upstream),
        None => Sink::of_address(text(&expect["sink"], "argument")).ok(),
    };
    let condition = match text(expect, "condition") {
        "true" => None,
        condition => Statement::parse_condition("r", condition).ok(),
    };
    let ours = (bare(&statement.source.to_string()), statement.condition, Some(statement.sink));
    equal(&ours, &(bare(text(expect, "source")), condition, sink))
}

/// The message that has a source.
fn message(source: &str) -> Option<(Identity, edge_runtime::domain::bag::Bag)> {
    let leaf = Identity::device("leaf").ok()?;
    let module = |id: &str| Identity::module("edge", id).ok();
    match source.split('/').collect::<Vec<_>>()[..] {
        ["", "messages"] => Some((leaf, Default::default())),
        ["", "twinChangeNotifications"] => Some((module("$edgeHub")?, twin_change(&leaf))),
        ["", "messages", "modules", id] => Some((module(id)?, Default::default())),
        ["", "messages", "modules", id, "outputs", output] => {
            let bag = edge_runtime::domain::bag::Bag::from_pairs([("$.on", Some(output))]);
            Some((module(id)?, bag))
        }
        _ => None,
    }
}

fn source(case: &Value) -> Verdict {
    let Some((sender, bag)) = message(text(case, "message_source")) else {
        return Verdict::Otherwise("known-sources-only");
    };
    let route = format!("FROM {} INTO $upstream", text(case, "route_source"));
    match (Statement::parse("r", &route), case["expect"].as_bool()) {
        (Ok(statement), Some(wanted)) => {
            equal(&statement.takes(&Inbound::of(&sender, "edge", &bag, b"")), &wanted)
        }
        // It would never match.
        (Err(_), Some(false)) => Verdict::Otherwise("known-sources-only"),
        (other, _) => Verdict::Fail(format!("{other:?}")),
    }
}

fn message_source(case: &Value) -> Verdict {
    let system = &case["sys"];
    let (sender, bag) = if text(system, "messageType") == "twinChangeNotification" {
        message("/twinChangeNotifications").expect("a known source")
    } else {
        let (bag, _) = bag_of(&Value::Null, system, &Value::Null);
        let id = match system["connectionModuleId"].as_str() {
            Some(module) => format!("edge/{module}"),
            None => "leaf".to_owned(),
        };
        (Identity::parse(&id).expect("an id"), bag)
    };
    let message = Inbound::of(&sender, "edge", &bag, b"");
    let wanted = text(case, "expect");
    let takes = |source: &str| {
        let statement = Statement::parse("r", &format!("FROM {source} INTO $upstream"));
        statement.is_ok_and(|statement| statement.takes(&message))
    };
    // It is from there, and from nowhere below.
    equal(&(takes(wanted), takes(&format!("{wanted}/outputs"))), &(true, false))
}

fn endpoint(case: &Value) -> Verdict {
    let (sink, expect) = (&case["sink"], &case["expect"]);
    let sink = match sink["system"].as_str() {
        Some(system) => system.to_owned(),
        None => format!("{}({})", text(sink, "function"), sink["argument"]),
    };
    let parsed = Route::parse("r", &format!("FROM /* INTO {sink}"), text(case, "edge_device"));
    match parsed {
        Err(_) => equal(&true, &(expect["error"] == true)),
        Ok(route) => equal(&id_of(&route.endpoint.0, route.input.as_deref()), &wanted_id(expect)),
    }
}

fn id_of(endpoint: &str, input: Option<&str>) -> String {
    match (endpoint, input) {
        ("$upstream", _) => "iothub".to_owned(),
        (endpoint, Some(input)) => format!("{endpoint}/{input}"),
        (endpoint, None) => endpoint.to_owned(),
    }
}

fn wanted_id(expect: &Value) -> String {
    match expect["endpoint"].as_str() {
        Some("cloud") => "iothub".to_owned(),
        _ => text(expect, "endpoint_id").to_owned(),
    }
}

fn config(case: &Value) -> Verdict {
    let set = RouteSet::parse(&case["desired"], "edge");
    let expect = &case["expect"];
    if let Some(error) = expect.as_str().and_then(|wanted| wanted.strip_prefix("error:")) {
        let is_empty = set.schema_error.is_none() && set.good.is_empty() && set.bad.is_empty();
        if error == "routes_missing" && is_empty {
            return Verdict::Otherwise("routes-may-be-missing");
        }
        let is_refused = if error == "schema_version" {
            set.schema_error.is_some()
        } else {
            !set.bad.is_empty()
        };
        return equal(&(is_refused, set.good.len()), &(true, 0));
    }
    let is_of_types = |bad: &BadRoute| bad.error.kind == Mistake::Types;
    if set.bad.iter().any(is_of_types) && set.bad.iter().all(is_of_types) {
        return Verdict::Otherwise("types-are-checked-at-once");
    }
    if set.schema_error.is_some() || !set.bad.is_empty() {
        return Verdict::Fail(format!("{:?} {:?}", set.schema_error, set.bad));
    }
    for (name, wanted) in expect["routes"].as_object().into_iter().flatten() {
        let Some(route) = set.good.iter().find(|route| &*route.name == name.as_str()) else {
            return Verdict::Fail(format!("{name} is missing"));
        };
        let priority = match wanted["priority"].as_u64() {
            Some(2_000_000_000) => 10,
            priority => priority.unwrap_or(10),
        };
        let ours = (&*route.text, u64::from(route.priority.0), route.ttl.unwrap_or(0));
        let wanted = (text(wanted, "route"), priority, wanted["timeToLiveSecs"].as_u64());
        let wanted = (wanted.0, wanted.1, wanted.2.unwrap_or(0));
        if ours != wanted {
            return Verdict::Fail(format!("{ours:?}, not {wanted:?}"));
        }
    }
    match expect["timeToLiveSecs"].as_u64() {
        Some(wanted) => equal(&set.global_ttl, &Some(wanted)),
        None => Verdict::Pass,
    }
}

fn end_to_end(case: &Value) -> Verdict {
    match cases::end_to_end(case, &[]) {
        Ok(Judged::Passed) => Verdict::Pass,
        Ok(Judged::Failed { got, wanted }) => Verdict::Fail(format!("{got}, not {wanted}")),
        Err(why) => Verdict::Fail(why),
    }
}

/// Endpoints of these cases are names; they stand for modules here.
fn evaluate(table: &Table, case: &Value) -> Verdict {
    let Some(sent) = Sent::of(table, text(case, "message")) else {
        return Verdict::Otherwise("known-sources-only");
    };
    let mut routes = Vec::new();
    for route in case["routes"].as_array().into_iter().flatten() {
        let sink = format!("BrokeredEndpoint('/modules/{}/inputs/in')", text(route, "endpoint"));
        let (source, condition) = (text(route, "source"), text(route, "condition"));
        if Statement::parse("r", &format!("FROM {source} INTO $upstream")).is_err() {
            return Verdict::Otherwise("known-sources-only");
        }
        let said = format!("FROM {source} WHERE {condition} INTO {sink}");
        match Route::parse(text(route, "id"), &said, "edge") {
            Ok(parsed) => routes.push(Route {
                priority: Priority(route["priority"].as_u64().map_or(10, |it| it.min(10)) as u8),
                ttl: route["timeToLiveSecs"].as_u64().filter(|ttl| *ttl > 0),
                ..parsed
            }),
            Err(error) => return Verdict::Fail(error.to_string()),
        }
    }
    let wins = RouteTable::new(1, routes, None).winners(&sent.inbound());
    let ours = wins.iter().map(|win| {
        let name = win.endpoint.0.trim_start_matches("edge/").to_owned();
        (name, u64::from(win.priority.0), win.ttl.unwrap_or(0))
    });
    let mut ours: Vec<_> = ours.collect();
    ours.sort();
    let wanted = case["expect"].as_array().into_iter().flatten().map(|win| {
        let number = |key: &str| win[key].as_u64().unwrap_or(0);
        (text(win, "endpoint").to_owned(), number("priority").min(10), number("timeToLiveSecs"))
    });
    let mut wanted: Vec<_> = wanted.collect();
    wanted.sort();
    equal(&ours, &wanted)
}
