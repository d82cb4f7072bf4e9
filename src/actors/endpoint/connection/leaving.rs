//! The ordered stop of a connection: nothing more is taken, what was taken is answered and the
//! answers are written; then the client is told by the end of the stream, and hangs up.
//!
//! So a message that is stored is acknowledged, and not sent again as another one.

use std::time::Duration;

use actix::prelude::*;

use super::Connection;

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
        if !std::mem::replace(&mut self.is_leaving, true) {
            ctx.run_later(ANSWERS + FAREWELL, |this, ctx| this.close(WHY, ctx));
            self.hang_up_if_answered();
        }
    }

    /// To be called whenever an answer was given.
    pub(super) fn hang_up_if_answered(&self) {
        let is_answered = !self.is_ingesting && self.parked.is_empty() && self.requests == 0;
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
