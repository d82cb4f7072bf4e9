//! Which messages of its source a route takes.

use std::fmt;

use super::inbound::Inbound;

/// What stands behind WHERE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `IS_DEFINED(name)`: the property is there, with or without a value.
    IsDefined(Name),
    /// `NOT …`
    Not(Box<Condition>),
}

/// How a property is named (edgehub.md 2.3). Case does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `name`: an application property.
    App(String),
    /// `$name`: the application property called `$name` if it is there, else the system property.
    Either(String),
    /// `{$name}`: the system property.
    System(String),
}

impl Condition {
    /// Whether the message fulfils it.
    pub fn holds(&self, message: &Inbound<'_>) -> bool {
        match self {
            Condition::IsDefined(name) => message.property(name).is_some(),
            Condition::Not(condition) => !condition.holds(message),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::IsDefined(name) => write!(f, "IS_DEFINED({name})"),
            Condition::Not(condition) => write!(f, "NOT {condition}"),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::App(name) => f.write_str(name),
            Name::Either(name) => write!(f, "${name}"),
            Name::System(name) => write!(f, "{{${name}}}"),
        }
    }
}
