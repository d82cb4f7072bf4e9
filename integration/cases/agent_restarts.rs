//! Cases of restarts: what follows on an end, when it is due, and when it is forgotten.
//!
//! Ages become points in time, counts what the module's record holds; then the rule itself is asked.

use std::time::{Duration, Instant};

use edge_runtime::domain::agent::observed::{Observed, Phase};
use edge_runtime::domain::agent::restarts::{
    FAILED_AFTER, Found, INTENSITY, Next, Restarts, UNIT, ago,
};
use edge_runtime::domain::agent::words::restart_policy;
use edge_runtime::domain::restart::{Exit, RestartPolicy};
use edge_runtime::settings::{EdgeSettings, Layers};
use serde_json::Value;

use super::{Verdict, equal, text};

/// By the wall clock.
const NOW: Duration = Duration::from_secs(1_700_000_000);

pub(super) fn judge(area: &str, given: &Value, expect: &Value) -> Verdict {
    match area {
        "restart.cool_off" => {
            let count = count(given);
            let seconds = INTENSITY.backoff.delay(count).as_secs();
            equal(&Some(seconds), &expect["seconds"].as_u64())
        }
        "restart.compute_status" => compute_status(given, expect),
        "restart.apply" => apply(given, expect),
        "restart.config" => config(given, expect),
        area => Verdict::Fail(format!("area `{area}` is not known here")),
    }
}

#[expect(clippy::disallowed_methods, reason = "any point in time will do")]
pub(super) fn any_time() -> Instant {
    Instant::now()
}

fn count(module: &Value) -> u32 {
    module["restart_count"].as_u64().unwrap_or_default() as u32
}

/// Whether the end was seen by who is asked now, or is found by who has just begun.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Watched,
    Found,
}

/// What follows for a module of this status, and the count after it. `None`: it has not ended.
pub(super) fn next(
    module: &Value,
    status: &str,
    policy: RestartPolicy,
    seen: Seen,
) -> Option<(Next, u32)> {
    let (mut restarts, now) = (Restarts::new(policy, UNIT), any_time());
    let age = module["last_exit_age_s"].as_i64();
    let finished = age.map(|age| Duration::from_secs(NOW.as_secs().saturating_add_signed(-age)));
    let ago = ago(finished, NOW);
    // The record counts the end that is waited after; the table's count does not yet.
    let (exit, counted) = match status {
        "backoff" => (Exit::Failed, count(module) + 1),
        "failed" if policy > RestartPolicy::Never => (Exit::Failed, FAILED_AFTER + 1),
        "failed" => (Exit::Failed, count(module)),
        "stopped" => (Exit::Normal, count(module) + 1),
        "unhealthy" => {
            restarts.restore(count(module));
            let next = restarts.on_ended(Exit::Unhealthy, now); // it is seen to be so, now
            return Some((next, restarts.in_a_row()));
        }
        _ => return None,
    };
    restarts.restore(counted);
    let is_counted = status != "stopped" || seen == Seen::Watched;
    let next = restarts.on_found_ended(exit, Found { ago, is_counted, is_before_boot: false }, now);
    Some((next, restarts.in_a_row()))
}

/// It is due now.
pub(super) fn is_due(next: Option<Next>) -> bool {
    matches!(next, Some(Next::Again(Duration::ZERO, _)))
}

/// A record of restarts that is forgotten, as the module has run for long enough.
pub(super) fn is_forgotten(module: &Value, policy: RestartPolicy) -> bool {
    let mut restarts = Restarts::new(policy, UNIT);
    let had = match module["has_restart_record"].as_bool() {
        Some(true) => count(module).max(1),
        _ => 0,
    };
    restarts.restore(had);
    let (began, mut now) = (any_time(), any_time());
    if let Some(age) = module["last_start_age_s"].as_u64() {
        restarts.on_started(began);
        now = began + Duration::from_secs(age);
    }
    restarts.on_running(now);
    had > 0 && restarts.in_a_row() == 0
}

fn compute_status(given: &Value, expect: &Value) -> Verdict {
    let phase = match text(given, "container_status") {
        "running" => Some(Phase::Running),
        "dead" => Some(Phase::Dead),
        _ => None,
    };
    if let Some(phase) = phase {
        let observed = Observed { phase, ..Observed::default() };
        return equal(&observed.status().as_str(), &text(expect, "module_status"));
    }
    let exit = match text(given, "container_status") {
        "stopped" => Exit::Normal,
        "failed" => Exit::Failed,
        "unhealthy" => Exit::Unhealthy,
        _ => return Verdict::Otherwise("unknown-is-no-error"),
    };
    let Some(policy) = restart_policy(text(given, "policy")) else {
        return Verdict::Otherwise("unknown-is-no-error");
    };
    if exit == Exit::Unhealthy && policy == RestartPolicy::OnFailure {
        return Verdict::Otherwise("health-is-on-unhealthys");
    }
    let mut restarts = Restarts::new(policy, UNIT);
    // As far from the limit, which is a constant here.
    let most = given["max_restart_count"].as_u64().unwrap_or_default() as u32;
    restarts.restore((FAILED_AFTER + count(given)).saturating_sub(most));
    let (Next::Rest(status) | Next::Again(_, status)) = restarts.on_ended(exit, any_time());
    equal(&status.as_str(), &text(expect, "module_status"))
}

fn apply(given: &Value, expect: &Value) -> Verdict {
    let status = text(given, "module_status");
    let policy = restart_policy(text(given, "policy"));
    let (Some(policy), None) = (policy, expect["error"].as_str()) else {
        return Verdict::Otherwise("unknown-is-no-error");
    };
    let ours = is_due(next(given, status, policy, Seen::Watched).map(|(next, _)| next));
    let wanted = expect["restart_now"].as_bool().unwrap_or_default();
    if ours == wanted {
        return Verdict::Pass;
    }
    let age = given["last_exit_age_s"].as_u64();
    let is_at_the_end = age == Some(INTENSITY.backoff.delay(count(given)).as_secs());
    match status {
        "failed" if ours => Verdict::Otherwise("never-given-up"),
        "stopped" if ours && policy == RestartPolicy::Always => {
            Verdict::Otherwise("always-restarts-what-stopped")
        }
        "backoff" if policy == RestartPolicy::Never => Verdict::Otherwise("never-has-no-backoff"),
        "backoff" if is_at_the_end => Verdict::Otherwise("due-when-the-time-is-over"),
        _ => equal(&ours, &wanted),
    }
}

/// The delay is a setting here; the limit is not.
fn config(given: &Value, expect: &Value) -> Verdict {
    if given["max_restart_count"].as_i64().is_none_or(|most| most <= 0) {
        return Verdict::Otherwise("restart-limit-is-fixed");
    }
    let seconds = given["cool_off_unit_s"].as_i64().unwrap_or_default();
    if seconds == 0 {
        return Verdict::Otherwise("no-hot-loop");
    }
    let text = format!("[agent]\nrestart_backoff = \"{seconds} s\"\n");
    let layers = Layers { files: vec![("edge.toml".into(), text)], ..Layers::default() };
    let loaded = EdgeSettings::load(&layers, "box");
    equal(&loaded.is_ok(), &expect["valid"].as_bool().unwrap_or_default())
}
