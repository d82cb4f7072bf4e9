//! Messages to the parent: carries out what `domain/delivery` wants done.

use std::time::Duration;

use actix::prelude::*;
use tracing::{debug, warn};

use super::Upstream;
use crate::actors::{clock, suspect};
use crate::domain::delivery::{Answer, Config, Effect};
use crate::domain::link::stamp::{self, Stamps};
use crate::domain::link::up::LinkUp;
use crate::domain::row::{End, Endpoint, Key, Offset, Row, Stamp};
use crate::messages::queue::{Finish, Pull, Rewound, Stored};

/// The store commits or fails long before; a lost answer must not stall the link.
const DEADLINE: Duration = Duration::from_secs(30);
/// After the store could not answer.
const AGAIN: Duration = Duration::from_secs(1);

impl Handler<Stored> for Upstream {
    type Result = ();

    fn handle(&mut self, Stored(endpoint): Stored, ctx: &mut Self::Context) {
        if endpoint == Endpoint::upstream() {
            let effects = self.delivery.on_stored(clock::now());
            self.carry_out(effects, ctx);
        }
    }
}

impl Handler<Rewound> for Upstream {
    type Result = ();

    fn handle(&mut self, _: Rewound, ctx: &mut Self::Context) {
        let effects = self.delivery.on_rewound(clock::now());
        self.carry_out(effects, ctx);
    }
}

impl Upstream {
    pub(super) fn carry_out(&mut self, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        let (mut is_stuck, mut given_up) = (false, Vec::new());
        for effect in effects {
            match effect {
                Effect::Load { from, max, max_bytes, without, live } => {
                    let endpoint = Endpoint::upstream();
                    self.load(Pull { endpoint, from, max, max_bytes, without, live }, ctx);
                }
                Effect::Publish { row, attempt, low } => {
                    let (endpoint, key) = (Endpoint::upstream(), row.key);
                    let publish = || is_stuck || !self.publish_row(row, attempt, low);
                    match suspect::handle(&endpoint, key, publish) {
                        Some(is_full) => is_stuck = is_full,
                        None => given_up.push(key),
                    }
                }
                Effect::End { key, how } => self.ends.push((key, how)),
                Effect::WakeAt(at) => {
                    let delay = at.saturating_duration_since(clock::now());
                    self.wake_later(delay, ctx);
                }
            }
        }
        self.finish(ctx);
        if is_stuck {
            self.drop_connection("there is more to send than the link takes", ctx);
        }
        for key in given_up {
            let effects = self.delivery.on_rejected(key, suspect::WHY.into(), clock::now());
            self.carry_out(effects, ctx);
        }
    }

    fn load(&mut self, pull: Pull, ctx: &mut Context<Self>) {
        let rows = self.ports.pull.ask(pull, DEADLINE).into_actor(self);
        let rows = rows.map(|rows, this, ctx| match rows {
            Ok(Ok(rows)) => {
                let effects = this.delivery.on_loaded(rows, clock::now());
                this.carry_out(effects, ctx);
            }
            _ => {
                debug!("the queue does not answer; it is asked again");
                this.delivery.on_not_loaded();
                this.wake_later(AGAIN, ctx);
            }
        });
        rows.spawn(ctx);
    }

    fn wake_later(&mut self, delay: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(delay, |this, ctx| {
            let effects = this.delivery.on_wake(clock::now());
            this.carry_out(effects, ctx);
        });
    }

    /// Whether the link takes it.
    fn publish_row(&mut self, row: Row, attempt: u64, low: Offset) -> bool {
        let Row { key, sender, stamp, bag, body, .. } = row;
        let bag = match stamp {
            Some(stamp) => stamp::add(&bag, Stamps { stamp, low: low.0, attempt }),
            None => bag,
        };
        let topic = LinkUp::Telemetry(sender, bag).to_string();
        let Some(connection) = &self.connection else { return true }; // owed again already
        self.number += 1;
        self.flights.insert(self.number, key);
        self.numbers.insert(key.offset, self.number);
        connection.sender.publish(self.number, topic, body).is_ok()
    }

    /// PUBACK of something we sent; requests have answers of their own.
    pub(super) fn on_acked(&mut self, number: u64, ctx: &mut Context<Self>) {
        let Some(key) = self.flights.remove(&number) else { return };
        self.numbers.remove(&key.offset);
        self.line.on_progress();
        self.on_answer(key, Answer::Accepted, ctx);
    }

    /// The parent does not take a message; its PUBACK comes behind this and means nothing more.
    pub(super) fn on_refused(
        &mut self,
        status: u16,
        stamp: Stamp,
        words: &[u8],
        ctx: &mut Context<Self>,
    ) {
        let number = self.numbers.remove(&Offset(stamp.seq));
        let Some(key) = number.and_then(|number| self.flights.remove(&number)) else { return };
        let answer = Answer::of_refusal(status);
        if !matches!(answer, Answer::Rejected(_)) {
            return self.on_answer(key, answer, ctx);
        }
        let why = reason(status, words);
        warn!(why, seq = stamp.seq, "the parent refuses a message: dead-lettered");
        self.on_end_of_doubt(key);
        let effects = self.delivery.on_rejected(key, why, clock::now());
        self.carry_out(effects, ctx);
    }

    fn on_answer(&mut self, key: Key, answer: Answer, ctx: &mut Context<Self>) {
        self.on_end_of_doubt(key);
        let effects = self.delivery.on_answered(key, answer, clock::now());
        self.carry_out(effects, ctx);
    }

    /// The parent answered: it does not close because of this message.
    fn on_end_of_doubt(&mut self, key: Key) {
        if self.poison.on_answered(key) {
            self.delivery.set_window(Config::UPSTREAM.window);
        }
    }

    /// Records ends: what gathers while one batch is committed goes with the next.
    fn finish(&mut self, ctx: &mut Context<Self>) {
        if self.is_finishing || self.ends.is_empty() {
            return;
        }
        self.is_finishing = true;
        let ends = std::mem::take(&mut self.ends);
        self.record(ends, ctx);
    }

    fn record(&mut self, ends: Vec<(Key, End)>, ctx: &mut Context<Self>) {
        let finish = Finish { endpoint: Endpoint::upstream(), ends: ends.clone(), is_last: false };
        let done = self.ports.finish.ask(finish, DEADLINE).into_actor(self);
        let done = done.map(move |done, this, ctx| {
            if let Ok(Ok(_)) = done {
                this.is_finishing = false;
                let keys: Vec<_> = ends.iter().map(|(key, _)| *key).collect();
                let effects = this.delivery.on_ended(&keys, clock::now());
                this.carry_out(effects, ctx);
            } else {
                debug!("the queue does not record ends; they are told again");
                ctx.run_later(AGAIN, |this, ctx| this.record(ends, ctx));
            }
        });
        done.spawn(ctx);
    }
}

/// Status and, as far as it is text, what the parent said.
fn reason(status: u16, words: &[u8]) -> String {
    let said: serde_json::Value = serde_json::from_slice(words).unwrap_or_default();
    let said: String = said["message"].as_str().unwrap_or_default().chars().take(200).collect();
    if said.is_empty() { status.to_string() } else { format!("{status} {said}") }
}
