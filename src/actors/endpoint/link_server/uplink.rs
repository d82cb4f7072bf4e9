//! Messages of an edge on their way to the log: in arrival order, one batch at a time, PUBACK
//! when they are on disk; those that are not taken are refused before their PUBACK.

use std::collections::HashMap;

use actix::prelude::*;
use bytes::Bytes;
use futures_util::future::join_all;

use super::LinkServer;
use crate::domain::delivery::Answer;
use crate::domain::identity::Identity;
use crate::domain::link::down::LinkDown;
use crate::domain::packet::QoS;
use crate::domain::row::Stamp;
use crate::messages::queue::{Telemetry, Verdict};

/// A message that is read and not acknowledged.
pub(super) struct Parked {
    pub(super) telemetry: Telemetry,
    pub(super) ack: Option<u16>,
    pub(super) reserved: usize,
}

/// What is needed to answer a message.
struct Due {
    sender: Identity,
    stamp: Option<Stamp>,
    ack: Option<u16>,
    reserved: usize,
}

impl LinkServer {
    /// Hands all that is parked to the log, unless a batch is under way.
    pub(super) fn ingest(&mut self, ctx: &mut Context<Self>) {
        if self.is_ingesting || self.parked.is_empty() {
            return;
        }
        self.is_ingesting = true;
        let batch: Vec<_> = self.parked.drain(..).collect();
        let mut unknown: Vec<_> = batch.iter().map(|one| one.telemetry.sender.clone()).collect();
        unknown.sort();
        unknown.dedup();
        unknown.retain(|sender| !self.in_scope.contains(sender));
        let checks = unknown.into_iter().map(|sender| {
            let checked = self.check_scope(&sender);
            async move { (sender, checked.await) }
        });
        let checked = join_all(checks.collect::<Vec<_>>()).into_actor(self);
        checked.map(|statuses, this, ctx| this.store(batch, statuses, ctx)).spawn(ctx);
    }

    fn store(
        &mut self,
        batch: Vec<Parked>,
        statuses: Vec<(Identity, u16)>,
        ctx: &mut Context<Self>,
    ) {
        let known = statuses.iter().filter(|(_, status)| *status == 200);
        self.in_scope.extend(known.map(|(sender, _)| sender.clone()));
        let unknown: HashMap<_, _> =
            statuses.into_iter().filter(|(_, status)| *status != 200).collect();
        let (mut taken, mut dues) = (Vec::new(), Vec::new());
        for Parked { telemetry, ack, reserved } in batch {
            let stamp = telemetry.link.as_ref().map(|link| link.stamp);
            let sender = telemetry.sender.clone();
            let attempt = telemetry.link.as_ref().map_or(0, |link| link.attempt);
            let refusal = self.refusals.judge(&sender, attempt, unknown.get(&sender).copied());
            dues.push((Due { sender, stamp, ack, reserved }, refusal));
            if refusal.is_none() {
                taken.push(telemetry);
            }
        }
        let stored = self.backend.store(&self.budget, taken, None).into_actor(self);
        stored
            .map(move |stored, this, ctx| {
                this.is_ingesting = false;
                match stored {
                    Ok(verdicts) => {
                        this.answer_messages(dues, verdicts);
                        this.ingest(ctx);
                    }
                    Err(error) => this.close(&format!("messages cannot be stored: {error}"), ctx),
                }
            })
            .spawn(ctx);
    }

    fn answer_messages(&mut self, dues: Vec<(Due, Option<u16>)>, verdicts: Vec<Verdict>) {
        let mut verdicts = verdicts.into_iter();
        for (Due { sender, stamp, ack, reserved }, refusal) in dues {
            let verdict = match refusal {
                Some(status) => {
                    let why = match Answer::of_refusal(status) {
                        Answer::Throttled(_) => "it cannot be looked up for now",
                        _ => "not in the scope of this edge",
                    };
                    Verdict::Refused(status, why.into())
                }
                None => verdicts.next().expect("a verdict for each message that was handed on"),
            };
            if let (Verdict::Refused(status, message), Some(stamp)) = (verdict, stamp) {
                let body = serde_json::json!({ "message": message }).to_string();
                let refused = LinkDown::Refused(sender, status, stamp);
                self.publish(&refused, QoS::AtMostOnce, Bytes::from(body));
            }
            self.acknowledge(ack, reserved);
        }
    }
}
