//! What is wrong with the settings, and where.

use crate::protocol::files::FileError;

/// See the module documentation. Leads to exit status 78.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not TOML.
    #[error("{place}: {why}")]
    Syntax {
        /// File and line.
        place: String,
        /// As the parser puts it.
        why: String,
    },
    /// A key that there is not.
    #[error("{place}: unknown setting `{key}`{}", did_you_mean(.nearest))]
    Unknown {
        /// File and line, variable, or flag.
        place: String,
        /// As written.
        key: String,
        /// The nearest that there is.
        nearest: Option<String>,
    },
    /// A value that cannot be used.
    #[error("{place}: setting `{key}` {why}")]
    Wrong {
        /// File and line, variable, or flag.
        place: String,
        /// Which.
        key: String,
        /// `expects …`, `must …`.
        why: String,
    },
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}
