//! What the engine has: a container of ours, as it is now.

use std::time::Duration;

use super::words::ModuleStatus;
use crate::domain::restart::Exit;

/// The engine's word for the state of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Never started.
    Created,
    /// Running.
    Running,
    /// Frozen by somebody.
    Paused,
    /// Between two runs, by the engine's own restart policy.
    Restarting,
    /// Being removed.
    Removing,
    /// It ran and ended.
    Exited,
    /// It could not be removed.
    Dead,
    /// A word that is not known.
    #[default]
    Other,
}

impl Phase {
    /// By the engine's word.
    pub fn parse(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "created" | "configured" | "initialized" => Phase::Created,
            "running" | "stopping" => Phase::Running,
            "paused" => Phase::Paused,
            "restarting" => Phase::Restarting,
            "removing" => Phase::Removing,
            "exited" | "stopped" => Phase::Exited,
            "dead" => Phase::Dead,
            _ => Phase::Other,
        }
    }
}

/// What the container's health check says, if it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// No health check.
    #[default]
    None,
    /// It has not passed yet, and may not have failed for good yet.
    Starting,
    /// It passes.
    Healthy,
    /// It fails.
    Unhealthy,
}

impl Health {
    /// By the engine's word.
    pub fn parse(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "starting" => Health::Starting,
            "healthy" => Health::Healthy,
            "unhealthy" => Health::Unhealthy,
            _ => Health::None,
        }
    }
}

/// A container that carries our labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The engine's id.
    pub id: String,
    /// The container's name, without `/`.
    pub name: String,
    /// It has the name of one that ran before an update, and is kept until the new one is up.
    pub is_aside: bool,
    /// Label: the module.
    pub module: String,
    /// Label: hash of what it was created from.
    pub spec_hash: String,
    /// Label: image as in the deployment.
    pub image: String,
    /// What the engine was asked to make it of: with the digest that was looked at, if one was.
    pub made_of: String,
    /// Label: generation of the identity.
    pub generation: String,
    /// The image that it runs, by its hash.
    pub image_id: String,
    /// How it does.
    pub phase: Phase,
    /// What its health check says.
    pub health: Health,
    /// Of its last run.
    pub exit_code: Option<i64>,
    /// The kernel killed it for want of memory.
    pub oom_killed: bool,
    /// What the engine says went wrong.
    pub error: String,
    /// Its first process, on the engine's machine, while it runs.
    pub pid: Option<i64>,
    /// When its last run began, since the epoch.
    pub started: Option<Duration>,
    /// When its last run ended.
    pub finished: Option<Duration>,
}

impl Observed {
    /// In the words of IoT Edge.
    pub fn status(&self) -> ModuleStatus {
        match (self.phase, self.health) {
            (Phase::Running, Health::Unhealthy) => ModuleStatus::Unhealthy,
            (Phase::Running, _) => ModuleStatus::Running,
            (Phase::Created | Phase::Paused | Phase::Restarting, _) => ModuleStatus::Stopped,
            (Phase::Exited | Phase::Removing, _) => match self.exit_code {
                None | Some(0) => ModuleStatus::Stopped,
                Some(_) => ModuleStatus::Failed,
            },
            (Phase::Dead, _) => ModuleStatus::Dead,
            (Phase::Other, _) => ModuleStatus::Unknown,
        }
    }

    /// How its last run ended, if it has ended.
    pub fn exit(&self) -> Option<Exit> {
        match (self.phase, self.exit_code) {
            (Phase::Exited, None | Some(0)) => Some(Exit::Normal),
            (Phase::Exited, Some(_)) => Some(Exit::Failed),
            _ => None,
        }
    }

    /// Why it ended, for people.
    pub fn why_ended(&self) -> String {
        let code = self.exit_code.unwrap_or_default();
        let mut why = match code {
            _ if self.oom_killed => format!("killed for want of memory (exit code {code})"),
            0 => "ended by itself (exit code 0)".into(),
            129..=192 => format!("ended by signal {} (exit code {code})", code - 128),
            126 | 127 => format!("its command could not be run (exit code {code})"),
            _ => format!("ended with exit code {code}"),
        };
        if !self.error.is_empty() {
            why = format!("{why}: {}", self.error);
        }
        why
    }
}

/// Of a module's containers the one to look at: the one that runs, else the one started last.
pub fn newest(containers: &[Observed]) -> Option<&Observed> {
    containers.iter().max_by_key(|it| (it.phase == Phase::Running, it.started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_words_become_those_of_iot_edge() {
        for (word, code, status) in [
            ("created", Some(0), ModuleStatus::Stopped),
            ("paused", Some(0), ModuleStatus::Stopped),
            ("restarting", Some(1), ModuleStatus::Stopped),
            ("running", Some(0), ModuleStatus::Running),
            ("exited", Some(0), ModuleStatus::Stopped),
            ("exited", Some(137), ModuleStatus::Failed),
            ("removing", Some(5), ModuleStatus::Failed),
            ("dead", Some(0), ModuleStatus::Dead),
            ("", None, ModuleStatus::Unknown),
        ] {
            let phase = Phase::parse(word);
            let observed = Observed { phase, exit_code: code, ..Observed::default() };
            assert_eq!(observed.status(), status, "{word} {code:?}");
        }
        let sick = Observed {
            phase: Phase::Running,
            health: Health::parse("unhealthy"),
            ..Observed::default()
        };
        assert_eq!(sick.status(), ModuleStatus::Unhealthy);
    }
}
