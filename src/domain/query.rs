//! The part of the IoT Hub's query language that localhub knows.
//!
//! Conditions have three values, as in SQL: what is not there is neither equal nor unequal to
//! anything, and `NOT` does not change that. Only what is true is taken.

use std::cmp::Ordering;

use serde_json::Value;
use winnow::ascii::{Caseless, digit1, multispace0, multispace1};
use winnow::combinator::{
    alt, delimited, eof, not, opt, peek, preceded, repeat, separated, terminated,
};
use winnow::prelude::*;
use winnow::token::{one_of, take_till, take_while};

/// `SELECT * FROM devices[.modules] [WHERE …]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Of modules, not of devices.
    pub is_of_modules: bool,
    condition: Option<Condition>,
}

#[derive(Clone, Debug, PartialEq)]
enum Condition {
    Compare(Operand, Comparison, Operand),
    /// `IN [a, b]`
    Among(Operand, Vec<Value>),
    IsDefined(Vec<String>),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    /// `tags.site`, `properties.reported.x`, `deviceId`.
    Path(Vec<String>),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// It is something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a query that this hub knows: SELECT * FROM devices[.modules] [WHERE condition], \
     conditions of =, !=, <>, <, <=, >, >=, IN, NIN, IS_DEFINED, AND, OR, NOT and brackets"
)]
pub struct BadQuery(String);

/// Brackets within brackets; more are refused.
const MOST_NESTED: usize = 50;

impl Query {
    /// Parses the text; keywords in any case.
    pub fn parse(text: &str) -> Result<Self, BadQuery> {
        let bad = || BadQuery(text.chars().take(200).collect());
        if text.matches('(').count() > MOST_NESTED {
            return Err(bad());
        }
        query.parse(text.trim()).map_err(|_| bad())
    }

    /// Whether a twin is asked for.
    pub fn takes(&self, twin: &Value) -> bool {
        self.condition.as_ref().is_none_or(|condition| condition.holds(twin) == Some(true))
    }
}

impl Condition {
    /// `None`: not known, for want of a value.
    fn holds(&self, twin: &Value) -> Option<bool> {
        match self {
            Condition::Compare(left, how, right) => how.holds(left.of(twin)?, right.of(twin)?),
            Condition::Among(left, values) => {
                let left = left.of(twin)?;
                Some(values.iter().any(|value| is_equal(left, value)))
            }
            Condition::IsDefined(path) => Some(find(path, twin).is_some()),
            Condition::Not(inner) => inner.holds(twin).map(|holds| !holds),
            Condition::All(parts) => decide(parts, twin, false),
            Condition::Any(parts) => decide(parts, twin, true),
        }
    }
}

/// One part that is `decisive` decides; otherwise one that is not known leaves it open.
fn decide(parts: &[Condition], twin: &Value, decisive: bool) -> Option<bool> {
    let mut is_open = false;
    for part in parts {
        match part.holds(twin) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => is_open = true,
        }
    }
    (!is_open).then_some(!decisive)
}

impl Operand {
    fn of<'a>(&'a self, twin: &'a Value) -> Option<&'a Value> {
        match self {
            Operand::Path(path) => find(path, twin),
            Operand::Literal(value) => Some(value),
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> Option<bool> {
        match self {
            Comparison::Equal => Some(is_equal(left, right)),
            Comparison::NotEqual => Some(!is_equal(left, right)),
            Comparison::Less => Some(order(left, right)?.is_lt()),
            Comparison::AtMost => Some(order(left, right)?.is_le()),
            Comparison::Greater => Some(order(left, right)?.is_gt()),
            Comparison::AtLeast => Some(order(left, right)?.is_ge()),
        }
    }
}

fn find<'a>(path: &[String], twin: &'a Value) -> Option<&'a Value> {
    path.iter().try_fold(twin, |value, name| value.get(name))
}

/// Of two numbers or two texts (times are texts that sort); others have no order.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// 1 and 1.0 are equal.
fn is_equal(left: &Value, right: &Value) -> bool {
    left == right || (left.is_number() && order(left, right) == Some(Ordering::Equal))
}

fn query(input: &mut &str) -> ModalResult<Query> {
    let word = |word: &'static str| (Caseless(word), multispace1).void();
    word("select").parse_next(input)?;
    ("*", multispace1).void().parse_next(input)?;
    word("from").parse_next(input)?;
    Caseless("devices").parse_next(input)?;
    let is_of_modules = opt(Caseless(".modules")).parse_next(input)?.is_some();
    let condition = opt(preceded((multispace1, keyword("where")), any)).parse_next(input)?;
    (multispace0, opt(';'), multispace0, eof).void().parse_next(input)?;
    Ok(Query { is_of_modules, condition })
}

/// The word, not the beginning of a longer one, and the space behind it.
fn keyword<'a>(word: &'static str) -> impl ModalParser<&'a str, (), winnow::error::ContextError> {
    (Caseless(word), not(one_of(is_of_name)), multispace0).void()
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '-')
}

fn any(input: &mut &str) -> ModalResult<Condition> {
    let mut parts: Vec<_> = separated(1.., all, keyword("or")).parse_next(input)?;
    Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::Any(parts) })
}

fn all(input: &mut &str) -> ModalResult<Condition> {
    let mut parts: Vec<_> = separated(1.., negated, keyword("and")).parse_next(input)?;
    Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::All(parts) })
}

fn negated(input: &mut &str) -> ModalResult<Condition> {
    let nots: usize = repeat(0.., keyword("not")).parse_next(input)?;
    let bracketed = delimited(('(', multispace0), any, (')', multispace0));
    let condition = alt((bracketed, is_defined, comparison)).parse_next(input)?;
    Ok(if nots % 2 == 1 { Condition::Not(Box::new(condition)) } else { condition })
}

fn is_defined(input: &mut &str) -> ModalResult<Condition> {
    let open = (Caseless("is_defined"), multispace0, '(', multispace0);
    let close = (multispace0, ')', multispace0);
    delimited(open, path, close).map(Condition::IsDefined).parse_next(input)
}

fn comparison(input: &mut &str) -> ModalResult<Condition> {
    let left = operand.parse_next(input)?;
    let mut is_in = opt(alt((keyword("in").value(true), keyword("nin").value(false))));
    if let Some(is_in) = is_in.parse_next(input)? {
        let comma = (multispace0, ',', multispace0);
        let values = separated(0.., literal, comma);
        let open = ('[', multispace0);
        let values: Vec<_> =
            delimited(open, values, (multispace0, ']', multispace0)).parse_next(input)?;
        let among = Condition::Among(left, values);
        return Ok(if is_in { among } else { Condition::Not(Box::new(among)) });
    }
    let how = alt((
        alt(("!=", "<>")).value(Comparison::NotEqual),
        "<=".value(Comparison::AtMost),
        ">=".value(Comparison::AtLeast),
        "=".value(Comparison::Equal),
        "<".value(Comparison::Less),
        ">".value(Comparison::Greater),
    ));
    let how = terminated(how, multispace0).parse_next(input)?;
    let right = operand.parse_next(input)?;
    Ok(Condition::Compare(left, how, right))
}

fn operand(input: &mut &str) -> ModalResult<Operand> {
    let operand = alt((literal.map(Operand::Literal), path.map(Operand::Path)));
    terminated(operand, multispace0).parse_next(input)
}

fn path(input: &mut &str) -> ModalResult<Vec<String>> {
    let name = take_while(1.., is_of_name);
    let bracketed = delimited("[[", take_till(1.., ']'), "]]");
    let name = alt((bracketed, name)).map(|name: &str| name.to_owned());
    separated(1.., name, '.').parse_next(input)
}

fn literal(input: &mut &str) -> ModalResult<Value> {
    let number = (opt('-'), digit1, opt(('.', digit1))).take();
    let number = number.try_map(|number: &str| serde_json::from_str::<Value>(number));
    let end = || peek(not(one_of(|c: char| is_of_name(c) || c == '.')));
    alt((
        text,
        terminated(number, end()),
        terminated(Caseless("true"), end()).value(Value::Bool(true)),
        terminated(Caseless("false"), end()).value(Value::Bool(false)),
        terminated(Caseless("null"), end()).value(Value::Null),
    ))
    .parse_next(input)
}

/// In single or double quotes; a doubled quote stands for itself.
fn text(input: &mut &str) -> ModalResult<Value> {
    let quoted = |quote: char, doubled: &'static str| {
        let plain = take_till(1.., quote).map(str::to_owned);
        let parts = repeat(0.., alt((plain, doubled.value(quote.to_string()))));
        delimited(quote, parts.map(|parts: Vec<String>| parts.concat()), quote)
    };
    alt((quoted('\'', "''"), quoted('"', "\"\""))).map(Value::String).parse_next(input)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn takes(text: &str, twin: &Value) -> bool {
        Query::parse(text).unwrap().takes(twin)
    }

    #[test]
    fn conditions_hold_against_any_place_of_a_twin() {
        let twin = json!({
            "deviceId": "a'b", "tags": {"site": "x", "floor": 2, "old": null},
            "properties": {"reported": {"on": true, "t": -1.5}},
        });
        assert!(takes("SELECT * FROM devices", &twin));
        assert!(Query::parse("select * from devices.modules ;").unwrap().is_of_modules);
        for yes in [
            "deviceId = 'a''b'",
            "tags.site = \"x\" AND tags.floor=2",
            "tags.site <> 'y' and tags.floor != 3",
            "properties.reported.on = true",
            "properties.reported.t = -1.5",
            "[[tags]].site = 'x'",
            "tags.floor > 1.5 AND tags.floor<=2.0 AND 3 > tags.floor",
            "tags.site >= 'w' AND NOT tags.site < 'x'",
            "tags.site = 'y' OR (tags.floor = 2 AND NOT (tags.site = 'z'))",
            "tags.none = 1 OR tags.floor IN [1, 2]",
            "tags.site nin ['a', 'b'] AND is_defined(tags.old) AND tags.old = null",
            "NOT NOT tags.floor = 2.0",
            "NOT IS_DEFINED( tags.none )",
        ] {
            assert!(takes(&format!("SELECT * FROM devices WHERE {yes}"), &twin), "{yes}");
        }
        for no in [
            "tags.site = 'y'",
            "tags.none = 'x'",
            "tags.none != 'x'",
            "tags.floor = '2'",
            "NOT tags.none = 'x'",
            "tags.floor > '1'",
            "tags.site > 1",
            "tags.floor NIN [2]",
            "tags.none IN []",
        ] {
            assert!(!takes(&format!("SELECT * FROM devices WHERE {no}"), &twin), "{no}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for bad in [
            "",
            "SELECT deviceId FROM devices",
            "SELECT * FROM jobs",
            "SELECT * FROM devices WHERE",
            "SELECT * FROM devices WHERE (a = 1",
            "SELECT * FROM devices WHERE a = 1 OR",
            "SELECT * FROM devices WHERE a IN 1",
            "SELECT * FROM devices WHERE a = 'x' 'y'",
            &format!("SELECT * FROM devices WHERE {}a = 1{}", "(".repeat(90), ")".repeat(90)),
            "SELECT * FROM devices WHERE a = 'x",
        ] {
            let why = Query::parse(bad).unwrap_err().to_string();
            assert!(why.contains("is not a query that this hub knows"), "{why}");
        }
    }
}
