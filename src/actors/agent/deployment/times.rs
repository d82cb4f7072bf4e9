//! How long modules were to run, and did; how long a deployment took. For metrics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Deployment;
use crate::actors::clock;
use crate::domain::agent::words::{DesiredStatus, ModuleStatus};

/// Between two looks; what is between them is taken to be as it is then.
pub(super) const STEP: Duration = Duration::from_secs(1);

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Times {
    looked: Option<Instant>,
    /// By module: it was to run, and ran.
    modules: BTreeMap<String, (Duration, Duration)>,
    /// When the newest version was read, until it is carried out.
    open: Option<Instant>,
    took: Option<Duration>,
}

impl Times {
    /// Another version of the deployment was read.
    pub(super) fn on_read(&mut self) {
        self.open = Some(clock::now());
    }

    /// Seconds that the last deployment took.
    pub(super) fn deployment(&self) -> Option<f64> {
        self.took.map(|took| took.as_secs_f64())
    }

    /// Seconds that a module was to run, and ran.
    pub(super) fn of(&self, module: &str) -> (f64, f64) {
        let (wanted, ran) = self.modules.get(module).copied().unwrap_or_default();
        (wanted.as_secs_f64(), ran.as_secs_f64())
    }
}

impl Deployment {
    pub(super) fn count_times(&mut self) {
        let now = clock::now();
        let before = self.times.looked.replace(now).unwrap_or(now);
        let step = now.saturating_duration_since(before);
        if let Some(since) = self.times.open
            && self.outcome().0 == 200
        {
            self.times.took = Some(now.saturating_duration_since(since));
            self.times.open = None;
        }
        let Some(good) = &self.good else { return };
        self.times.modules.retain(|name, _| good.modules.contains_key(name));
        let running = good.modules.iter().filter(|(_, spec)| {
            spec.as_ref().is_ok_and(|spec| spec.status == DesiredStatus::Running)
        });
        for (name, _) in running {
            let (wanted, ran) = self.times.modules.entry(name.clone()).or_default();
            *wanted += step;
            let status = self.states.get(name).map(|state| state.status);
            if status == Some(ModuleStatus::Running) {
                *ran += step;
            }
        }
    }
}
