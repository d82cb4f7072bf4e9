//! Which deployment is followed: the one that the twin has, or, where that cannot be used or is not
//! known, the last one that could.
//! next: `actors/agent/deployment/apply.rs`, which keeps it on disk.

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The twin's, which is another than before, or is not on disk yet: it is to be kept.
    New,
    /// The twin's, as before.
    Same,
    /// The one that was followed so far: what the twin has cannot be used, or is not known.
    Good,
    /// The one that was kept, if it can be read.
    Kept,
}

/// `desired` is what could be made of the twin; `None`: nothing, or there is no twin. `is_kept`: the one
/// that was followed so far is on disk.
pub fn follow<M: PartialEq>(desired: Option<&M>, good: Option<&M>, is_kept: bool) -> Follow {
    match (desired, good) {
        (Some(desired), Some(good)) if desired == good && is_kept => Follow::Same,
        (Some(_), _) => Follow::New,
        (None, Some(_)) => Follow::Good,
        (None, None) => Follow::Kept,
    }
}
