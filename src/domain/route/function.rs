//! The functions of conditions (edgehub.md 2.6). Lengths and positions count UTF-16 units.

use std::borrow::Cow;

use super::types::Type;
use super::value::Value;

/// A function; its name is written in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Function {
    Abs,
    Exp,
    Power,
    Square,
    Ceiling,
    Floor,
    Sign,
    Sqrt,
    AsNumber,
    IsBool,
    IsDefined,
    IsNull,
    IsNumber,
    IsString,
    Concat,
    Length,
    Lower,
    Upper,
    Substring,
    IndexOf,
    StartsWith,
    EndsWith,
    Contains,
}

/// What may stand in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Number,
    Text,
    NumberOrText,
    Anything,
}

impl Wants {
    pub(super) fn takes(self, given: Type) -> bool {
        match self {
            Wants::Number => Type::Number.fits(given),
            Wants::Text => Type::Text.fits(given),
            Wants::NumberOrText => Type::Number.fits(given) || Type::Text.fits(given),
            Wants::Anything => true,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Wants::Number => "a number",
            Wants::Text => "a text",
            Wants::NumberOrText => "a text or a number",
            Wants::Anything => "anything",
        }
    }
}

const NUMBER: &[Wants] = &[Wants::Number];
const TEXT: &[Wants] = &[Wants::Text];
const TEXTS: &[Wants] = &[Wants::Text, Wants::Text];
const ANYTHING: &[Wants] = &[Wants::Anything];

/// Name, what its arguments must be, what it gives.
type Signature = (&'static str, Function, &'static [Wants], Type);

/// In the order of [`Function`].
const ALL: [Signature; 23] = [
    ("abs", Function::Abs, NUMBER, Type::Number),
    ("exp", Function::Exp, NUMBER, Type::Number),
    ("power", Function::Power, &[Wants::Number, Wants::Number], Type::Number),
    ("square", Function::Square, NUMBER, Type::Number),
    ("ceiling", Function::Ceiling, NUMBER, Type::Number),
    ("floor", Function::Floor, NUMBER, Type::Number),
    ("sign", Function::Sign, NUMBER, Type::Number),
    ("sqrt", Function::Sqrt, NUMBER, Type::Number),
    ("as_number", Function::AsNumber, &[Wants::NumberOrText], Type::Number),
    ("is_bool", Function::IsBool, ANYTHING, Type::Bool),
    ("is_defined", Function::IsDefined, ANYTHING, Type::Bool),
    ("is_null", Function::IsNull, ANYTHING, Type::Bool),
    ("is_number", Function::IsNumber, ANYTHING, Type::Bool),
    ("is_string", Function::IsString, ANYTHING, Type::Bool),
    ("concat", Function::Concat, TEXTS, Type::Text),
    ("length", Function::Length, TEXT, Type::Number),
    ("lower", Function::Lower, TEXT, Type::Text),
    ("upper", Function::Upper, TEXT, Type::Text),
    ("substring", Function::Substring, &[Wants::Text, Wants::Number, Wants::Number], Type::Text),
    ("index_of", Function::IndexOf, TEXTS, Type::Number),
    ("starts_with", Function::StartsWith, TEXTS, Type::Bool),
    ("ends_with", Function::EndsWith, TEXTS, Type::Bool),
    ("contains", Function::Contains, TEXTS, Type::Bool),
];

impl Function {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Function> {
        ALL.iter().map(|(_, function, ..)| *function)
    }

    /// By its name.
    pub fn parse(name: &str) -> Option<Function> {
        Self::all().find(|function| function.name().eq_ignore_ascii_case(name))
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        ALL[self as usize].0
    }

    pub(super) fn gives(self) -> Type {
        ALL[self as usize].3
    }

    /// What its argument of this number, from 0, must be.
    pub(super) fn wants(self, at: usize) -> Wants {
        let wants = ALL[self as usize].2;
        wants.get(at).or(wants.last()).copied().unwrap_or(Wants::Anything)
    }

    /// How many arguments it takes at least, and at most.
    pub(super) fn arity(self) -> (usize, usize) {
        match self {
            Function::Concat => (2, usize::MAX),
            Function::Substring => (2, 3),
            _ => (ALL[self as usize].2.len(), ALL[self as usize].2.len()),
        }
    }

    /// `f(x, y, z)`; arguments that are not there are undefined. [`Function::Concat`] is the
    /// operator `||`, and [`Function::IsBool`] and [`Function::IsNull`] say of what is undefined
    /// that they do not know: their caller knows where the type makes it false.
    pub(super) fn call<'a>(self, [x, y, z]: [Value<'a>; 3], count: usize) -> Value<'a> {
        use Value::{Bool, Number, Text};
        match (self, x, y) {
            (Function::IsDefined, x, _) => Bool(x.is_defined()),
            (Function::IsString, x, _) => Bool(matches!(x, Text(_))),
            (Function::IsNumber, x, _) => Bool(matches!(x, Number(n) if n.is_finite())),
            (Function::IsBool | Function::IsNull, Value::Undefined, _) => Value::Undefined,
            (Function::IsBool, x, _) => Bool(matches!(x, Bool(_))),
            (Function::IsNull, x, _) => Bool(matches!(x, Value::Null | Value::Missing)),
            (Function::AsNumber, Number(n), _) => Number(n),
            (Function::AsNumber, Text(text), _) => number(&text),
            (Function::Abs, Number(n), _) => Number(n.abs()),
            (Function::Exp, Number(n), _) => Number(n.exp()),
            (Function::Power, Number(n), Number(m)) => Value::number(n.powf(m)),
            (Function::Square, Number(n), _) => Number(n * n),
            (Function::Ceiling, Number(n), _) => Number(n.ceil()),
            (Function::Floor, Number(n), _) => Number(n.floor()),
            (Function::Sign, Number(n), _) => Number(if n == 0.0 { 0.0 } else { n.signum() }),
            (Function::Sqrt, Number(n), _) => Value::number(n.sqrt()),
            (Function::Concat, x, y) => super::value::concat(x, y),
            (Function::Length, Text(text), _) => Number(units(&text) as f64),
            (Function::Lower, Text(text), _) => Text(cased(text, lower)),
            (Function::Upper, Text(text), _) => Text(cased(text, upper)),
            (Function::Substring, Text(text), Number(start)) if count < 3 => {
                substring(text, start, None)
            }
            (Function::Substring, Text(text), Number(start)) => match z {
                Number(length) => substring(text, start, Some(length)),
                _ => Value::Undefined,
            },
            (Function::IndexOf, Text(a), Text(b)) => {
                Number(a.find(&*b).map_or(-1.0, |at| units(&a[..at]) as f64))
            }
            (Function::StartsWith, Text(a), Text(b)) => Bool(a.starts_with(&*b)),
            (Function::EndsWith, Text(a), Text(b)) => Bool(a.ends_with(&*b)),
            (Function::Contains, Text(a), Text(b)) => Bool(a.contains(&*b)),
            _ => Value::Undefined,
        }
    }
}

fn units(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// White space around, a sign, commas between the digits of thousands, a fraction, an exponent.
fn number(text: &str) -> Value<'static> {
    let text = text.trim();
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    // Not `inf` and `nan`, which Rust would take.
    if !bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Value::Undefined;
    }
    let whole = bare.find(|c: char| !(c.is_ascii_digit() || c == ',')).unwrap_or(bare.len());
    let parsed = match bare[..whole].contains(',') {
        true => {
            let at = text.len() - bare.len() + whole;
            format!("{}{}", text[..at].replace(',', ""), &text[at..]).parse()
        }
        false => text.parse(),
    };
    parsed.map_or(Value::Undefined, Value::number)
}

fn lower(c: char) -> char {
    let mut all = c.to_lowercase();
    all.next().filter(|_| all.next().is_none()).unwrap_or(c)
}

fn upper(c: char) -> char {
    let mut all = c.to_uppercase();
    all.next().filter(|_| all.next().is_none()).unwrap_or(c)
}

/// Character by character, as the invariant culture does; no copy if it is so already.
fn cased(text: Cow<'_, str>, to: fn(char) -> char) -> Cow<'_, str> {
    match text.chars().all(|c| to(c) == c) {
        true => text,
        false => Cow::Owned(text.chars().map(to).collect()),
    }
}

/// Out of range: undefined, as is half a character.
fn substring(text: Cow<'_, str>, start: f64, length: Option<f64>) -> Value<'_> {
    let all = units(&text) as f64;
    let is_in_range = match length {
        None => (0.0..=all).contains(&start),
        Some(length) => (0.0..all).contains(&start) && (0.0..=all - start).contains(&length),
    };
    if !is_in_range {
        return Value::Undefined;
    }
    let start = start as usize;
    let end = length.map_or(all as usize, |length| start + length as usize);
    let (Some(start), Some(end)) = (byte_of(&text, start), byte_of(&text, end)) else {
        return Value::Undefined;
    };
    Value::Text(match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[start..end]),
        Cow::Owned(text) => Cow::Owned(text[start..end].to_owned()),
    })
}

/// Where the UTF-16 unit of this number begins.
fn byte_of(text: &str, unit: usize) -> Option<usize> {
    if text.is_ascii() {
        return Some(unit);
    }
    let mut before = 0;
    for (at, c) in text.char_indices() {
        if before >= unit {
            return (before == unit).then_some(at);
        }
        before += c.len_utf16();
    }
    (before == unit).then_some(text.len())
}
