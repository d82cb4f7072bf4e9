//! The ordered stop of a connection: nothing more is taken, what was taken is answered and the
//! answers are written; then the client is told by the end of the stream, and hangs up.
//!
//! So a message that is stored is acknowledged, and not sent again as another one.

use std::time::Duration;

use actix::prelude::*;

use super::Connection;
use super::local::LocalUse;
use crate::domain::local_topics::{LocalMessage, filter};
use crate::domain::packet::Will;
use crate::domain::topic::{self, ClientTopic};
use crate::messages::queue::Telemetry;

/// The store answers long before; a disk that is full does not.
const ANSWERS: Duration = Duration::from_secs(2);
/// A client that does not hang up is left. Until then what it sends is read, or the system would
/// throw away what it has not read yet.
const FAREWELL: Duration = Duration::from_secs(1);

impl Connection {
    pub(super) fn leave(&mut self, ctx: &mut Context<Self>) {
        const WHY: &str = "the hub stops";
        if self.reader.is_some() {
            return self.close(WHY, ctx); // CONNACK is not sent yet
        }
        self.will = None; // the client is not gone: the hub is
        if !std::mem::replace(&mut self.is_leaving, true) {
            ctx.run_later(ANSWERS + FAREWELL, |this, ctx| this.close(WHY, ctx));
            self.hang_up_if_answered();
        }
    }

    /// What nobody will send again: messages with `QoS` 0 that were read, and the will, an ordinary
    /// message of the client (spec edgehub.md 1.2). Later calls find nothing.
    pub(super) fn store_last_words(&mut self, ctx: &mut Context<Self>) {
        let unacked = self.parked.drain(..).filter(|parked| parked.ack.is_none());
        let mut batch: Vec<_> = unacked.map(|parked| parked.telemetry).collect();
        let mut local = None;
        if let Some(will) = self.will.take().filter(|_| self.epoch != 0) {
            let Will { topic, body, retain } = *will;
            match topic::parse_publish(&topic, &self.identity) {
                Ok(ClientTopic::Telemetry(bag)) => {
                    let (sender, bag) =
                        (self.identity.clone(), bag.with(&[("MessageType", "Will")]));
                    batch.push(Telemetry { sender, bag, body, link: None, transmission: None });
                }
                _ if self.local.is_some() && filter::is_local(&topic) => {
                    local = Some(LocalMessage { topic, body, is_at_least_once: true, retain });
                }
                _ => tracing::warn!(identity = %self.identity, "its will is no message: left out"),
            }
        }
        self.publish_last_words(local, ctx);
        if !batch.is_empty() {
            let (stored, identity) =
                (self.backend.store(&self.budget, batch, None), self.identity.clone());
            actix::spawn(async move {
                if let Err(error) = stored.await {
                    tracing::warn!(%identity, %error, "its last words could not be stored");
                }
            });
        }
    }

    /// To be called whenever an answer was given.
    pub(super) fn hang_up_if_answered(&self) {
        let is_answered = self.uplink.is_idle()
            && self.parked.is_empty()
            && self.requests == 0
            && self.local.as_deref().is_none_or(LocalUse::is_answered);
        if self.is_leaving && is_answered {
            self.writer.close();
        }
    }

    /// All is written, and the stream ended.
    pub(super) fn on_write_end(&mut self, end: Result<(), String>, ctx: &mut Context<Self>) {
        match end {
            Ok(()) => {
                ctx.run_later(FAREWELL, |this, ctx| this.close("the hub stops", ctx));
            }
            Err(why) => self.close(&why, ctx),
        }
    }
}
