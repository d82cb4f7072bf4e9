//! The parent's side of a multiplexed link (docs/link.md): one socket of an edge, which carries
//! many identities.
//!
//! `inbound.rs` reads what the edge sends, `uplink.rs` takes its messages, `attached.rs` knows
//! who is behind it and in its scope, `outbox.rs` sends cloud-to-device messages.

mod attached;
mod inbound;
mod outbox;
mod uplink;

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;

use self::outbox::Outbox;
use self::uplink::Parked;
use super::backend::Backend;
use super::budget::{Budget, Limits};
use super::greeting::Greeted;
use super::reader::Reader;
use super::sessions::ConnectionSettings;
use super::watch::Pulse;
use super::writer::Writer;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::identity::Identity;
use crate::domain::link::down::LinkDown;
use crate::domain::packet::{ConnectCode, Publish, QoS, ServerPacket};
use crate::domain::packet_ids::{PacketIds, Sent};
use crate::domain::refusals::Refusals;
use crate::messages::client::{Down, Downlink};
use crate::messages::identities::LogIn;
use crate::messages::sessions::{Closed, Detach, Open, Opened};
use crate::messages::state::StoreError;
use crate::messages::supervision::Health;

/// An opening waits for the link before it to be gone.
const OPEN: Duration = Duration::from_secs(40);
/// Nothing heard from the edge in this time: it pings every 10 s.
const PATIENCE: Duration = Duration::from_secs(45);
/// A link parks its window (architecture 4).
const LIMITS: Limits = Limits { packets: 1_024, bytes: 8 << 20 };

/// See the module documentation.
pub struct LinkServer {
    /// `{edge}/$edgeHub`.
    edge: Identity,
    peer: String,
    backend: Rc<Backend>,
    writer: Writer,
    budget: Rc<Budget>,
    reader: Option<Reader>,
    by_device: bool,
    /// By what it came in; until it is open.
    log_in: Option<Box<LogIn>>,
    epoch: u64,
    /// Identities known to be in the scope of this edge and enabled.
    in_scope: HashSet<Identity>,
    parked: VecDeque<Parked>,
    refusals: Refusals,
    is_ingesting: bool,
    outboxes: HashMap<Identity, Outbox>,
    /// Of outboxes.
    births: u64,
    ids: PacketIds,
    pulse: Rc<Pulse>,
    obituary: Obituary,
}

impl LinkServer {
    /// Starts the link of an edge that may come in.
    pub fn accept(
        greeted: Greeted,
        backend: Rc<Backend>,
        settings: &ConnectionSettings,
        obituary: Obituary,
    ) -> Addr<Self> {
        let Greeted { reader, half, log_in, granted, peer, .. } = greeted;
        let budget = Budget::new(Rc::clone(&settings.parking), LIMITS);
        let writer = Writer::of_link(half, settings.unwritten.clone());
        let pulse = Pulse::new(PATIENCE, granted.until);
        settings.watch.add(&pulse, &writer);
        let reader = reader.of(Rc::clone(&budget), Rc::clone(&pulse)).patient();
        let link = LinkServer {
            edge: log_in.identity.clone(),
            log_in: Some(log_in),
            peer,
            backend,
            writer,
            reader: Some(reader),
            budget,
            by_device: granted.by_device,
            epoch: 0,
            in_scope: HashSet::new(),
            parked: VecDeque::new(),
            refusals: Refusals::default(),
            is_ingesting: false,
            outboxes: HashMap::new(),
            births: 0,
            ids: PacketIds::default(),
            pulse,
            obituary,
        };
        LinkServer::create(move |ctx| {
            let write = link.writer.ended().into_actor(&link);
            write
                .map(|end, this: &mut LinkServer, ctx| {
                    if let Err(why) = end {
                        this.close(&why, ctx);
                    }
                })
                .spawn(ctx);
            link
        })
    }

    fn on_opened(&mut self, opened: Result<Opened, StoreError>, ctx: &mut Context<Self>) {
        match opened {
            Ok(opened) => {
                self.epoch = opened.epoch;
                self.writer.send(&ServerPacket::ConnAck(false, ConnectCode::Accepted));
                tracing::info!(edge = %self.edge, peer = self.peer, "link connected");
                if let Some(reader) = self.reader.take() {
                    ctx.add_stream(Box::new(reader).into_batches());
                }
                self.backend.check_again(self.log_in.take(), Self::close, ctx);
            }
            Err(error) => {
                let code = ConnectCode::ServerUnavailable;
                self.writer.send(&ServerPacket::ConnAck(false, code));
                self.close(&format!("link cannot be opened: {error}"), ctx);
            }
        }
    }

    fn close(&mut self, why: &str, ctx: &mut Context<Self>) {
        tracing::info!(edge = %self.edge, peer = self.peer, why, "link closed");
        self.writer.close();
        ctx.stop();
    }

    fn publish(&mut self, topic: &LinkDown, qos: QoS, payload: Bytes) {
        // What is sent with QoS 1 is not sent again: a new link establishes everything anew.
        let id = match qos {
            QoS::AtMostOnce => Some(0),
            _ => self.ids.allocate(Sent::Locked(String::new())),
        };
        let Some(id) = id else { return };
        let topic = topic.to_string();
        let publish = Publish { dup: false, qos, retain: false, topic, id, payload };
        self.writer.send(&ServerPacket::Publish(publish));
    }
}

impl Actor for LinkServer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let downlink = ctx.address().recipient();
        let open = Open { identity: self.edge.clone(), is_clean: true, downlink };
        let opened = self.backend.open.ask(open, OPEN).into_actor(self);
        opened
            .map(|opened, this, ctx| {
                this.on_opened(opened.unwrap_or(Err(StoreError::Unavailable)), ctx);
            })
            .spawn(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        if self.epoch != 0 {
            let (identity, epoch) = (self.edge.clone(), self.epoch);
            self.backend.detach.tell(Detach { identity: None, epoch }); // once
            let (unacked, has_locked) = (Vec::new(), false);
            self.backend.closed.tell(Closed { identity, epoch, unacked, has_locked });
        }
    }
}

/// Nobody is left to write for.
impl Drop for LinkServer {
    fn drop(&mut self) {
        self.writer.close();
    }
}

impl Supervised for LinkServer {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let (attached, parked) = (self.outboxes.len(), self.parked.len());
        Health { state: format!("link: {attached} attached, {parked} messages parked") }
    }

    fn shut_down(&mut self, ctx: &mut Context<Self>) {
        self.close("the hub stops", ctx);
    }
}
crate::supervised!(LinkServer);

impl Handler<Downlink> for LinkServer {
    type Result = ();

    fn handle(&mut self, Downlink { to, what }: Downlink, ctx: &mut Self::Context) {
        match what {
            Down::Owed => self.pull_owed(&to, ctx),
            Down::Rewind(_) => self.rewind(&to, ctx),
            Down::Method { call, name, payload } => {
                self.publish(&LinkDown::Method(to, name, call), QoS::AtMostOnce, payload);
            }
            Down::Desired { version, patch } => {
                self.publish(&LinkDown::Desired(to, version), QoS::AtLeastOnce, patch);
            }
            Down::ScopeChanged { version } => {
                self.in_scope.clear(); // asked again when something comes
                self.publish(&LinkDown::ScopePatch(to, version), QoS::AtLeastOnce, Bytes::new());
            }
            Down::Close(why) | Down::Gone(why) if to == self.edge => self.close(&why, ctx),
            Down::DeviceKeysChanged if to == self.edge && self.by_device => {
                self.close("the keys of its device were changed", ctx);
            }
            // The edge ends the connection: the change of its scope tells it.
            Down::Close(_) | Down::Gone(_) => drop(self.in_scope.remove(&to)),
            Down::DeviceKeysChanged => {} // the edge learns of it as of all changes of its scope
            Down::CloudToDevice { .. } => {} // a hub's own come from its queue
            Down::LocalOwed | Down::LocalChanged => {} // of clients that are connected here
        }
    }
}

#[cfg(test)]
mod tests;
