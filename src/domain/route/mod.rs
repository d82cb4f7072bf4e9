//! Routes: `[SELECT *] FROM source [WHERE condition] INTO sink`, and which of them take a message.
//!
//! `lex` makes tokens, `parse` and `grammar` a [`Statement`] of them, `types` refuses what cannot be
//! compared, `hint` says what to write instead. `set` reads all routes of `$edgeHub`'s desired
//! properties; `table` says who wins a message: by `index`, then by `condition`, which asks `reading`
//! for what the message has. Differences from the reference (edgehub.md 2) are in docs/differences.md.
//!
//! next: `store/queue`, which writes a row for each winner.

mod body;
pub mod case;
mod condition;
mod error;
mod explain;
mod expr;
mod fold;
mod function;
mod grammar;
mod hint;
mod inbound;
mod index;
mod lex;
mod names;
mod parse;
mod path;
pub mod preview;
mod reading;
mod set;
mod sink;
mod source;
mod table;
mod tally;
#[cfg(test)]
mod tests;
mod tokens;
mod types;
mod value;

use std::fmt;
use std::sync::Arc;

use self::condition::Condition;
pub use self::condition::Observer;
pub use self::error::{Mistake, RouteError};
pub use self::explain::{Explained, Explanation, Part, explain};
pub use self::expr::{Expr, Literal, Name, Number, Operator};
pub use self::function::Function;
pub use self::inbound::{Inbound, SourceKind, system_names, twin_change, wire_name};
use self::names::Names;
pub use self::path::{BadPath, BodyPath};
use self::reading::Reading;
pub use self::set::{BadRoute, LOCATION, RouteSet};
pub use self::sink::{BadSink, Sink};
pub use self::source::{BadSource, Source};
pub use self::table::{Judged, Outcome, RouteTable, Win};
pub use self::tally::{RouteTally, Tally};
pub use self::types::{Type, type_of};
pub use self::value::{Value, negate, not, operate};
use super::row::{Endpoint, Priority};

/// What a route's text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Where messages come from.
    pub source: Source,
    /// Which of them; all if there is none.
    pub condition: Option<Expr>,
    /// Where they go.
    pub sink: Sink,
}

impl Statement {
    /// Parses the text of the route `name`.
    pub fn parse(name: &str, text: &str) -> Result<Self, RouteError> {
        parse::statement(name, text)
    }

    /// Parses what stands behind WHERE.
    pub fn parse_condition(name: &str, text: &str) -> Result<Expr, RouteError> {
        parse::condition(name, text)
    }

    /// Whether it takes the message. For many messages a [`RouteTable`] is made ready once.
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
    pub condition: Option<Expr>,
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

    /// Whether it takes the message. For many messages a [`RouteTable`] is made ready once.
    pub fn takes(&self, message: &Inbound<'_>) -> bool {
        takes(&self.source, self.condition.as_ref(), message)
    }

    fn win(&self) -> Win {
        Win {
            route: self.name.clone(),
            endpoint: self.endpoint.clone(),
            input: self.input.clone(),
            priority: self.priority,
            ttl: self.ttl,
        }
    }
}

fn takes(source: &Source, condition: Option<&Expr>, message: &Inbound<'_>) -> bool {
    let holds = |expr| evaluate(expr, message, &mut ()).0 == Some(true);
    source.covers(message) && condition.is_none_or(holds)
}

/// What a parsed condition comes to for one message: its truth, of which only true routes, and its
/// value.
pub fn evaluate<O: Observer>(
    expr: &Expr,
    message: &Inbound<'_>,
    seen: &mut O,
) -> (Option<bool>, Value<'static>) {
    let mut names = Names::default();
    let condition = Condition::new(expr, &mut names);
    let reading = Reading::new(Some(message), &names);
    (condition.truth(&reading, seen), condition.value(&reading).into_owned())
}
