//! The part of the IoT Hub's query language that localhub knows.
//!
//! Conditions have three values, as in SQL: what is not there is neither equal nor unequal to
//! anything, and `NOT` does not change that. Only what is true is taken.
//!
//! next: `parse.rs`, `condition.rs`

mod condition;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use self::condition::{Condition, find};

/// `SELECT … FROM devices[.modules] [WHERE …]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Of modules, not of devices.
    pub is_of_modules: bool,
    /// What is answered.
    pub select: Select,
    /// `TOP n`.
    pub top: Option<usize>,
    condition: Option<Condition>,
}

/// What a query answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Select {
    /// `*`: whole twins.
    Twins,
    /// Some places of a twin, each under a name.
    Places(Vec<(String, Vec<String>)>),
    /// `COUNT()` under a name.
    Count(String),
}

/// It is something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the query cannot be understood at character {at}, {found}: {why}")]
pub struct BadQuery {
    at: usize,
    found: String,
    why: String,
}

impl Query {
    /// Parses the text; keywords in any case.
    pub fn parse(text: &str) -> Result<Self, BadQuery> {
        parse::query(text)
    }

    /// Whether a twin is asked for.
    pub fn takes(&self, twin: &Value) -> bool {
        self.condition.as_ref().is_none_or(|condition| condition.holds(twin) == Some(true))
    }

    /// What is answered of a twin that is asked for; `None`: it is only counted.
    pub fn shows(&self, twin: Value) -> Option<Value> {
        match &self.select {
            Select::Twins => Some(twin),
            Select::Places(places) => {
                let found = places
                    .iter()
                    .filter_map(|(name, path)| Some((name.clone(), find(path, &twin)?.clone())));
                Some(Value::Object(found.collect::<Map<_, _>>()))
            }
            Select::Count(_) => None,
        }
    }
}
