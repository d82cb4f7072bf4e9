//! A message as routes see it: its sender, its kind, and its properties by name.

use std::borrow::Cow;

use super::condition::Name;
use crate::domain::bag::{Bag, eq_ignore_case};
use crate::domain::identity::Identity;

/// What has come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
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
    pub kind: SourceKind,
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
pub type Property<'a> = Option<Option<Cow<'a, str>>>;

/// Name in a bag of a system property, whatever the case.
pub fn wire_name(system: &str) -> Option<&'static str> {
    SYSTEM.iter().find(|(_, name)| eq_ignore_case(name, system)).map(|(wire, _)| *wire)
}

/// The properties of the message that says that `who` has changed its reported properties. It is
/// sent by this edge's `$edgeHub`, so that its rows and what the parent sees are of that sender.
pub fn twin_change(who: &Identity) -> Bag {
    let bag = Bag::default().with(&[
        ("$.ce", "utf-8"),
        ("$.ct", "application/json"),
        ("$.schema", "twinChangeNotification"),
        ("$.cdid", who.device_id()),
    ]);
    match who.module_id() {
        Some(module) => bag.with(&[("$.cmid", module)]),
        None => bag,
    }
}

impl<'a> Inbound<'a> {
    /// A message of `sender`; of `$edgeHub` it is a twin change, see [`twin_change`].
    pub fn of(sender: &'a Identity, edge_device: &'a str, bag: &'a Bag) -> Self {
        let is_hub = sender.device_id() == edge_device && sender.module_id() == Some("$edgeHub");
        let is_twin_change = is_hub && bag.get("$.cdid").is_some();
        let kind = if is_twin_change { SourceKind::TwinChange } else { SourceKind::Telemetry };
        Inbound { sender, edge_device, bag, kind }
    }

    /// The output that a module has sent it to.
    pub fn output(&self) -> Option<Cow<'a, str>> {
        let is_telemetry = self.kind == SourceKind::Telemetry;
        let output = if is_telemetry { self.bag.value("$.on") } else { None };
        output.filter(|output| !output.is_empty())
    }

    /// The property that a route means.
    pub fn property(&self, name: &Name) -> Property<'a> {
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
        let is_twin_change = self.kind == SourceKind::TwinChange;
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
            wire_name(wanted).and_then(|wire| self.bag.get(wire))
        }
    }
}
