//! Who may use which local topics: deny by default, and what is denied stays denied whatever
//! allows it.
//!
//! It comes from the settings and from `mqttBroker.authorizations` of `$edgeHub` (`read.rs`);
//! both hold together. For one client it is filled in once ([`Policy::permissions`]).

mod read;
#[cfg(test)]
mod tests;

use super::filter::{covers, overlap};
use crate::domain::identity::Identity;
use crate::domain::topic;

pub use self::read::BadPolicy;

/// See the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// Allows or denies some clients some operations on some topics.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    is_allowed: bool,
    identities: Vec<Pattern>,
    operations: Vec<Operation>,
    /// Filters; none are needed to connect.
    resources: Vec<Pattern>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    /// To use local topics at all; only its denial means something: who has logged in may.
    Connect,
    Publish,
    Subscribe,
}

/// A text with variables, which were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(String);

/// What a variable stands for.
#[derive(Clone, Copy)]
enum Variable {
    Identity,
    DeviceId,
    ModuleId,
    ThisDeviceId,
}

const VARIABLES: [(&str, Variable); 5] = [
    ("{{iot:identity}}", Variable::Identity),
    ("{{iot:device_id}}", Variable::DeviceId),
    ("{{iot:module_id}}", Variable::ModuleId),
    ("{{iot:this_device_id}}", Variable::ThisDeviceId),
    ("{{mqtt:client_id}}", Variable::Identity),
];

/// The topic itself, whatever it is: only by itself, and of resources only.
const TOPIC: &str = "{{mqtt:topic}}";

impl Pattern {
    /// With the variables replaced; `None`: it names a module, and this is a device.
    fn fill(&self, who: &Identity, edge_device: &str) -> Option<String> {
        let mut text = self.0.clone();
        for (name, variable) in VARIABLES {
            if text.contains(name) {
                let value = match variable {
                    Variable::Identity => who.as_str(),
                    Variable::DeviceId => who.device_id(),
                    Variable::ModuleId => who.module_id()?,
                    Variable::ThisDeviceId => edge_device,
                };
                text = text.replace(name, value);
            }
        }
        Some(if text == TOPIC { "#".to_owned() } else { text })
    }
}

impl Policy {
    /// Both together.
    pub fn with(mut self, other: &Policy) -> Policy {
        self.statements.extend(other.statements.iter().cloned());
        self
    }

    /// What one client may do.
    pub fn permissions(&self, who: &Identity, edge_device: &str) -> Permissions {
        let mut may = Permissions::default();
        for statement in &self.statements {
            let is_meant = |pattern: &Pattern| {
                pattern.fill(who, edge_device).is_some_and(|id| id == who.as_str())
            };
            if !statement.identities.iter().any(is_meant) {
                continue;
            }
            let filters: Vec<_> =
                statement.resources.iter().filter_map(|it| it.fill(who, edge_device)).collect();
            for operation in &statement.operations {
                let rules = match operation {
                    Operation::Connect => {
                        may.is_shut_out |= !statement.is_allowed;
                        continue;
                    }
                    Operation::Publish => &mut may.publish,
                    Operation::Subscribe => &mut may.subscribe,
                };
                let side =
                    if statement.is_allowed { &mut rules.allowed } else { &mut rules.denied };
                side.extend(filters.iter().cloned());
            }
        }
        may
    }
}

/// What one client may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    is_shut_out: bool,
    publish: Rules,
    subscribe: Rules,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rules {
    allowed: Vec<String>,
    denied: Vec<String>,
}

impl Permissions {
    /// Whether it may publish there.
    pub fn may_publish(&self, to: &str) -> bool {
        let has = |filters: &[String]| filters.iter().any(|filter| topic::matches(filter, to));
        !self.is_shut_out && has(&self.publish.allowed) && !has(&self.publish.denied)
    }

    /// Whether it may get everything that a filter brings: one allowed filter has all of it, and
    /// no denied one any. So nothing need be looked at when a message is delivered.
    pub fn may_subscribe(&self, filter: &str) -> bool {
        let Rules { allowed, denied } = &self.subscribe;
        !self.is_shut_out
            && allowed.iter().any(|wide| covers(wide, filter))
            && !denied.iter().any(|other| overlap(other, filter))
    }
}
