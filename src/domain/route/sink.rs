//! Where a route puts messages (edgehub.md 2.7).

use std::fmt;

use crate::domain::identity::is_id;

/// See the module documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// The parent.
    Upstream,
    /// An input of a module of this edge device.
    Input {
        /// Id of the module.
        module: String,
        /// Name of the input.
        input: String,
    },
}

/// Why an address names no input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSink {
    /// Not four parts.
    #[error("the address must have the form /modules/MODULE/inputs/INPUT")]
    Form,
    /// Not an id.
    #[error("`{0}` cannot be the id of a module")]
    Module(String),
    /// Has no place in a topic.
    #[error("`{0}` cannot be an input: 1 to 128 bytes without / + # and control characters")]
    Input(String),
}

impl Sink {
    /// Of the address of a `BrokeredEndpoint`. The words `modules` and `inputs` are not checked.
    pub fn of_address(address: &str) -> Result<Self, BadSink> {
        let bare = address.strip_prefix('/').unwrap_or(address);
        let parts: Vec<&str> = bare.split('/').collect();
        let [modules, module, inputs, input] = parts[..] else { return Err(BadSink::Form) };
        if [modules, module, inputs, input].contains(&"") {
            return Err(BadSink::Form);
        }
        if !is_id(module) {
            return Err(BadSink::Module(module.to_owned()));
        }
        let is_bad = |c: char| c.is_control() || "+#".contains(c);
        if input.len() > 128 || input.contains(is_bad) {
            return Err(BadSink::Input(input.chars().take(128).collect()));
        }
        Ok(Sink::Input { module: module.to_owned(), input: input.to_owned() })
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sink::Upstream => f.write_str("$upstream"),
            Sink::Input { module, input } => {
                let input = input.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "BrokeredEndpoint(\"/modules/{module}/inputs/{input}\")")
            }
        }
    }
}
