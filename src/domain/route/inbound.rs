//! A message as routes see it: its sender, its kind, its properties, its body.

use std::borrow::Cow;

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
#[derive(Clone, Copy)]
pub struct Inbound<'a> {
    /// Whose it is.
    pub sender: &'a Identity,
    /// This edge device.
    pub edge_device: &'a str,
    /// All properties.
    pub bag: &'a Bag,
    /// Opaque, but for conditions that ask for a place in it.
    pub body: &'a [u8],
    /// What it is.
    pub kind: SourceKind,
}

/// How many system properties have a place in a bag.
pub(super) const WIRES: usize = 14;

/// System properties by the name they have in a bag, and in a route (edgehub.md 1.7).
const SYSTEM: [(&str, &str); WIRES] = [
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

/// A system property: of a bag, or one that the hub itself knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    /// Of the bag, by its number.
    Wire(usize),
    ConnectionDeviceId,
    ConnectionModuleId,
    MessageType,
    OriginInterface,
    /// No message has it.
    Unknown,
}

impl System {
    /// By its name in a route, whatever the case.
    pub(super) fn parse(name: &str) -> System {
        let is = |known| eq_ignore_case(name, known);
        match SYSTEM.iter().position(|(_, known)| is(known)) {
            Some(wire) => System::Wire(wire),
            None if is("connectionDeviceId") => System::ConnectionDeviceId,
            None if is("connectionModuleId") => System::ConnectionModuleId,
            None if is("messageType") => System::MessageType,
            None if is("edgeHubOriginInterface") => System::OriginInterface,
            None => System::Unknown,
        }
    }
}

/// Name in a bag of a system property, whatever the case.
pub fn wire_name(system: &str) -> Option<&'static str> {
    SYSTEM.iter().find(|(_, name)| eq_ignore_case(name, system)).map(|(wire, _)| *wire)
}

/// Names of all system properties that a bag can have.
pub fn system_names() -> impl Iterator<Item = &'static str> {
    SYSTEM.iter().map(|(_, name)| *name)
}

/// Number of the system property that has this name in a bag.
pub(super) fn wire_number(name: &str) -> Option<usize> {
    SYSTEM.iter().position(|(wire, _)| *wire == name)
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
    pub fn of(sender: &'a Identity, edge_device: &'a str, bag: &'a Bag, body: &'a [u8]) -> Self {
        let is_hub = sender.device_id() == edge_device && sender.module_id() == Some("$edgeHub");
        let is_twin_change = is_hub && bag.get("$.cdid").is_some();
        let kind = if is_twin_change { SourceKind::TwinChange } else { SourceKind::Telemetry };
        Inbound { sender, edge_device, bag, body, kind }
    }

    /// The output that a module has sent it to.
    pub fn output(&self) -> Option<Cow<'a, str>> {
        let is_telemetry = self.kind == SourceKind::Telemetry;
        let output = if is_telemetry { self.bag.value("$.on") } else { None };
        output.filter(|output| !output.is_empty())
    }

    /// Where the message comes from, as a route names it.
    pub fn source(&self) -> String {
        match (self.kind, self.sender.module_id(), self.output()) {
            (SourceKind::TwinChange, ..) => "/twinChangeNotifications".into(),
            (_, None, _) => "/messages".into(),
            (_, Some(module), None) => format!("/messages/modules/{module}"),
            (_, Some(module), Some(output)) => {
                format!("/messages/modules/{module}/outputs/{output}")
            }
        }
    }

    /// A system property that the hub knows of the message, whatever its bag says.
    pub(super) fn stamped(&self, system: System) -> Option<&'a str> {
        let is_twin_change = self.kind == SourceKind::TwinChange;
        match system {
            System::ConnectionDeviceId if is_twin_change => Some(self.edge_device),
            System::ConnectionDeviceId => Some(self.sender.device_id()),
            System::ConnectionModuleId if is_twin_change => Some("$edgeHub"),
            System::ConnectionModuleId => self.sender.module_id(),
            System::MessageType => is_twin_change.then_some("twinChangeNotification"),
            System::OriginInterface => {
                let is_internal = is_twin_change || self.sender.device_id() == self.edge_device;
                Some(if is_internal { "internal" } else { "downstream" })
            }
            System::Wire(_) | System::Unknown => None,
        }
    }
}
