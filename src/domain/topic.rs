//! The topics of IoT Hub, both ways (spec edgehub 1.5 to 1.8, sdk.md 1.4), bound to the identity
//! that has logged in.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::bag::{BadBag, Bag, escape_parts};
use super::features::Features;
use super::identity::Identity;

/// Longest topic that can be sent on with what a link adds (architecture 4.1).
pub const MAX_TOPIC: usize = 63_487;

/// What a client publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientTopic {
    /// A message; `$.on` names the output.
    Telemetry(Bag),
    /// Asks for its twin.
    TwinGet {
        /// Echoed as it is.
        rid: String,
    },
    /// Changes its reported properties.
    TwinPatch {
        /// Without one there is no answer.
        rid: Option<String>,
    },
    /// Answers a direct method.
    MethodAnswer {
        /// The method's own.
        status: i32,
        /// Of the call.
        rid: String,
    },
}

/// Why a PUBLISH closes the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTopic {
    /// Deny by default.
    #[error("the topic is of another identity")]
    OtherIdentity,
    /// Not in the table.
    #[error("IoT Hub has no such topic")]
    Unknown,
    /// Properties.
    #[error(transparent)]
    BadBag(#[from] BadBag),
    /// Could not be sent on.
    #[error("the topic is longer than {MAX_TOPIC} bytes when its properties are encoded")]
    TooLong,
}

/// Parses the topic of a PUBLISH of `who`.
pub fn parse_publish(topic: &str, who: &Identity) -> Result<ClientTopic, BadTopic> {
    if let Some(rest) = topic.strip_prefix("devices/") {
        return parse_telemetry(rest, who);
    }
    // Its `$rid` comes back in a topic that is a little longer.
    if topic.len() > MAX_TOPIC {
        return Err(BadTopic::TooLong);
    }
    let parse = |prefix: &str| topic.strip_prefix(prefix).map(parameters);
    if let Some(rid) = parse("$iothub/twin/GET/") {
        return Ok(ClientTopic::TwinGet { rid: rid.ok_or(BadTopic::Unknown)? });
    }
    if let Some(rid) = parse("$iothub/twin/PATCH/properties/reported/") {
        return Ok(ClientTopic::TwinPatch { rid });
    }
    let answer = topic.strip_prefix("$iothub/methods/res/").ok_or(BadTopic::Unknown)?;
    let (status, rest) = answer.split_once('/').ok_or(BadTopic::Unknown)?;
    let status = status.parse().map_err(|_| BadTopic::Unknown)?;
    Ok(ClientTopic::MethodAnswer { status, rid: parameters(rest).ok_or(BadTopic::Unknown)? })
}

fn parse_telemetry(rest: &str, who: &Identity) -> Result<ClientTopic, BadTopic> {
    let (device, rest) = rest.split_once('/').ok_or(BadTopic::Unknown)?;
    let (module, rest) = match rest.strip_prefix("modules/") {
        Some(rest) => {
            let (module, rest) = rest.split_once('/').ok_or(BadTopic::Unknown)?;
            (Some(module), rest)
        }
        None => (None, rest),
    };
    let bag = match rest.strip_prefix("messages/events") {
        Some("") => "",
        Some(bag) => bag.strip_prefix('/').ok_or(BadTopic::Unknown)?,
        None => return Err(BadTopic::Unknown),
    };
    if device != who.device_id() || module != who.module_id() {
        return Err(BadTopic::OtherIdentity);
    }
    let bag = Bag::parse(bag)?;
    // As long as the longest form it is sent on in: to an input of a module.
    if bag.len() + who.resource_length() + "/messages/events/".len() > MAX_TOPIC {
        return Err(BadTopic::TooLong);
    }
    Ok(ClientTopic::Telemetry(bag))
}

/// `$rid` of `?$rid=…&…`, as it was written; one `/` at the end does not belong to it (trap 13).
fn parameters(query: &str) -> Option<String> {
    let query = query.strip_prefix('?')?;
    let query = query.strip_suffix('/').unwrap_or(query);
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let rid = pairs.find(|(name, _)| matches!(*name, "$rid" | "%24rid"));
    rid.map(|(_, rid)| rid.to_owned()).filter(|rid| !rid.is_empty())
}

/// What a filter asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterClass {
    /// `$iothub/methods/POST/#`
    Methods,
    /// `$iothub/twin/PATCH/properties/desired/#`
    Desired,
    /// `devices/{d}/messages/devicebound/#`
    CloudToDevice,
    /// `$iothub/twin/res/#`
    TwinAnswers,
    /// `devices/{d}/modules/{m}/inputs/#`, one input, or `devices/{d}/modules/{m}/#`
    Inputs,
    /// Of somebody else: closes the connection.
    OtherIdentity,
    /// Nothing that the hub has.
    Unknown,
}

/// Whether a filter has the form of one: `#` only as the last level, wildcards only alone.
pub fn is_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').rev();
    let is_plain = |level: &str| level == "+" || !level.contains(['+', '#']);
    levels.next().is_some_and(|last| last == "#" || is_plain(last))
        && levels.all(is_plain)
        && !filter.is_empty()
}

/// Tells what a filter of `who` asks for.
pub fn classify(filter: &str, who: &Identity) -> FilterClass {
    if !is_filter(filter) {
        return FilterClass::Unknown;
    }
    if filter.starts_with("$iothub/methods/POST/") {
        return FilterClass::Methods;
    }
    if filter.starts_with("$iothub/twin/PATCH/properties/desired/") {
        return FilterClass::Desired;
    }
    if filter.starts_with("$iothub/twin/res/") {
        return FilterClass::TwinAnswers;
    }
    let Some(rest) = filter.strip_prefix("devices/") else { return FilterClass::Unknown };
    let Some((device, rest)) = rest.split_once('/') else { return FilterClass::Unknown };
    if device != who.device_id() {
        return FilterClass::OtherIdentity;
    }
    if let Some(rest) = rest.strip_prefix("modules/") {
        let (module, rest) = rest.split_once('/').unwrap_or((rest, ""));
        if Some(module) != who.module_id() {
            return FilterClass::OtherIdentity;
        }
        return match rest {
            "#" | "inputs/#" => FilterClass::Inputs,
            input if input.starts_with("inputs/") && input.ends_with("/#") => FilterClass::Inputs,
            rest if rest.starts_with("messages/devicebound/") => FilterClass::CloudToDevice,
            _ => FilterClass::Unknown,
        };
    }
    match rest {
        _ if who.module_id().is_some() => FilterClass::OtherIdentity,
        "messages/devicebound/#" => FilterClass::CloudToDevice,
        _ => FilterClass::Unknown,
    }
}

/// What a set of filters asks for.
pub fn features(filters: &[(String, bool)], who: &Identity) -> Features {
    let mut features = Features::default();
    for (filter, _) in filters {
        match classify(filter, who) {
            FilterClass::Methods => features.methods = true,
            FilterClass::Desired => features.desired = true,
            FilterClass::CloudToDevice => features.c2d = who.module_id().is_none(),
            FilterClass::Inputs => features.inputs = true,
            _ => {}
        }
    }
    features
}

/// Whether a filter covers a topic (MQTT 3.1.1, 4.7).
pub fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// A message for an input of a module.
pub fn input(who: &Identity, input: &str, bag: &Bag) -> String {
    format!("{}/inputs/{input}/{}", who.resource(), bag.as_str())
}

/// A message of `sender` for an input of a module: with whose it is, without its output. What
/// this edge's `$edgeHub` sends of a change of somebody's twin says itself whose it is.
pub fn delivery(who: &Identity, to: &str, sender: &Identity, bag: &Bag) -> String {
    let is_hub = sender.device_id() == who.device_id() && sender.module_id() == Some("$edgeHub");
    if is_hub && bag.get("$.cdid").is_some() {
        return input(who, to, &bag.without(&["$.on"]));
    }
    // The longest ids, written with three characters for each of theirs, would not fit: it grows.
    let mut topic = String::with_capacity(who.resource_length() + to.len() + bag.len() + 320);
    who.append_resource(&mut topic);
    topic.extend(["/inputs/", to, "/"]);
    let before = topic.len();
    bag.append_without(&["$.on", "$.cdid", "$.cmid"], &mut topic);
    let joint = if topic.len() > before { "&" } else { "" };
    topic.extend([joint, "%24.cdid="]);
    topic.extend(escape_parts(sender.device_id()));
    if let Some(module) = sender.module_id() {
        topic.push_str("&%24.cmid=");
        topic.extend(escape_parts(module));
    }
    topic
}

/// A cloud-to-device message. The slash is there with an empty bag too (sdk.md, trap 6).
pub fn devicebound(who: &Identity, bag: &Bag) -> String {
    let topic = format!("{}/messages/devicebound/", who.resource());
    let to = format!("/{}/messages/devicebound", who.resource());
    let bag = bag.without(&["$.to"]);
    let to = Bag::from_pairs([("$.to", Some(to.as_str()))]);
    let joint = if bag.is_empty() { "" } else { "&" };
    format!("{topic}{}{joint}{}", to.as_str(), bag.as_str())
}

/// The answer to a twin request.
pub fn twin_answer(status: u16, rid: &str, version: Option<u64>) -> String {
    let version = version.map(|version| format!("&$version={version}")).unwrap_or_default();
    format!("$iothub/twin/res/{status}/?$rid={rid}{version}")
}

/// A patch of desired properties.
pub fn desired(version: u64) -> String {
    format!("$iothub/twin/PATCH/properties/desired/?$version={version}")
}

/// A direct method. Its name is sent raw, as not every client decodes it (sdk.md 1.4), but not
/// where it would not be one level of a topic, or be decoded to another name.
pub fn method(name: &str, rid: &str) -> String {
    const UNSAFE: &AsciiSet = &CONTROLS.add(b'/').add(b'?').add(b'#').add(b'+').add(b'%');
    let is_level = !name.contains(|c: char| c.is_control() || "/?#+".contains(c));
    match is_level && percent_decode_str(name).decode_utf8().is_ok_and(|decoded| decoded == name) {
        true => format!("$iothub/methods/POST/{name}/?$rid={rid}"),
        false => format!("$iothub/methods/POST/{}/?$rid={rid}", utf8_percent_encode(name, UNSAFE)),
    }
}

#[cfg(test)]
mod tests;
