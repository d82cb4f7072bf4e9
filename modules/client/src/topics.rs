//! The topics of a client: what it publishes to, subscribes to and receives on.

use crate::bag;

/// Where the topics of one identity begin.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    device: String,
    module: Option<String>,
}

/// A received topic, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    Input { name: &'a str, bag: &'a str },
    TwinAnswer { status: u16, rid: String, version: Option<u64> },
    DesiredPatch { version: Option<u64> },
    Method { name: &'a str, rid: &'a str },
    Unknown,
}

pub(crate) const TWIN_ANSWERS: &str = "$iothub/twin/res/#";
pub(crate) const DESIRED_PATCHES: &str = "$iothub/twin/PATCH/properties/desired/#";
pub(crate) const METHODS: &str = "$iothub/methods/POST/#";

impl Topics {
    pub(crate) fn new(device: &str, module: Option<&str>) -> Self {
        Self { device: device.into(), module: module.map(Into::into) }
    }

    fn base(&self) -> String {
        match &self.module {
            Some(module) => format!("devices/{}/modules/{module}", self.device),
            None => format!("devices/{}", self.device),
        }
    }

    pub(crate) fn events(&self, bag: &str) -> String {
        format!("{}/messages/events/{bag}", self.base())
    }

    /// Inputs of a module; cloud-to-device messages of a device.
    pub(crate) fn inputs(&self) -> String {
        match self.module {
            Some(_) => format!("{}/inputs/#", self.base()),
            None => format!("{}/messages/devicebound/#", self.base()),
        }
    }

    pub(crate) fn twin_get(rid: u64) -> String {
        format!("$iothub/twin/GET/?$rid={rid}")
    }

    pub(crate) fn twin_report(rid: u64) -> String {
        format!("$iothub/twin/PATCH/properties/reported/?$rid={rid}")
    }

    pub(crate) fn method_answer(status: u16, rid: &str) -> String {
        format!("$iothub/methods/res/{status}/?$rid={rid}")
    }

    /// Understands the topic of a received PUBLISH.
    pub(crate) fn parse<'a>(&self, topic: &'a str) -> Received<'a> {
        self.try_parse(topic).unwrap_or(Received::Unknown)
    }

    fn try_parse<'a>(&self, topic: &'a str) -> Option<Received<'a>> {
        if let Some(rest) = topic.strip_prefix("$iothub/twin/res/") {
            let (status, query) = rest.split_once("/?")?;
            return Some(Received::TwinAnswer {
                status: status.parse().ok()?,
                rid: query_value(query, "$rid")?,
                version: query_value(query, "$version").and_then(|text| text.parse().ok()),
            });
        }
        if let Some(rest) = topic.strip_prefix("$iothub/twin/PATCH/properties/desired/") {
            let version = query_value(rest.trim_start_matches('?'), "$version");
            return Some(Received::DesiredPatch { version: version.and_then(|v| v.parse().ok()) });
        }
        if let Some(rest) = topic.strip_prefix("$iothub/methods/POST/") {
            let (name, query) = rest.split_once("/?")?;
            let rid = query.split('&').find_map(|pair| pair.strip_prefix("$rid="))?;
            return Some(Received::Method { name, rid });
        }
        let rest = topic.strip_prefix(self.base().as_str())?;
        if let Some(rest) = rest.strip_prefix("/inputs/") {
            let (name, bag) = rest.split_once('/').unwrap_or((rest, ""));
            return Some(Received::Input { name, bag });
        }
        let bag = rest.strip_prefix("/messages/devicebound/")?;
        Some(Received::Input { name: "devicebound", bag })
    }
}

fn query_value(query: &str, name: &str) -> Option<String> {
    bag::decode(query).find(|(key, _)| key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_publishes_and_subscribes_below_its_own_name() {
        let topics = Topics::new("edge", Some("sensor"));
        assert_eq!(topics.events("a=1"), "devices/edge/modules/sensor/messages/events/a=1");
        assert_eq!(topics.inputs(), "devices/edge/modules/sensor/inputs/#");
        let leaf = Topics::new("leaf", None);
        assert_eq!(leaf.events(""), "devices/leaf/messages/events/");
        assert_eq!(leaf.inputs(), "devices/leaf/messages/devicebound/#");
    }

    #[track_caller]
    fn check(topic: &str, want: Received<'_>) {
        assert_eq!(Topics::new("edge", Some("m")).parse(topic), want);
    }

    #[test]
    fn received_topics_are_understood() {
        check(
            "devices/edge/modules/m/inputs/input1/a=b",
            Received::Input { name: "input1", bag: "a=b" },
        );
        check(
            "$iothub/twin/res/204/?$rid=7&$version=12",
            Received::TwinAnswer { status: 204, rid: "7".into(), version: Some(12) },
        );
        check(
            "$iothub/twin/res/200/?%24version=3&%24rid=a",
            Received::TwinAnswer { status: 200, rid: "a".into(), version: Some(3) },
        );
        check(
            "$iothub/twin/PATCH/properties/desired/?$version=4",
            Received::DesiredPatch { version: Some(4) },
        );
        check("$iothub/methods/POST/reset/?$rid=1f", Received::Method { name: "reset", rid: "1f" });
        check("devices/other/modules/m/inputs/input1/", Received::Unknown);
        check("$iothub/twin/res/abc/?$rid=7", Received::Unknown);
    }
}
