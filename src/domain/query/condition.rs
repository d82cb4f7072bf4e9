//! Conditions, and when they hold.

use std::cmp::Ordering;

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    Compare(Operand, Comparison, Operand),
    /// `IN [a, b]`
    Among(Operand, Vec<Value>),
    IsDefined(Vec<String>),
    /// `IS_NUMBER(path)`
    IsOf(Type, Operand),
    /// `STARTS_WITH(path, text)`
    Text(Search, Operand, Operand),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    /// `tags.site`, `properties.reported.x`, `deviceId`.
    Path(Vec<String>),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
    Primitive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    Begins,
    Ends,
    Contains,
}

impl Condition {
    /// `None`: not known, for want of a value.
    pub(super) fn holds(&self, twin: &Value) -> Option<bool> {
        match self {
            Condition::Compare(left, how, right) => how.holds(left.of(twin)?, right.of(twin)?),
            Condition::Among(left, values) => {
                let left = left.of(twin)?;
                Some(values.iter().any(|value| is_equal(left, value)))
            }
            Condition::IsDefined(path) => Some(find(path, twin).is_some()),
            Condition::IsOf(kind, operand) => Some(kind.is_of(operand.of(twin)?)),
            Condition::Text(search, text, part) => {
                let (text, part) = (text.of(twin)?.as_str()?, part.of(twin)?.as_str()?);
                Some(match search {
                    Search::Begins => text.starts_with(part),
                    Search::Ends => text.ends_with(part),
                    Search::Contains => text.contains(part),
                })
            }
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

impl Type {
    fn is_of(self, value: &Value) -> bool {
        match self {
            Type::Null => value.is_null(),
            Type::Bool => value.is_boolean(),
            Type::Number => value.is_number(),
            Type::Text => value.is_string(),
            Type::Array => value.is_array(),
            Type::Object => value.is_object(),
            Type::Primitive => !value.is_array() && !value.is_object(),
        }
    }
}

pub(super) fn find<'a>(path: &[String], twin: &'a Value) -> Option<&'a Value> {
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
