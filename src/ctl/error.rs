//! What went wrong: what, why, and what to do next.

use std::fmt;
use std::process::ExitCode;

/// Printed on standard error; the exit status is 1, or 2 for wrong usage.
#[derive(Debug, PartialEq, Eq)]
pub struct CtlError {
    what: String,
    why: Option<String>,
    next: Option<String>,
    is_usage: bool,
    status: Option<u16>,
}

impl CtlError {
    /// Something failed.
    pub fn new(what: impl Into<String>) -> Self {
        CtlError { what: what.into(), why: None, next: None, is_usage: false, status: None }
    }

    /// It was asked for in a way that cannot be understood.
    pub fn usage(what: impl Into<String>) -> Self {
        CtlError { is_usage: true, ..Self::new(what) }
    }

    /// Adds why.
    pub fn because(mut self, why: impl fmt::Display) -> Self {
        self.why = Some(why.to_string());
        self
    }

    /// Adds what to do.
    pub fn hint(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Notes the HTTP status that it came with.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The HTTP status that it came with.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// 1, or 2.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.is_usage { 2 } else { 1 })
    }
}

impl fmt::Display for CtlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(why) = &self.why {
            write!(f, ": {why}")?;
        }
        self.next.iter().try_for_each(|next| write!(f, "\n  {next}"))
    }
}

impl std::error::Error for CtlError {}
