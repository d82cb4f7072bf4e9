//! How full the queue is: told to connections, which then refuse what nobody will send again, and
//! reported by `$edgeHub` when the level changes.

use actix::prelude::*;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Queue;
use crate::domain::budget::Level;
use crate::messages::queue::Refused;
use crate::messages::twins::{GetTwin, PatchReported};
use crate::store::WriterState;
use crate::store::writer::Fill;

const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
/// What is reported stands under this key.
const KEY: &str = "storeAndForward";

/// Watches, from now on.
pub(super) fn begin(queue: &Queue, ctx: &mut Context<Queue>) {
    let (state, fill) = (queue.store.state(), queue.store.fill());
    queue.tell_connections(&state.borrow());
    let reported = queue.ports.twin.ask(GetTwin(queue.identity.clone()), DEADLINE);
    let level = fill.borrow().level;
    let reported = reported.into_actor(queue).map(move |answer, queue, _| {
        // What an earlier run has reported may be over.
        let before =
            answer.ok().and_then(|answer| serde_json::from_slice::<Value>(&answer.body).ok());
        let before =
            before.and_then(|twin| Some(twin["reported"][KEY]["level"].as_str()?.to_owned()));
        if before.is_some_and(|before| before != level.word()) {
            let fill = *queue.store.fill().borrow();
            queue.report(fill);
        }
    });
    reported.spawn(ctx);
    if level != Level::Normal {
        queue.report(*fill.borrow());
    }
    next(state, fill, queue, ctx);
}

fn next(
    mut state: watch::Receiver<WriterState>,
    mut fill: watch::Receiver<Fill>,
    queue: &Queue,
    ctx: &mut Context<Queue>,
) {
    let level = fill.borrow().level;
    let changed = async move {
        let changed = tokio::select! {
            changed = state.changed() => changed,
            changed = fill.changed() => changed,
        };
        changed.is_ok().then_some((state, fill))
    };
    let changed = changed.into_actor(queue).map(move |changed, queue, ctx| {
        let Some((state, mut fill)) = changed else { return };
        queue.tell_connections(&state.borrow());
        let now = *fill.borrow_and_update();
        if now.level != level {
            queue.report(now);
        }
        next(state, fill, queue, ctx);
    });
    changed.spawn(ctx);
}

impl Queue {
    fn tell_connections(&self, state: &WriterState) {
        self.fullness.set(matches!(state, WriterState::Full(_)));
    }

    fn report(&self, fill: Fill) {
        let Fill { level, used, budget } = fill;
        let patch = json!({ KEY: {
            "level": level.word(),
            "usedBytes": used,
            "maxBytes": budget.max,
            "policy": budget.policy,
        } });
        let (identity, patch) = (self.identity.clone(), patch.to_string().into());
        let reported = self.ports.report.ask(PatchReported { identity, patch }, DEADLINE);
        actix::spawn(async move {
            match reported.await {
                Ok(answer) if answer.status < 300 => {}
                answer => tracing::warn!(?answer, "how full the queue is cannot be reported"),
            }
        });
    }

    fn count_refused(&mut self, ctx: &mut Context<Self>) {
        if self.is_counting || self.refused == 0 {
            return;
        }
        self.is_counting = true;
        let counted = self.store.count_refused(std::mem::take(&mut self.refused));
        let counted = counted.into_actor(self).map(|counted, queue, ctx| {
            queue.is_counting = false;
            if let Err(error) = counted {
                tracing::warn!(%error, "refused messages are not counted");
            }
            queue.count_refused(ctx); // those that came meanwhile
        });
        counted.spawn(ctx);
    }
}

impl Handler<Refused> for Queue {
    type Result = ();

    fn handle(&mut self, Refused(messages): Refused, ctx: &mut Context<Self>) {
        self.refused += messages;
        self.count_refused(ctx);
    }
}
