//! Whether the new container of an update has come up: if not, the one before is brought back.

use super::{Known, Stand};
use crate::domain::agent::observed::{Health, Observed, Phase};
use crate::domain::agent::words::DesiredStatus;

/// How far the time is that a new container has to come up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trial {
    /// Nobody has seen it run: what ended it may be a restart of the machine.
    #[default]
    Unseen,
    /// Not over.
    Going,
    /// Over: it is up now, or never.
    Over,
    /// There is none: what could be started is up.
    Off,
}

/// What is made of a new container.
pub(super) enum Verdict {
    /// It was not started yet.
    Start,
    /// It is not known yet.
    Wait,
    /// It is up: the one before can go.
    Up,
    /// It did not come up.
    Failed(String),
}

/// By how it is, and by the time.
pub(super) fn verdict(wanted: DesiredStatus, new: &Observed, known: Known) -> Verdict {
    if wanted != DesiredStatus::Running {
        return Verdict::Up;
    }
    match (new.phase, new.health) {
        (Phase::Created, _) => Verdict::Start,
        (Phase::Exited, _) if known.may_end && matches!(new.exit_code, None | Some(0)) => {
            Verdict::Up
        }
        (Phase::Exited, _) if known.trial == Trial::Unseen => Verdict::Start,
        (Phase::Exited, _) => Verdict::Failed(new.why_ended()),
        (Phase::Running, Health::Healthy) => Verdict::Up,
        _ if known.trial == Trial::Off => Verdict::Up,
        _ if matches!(known.trial, Trial::Unseen | Trial::Going) => Verdict::Wait,
        (Phase::Running, Health::None) => Verdict::Up,
        (Phase::Running, Health::Starting) => {
            Verdict::Failed("has not become healthy in time".into())
        }
        (Phase::Running, Health::Unhealthy) => {
            Verdict::Failed("fails its health check (unhealthy)".into())
        }
        (Phase::Paused, _) => Verdict::Failed("was paused".into()),
        _ => Verdict::Failed("does not stay up".into()),
    }
}

/// Whether the target is new, with the one before kept: it may still be undone.
pub fn is_on_trial(stand: &Stand<'_>) -> bool {
    stand.target.is_some() && stand.before.is_some()
}
