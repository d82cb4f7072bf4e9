//! The words of a deployment manifest: status, restart policy, pull policy. Any case is taken.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::domain::restart::RestartPolicy;

/// How a module does. All but `Downloading` are the words of IoT Edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ModuleStatus {
    /// Not looked at yet, or the agent is not running.
    #[default]
    Unknown,
    /// Its image is being pulled, and nothing of it runs.
    Downloading,
    /// It ended, and is started again soon.
    Backoff,
    /// Running.
    Running,
    /// Running, and failing its health check.
    Unhealthy,
    /// Not running, as is right.
    Stopped,
    /// It ended with an error, or could not be started.
    Failed,
    /// The engine could not remove it.
    Dead,
}

impl ModuleStatus {
    const ALL: [ModuleStatus; 8] = [
        ModuleStatus::Unknown,
        ModuleStatus::Downloading,
        ModuleStatus::Backoff,
        ModuleStatus::Running,
        ModuleStatus::Unhealthy,
        ModuleStatus::Stopped,
        ModuleStatus::Failed,
        ModuleStatus::Dead,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            ModuleStatus::Unknown => "unknown",
            ModuleStatus::Downloading => "downloading",
            ModuleStatus::Backoff => "backoff",
            ModuleStatus::Running => "running",
            ModuleStatus::Unhealthy => "unhealthy",
            ModuleStatus::Stopped => "stopped",
            ModuleStatus::Failed => "failed",
            ModuleStatus::Dead => "dead",
        }
    }

    /// By its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for ModuleStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ModuleStatus {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// What a deployment wants of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DesiredStatus {
    /// It is to run.
    Running,
    /// Its container is to be there, stopped.
    Stopped,
    /// Another status word: its container is to be there, and is neither started nor stopped.
    Other(ModuleStatus),
}

impl DesiredStatus {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            DesiredStatus::Running => "running",
            DesiredStatus::Stopped => "stopped",
            DesiredStatus::Other(status) => status.as_str(),
        }
    }

    /// By its word.
    pub fn parse(word: &str) -> Option<Self> {
        match ModuleStatus::parse(word)? {
            ModuleStatus::Running => Some(DesiredStatus::Running),
            ModuleStatus::Stopped => Some(DesiredStatus::Stopped),
            ModuleStatus::Downloading => None,
            other => Some(DesiredStatus::Other(other)),
        }
    }
}

/// When the registry is asked for an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// At every create of a container.
    #[default]
    OnCreate,
    /// Never: the image must be there.
    Never,
}

impl PullPolicy {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            PullPolicy::OnCreate => "on-create",
            PullPolicy::Never => "never",
        }
    }

    /// By its word.
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "on-create" | "oncreate" => Some(PullPolicy::OnCreate),
            "never" => Some(PullPolicy::Never),
            _ => None,
        }
    }
}

/// The word of a restart policy.
pub fn restart_policy_word(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::Never => "never",
        RestartPolicy::OnFailure => "on-failure",
        RestartPolicy::OnUnhealthy => "on-unhealthy",
        RestartPolicy::Always => "always",
    }
}

/// A restart policy by its word; the preview's spellings too.
pub fn restart_policy(word: &str) -> Option<RestartPolicy> {
    match word.to_ascii_lowercase().as_str() {
        "never" => Some(RestartPolicy::Never),
        "on-failure" | "onfailure" => Some(RestartPolicy::OnFailure),
        "on-unhealthy" | "onunhealthy" | "unhealthy" => Some(RestartPolicy::OnUnhealthy),
        "always" => Some(RestartPolicy::Always),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_case_and_in_the_previews_spelling() {
        for (word, policy) in [
            ("Always", Some(RestartPolicy::Always)),
            ("onFailure", Some(RestartPolicy::OnFailure)),
            ("ON-FAILURE", Some(RestartPolicy::OnFailure)),
            ("unhealthy", Some(RestartPolicy::OnUnhealthy)),
            ("on-unhealthy", Some(RestartPolicy::OnUnhealthy)),
            ("never", Some(RestartPolicy::Never)),
            ("sometimes", None),
            ("", None),
        ] {
            assert_eq!(restart_policy(word), policy, "{word}");
        }
        assert_eq!(DesiredStatus::parse("Running"), Some(DesiredStatus::Running));
        assert_eq!(
            DesiredStatus::parse("Unknown"),
            Some(DesiredStatus::Other(ModuleStatus::Unknown))
        );
        assert_eq!(DesiredStatus::parse("downloading"), None, "a word of ours, never desired");
        assert_eq!(PullPolicy::parse("On-Create"), Some(PullPolicy::OnCreate));
        assert_eq!(PullPolicy::parse("always"), None);
    }

    #[test]
    fn every_word_reads_back_as_itself() {
        for status in ModuleStatus::ALL {
            assert_eq!(ModuleStatus::parse(status.as_str()), Some(status));
        }
        for policy in [
            RestartPolicy::Never,
            RestartPolicy::OnFailure,
            RestartPolicy::OnUnhealthy,
            RestartPolicy::Always,
        ] {
            assert_eq!(restart_policy(restart_policy_word(policy)), Some(policy));
        }
    }
}
