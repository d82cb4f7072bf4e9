//! What a client sends, packet by packet.

use actix::prelude::*;

use super::Connection;
use super::uplink::Parked;
use crate::actors::endpoint::reader::{ReadEnd, Sized};
use crate::domain::local_topics::filter;
use crate::domain::packet::{ClientPacket, Publish, QoS, ServerPacket};
use crate::domain::resent::Transmission;
use crate::domain::topic::{self, ClientTopic, FilterClass};
use crate::messages::queue::{Refused, Telemetry};
use crate::messages::sessions::Subscribe;
use crate::messages::state::StoreError;

type Batch = Result<Vec<Sized>, ReadEnd>;

impl StreamHandler<Batch> for Connection {
    fn handle(&mut self, batch: Batch, ctx: &mut Self::Context) {
        match batch {
            Ok(packets) => {
                self.pulse.beat();
                self.is_in_batch = true;
                for (packet, reserved) in packets {
                    tracing::trace!(identity = %self.identity, ?packet, "from client");
                    if let Err(why) = self.on_packet(packet, reserved, ctx) {
                        return self.close(&why, ctx);
                    }
                }
                self.is_in_batch = false;
                self.finish(ctx);
                self.ingest(ctx);
                self.publish_local(ctx);
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
                self.change_filters(Vec::new(), filters, Some(ServerPacket::UnsubAck(id)), ctx);
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
        if publish.qos == QoS::ExactlyOnce {
            return Err("QoS 2 is not served".into());
        }
        if self.local.is_some() && filter::is_local(&publish.topic) {
            let topic = cut(&publish.topic);
            let parked = self.on_local_publish(publish, reserved);
            return parked.map_err(|why| format!("publish to `{topic}`: {why}"));
        }
        let Publish { qos, topic, id, payload, dup, .. } = publish;
        let ack = (qos == QoS::AtLeastOnce).then_some(id);
        let topic = topic::parse_publish(&topic, &self.identity)
            .map_err(|error| format!("publish to `{}`: {error}", cut(&topic)))?;
        match topic {
            ClientTopic::Telemetry(_) if ack.is_none() && self.backend.fullness.is_full() => {
                self.backend.refused.tell(Refused(1)); // nobody waits for it, nor sends it again
                self.budget.release(reserved);
            }
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
                    let local = self.local.as_ref().filter(|_| filter::is_local(&filter));
                    let checked = local.map(|local| local.check_filter(&filter, add.len()));
                    let why = match checked {
                        Some(Ok(())) => None,
                        Some(Err(why)) => Some(why),
                        None => Some("the hub has no such topics".into()),
                    };
                    if let Some(why) = why {
                        tracing::warn!(identity = %self.identity, filter, why, "filter refused");
                        granted.push(None);
                        continue;
                    }
                    let qos = asked.min(QoS::AtLeastOnce);
                    granted.push(Some(qos));
                    add.push((filter, qos == QoS::AtLeastOnce));
                }
                _ => {
                    let qos = asked.min(QoS::AtLeastOnce);
                    granted.push(Some(qos));
                    add.push((filter, qos == QoS::AtLeastOnce));
                }
            }
        }
        self.change_filters(add, Vec::new(), Some(ServerPacket::SubAck(id, granted)), ctx);
        Ok(())
    }

    /// The answer, if there is one, is sent once the change is on disk.
    pub(super) fn change_filters(
        &mut self,
        add: Vec<(String, bool)>,
        remove: Vec<String>,
        answer: Option<ServerPacket>,
        ctx: &mut Context<Self>,
    ) {
        self.filters.retain(|(filter, _)| {
            !remove.contains(filter) && !add.iter().any(|(added, _)| added == filter)
        });
        self.forget_local(&remove);
        let mut fresh = Vec::new();
        for (filter, is_at_least_once) in &add {
            match self.local.as_mut().filter(|_| filter::is_local(filter)) {
                Some(local) => {
                    local.add(filter, *is_at_least_once);
                    fresh.push(filter.clone());
                }
                None => self.filters.push((filter.clone(), *is_at_least_once)),
            }
        }
        let is_local = !fresh.is_empty() || remove.iter().any(|filter| filter::is_local(filter));
        let (identity, epoch) = (self.identity.clone(), self.epoch);
        let change = Subscribe { identity, epoch, add, remove };
        let changed = self.backend.subscribe.ask(change, super::OPEN).into_actor(self);
        changed
            .map(move |changed, this, ctx| match changed.unwrap_or(Err(StoreError::Unavailable)) {
                Ok(()) => {
                    if let Some(answer) = &answer {
                        this.writer.send(answer);
                    }
                    this.release_outbox(ctx);
                    if is_local {
                        this.join_local(fresh, ctx);
                    }
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
