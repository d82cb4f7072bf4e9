//! What an edge sends on its link.

use actix::prelude::*;
use bytes::Bytes;

use super::LinkServer;
use super::uplink::Parked;
use crate::actors::endpoint::reader::{ReadEnd, Sized};
use crate::domain::identity::Identity;
use crate::domain::link::down::LinkDown;
use crate::domain::link::up::LinkUp;
use crate::domain::link::{self, stamp};
use crate::domain::method::Outcome;
use crate::domain::packet::{ClientPacket, Publish, QoS, ServerPacket};
use crate::messages::queue::{LinkStamp, Telemetry};
use crate::messages::sessions::MethodAnswered;

type Batch = Result<Vec<Sized>, ReadEnd>;

impl StreamHandler<Batch> for LinkServer {
    fn handle(&mut self, batch: Batch, ctx: &mut Self::Context) {
        match batch {
            Ok(packets) => {
                self.pulse.beat();
                for (packet, reserved) in packets {
                    tracing::trace!(edge = %self.edge, ?packet, "from edge");
                    if let Err(why) = self.on_packet(packet, reserved, ctx) {
                        return self.close(&why, ctx);
                    }
                }
                self.ingest(ctx);
            }
            Err(end) => self.close(&end.to_string(), ctx),
        }
    }
}

impl LinkServer {
    fn on_packet(
        &mut self,
        packet: ClientPacket,
        reserved: usize,
        ctx: &mut Context<Self>,
    ) -> Result<(), String> {
        match packet {
            ClientPacket::Publish(publish) => self.on_publish(publish, reserved, ctx)?,
            ClientPacket::PubAck(id) => drop(self.ids.release(id)),
            ClientPacket::Subscribe(id, filters) => {
                let grant = |filter: &str| (filter == link::FILTER).then_some(QoS::AtLeastOnce);
                let granted = filters.iter().map(|(filter, _)| grant(filter)).collect();
                self.writer.send(&ServerPacket::SubAck(id, granted));
            }
            ClientPacket::Unsubscribe(id, _) => self.writer.send(&ServerPacket::UnsubAck(id)),
            ClientPacket::PingReq => self.writer.send(&ServerPacket::PingResp),
            ClientPacket::Disconnect => return Err("the edge disconnected".into()),
            ClientPacket::Connect(_) => return Err("a second CONNECT".into()),
        }
        Ok(())
    }

    fn on_publish(
        &mut self,
        publish: Publish,
        reserved: usize,
        ctx: &mut Context<Self>,
    ) -> Result<(), String> {
        let Publish { qos, topic, id, payload, .. } = publish;
        if qos == QoS::ExactlyOnce {
            return Err("QoS 2 is not served".into());
        }
        let ack = (qos == QoS::AtLeastOnce).then_some(id);
        let up = LinkUp::parse(&topic).map_err(|error| format!("publish: {error}: {topic}"))?;
        if let LinkUp::Telemetry(sender, bag) = up {
            let (bag, stamps) = stamp::take(&bag);
            let link = stamps.map(|stamps| LinkStamp {
                edge: self.edge.device_id().to_owned(),
                stamp: stamps.stamp,
                low: stamps.low,
                attempt: stamps.attempt,
            });
            let telemetry = Telemetry { sender, bag, body: payload, link, transmission: None };
            self.parked.push_back(Parked { telemetry, ack, reserved });
            return Ok(());
        }
        self.on_request(up, payload, ctx);
        // Requests are asked again if their answer does not come.
        self.acknowledge(ack, reserved);
        Ok(())
    }

    fn on_request(&mut self, up: LinkUp, payload: Bytes, ctx: &mut Context<Self>) {
        match up {
            LinkUp::Attach(who, rid) => self.attach(who, rid, &payload, ctx),
            LinkUp::Detach(who, rid) => self.detach(who, rid),
            LinkUp::Token(who, rid) => self.renew(who, rid, &payload, ctx),
            LinkUp::Scope(who, rid, since) => self.scope(who, rid, since, ctx),
            LinkUp::TwinGet(who, rid) => self.twin_get(who, rid, ctx),
            LinkUp::TwinPatch(who, rid) => self.twin_patch(who, rid, payload, ctx),
            LinkUp::MethodAnswer(from, status, call) => {
                self.method_answered(from, call, Outcome::Answered(status, payload));
            }
            LinkUp::MethodError(from, 404, call) => {
                self.method_answered(from, call, Outcome::NotConnected);
            }
            LinkUp::MethodError(from, _, call) => {
                self.method_answered(from, call, Outcome::TimedOut);
            }
            LinkUp::Settle(who, lock) => self.settle(&who, &lock, ctx),
            LinkUp::Telemetry(..) => unreachable!("handled by the caller"),
        }
    }

    fn method_answered(&self, from: Identity, call: u64, outcome: Outcome) {
        self.backend.method_answered.tell(MethodAnswered { from, call, outcome }); // the first counts
    }

    /// Answers a request of the edge.
    pub(super) fn answer(&mut self, identity: Identity, rid: u64, status: u16, body: Bytes) {
        let answer = LinkDown::Answer { identity, is_twin: false, status, rid, version: None };
        self.publish(&answer, QoS::AtMostOnce, body);
    }

    /// A PUBLISH is done with.
    pub(super) fn acknowledge(&self, ack: Option<u16>, reserved: usize) {
        if let Some(id) = ack {
            self.writer.send(&ServerPacket::PubAck(id));
        }
        self.budget.release(reserved);
    }
}
