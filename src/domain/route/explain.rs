//! Why a message goes where it goes: what the live path decides, watched.
//!
//! The decision is [`RouteTable::judge`]'s own; this only notes down what that looks at.

use std::sync::Arc;

use super::condition::Observer;
use super::value::Value;
use super::{Expr, Inbound, Judged, Literal, Number, Outcome, Route, RouteTable};

/// What came of a message, and how.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What the live path would do.
    pub outcome: Outcome,
    /// Every route of the table, by priority, then name.
    pub routes: Vec<Explained>,
}

/// What came of a message at one route.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The route.
    pub route: Route,
    /// What it comes to.
    pub judged: Judged,
    /// Its condition and all parts of it, outermost and leftmost first; empty if it has none, or if
    /// the source is another one.
    pub parts: Vec<Part>,
    /// Which route takes the message to the same place, if this one is beaten.
    pub beaten_by: Option<Arc<str>>,
}

/// A part of a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// How deep it stands; 0 is the condition.
    pub depth: usize,
    /// As it is written.
    pub text: String,
    /// It says its own value.
    pub is_literal: bool,
    /// What it comes to for this message.
    pub value: Value<'static>,
}

/// Notes down what it is told.
#[derive(Default)]
struct Notes {
    values: Vec<(usize, Value<'static>)>,
    routes: Vec<Explained>,
}

impl Observer for Notes {
    const EVERY: bool = true;

    fn value(&mut self, part: usize, value: &Value<'_>) {
        self.values.push((part, value.clone().into_owned()));
    }

    fn route(&mut self, route: &Route, judged: Judged) {
        let values = std::mem::take(&mut self.values);
        let mut parts = Vec::new();
        if let (Some(condition), false) = (&route.condition, judged == Judged::OtherSource) {
            walk(condition, 0, &mut parts);
            for (at, value) in values {
                if let Some(part) = parts.get_mut(at) {
                    part.value = value;
                }
            }
        }
        self.routes.push(Explained { route: route.clone(), judged, parts, beaten_by: None });
    }
}

/// In the order of [`Expr::parts`].
fn walk(expr: &Expr, depth: usize, parts: &mut Vec<Part>) {
    let is_literal = matches!(expr, Expr::Literal(_));
    parts.push(Part { depth, text: expr.to_string(), is_literal, value: Value::Undefined });
    expr.operands().into_iter().for_each(|operand| walk(operand, depth + 1, parts));
}

/// What becomes of the message, and why.
pub fn explain(table: &RouteTable, message: &Inbound<'_>) -> Explanation {
    let mut notes = Notes::default();
    let outcome = table.judge(message, &mut notes);
    let mut routes = notes.routes;
    for explained in routes.iter_mut().filter(|it| it.judged == Judged::Beaten) {
        let Explained { route, beaten_by, .. } = explained;
        let mut wins = outcome.wins.iter();
        let same = wins.find(|win| win.endpoint == route.endpoint && win.input == route.input);
        *beaten_by = same.map(|win| win.route.clone());
    }
    Explanation { outcome, routes }
}

/// As it would stand in a condition; `missing` is a place that a body does not have.
impl std::fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let literal = match self {
            Value::Undefined => Literal::Undefined,
            Value::Missing => return f.write_str("missing"),
            Value::Null => Literal::Null,
            Value::Bool(is_true) => Literal::Bool(*is_true),
            Value::Number(number) => Literal::Number(Number(*number)),
            Value::Text(text) => Literal::Text(text.to_string()),
        };
        write!(f, "{literal}")
    }
}
