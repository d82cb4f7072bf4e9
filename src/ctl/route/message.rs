//! Messages as JSON, to be explained.
//!
//! | key | is |
//! |---|---|
//! | `sender` | `device`, or `device/module` |
//! | `output` | of the module that sends |
//! | `properties` | application properties: texts, or null for one without a value |
//! | `system` | system properties by the names that routes have: `contentType`, `messageId`, … |
//! | `body`, `body_text`, `body_base64` | one of them: JSON, text in UTF-8, or bytes |
//! | `twin_change` | true: the sender has changed its reported properties, and the body is the patch |

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::ctl::error::CtlError;
use crate::domain::bag::Bag;
use crate::domain::identity::Identity;
use crate::domain::route::case::Sample;
use crate::domain::route::{system_names, twin_change, wire_name};
use crate::protocol::files::read_text;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    sender: String,
    output: Option<String>,
    #[serde(default)]
    properties: BTreeMap<String, Option<String>>,
    #[serde(default)]
    system: BTreeMap<String, String>,
    body: Option<Value>,
    body_text: Option<String>,
    body_base64: Option<String>,
    #[serde(default)]
    twin_change: bool,
}

/// A message of a file, and whose it is.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) sender: Identity,
    is_twin_change: bool,
    bag: Bag,
    body: Vec<u8>,
}

/// Reads a file.
pub(super) fn read(file: &Path) -> Result<Message, CtlError> {
    let text = read_text(file).map_err(|e| CtlError::new("no message").because(e))?;
    of(&text).map_err(|why| CtlError::new(format!("{} is no message", file.display())).because(why))
}

fn of(text: &str) -> Result<Message, String> {
    let written: Written = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let sender = Identity::parse(&written.sender).map_err(|e| e.to_string())?;
    let mut pairs: Vec<(&str, Option<&str>)> = Vec::new();
    for (name, value) in &written.properties {
        pairs.push((name, value.as_deref()));
    }
    for (name, value) in &written.system {
        let wire = wire_name(name).ok_or_else(|| {
            let names: Vec<_> = system_names().collect();
            format!(
                "`{name}` is no system property that can be set; there are {}",
                names.join(", ")
            )
        })?;
        pairs.push((wire, Some(value)));
    }
    if let Some(output) = &written.output {
        if sender.module_id().is_none() {
            return Err("`output` is of modules: `sender` must be device/module".to_owned());
        }
        pairs.push(("$.on", Some(output)));
    }
    let body = match (written.body, written.body_text, written.body_base64) {
        (None, None, None) => Vec::new(),
        (Some(json), None, None) => json.to_string().into_bytes(),
        (None, Some(text), None) => text.into_bytes(),
        (None, None, Some(encoded)) => {
            STANDARD.decode(encoded).map_err(|e| format!("`body_base64`: {e}"))?
        }
        _ => return Err("only one of `body`, `body_text` and `body_base64` may stand".to_owned()),
    };
    let bag = Bag::from_pairs(pairs);
    Ok(Message { sender, is_twin_change: written.twin_change, bag, body })
}

impl Message {
    /// As it comes in at an edge device.
    pub(super) fn at(self, edge_device: &str) -> Result<Sample, CtlError> {
        let Message { sender, is_twin_change, bag, body } = self;
        if !is_twin_change {
            return Ok(Sample { sender, bag, body });
        }
        let hub = Identity::module(edge_device, "$edgeHub");
        let hub = hub.map_err(|e| CtlError::new("not an edge device").because(e))?;
        Ok(Sample { sender: hub, bag: twin_change(&sender), body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_and_every_mistake_is_named() {
        let message =
            of(r#"{ "sender": "gw/m", "output": "o", "properties": { "장소": "서울", "e": null },
            "system": { "CONTENTTYPE": "application/json" }, "body": { "a": 1 } }"#)
            .unwrap();
        assert_eq!(message.body, br#"{"a":1}"#);
        assert_eq!(message.bag.value("장소").as_deref(), Some("서울"));
        assert_eq!(message.bag.get("e"), Some(None));
        assert_eq!(message.bag.value("$.ct").as_deref(), Some("application/json"));
        assert_eq!(message.bag.value("$.on").as_deref(), Some("o"));
        assert_eq!(of(r#"{"sender":"d","body_base64":"AAE="}"#).unwrap().body, [0, 1]);
        let change = of(r#"{"sender":"d","twin_change":true,"body":{"a":1}}"#).unwrap();
        assert_eq!(change.at("gw").unwrap().inbound("gw").source(), "/twinChangeNotifications");
        for (text, why) in [
            ("{}", "missing field `sender`"),
            (r#"{"sender":"a/b/c"}"#, "is not an id"),
            (r#"{"sender":"a","sendr":1}"#, "unknown field `sendr`"),
            (r#"{"sender":"a","properties":{"t":5}}"#, "expected a string"),
            (r#"{"sender":"a","system":{"contentTyp":"x"}}"#, "there are messageId"),
            (r#"{"sender":"a","output":"o"}"#, "device/module"),
            (r#"{"sender":"a","body":1,"body_text":"1"}"#, "only one of"),
            (r#"{"sender":"a","body_base64":"?"}"#, "`body_base64`"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
