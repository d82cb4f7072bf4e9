//! Tests of routes and conditions that are written as JSON: the project's own, and those that users
//! write for their routes (`edgectl route test`). docs/operating-routes.md has the form.

use serde_json::{Map, Value};

use super::{Inbound, Route, RouteSet, RouteTable, Statement, evaluate, twin_change, wire_name};
use crate::domain::bag::Bag;
use crate::domain::identity::Identity;

/// The edge device of conditions, and of routes that name none.
pub const EDGE: &str = "edge";

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What was wanted.
    Passed,
    /// Something else.
    Failed {
        /// What it came to.
        got: String,
        /// What it should have.
        wanted: String,
    },
}

impl Verdict {
    fn of(got: String, wanted: String) -> Verdict {
        if got == wanted { Verdict::Passed } else { Verdict::Failed { got, wanted } }
    }
}

/// A message of a case.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Who sends it.
    pub sender: Identity,
    /// All properties.
    pub bag: Bag,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl Sample {
    /// Of `source`, `app`, `sys`, and a body: `body_text` in `body_charset`, or `body_hex`.
    pub fn read(message: &Value) -> Result<Sample, String> {
        let (bag, sender) = bag_of(&message["app"], &message["sys"], &message["sys"]);
        let id = |id: Result<Identity, _>| {
            id.map_err(|e: crate::domain::identity::BadIdentity| e.to_string())
        };
        let source = text(message, "source");
        let (sender, bag) = match source.split('/').collect::<Vec<_>>()[..] {
            [""] | ["", "messages"] => match sender {
                Some(sender) => (sender, bag),
                None => (id(Identity::device("leaf"))?, bag),
            },
            ["", "twinChangeNotifications"] => {
                let own = twin_change(&id(Identity::device("leaf"))?);
                let pairs: Vec<_> = own.pairs().chain(bag.pairs()).collect();
                let pairs = pairs.iter().map(|(name, value)| (&**name, value.as_deref()));
                (id(Identity::module(EDGE, "$edgeHub"))?, Bag::from_pairs(pairs))
            }
            ["", "messages", "modules", module] => (id(Identity::module(EDGE, module))?, bag),
            ["", "messages", "modules", module, "outputs", output] => {
                (id(Identity::module(EDGE, module))?, bag.with(&[("$.on", output)]))
            }
            _ => return Err(format!("no message has the source `{source}`")),
        };
        Ok(Sample { sender, bag, body: body(message)? })
    }

    /// As routes see it.
    pub fn inbound<'s>(&'s self, edge_device: &'s str) -> Inbound<'s> {
        Inbound::of(&self.sender, edge_device, &self.bag, &self.body)
    }
}

fn body(message: &Value) -> Result<Vec<u8>, String> {
    let said = text(message, "body_text");
    Ok(match text(message, "body_charset") {
        _ if message["body_hex"].is_string() && !message["body_text"].is_string() => {
            let hex = text(message, "body_hex");
            let pair = |at: usize| {
                let pair = hex.get(at..at + 2).and_then(|it| u8::from_str_radix(it, 16).ok());
                pair.ok_or_else(|| "`body_hex` must be pairs of hexadecimal digits".to_owned())
            };
            (0..hex.len()).step_by(2).map(pair).collect::<Result<_, _>>()?
        }
        "utf-16le" => said.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "utf-32le" => said.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect(),
        "" | "utf-8" => said.as_bytes().to_vec(),
        other => return Err(format!("`body_charset` {other} is not utf-8, utf-16le or utf-32le")),
    })
}

/// Properties of a message, by the names that routes have for them; and the sender, if `sender`
/// tells.
pub fn bag_of(app: &Value, system: &Value, sender: &Value) -> (Bag, Option<Identity>) {
    let none = Map::new();
    let of = |value: &Value| value.as_object().unwrap_or(&none).clone();
    let (app, system, sender) = (of(app), of(system), of(sender));
    let wire = system.iter().filter_map(|(name, v)| Some((wire_name(name)?.to_owned(), v.clone())));
    let mut pairs: Vec<(String, Value)> = app.into_iter().chain(wire).collect();
    let of_change = [("rpSenderDeviceId", "$.cdid"), ("rpSenderModuleId", "$.cmid")];
    for (name, wire) in of_change {
        pairs.extend(system.get(name).map(|value| (wire.to_owned(), value.clone())));
    }
    let bag = Bag::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let id = |key: &str| sender.get(key).and_then(Value::as_str);
    let identity = match (id("connectionDeviceId"), id("connectionModuleId")) {
        (Some(device), Some(module)) => Identity::module(device, module).ok(),
        (Some(device), None) => Identity::device(device).ok(),
        _ => None,
    };
    (bag, identity)
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_default()
}

/// What a condition comes to for a message: `true`, `false`, `undefined`, or `compile_error`.
pub fn condition(condition: &str, message: &Sample, wanted: &str) -> Result<Verdict, String> {
    let known = ["true", "false", "undefined", "compile_error"];
    if !known.contains(&wanted) {
        return Err(format!("`expect` must be one of {}", known.join(", ")));
    }
    let got = match Statement::parse_condition("condition", condition) {
        Ok(expr) => match evaluate(&expr, &message.inbound(EDGE), &mut ()).0 {
            Some(true) => "true".to_owned(),
            Some(false) => "false".to_owned(),
            None => "undefined".to_owned(),
        },
        Err(_) if wanted == "compile_error" => "compile_error".to_owned(),
        Err(error) => format!("compile_error: {error}"),
    };
    Ok(Verdict::of(got, wanted.to_owned()))
}

/// Which endpoints get a message: `routes` are those of the case, or else `others`.
pub fn end_to_end(case: &Value, others: &[Route]) -> Result<Verdict, String> {
    let edge = case["edge_device"].as_str().unwrap_or(EDGE);
    let routes = match &case["routes"] {
        Value::Null => others.to_vec(),
        routes => routes_of(routes, edge)?,
    };
    let sender = &case["sender"];
    let device = sender["device"].as_str().ok_or("`sender` has no `device`")?;
    let id = match sender["module"].as_str() {
        Some(module) => Identity::module(device, module),
        None => Identity::device(device),
    };
    let mut id = id.map_err(|e| e.to_string())?;
    let (mut bag, _) = bag_of(&sender["app"], &sender["sys"], &Value::Null);
    if let Some(output) = sender["output"].as_str() {
        bag = bag.with(&[("$.on", output)]);
    }
    let mut body = body(sender)?;
    let update = &sender["reported_property_update"];
    if update.is_object() {
        bag = twin_change(&id);
        id = Identity::module(edge, "$edgeHub").map_err(|e| e.to_string())?;
        body = update.to_string().into_bytes();
    }
    let wanted = case["expect_endpoints"].as_array().ok_or("`expect_endpoints` is no list")?;
    let wanted = wanted.iter().map(|id| id.as_str().map(named).map(str::to_owned));
    let wanted: Option<Vec<_>> = wanted.collect();
    let wanted = wanted.ok_or("`expect_endpoints` must be texts, as $upstream or edge/m/input")?;
    let wins = RouteTable::new(1, routes, None).winners(&Inbound::of(&id, edge, &bag, &body));
    let got = wins.iter().map(|win| place(&win.endpoint.0, win.input.as_deref())).collect();
    Ok(Verdict::of(listed(got), listed(wanted)))
}

/// `iothub` is what the reference calls `$upstream`.
fn named(endpoint: &str) -> &str {
    if endpoint == "iothub" { "$upstream" } else { endpoint }
}

/// `$upstream`, or `device/module/input`.
pub fn place(endpoint: &str, input: Option<&str>) -> String {
    match input {
        Some(input) => format!("{endpoint}/{input}"),
        None => endpoint.to_owned(),
    }
}

fn listed(mut names: Vec<String>) -> String {
    names.sort();
    if names.is_empty() { "no endpoint".to_owned() } else { names.join(", ") }
}

/// Texts, or an object as in a deployment.
fn routes_of(routes: &Value, edge: &str) -> Result<Vec<Route>, String> {
    let named = match routes {
        Value::Array(list) => {
            let named = list.iter().enumerate().map(|(at, text)| (format!("r{at}"), text.clone()));
            Value::Object(named.collect())
        }
        other => other.clone(),
    };
    let desired = serde_json::json!({ "schemaVersion": "1.1", "routes": named });
    let set = RouteSet::parse(&desired, edge);
    match (set.schema_error, set.bad.first()) {
        (Some(error), _) => Err(error),
        (None, Some(bad)) => Err(bad.error.to_string()),
        (None, None) => Ok(set.good),
    }
}
