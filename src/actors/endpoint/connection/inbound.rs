//! What a client sends, packet by packet.

use actix::prelude::*;

use super::Connection;
use super::uplink::Parked;
use crate::actors::clock;
use crate::actors::endpoint::reader::{ReadEnd, Sized};
use crate::domain::packet::{ClientPacket, Publish, QoS, ServerPacket};
use crate::domain::resent::Transmission;
use crate::domain::topic::{self, ClientTopic, FilterClass};
use crate::messages::queue::Telemetry;
use crate::messages::sessions::Subscribe;
use crate::messages::state::StoreError;

type Batch = Result<Vec<Sized>, ReadEnd>;

impl StreamHandler<Batch> for Connection {
    fn handle(&mut self, batch: Batch, ctx: &mut Self::Context) {
        match batch {
            Ok(packets) => {
                self.heard = clock::now();
                for (packet, reserved) in packets {
                    tracing::trace!(identity = %self.identity, ?packet, "from client");
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

impl Connection {
    fn on_packet(
        &mut self,
        packet: ClientPacket,
        reserved: usize,
        ctx: &mut Context<Self>,
    ) -> Result<(), String> {
        match packet {
            // It comes again, on the next connection.
            ClientPacket::Publish(_) if self.is_leaving => self.budget.release(reserved),
            ClientPacket::Publish(publish) => self.on_publish(publish, reserved, ctx)?,
            ClientPacket::PubAck(id) => self.on_puback(id, ctx),
            ClientPacket::Subscribe(id, filters) => self.on_subscribe(id, filters, ctx)?,
            ClientPacket::Unsubscribe(id, filters) => {
                self.change_filters(Vec::new(), filters, ServerPacket::UnsubAck(id), ctx);
            }
            ClientPacket::PingReq => self.writer.send(&ServerPacket::PingResp),
            ClientPacket::Disconnect => {
                self.will = None;
                return Err("the client disconnected".into());
            }
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
        let Publish { qos, topic, id, payload, dup, .. } = publish;
        if qos == QoS::ExactlyOnce {
            return Err("QoS 2 is not served".into());
        }
        let ack = (qos == QoS::AtLeastOnce).then_some(id);
        let topic = topic::parse_publish(&topic, &self.identity)
            .map_err(|error| format!("publish to `{}`: {error}", cut(&topic)))?;
        match topic {
            ClientTopic::Telemetry(bag) => {
                let sender = self.identity.clone();
                let transmission = ack.map(|packet_id| Transmission {
                    packet_id,
                    is_again: dup,
                    connection: self.epoch as u32,
                });
                let telemetry = Telemetry { sender, bag, body: payload, link: None, transmission };
                self.parked.push_back(Parked { telemetry, ack, reserved });
            }
            ClientTopic::TwinGet { rid } => self.on_twin_get(rid, ack, reserved, ctx),
            ClientTopic::TwinPatch { rid } => {
                self.on_twin_patch(rid, payload, ack, reserved, ctx);
            }
            ClientTopic::MethodAnswer { status, rid } => {
                self.on_method_answer(status, &rid, payload);
                self.acknowledge(ack, reserved);
            }
        }
        Ok(())
    }

    /// A PUBLISH is done with.
    pub(super) fn acknowledge(&self, ack: Option<u16>, reserved: usize) {
        if let Some(id) = ack {
            self.writer.send(&ServerPacket::PubAck(id));
        }
        self.budget.release(reserved);
    }

    fn on_subscribe(
        &mut self,
        id: u16,
        filters: Vec<(String, QoS)>,
        ctx: &mut Context<Self>,
    ) -> Result<(), String> {
        let mut granted = Vec::new();
        let mut add = Vec::new();
        for (filter, asked) in filters {
            match topic::classify(&filter, &self.identity) {
                FilterClass::OtherIdentity => {
                    let filter = cut(&filter);
                    return Err(format!("filter `{filter}` is of another identity"));
                }
                FilterClass::Unknown => {
                    tracing::warn!(identity = %self.identity, filter, "filter that the hub does not serve: refused");
                    granted.push(None);
                }
                _ => {
                    let qos = asked.min(QoS::AtLeastOnce);
                    granted.push(Some(qos));
                    add.push((filter, qos == QoS::AtLeastOnce));
                }
            }
        }
        self.change_filters(add, Vec::new(), ServerPacket::SubAck(id, granted), ctx);
        Ok(())
    }

    /// The answer is sent once the change is on disk.
    fn change_filters(
        &mut self,
        add: Vec<(String, bool)>,
        remove: Vec<String>,
        answer: ServerPacket,
        ctx: &mut Context<Self>,
    ) {
        self.filters.retain(|(filter, _)| {
            !remove.contains(filter) && !add.iter().any(|(added, _)| added == filter)
        });
        self.filters.extend(add.iter().cloned());
        let (identity, epoch) = (self.identity.clone(), self.epoch);
        let change = Subscribe { identity, epoch, add, remove };
        let changed = self.backend.subscribe.ask(change, super::OPEN).into_actor(self);
        changed
            .map(move |changed, this, ctx| match changed.unwrap_or(Err(StoreError::Unavailable)) {
                Ok(()) => {
                    this.writer.send(&answer);
                    this.release_outbox(ctx);
                }
                Err(error) => {
                    this.close(&format!("subscription cannot be stored: {error}"), ctx);
                }
            })
            .spawn(ctx);
    }
}

/// Enough of a text of a client's for a log line.
fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}
