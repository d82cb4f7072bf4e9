//! Values of conditions at run time, and what operators make of them (edgehub.md 2.5).
//!
//! What has no answer is undefined, never an error: a condition is true, false or undefined, and
//! only a true one routes.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::expr::Operator;

/// A value. Undefined is also what the reference calls not a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A property that is not there, or what cannot be computed.
    Undefined,
    /// `null`, or a property that is there without a value.
    Null,
    /// What a JSON body does not have: equal to null, yet not defined.
    Missing,
    /// A truth value.
    Bool(bool),
    /// Never NaN.
    Number(f64),
    /// A text.
    Text(Cow<'a, str>),
}

impl<'a> Value<'a> {
    /// Undefined if it is none.
    pub fn number(number: f64) -> Self {
        if number.is_nan() { Value::Undefined } else { Value::Number(number) }
    }

    /// A text that is borrowed.
    pub fn text(text: &'a str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }

    /// A property that is there, with or without a value.
    pub fn of_property(value: Option<Cow<'a, str>>) -> Self {
        value.map_or(Value::Null, Value::Text)
    }

    /// The same, for as long as `self` is there.
    pub fn borrow(&self) -> Value<'_> {
        match self {
            Value::Undefined => Value::Undefined,
            Value::Null => Value::Null,
            Value::Missing => Value::Missing,
            Value::Bool(is_true) => Value::Bool(*is_true),
            Value::Number(number) => Value::Number(*number),
            Value::Text(text) => Value::text(text),
        }
    }

    /// The same, for ever.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Undefined => Value::Undefined,
            Value::Null => Value::Null,
            Value::Missing => Value::Missing,
            Value::Bool(is_true) => Value::Bool(is_true),
            Value::Number(number) => Value::Number(number),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        }
    }

    /// Neither undefined nor missing.
    pub fn is_defined(&self) -> bool {
        !matches!(self, Value::Undefined | Value::Missing)
    }

    fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::Missing)
    }

    /// Its truth, if it has one.
    pub fn truth(&self) -> Option<bool> {
        match self {
            Value::Bool(is_true) => Some(*is_true),
            _ => None,
        }
    }

    fn of_truth(truth: Option<bool>) -> Self {
        truth.map_or(Value::Undefined, Value::Bool)
    }
}

/// `- value`
pub fn negate<'a>(value: &Value<'a>) -> Value<'a> {
    match value {
        Value::Number(number) => Value::Number(-number),
        Value::Null => Value::Number(-0.0),
        _ => Value::Undefined,
    }
}

/// `NOT value`
pub fn not<'a>(value: &Value<'a>) -> Value<'a> {
    match value {
        Value::Null => Value::Bool(true),
        value => Value::of_truth(value.truth().map(|is_true| !is_true)),
    }
}

/// `left operator right`; `is_dynamic` if one of them comes out of a body, whose type only a
/// message tells.
pub fn operate<'a>(
    operator: Operator,
    left: Value<'a>,
    right: Value<'a>,
    is_dynamic: bool,
) -> Value<'a> {
    use Operator::*;
    match operator {
        Add | Subtract | Multiply | Divide | Remainder => arithmetic(operator, &left, &right),
        Concat => concat(left, right),
        Less | LessOrEqual | Greater | GreaterOrEqual | Equal | NotEqual => {
            Value::of_truth(compare(operator, &left, &right, is_dynamic))
        }
        And => and(&left, &right),
        Or => or(&left, &right),
        Coalesce if left.is_defined() => left,
        Coalesce => right,
    }
}

/// Null counts as zero; only its division is special.
fn arithmetic(operator: Operator, left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
    use Operator::*;
    let (a, b) = match (left, right) {
        (Value::Number(a), Value::Number(b)) => (*a, *b),
        (Value::Number(a), Value::Null) if operator == Divide => {
            return Value::Number(if *a >= 0.0 { f64::INFINITY } else { f64::NEG_INFINITY });
        }
        (Value::Null, Value::Number(_)) if matches!(operator, Divide | Remainder | Multiply) => {
            return Value::Number(0.0);
        }
        (Value::Number(a), Value::Null) => (*a, 0.0),
        (Value::Null, Value::Number(b)) => (0.0, *b),
        (Value::Null, Value::Null) => (0.0, 0.0),
        _ => return Value::Undefined,
    };
    Value::number(match operator {
        Add => a + b,
        Subtract => a - b,
        Multiply if matches!(right, Value::Null) => 0.0,
        Multiply => a * b,
        Divide => a / b,
        _ => a % b,
    })
}

/// Null, a property without a value, is an empty text here.
pub(super) fn concat<'a>(left: Value<'a>, right: Value<'a>) -> Value<'a> {
    let part = |value| match value {
        Value::Text(text) => Some(text),
        Value::Null => Some(Cow::Borrowed("")),
        _ => None,
    };
    match (part(left), part(right)) {
        (Some(left), Some(right)) => Value::Text(left + right),
        _ => Value::Undefined,
    }
}

fn and(left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
    match (left.truth(), right.truth()) {
        _ if matches!(left, Value::Null) || matches!(right, Value::Null) => Value::Null,
        (Some(false), _) | (_, Some(false)) => Value::Bool(false),
        (Some(true), Some(true)) => Value::Bool(true),
        _ => Value::Undefined,
    }
}

fn or(left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
    match (left.truth(), right.truth()) {
        _ if matches!((left, right), (Value::Null, Value::Null)) => Value::Null,
        (Some(true), _) | (_, Some(true)) => Value::Bool(true),
        (Some(false), Some(false)) => Value::Bool(false),
        (Some(false), None) if matches!(right, Value::Null) => Value::Bool(false),
        (None, Some(false)) if matches!(left, Value::Null) => Value::Bool(false),
        _ => Value::Undefined,
    }
}

fn compare(
    operator: Operator,
    left: &Value<'_>,
    right: &Value<'_>,
    is_dynamic: bool,
) -> Option<bool> {
    let order = match (left, right) {
        (Value::Undefined, _) | (_, Value::Undefined) => return None,
        (Value::Number(a), Value::Number(b)) => a.partial_cmp(b)?,
        (Value::Text(a), Value::Text(b)) => ordinal(a, b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) if a.is_null() && b.is_null() => Ordering::Equal,
        // A body value of another type is unequal, and neither above nor below.
        _ if is_dynamic => {
            return match operator {
                Operator::Equal => Some(false),
                Operator::NotEqual => Some(true),
                _ => None,
            };
        }
        _ => return None,
    };
    Some(match operator {
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
        Operator::NotEqual => order.is_ne(),
        _ => order.is_eq(),
    })
}

/// By UTF-16 units, as the reference does.
fn ordinal(a: &str, b: &str) -> Ordering {
    if a.is_ascii() || b.is_ascii() {
        return a.cmp(b);
    }
    a.encode_utf16().cmp(b.encode_utf16())
}
