//! The part of the IoT Hub's query language that localhub knows.

use serde_json::Value;
use winnow::ascii::{Caseless, digit1, multispace0, multispace1};
use winnow::combinator::{alt, delimited, eof, opt, preceded, repeat, separated};
use winnow::prelude::*;
use winnow::token::{take_till, take_while};

/// `SELECT * FROM devices[.modules] [WHERE …]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Of modules, not of devices.
    pub is_of_modules: bool,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq)]
struct Condition {
    /// `tags.site`, `properties.reported.x`, `deviceId`.
    path: Vec<String>,
    is_equal: bool,
    value: Value,
}

/// It is something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a query that this hub knows: SELECT * FROM devices[.modules] \
     [WHERE path = literal [AND path != literal]]"
)]
pub struct BadQuery(String);

impl Query {
    /// Parses the text; keywords in any case.
    pub fn parse(text: &str) -> Result<Self, BadQuery> {
        query.parse(text.trim()).map_err(|_| BadQuery(text.chars().take(200).collect()))
    }

    /// Whether a twin is asked for.
    pub fn takes(&self, twin: &Value) -> bool {
        self.conditions.iter().all(|condition| {
            let found = condition.path.iter().try_fold(twin, |value, name| value.get(name));
            found.is_some_and(|found| (found == &condition.value) == condition.is_equal)
        })
    }
}

fn query(input: &mut &str) -> ModalResult<Query> {
    let word = |word: &'static str| (Caseless(word), multispace1).void();
    word("select").parse_next(input)?;
    ("*", multispace1).void().parse_next(input)?;
    word("from").parse_next(input)?;
    Caseless("devices").parse_next(input)?;
    let is_of_modules = opt(Caseless(".modules")).parse_next(input)?.is_some();
    let and = (multispace1, Caseless("and"), multispace1);
    let conditions = separated(1.., condition, and);
    let mut conditions = opt(preceded((multispace1, Caseless("where"), multispace1), conditions));
    let conditions = conditions.parse_next(input)?.unwrap_or_default();
    (multispace0, opt(';'), multispace0, eof).void().parse_next(input)?;
    Ok(Query { is_of_modules, conditions })
}

fn condition(input: &mut &str) -> ModalResult<Condition> {
    let name = take_while(1.., |c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == '-');
    let bracketed = delimited("[[", take_till(1.., ']'), "]]");
    let name = alt((bracketed, name)).map(|name: &str| name.to_owned());
    let path: Vec<String> = separated(1.., name, '.').parse_next(input)?;
    let operator = alt(("=".value(true), "!=".value(false), "<>".value(false)));
    let is_equal = delimited(multispace0, operator, multispace0).parse_next(input)?;
    let value = literal.parse_next(input)?;
    Ok(Condition { path, is_equal, value })
}

fn literal(input: &mut &str) -> ModalResult<Value> {
    let number = (opt('-'), digit1, opt(('.', digit1))).take();
    alt((
        text,
        number.try_map(|number: &str| serde_json::from_str::<Value>(number)),
        Caseless("true").value(Value::Bool(true)),
        Caseless("false").value(Value::Bool(false)),
        Caseless("null").value(Value::Null),
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
        ] {
            assert!(takes(&format!("SELECT * FROM devices WHERE {yes}"), &twin), "{yes}");
        }
        for no in ["tags.site = 'y'", "tags.none = 'x'", "tags.none != 'x'", "tags.floor = '2'"] {
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
            "SELECT * FROM devices WHERE a = 1 OR b = 2",
            "SELECT * FROM devices WHERE a = 'x",
        ] {
            let why = Query::parse(bad).unwrap_err().to_string();
            assert!(why.contains("is not a query that this hub knows"), "{why}");
        }
    }
}
