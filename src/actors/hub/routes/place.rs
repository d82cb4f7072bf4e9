//! Where the queue is to lie, by the deployment: asked of the queue once its routes are in force.
//! How the deployment came out is reported when that is settled; what cannot be done is tried again,
//! as the reason (no room, a device that is not plugged in) may go away.

use std::time::Duration;

use actix::prelude::*;

use super::{RETRY, Routes};
use crate::domain::route::LOCATION;
use crate::messages::queue::PlaceQueue;

/// Before a place that will not do is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// Copying may take long.
const MOVE: Duration = Duration::from_secs(86_400);

/// What a deployment says of the place.
#[derive(Clone, Debug, Default)]
pub(super) enum Placing {
    /// Nothing that can be used: it stays where it is.
    #[default]
    Stay,
    /// There; `None`: where the settings say.
    At(Option<String>),
}

/// Status and description to report, unless the place adds an error.
pub(super) type Report = Option<(u16, String)>;

impl Routes {
    /// The routes of `version` are in force. Sees to the place, then reports.
    pub(super) fn place(
        &mut self,
        version: u64,
        placing: Placing,
        report: Report,
        ctx: &mut Context<Self>,
    ) {
        let Placing::At(location) = placing else { return self.report_all(version, report) };
        let asked = self.ports.place.ask(PlaceQueue(location.clone()), MOVE).into_actor(self);
        asked
            .map(move |placed, this, ctx| {
                let again = match placed {
                    _ if this.version != Some(version) => return, // that one has asked, too
                    Ok(Ok(())) => {
                        this.misplaced = None;
                        return this.report_all(version, report);
                    }
                    Ok(Err(why)) => {
                        this.on_misplaced(version, location.as_deref(), &why, report.clone());
                        AGAIN
                    }
                    Err(_) => RETRY, // the queue is being restarted
                };
                ctx.run_later(again, move |this, ctx| {
                    if this.version == Some(version) {
                        this.place(version, Placing::At(location), report, ctx);
                    }
                });
            })
            .spawn(ctx);
    }

    fn on_misplaced(&mut self, version: u64, location: Option<&str>, why: &str, report: Report) {
        let of_settings = if location.is_none() { " (not set: store.queue counts)" } else { "" };
        let error = format!("{LOCATION}{of_settings}: {why}");
        if self.misplaced.as_ref() == Some(&error) {
            return;
        }
        tracing::error!(%error, version, "the queue stays where it is");
        let report = report.map(|(_, text)| {
            let texts = [text, error.clone()].into_iter().filter(|text| !text.is_empty());
            (400, texts.collect::<Vec<_>>().join("; "))
        });
        self.misplaced = Some(error);
        self.report_all(version, report);
    }

    fn report_all(&mut self, version: u64, report: Report) {
        if let Some((code, description)) = report {
            self.report(version, code, &description);
        }
    }
}
