//! Routes: `[SELECT *] FROM source [WHERE condition] INTO sink`, and which of them take a message.
//!
//! `lex` makes tokens, `parse` a [`Statement`], `set` reads all routes of `$edgeHub`'s desired
//! properties, `table` says who wins a message. Differences from the reference (edgehub.md 2):
//! text behind the sink, sources that no message ever has, comments that swallow a clause, and
//! unknown keys are errors; a bad route leaves the others alone; `routes` may be missing.
//!
//! next: `store/queue`, which writes a row for each winner.

mod condition;
mod error;
mod inbound;
mod lex;
mod parse;
mod set;
mod sink;
mod source;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use self::condition::{Condition, Name};
pub use self::error::RouteError;
pub use self::inbound::{Inbound, Property, SourceKind, twin_change, wire_name};
pub use self::set::{BadRoute, RouteSet};
pub use self::sink::{BadSink, Sink};
pub use self::source::{BadSource, Source};
pub use self::table::{RouteTable, Win};
use super::row::{Endpoint, Priority};

/// What a route's text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Where messages come from.
    pub source: Source,
    /// Which of them; all if there is none.
    pub condition: Option<Condition>,
    /// Where they go.
    pub sink: Sink,
}

impl Statement {
    /// Parses the text of the route `name`.
    pub fn parse(name: &str, text: &str) -> Result<Self, RouteError> {
        parse::statement(name, text)
    }

    /// Whether it takes the message.
    pub fn takes(&self, message: &Inbound<'_>) -> bool {
        takes(&self.source, self.condition.as_ref(), message)
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FROM {} ", self.source)?;
        if let Some(condition) = &self.condition {
            write!(f, "WHERE {condition} ")?;
        }
        write!(f, "INTO {}", self.sink)
    }
}

/// A route of this edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its key in the desired properties.
    pub name: Arc<str>,
    /// As it was written.
    pub text: String,
    /// Where messages come from.
    pub source: Source,
    /// Which of them; all if there is none.
    pub condition: Option<Condition>,
    /// Where they go.
    pub sink: Sink,
    /// Whose rows it makes.
    pub endpoint: Endpoint,
    /// The input of the module, if the endpoint is one.
    pub input: Option<Arc<str>>,
    /// Which rows go first, and which of several routes to one endpoint wins.
    pub priority: Priority,
    /// In seconds, never 0; `None`: the global one applies.
    pub ttl: Option<u64>,
}

impl Route {
    /// Parses a route without priority and time to live; modules are those of `edge_device`.
    pub fn parse(name: &str, text: &str, edge_device: &str) -> Result<Self, RouteError> {
        let Statement { source, condition, sink } = Statement::parse(name, text)?;
        let (endpoint, input) = match &sink {
            Sink::Upstream => (Endpoint::upstream(), None),
            Sink::Input { module, input } => {
                (Endpoint(format!("{edge_device}/{module}").into()), Some(input.as_str().into()))
            }
        };
        Ok(Route {
            name: name.into(),
            text: text.into(),
            source,
            condition,
            sink,
            endpoint,
            input,
            priority: Priority::DEFAULT,
            ttl: None,
        })
    }

    /// Whether it takes the message.
    pub fn takes(&self, message: &Inbound<'_>) -> bool {
        takes(&self.source, self.condition.as_ref(), message)
    }
}

fn takes(source: &Source, condition: Option<&Condition>, message: &Inbound<'_>) -> bool {
    source.covers(message) && condition.is_none_or(|condition| condition.holds(message))
}
