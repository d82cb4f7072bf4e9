//! Store-and-forward: where the queue lies, and how much of the disk it may take.

use std::path::PathBuf;

use serde::Deserialize;

use super::values::Size;
use crate::domain::budget::{Budget, FullPolicy};

/// See the module documentation.
#[derive(Clone, Debug, Deserialize)]
pub struct Store {
    /// Where the queue lies at first.
    pub queue: PathBuf,
    /// Under which directories a twin may move it.
    pub allowed_roots: Vec<PathBuf>,
    /// Budget; none without.
    pub max_bytes: Option<Size>,
    /// What happens at full budget.
    pub full_policy: FullPolicy,
    /// Kept free for ends, twins and the agent's state.
    pub reserve_bytes: Size,
    /// Messages that have ended and are remembered.
    pub trace_ended: usize,
}

impl Store {
    /// What the queue may take, as far as this device is concerned.
    pub fn budget(&self) -> Budget {
        Budget { max: self.max_bytes.map(|Size(max)| max), policy: self.full_policy }
    }
}
