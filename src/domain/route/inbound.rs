//! A message as routes see it: its sender, its kind, and its properties by name.

use std::borrow::Cow;

use super::condition::Name;
use crate::domain::bag::{Bag, eq_ignore_case};
use crate::domain::identity::Identity;

/// What has come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message of a client.
    Telemetry,
    /// A client has changed its reported properties; the body is the patch.
    TwinChange,
}

/// See the module documentation.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'a> {
    /// Whose it is.
    pub sender: &'a Identity,
    /// This edge device.
    pub edge_device: &'a str,
    /// All properties.
    pub bag: &'a Bag,
    /// What it is.
    pub kind: Kind,
}

/// System properties by the name they have in a bag, and in a route (edgehub.md 1.7).
const SYSTEM: [(&str, &str); 14] = [
    ("$.mid", "messageId"),
    ("$.cid", "cid"),
    ("$.ct", "contentType"),
    ("$.ce", "contentEncoding"),
    ("$.uid", "userId"),
    ("$.exp", "absolute-expiry-time"),
    ("$.to", "to"),
    ("ack", "ack"),
    ("$.on", "outputName"),
    ("$.schema", "messageSchema"),
    ("$.ctime", "creationTime"),
    ("$.sub", "dt-subject"),
    ("$.ifid", "iothub-interface-id"),
    ("iothub-operation", "operation"),
];

/// The value of a property; `None` within: it is there without one.
pub(super) type Property<'a> = Option<Option<Cow<'a, str>>>;

impl<'a> Inbound<'a> {
    /// The output that a module has sent it to.
    pub fn output(&self) -> Option<Cow<'a, str>> {
        let is_telemetry = self.kind == Kind::Telemetry;
        let output = if is_telemetry { self.bag.value("$.on") } else { None };
        output.filter(|output| !output.is_empty())
    }

    /// The property that a route means.
    pub(super) fn property(&self, name: &Name) -> Property<'a> {
        match name {
            Name::App(name) => self.app(name),
            Name::System(name) => self.system(name),
            Name::Either(name) => self.app(&format!("${name}")).or_else(|| self.system(name)),
        }
    }

    fn app(&self, wanted: &str) -> Property<'a> {
        let is_system = |name: &str| SYSTEM.iter().any(|(wire, _)| *wire == name);
        let mut all = self.bag.pairs();
        all.find(|(name, _)| eq_ignore_case(name, wanted) && !is_system(name))
            .map(|(_, value)| value)
    }

    fn system(&self, wanted: &str) -> Property<'a> {
        let is = |name| eq_ignore_case(name, wanted);
        let some = |value: &'a str| Some(Some(Cow::Borrowed(value)));
        let is_twin_change = self.kind == Kind::TwinChange;
        if is("connectionDeviceId") {
            some(if is_twin_change { self.edge_device } else { self.sender.device_id() })
        } else if is("connectionModuleId") {
            let module = if is_twin_change { Some("$edgeHub") } else { self.sender.module_id() };
            module.and_then(some)
        } else if is("messageType") && is_twin_change {
            some("twinChangeNotification")
        } else if is("edgeHubOriginInterface") {
            let is_internal = is_twin_change || self.sender.device_id() == self.edge_device;
            some(if is_internal { "internal" } else { "downstream" })
        } else {
            SYSTEM.iter().find(|(_, name)| is(name)).and_then(|(wire, _)| self.bag.get(wire))
        }
    }
}
