//! What damage did to stored messages, in the reported properties of `$edgeHub`, which outlive this
//! device: `storeDamage`, once there was any, and whenever there is more.

use std::time::Duration;

use actix::prelude::*;
use serde_json::{Value, json};

use super::Queue;
use crate::messages::salvage::Report;
use crate::messages::twins::PatchReported;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(10);
/// Salvages told of.
const LAST: usize = 3;

/// Messages quarantined, and salvages, as they were told last.
pub(super) type Told = (u64, usize);

/// Looks now and then, from now on.
pub(super) fn begin(ctx: &mut Context<Queue>) {
    ctx.run_interval(EVERY, |queue, ctx| queue.tell_harm(ctx));
}

impl Queue {
    fn tell_harm(&mut self, ctx: &mut Context<Self>) {
        let Ok(quarantined) = self.store.quarantined() else { return };
        let reports = self.store.in_use().reports();
        let harm = (quarantined, reports.len());
        if harm == self.told_harm {
            return;
        }
        tracing::error!(quarantined, salvages = harm.1, "stored messages were damaged");
        let patch = json!({ "storeDamage": words(quarantined, &reports) }).to_string().into();
        let patch = PatchReported { identity: self.identity.clone(), patch };
        let told = self.ports.report.ask(patch, DEADLINE).into_actor(self);
        let before = std::mem::replace(&mut self.told_harm, harm);
        let told = told.map(move |told, queue, _| {
            if !told.is_ok_and(|answer| answer.status < 300) {
                queue.told_harm = before; // again at the next look
            }
        });
        told.spawn(ctx);
    }
}

fn words(quarantined: u64, reports: &[Report]) -> Value {
    let last = reports.iter().rev().take(LAST);
    let salvages: Vec<_> = last.map(Report::summary).collect();
    json!({ "quarantinedMessages": quarantined, "salvages": salvages })
}
