//! Twins and direct methods of one client.
//!
//! A twin request is acknowledged after its answer, so that one cut off by a disconnect is sent
//! again (spec sdk.md, trap 8); it is answered whether or not the answers are subscribed (11).
//! Twin requests are answered in the order of their arrival: an older patch that is sent again
//! must not come behind one that was answered.

use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Connection;
use crate::domain::method::Outcome;
use crate::domain::packet::{Publish, QoS, ServerPacket};
use crate::domain::packet_ids::Sent;
use crate::domain::topic;
use crate::messages::sessions::MethodAnswered;
use crate::messages::twins::{DesiredTaken, GetTwin, PatchReported, TwinAnswer};

const TWIN: Duration = Duration::from_secs(40);

impl Connection {
    pub(super) fn on_twin_get(
        &mut self,
        rid: String,
        ack: Option<u16>,
        reserved: usize,
        ctx: &mut Context<Self>,
    ) {
        let answer = self.backend.get_twin.ask(GetTwin(self.identity.clone()), TWIN);
        self.answer_twin(async move { answer.await.ok() }, Some(rid), ack, reserved, ctx);
    }

    pub(super) fn on_twin_patch(
        &mut self,
        rid: Option<String>,
        patch: Bytes,
        ack: Option<u16>,
        reserved: usize,
        ctx: &mut Context<Self>,
    ) {
        let patch = PatchReported { identity: self.identity.clone(), patch };
        let answer = self.backend.patch(patch, TWIN);
        self.answer_twin(answer, rid, ack, reserved, ctx);
    }

    /// With `QoS` 1 if it was asked for so: whether the client has it is known by its PUBACK.
    pub(super) fn on_desired(&mut self, version: u64, patch: Bytes) {
        let topic = topic::desired(version);
        if !self.is_at_least_once(&topic) {
            self.publish(topic, patch);
            self.on_desired_taken(version); // with QoS 0 it is delivered once it is written
        } else if let Some(id) = self.outbox.allocate(Sent::Desired(version)) {
            let (qos, payload) = (QoS::AtLeastOnce, patch);
            let publish = Publish { dup: false, qos, retain: false, topic, id, payload };
            self.writer.send(&ServerPacket::Publish(publish));
        } // else it is told again when the client comes back
    }

    pub(super) fn on_desired_taken(&self, version: u64) {
        let identity = self.identity.clone();
        // Should it be lost, the client hears of the same once more when it comes back.
        self.backend.desired_taken.tell(DesiredTaken { identity, version });
    }

    fn answer_twin(
        &mut self,
        answer: impl Future<Output = Option<TwinAnswer>> + 'static,
        rid: Option<String>,
        ack: Option<u16>,
        reserved: usize,
        ctx: &mut Context<Self>,
    ) {
        self.requests += 1;
        let (done, is_done) = oneshot::channel::<()>();
        let before = self.last_request.replace(is_done);
        let answer = async move {
            let answer = answer.await;
            if let Some(before) = before {
                let _ = before.await; // ends when the one before is answered
            }
            answer
        };
        let answer = answer.into_actor(self);
        answer
            .map(move |answer, this, _| {
                // No answer within 40 s: late enough to keep a client from asking in a hot loop.
                let answer =
                    answer.unwrap_or_else(|| TwinAnswer::error(503, "twins are not available now"));
                if let Some(rid) = rid {
                    let topic = topic::twin_answer(answer.status, &rid, answer.version);
                    this.publish(topic, answer.body);
                }
                this.acknowledge(ack, reserved);
                drop(done);
                this.requests -= 1;
                this.hang_up_if_answered();
            })
            .spawn(ctx);
    }

    pub(super) fn on_method(&mut self, call: u64, name: &str, payload: Bytes) {
        let payload = if payload.is_empty() { Bytes::from_static(b"null") } else { payload };
        self.publish(topic::method(name, &call.to_string()), payload);
    }

    pub(super) fn on_method_answer(&mut self, status: i32, rid: &str, payload: Bytes) {
        if let Ok(call) = rid.parse() {
            let (from, outcome) = (self.identity.clone(), Outcome::Answered(status, payload));
            // At most one of ours: a call ends in its first answer.
            self.backend.method_answered.tell(MethodAnswered { from, call, outcome });
        }
    }
}
