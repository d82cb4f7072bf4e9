//! Cases of the MQTT surface: log-in names, topics, filters.

use edge_runtime::domain::identity::Identity;
use edge_runtime::domain::route::case::bag_of;
use edge_runtime::domain::route::{self, Expr, Inbound, Name};
use edge_runtime::domain::topic::{self, BadTopic, ClientTopic, FilterClass};
use edge_runtime::domain::user_name::UserName;
use serde_json::Value;

use super::{Table, Verdict, equal, text};

pub(super) fn judge(_: &Table, case: &Value) -> Verdict {
    match text(case, "kind") {
        "connect_username" => user_name(case),
        "connect_identity" => log_in(case),
        "subscription_class" => filter(case),
        "iothub_topic" => request(case),
        "iothub_topic_format" => format(case),
        "telemetry_topic" => telemetry(case),
        "module_delivery_topic" => delivery(case),
        "topic_template" => Verdict::Otherwise("no-topic-templates"),
        kind => Verdict::Fail(format!("kind `{kind}` is not known here")),
    }
}

fn user_name(case: &Value) -> Verdict {
    let parsed = UserName::parse(text(case, "username"));
    if case["expect"] == "error" {
        return equal(&parsed.is_err(), &true);
    }
    let user = match parsed {
        Ok(user) => user,
        Err(error) => return Verdict::Fail(error.to_string()),
    };
    let field = |key: &str| case["expect"][key].as_str().map(str::to_owned);
    let ours = (
        Some(user.identity.device_id().to_owned()),
        user.identity.module_id().map(str::to_owned),
        user.product,
        user.model_id,
    );
    let wanted =
        (field("deviceId"), field("moduleId"), field("deviceClientType"), field("modelId"));
    equal(&ours, &wanted)
}

fn log_in(case: &Value) -> Verdict {
    let user = UserName::parse(text(case, "username"));
    let is_same = user.is_ok_and(|user| user.identity.as_str() == text(case, "client_id"));
    let has_credential = match text(case, "credential") {
        "client_cert" => case["client_cert_auth_enabled"] == true,
        "sas" => true,
        _ => false,
    };
    let is_accepted = is_same && has_credential && case["authenticator_says"] == true;
    equal(&if is_accepted { "accepted" } else { "rejected" }, &text(case, "expect"))
}

/// The identity that a topic or filter names, else any.
fn named(topic: &str) -> Identity {
    let levels: Vec<&str> = topic.split('/').collect();
    let named = match levels[..] {
        ["devices", device, "modules", module, ..] => Identity::module(device, module).ok(),
        ["devices", device, ..] => Identity::device(device).ok(),
        _ => None,
    };
    named.unwrap_or_else(|| Identity::device("device1").expect("an id"))
}

/// A topic that the hub sends.
fn format(case: &Value) -> Verdict {
    let rid = text(case, "rid");
    // A number may stand as text.
    let number = |key: &str| case[key].as_u64().or_else(|| text(case, key).parse().ok());
    let ours = match text(case, "operation") {
        "method_request" => topic::method(text(case, "method"), rid),
        operation if operation.starts_with("twin_") => {
            topic::twin_answer(number("status").unwrap_or(200) as u16, rid, number("version"))
        }
        operation if operation.starts_with("desired") => {
            topic::desired(number("version").unwrap_or_default())
        }
        operation => return Verdict::Fail(format!("operation `{operation}` is not known here")),
    };
    equal(&ours.as_str(), &text(case, "expect"))
}

/// Filters that could cover another's topics, or none of anybody: whole words decide here.
fn is_bound(filter: &str) -> bool {
    filter.starts_with("$iothub/")
        || filter.strip_prefix("devices/").is_some_and(|rest| {
            let ids: Vec<&str> = rest.split('/').collect();
            let is_id = |id: &str| !id.is_empty() && !id.contains(['+', '#']);
            match ids[..] {
                [device, "modules", module, "inputs", ..] | [device, "modules", module, "#"] => {
                    is_id(device) && is_id(module)
                }
                [device, "modules", module, "messages", "devicebound", "#"] => {
                    is_id(device) && is_id(module)
                }
                [device, "messages", "devicebound", "#"] => is_id(device),
                _ => false,
            }
        })
}

fn filter(case: &Value) -> Verdict {
    let filter = text(case, "topic_filter");
    let ours = topic::classify(filter, &named(filter));
    let word = match ours {
        FilterClass::Methods => "methods",
        FilterClass::Desired => "desired_properties",
        FilterClass::CloudToDevice => "c2d",
        FilterClass::TwinAnswers => "twin_response",
        FilterClass::Inputs => "module_messages",
        FilterClass::Unknown => "unknown",
        FilterClass::OtherIdentity => return Verdict::Otherwise("filters-are-bound"),
    };
    let wanted = match text(case, "expect") {
        "direct_methods" => "methods",
        "desired_property_updates" => "desired_properties",
        "twin_responses" => "twin_response",
        wanted => wanted,
    };
    if word == "unknown" && wanted != "unknown" && !is_bound(filter) {
        return Verdict::Otherwise("filters-are-whole");
    }
    equal(&word, &wanted)
}

fn request(case: &Value) -> Verdict {
    let who = Identity::device("device1").expect("an id");
    let parsed = topic::parse_publish(text(case, "topic"), &who);
    let expect = &case["expect"];
    if expect.as_str().is_some_and(|wanted| wanted.starts_with("error")) {
        return equal(&parsed.is_err(), &true);
    }
    let wanted = text(&expect["properties"], "$rid").to_owned();
    let (word, status, rid) = match parsed {
        Ok(ClientTopic::TwinGet { rid }) => ("twin_get", String::new(), rid),
        Ok(ClientTopic::TwinPatch { rid }) => {
            ("twin_patch_reported", String::new(), rid.unwrap_or_default())
        }
        Ok(ClientTopic::MethodAnswer { status, rid }) => {
            ("method_response", status.to_string(), rid)
        }
        other => return Verdict::Fail(format!("{other:?}")),
    };
    let ours = (word, status.as_str(), rid);
    equal(&ours, &(text(expect, "operation"), text(expect, "subresource"), wanted))
}

fn telemetry(case: &Value) -> Verdict {
    let topic = text(case, "topic");
    let who = named(topic);
    let told = |key: &str| case["expect"]["sys"][key].as_str();
    let is_of = |key, id: Option<&str>| told(key).is_none_or(|told| Some(told) == id);
    if !is_of("connectionDeviceId", Some(who.device_id()))
        || !is_of("connectionModuleId", who.module_id())
    {
        return Verdict::Otherwise("sender-is-who-logged-in");
    }
    let bag = match (topic::parse_publish(topic, &who), case["expect"].as_str()) {
        (Err(BadTopic::Unknown), None) if !topic.starts_with("devices/") => {
            return Verdict::Otherwise("topics-are-whole");
        }
        (Ok(ClientTopic::Telemetry(bag)), None) => bag,
        (Err(BadTopic::Unknown), Some("error:no_topic_match")) => return Verdict::Pass,
        (Err(BadTopic::BadBag(_)), Some(wanted)) if wanted.starts_with("error") => {
            return Verdict::Pass;
        }
        (other, _) => return Verdict::Fail(format!("{other:?}")),
    };
    let message = Inbound::of(&who, "edge", &bag, b"");
    let names = |key: &str| case["expect"][key].as_object().cloned().unwrap_or_default();
    let (system, app) = (names("sys"), names("app"));
    let system = system.iter().map(|(name, value)| (Name::System(name.clone()), value));
    let app = app.iter().map(|(name, value)| (Name::App(name.clone()), value));
    for (name, value) in system.chain(app) {
        let (_, ours) = route::evaluate(&Expr::Name(name.clone()), &message, &mut ());
        let wanted = route::Value::of_property(value.as_str().map(Into::into));
        if ours != wanted {
            return Verdict::Fail(format!("{name}: {ours:?}, not {value}"));
        }
    }
    Verdict::Pass
}

fn delivery(case: &Value) -> Verdict {
    let target = &case["target"];
    let who = Identity::module(text(target, "deviceId"), text(target, "moduleId"));
    let (bag, sender) = bag_of(&case["app"], &case["sys"], &case["sys"]);
    let (Ok(who), Some(sender)) = (who, sender) else { return Verdict::Fail("no ids".into()) };
    if case["sys"]["rpSenderDeviceId"].is_string() && sender.device_id() != who.device_id() {
        return Verdict::Otherwise("own-hub-only");
    }
    let ours = topic::delivery(&who, text(target, "input"), &sender, &bag);
    // The order of properties does not count.
    let sorted = |topic: &str| {
        let (path, bag) = topic.rsplit_once('/').unwrap_or_default();
        let mut pairs: Vec<&str> = bag.split('&').collect();
        pairs.sort_unstable();
        format!("{path}/{}", pairs.join("&"))
    };
    equal(&sorted(&ours), &sorted(text(case, "expect")))
}
