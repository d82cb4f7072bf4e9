//! A message with its properties.

use bytes::Bytes;

use crate::bag;

/// What a module sends or is given: a body and properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The body, as it is.
    pub body: Bytes,
    /// Application properties, in order.
    pub properties: Vec<(String, String)>,
    /// System properties by wire name without `$.` (`ct`, `ce`, `mid`, `cid`, …), in order.
    pub system: Vec<(String, String)>,
}

impl Message {
    /// A message with this body and no properties.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// A JSON message: content type `application/json`, content encoding `utf-8`.
    pub fn json(value: &serde_json::Value) -> Self {
        Self::new(value.to_string())
            .with_system("ct", "application/json")
            .with_system("ce", "utf-8")
    }

    /// Adds an application property.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.properties.push((name.into(), value.to_string()));
        self
    }

    /// Adds a system property by its wire name without `$.`.
    #[must_use]
    pub fn with_system(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.system.push((name.into(), value.to_string()));
        self
    }

    /// An application property.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The bag of the topic: the output first, system properties, then the others.
    pub(crate) fn bag(&self, output: Option<&str>) -> String {
        let system: Vec<_> = self.system.iter().map(|(k, v)| (format!("$.{k}"), v)).collect();
        bag::encode(
            output
                .map(|output| ("$.on", output))
                .into_iter()
                .chain(system.iter().map(|(k, v)| (k.as_str(), v.as_str())))
                .chain(self.properties.iter().map(|(k, v)| (k.as_str(), v.as_str()))),
        )
    }

    /// A received message.
    pub(crate) fn from_wire(bag: &str, body: Bytes) -> Self {
        let (system, properties): (Vec<_>, Vec<_>) =
            bag::decode(bag).partition(|(name, _)| name.starts_with("$."));
        let system = system.into_iter().map(|(name, value)| (name[2..].into(), value)).collect();
        Self { body, properties, system }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_comes_first_then_system_then_application_properties() {
        let message = Message::json(&serde_json::json!({})).with("sequence", 7);
        assert_eq!(
            message.bag(Some("out 1")),
            "%24.on=out%201&%24.ct=application%2Fjson&%24.ce=utf-8&sequence=7"
        );
        assert_eq!(Message::new("x").bag(None), "");
    }

    #[test]
    fn a_received_bag_is_split_into_system_and_application_properties() {
        let message = Message::from_wire("%24.cdid=dev&%24.cmid=m&sequence=7", Bytes::new());
        assert_eq!(message.property("sequence"), Some("7"));
        assert_eq!(message.system[1], ("cmid".into(), "m".into()));
    }
}
