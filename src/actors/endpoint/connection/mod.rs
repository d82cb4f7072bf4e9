//! One socket of one client, from CONNACK to its close.
//!
//! Packets come in batches (`inbound.rs`); messages go to the queue and are acknowledged when
//! they are on disk (`uplink.rs`); what is owed to the client comes from the queue (`outbox.rs`).
//!
//! next: `uplink.rs`

mod inbound;
mod leaving;
mod local;
mod outbox;
mod requests;
#[cfg(test)]
mod tests;
mod uplink;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::oneshot;

use self::local::LocalUse;
use self::outbox::Outbox;
use self::uplink::{Parked, Uplink};
use super::backend::Backend;
use super::budget::Budget;
use super::greeting::Greeted;
use super::reader::Reader;
use super::sessions::ConnectionSettings;
use super::watch::Pulse;
use super::writer::Writer;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::identity::Identity;
use crate::domain::packet::{ConnectCode, Publish, QoS, ServerPacket, Will};
use crate::messages::client::{Down, Downlink};
use crate::messages::identities::LogIn;
use crate::messages::sessions::{Closed, Open, Opened};
use crate::messages::state::StoreError;
use crate::messages::supervision::Health;

/// The store answers an opening long before.
const OPEN: Duration = Duration::from_secs(40);

/// See the module documentation.
pub struct Connection {
    identity: Identity,
    peer: Box<str>,
    backend: Rc<Backend>,
    writer: Writer,
    budget: Rc<Budget>,
    /// Until CONNACK is sent.
    reader: Option<Box<Reader>>,
    is_clean: bool,
    /// What is to be sent in its name, and where, should it go without DISCONNECT.
    will: Option<Box<Will>>,
    by_device: bool,
    /// By what it came in; until its session is open.
    log_in: Option<Box<LogIn>>,
    /// 0 until the session is open.
    epoch: u64,
    filters: Vec<(String, bool)>,
    parked: VecDeque<Parked>,
    uplink: Uplink,
    /// Packets are being handled: what they end is recorded when all of them are.
    is_in_batch: bool,
    /// Twin requests that are not answered.
    requests: usize,
    /// Ends when the last one is answered.
    last_request: Option<oneshot::Receiver<()>>,
    is_leaving: bool,
    outbox: Outbox,
    /// Where the setting is on.
    local: Option<Box<LocalUse>>,
    pulse: Rc<Pulse>,
    settings: Rc<ConnectionSettings>,
    obituary: Obituary,
}

impl Connection {
    /// Starts the connection of a client that may come in.
    pub fn accept(
        greeted: Greeted,
        backend: Rc<Backend>,
        settings: Rc<ConnectionSettings>,
        obituary: Obituary,
    ) -> Addr<Self> {
        let Greeted { reader, half, connect, log_in, granted, peer } = greeted;
        let identity = log_in.identity.clone();
        let budget = Budget::new(Rc::clone(&settings.parking), settings.limits);
        let writer = Writer::new(half, settings.unwritten.clone());
        let pulse = Pulse::new(patience(connect.keep_alive), granted.until);
        settings.watch.add(&pulse, &writer);
        let reader = reader.of(Rc::clone(&budget), Rc::clone(&pulse));
        let local = backend.local.clone().map(|local| Box::new(LocalUse::new(local, &identity)));
        let connection = Connection {
            identity,
            peer: peer.into(),
            backend,
            writer,
            reader: Some(Box::new(reader)),
            budget,
            is_clean: connect.is_clean,
            will: connect.will.map(Box::new),
            by_device: granted.by_device,
            log_in: Some(log_in),
            epoch: 0,
            filters: Vec::new(),
            parked: VecDeque::new(),
            uplink: Uplink::default(),
            is_in_batch: false,
            requests: 0,
            last_request: None,
            is_leaving: false,
            outbox: Outbox::default(),
            local,
            pulse,
            settings,
            obituary,
        };
        Connection::create(move |ctx| {
            let write = connection.writer.ended().into_actor(&connection);
            write.map(|end, this: &mut Connection, ctx| this.on_write_end(end, ctx)).spawn(ctx);
            connection
        })
    }

    fn on_opened(&mut self, opened: Result<Opened, StoreError>, ctx: &mut Context<Self>) {
        match opened {
            Ok(opened) => {
                self.epoch = opened.epoch;
                self.filters = opened.filters;
                let is_present = opened.is_present && !self.is_clean;
                self.outbox.resume(opened.unacked, is_present, self.settings.window);
                self.writer.send(&ServerPacket::ConnAck(is_present, ConnectCode::Accepted));
                tracing::info!(identity = %self.identity, peer = &*self.peer, is_present, "connected");
                if let Some(reader) = self.reader.take() {
                    ctx.add_stream(reader.into_batches());
                }
                self.start_outbox(is_present, ctx);
                self.backend.check_again(self.log_in.take(), Self::close, ctx);
                self.resume_local(ctx);
                self.watch_local(ctx);
            }
            Err(error) => {
                let code = ConnectCode::ServerUnavailable;
                self.writer.send(&ServerPacket::ConnAck(false, code));
                self.close(&format!("session cannot be opened: {error}"), ctx);
            }
        }
    }

    /// Ends the connection; what is not acknowledged will come again.
    fn close(&mut self, why: &str, ctx: &mut Context<Self>) {
        tracing::info!(identity = %self.identity, peer = &*self.peer, why, "connection closed");
        self.store_last_words(ctx);
        self.writer.close();
        ctx.stop();
    }

    fn publish(&self, topic: String, payload: Bytes) {
        let (qos, id) = (QoS::AtMostOnce, 0);
        let publish = Publish { dup: false, qos, retain: false, topic, id, payload };
        self.writer.send(&ServerPacket::Publish(publish));
    }
}

/// 1.5 times the keep-alive, 10 minutes at most and without one (spec edgehub 1.3).
fn patience(keep_alive: u16) -> Duration {
    const MOST: Duration = Duration::from_secs(600);
    match keep_alive {
        0 => MOST,
        seconds => (Duration::from_secs(u64::from(seconds)) * 3 / 2).min(MOST),
    }
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (identity, is_clean) = (self.identity.clone(), self.is_clean);
        let open = Open { identity, is_clean, downlink: ctx.address().recipient() };
        let opened = self.backend.open.ask(open, OPEN).into_actor(self);
        opened
            .map(|opened, this, ctx| {
                this.on_opened(opened.unwrap_or(Err(StoreError::Unavailable)), ctx);
            })
            .spawn(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.finish_last(); // before the next connection of the client is told to pull
        if self.epoch != 0 {
            let (identity, epoch) = (self.identity.clone(), self.epoch);
            let (unacked, has_locked) = (self.outbox.unacked(), self.outbox.has_locked());
            self.backend.closed.tell(Closed { identity, epoch, unacked, has_locked }); // once
            self.leave_local();
        }
    }
}

/// Nobody is left to write for.
impl Drop for Connection {
    fn drop(&mut self) {
        self.writer.close();
    }
}

impl Supervised for Connection {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let (parked, unacked) = (self.parked.len(), self.outbox.unacked().len());
        Health { state: format!("{parked} messages parked, {unacked} un-acked by the client") }
    }

    fn shut_down(&mut self, ctx: &mut Context<Self>) {
        self.leave(ctx);
    }
}
crate::supervised!(Connection);

impl Handler<Downlink> for Connection {
    type Result = ();

    fn handle(&mut self, Downlink { what, .. }: Downlink, ctx: &mut Self::Context) {
        match what {
            Down::Owed => self.pull_owed(ctx),
            Down::Rewind(_) => self.rewind(ctx),
            Down::Method { call, name, payload } => self.on_method(call, &name, payload),
            Down::Desired { version, patch } => self.on_desired(version, patch),
            Down::CloudToDevice { lock, bag, body } => self.send_locked(lock, &bag, body, ctx),
            Down::LocalOwed => self.on_local_owed(ctx),
            Down::LocalChanged => self.on_local_changed(ctx),
            Down::ScopeChanged { .. } => {}
            Down::DeviceKeysChanged if !self.by_device => {}
            Down::DeviceKeysChanged => self.close("the keys of its device were changed", ctx),
            Down::Close(why) | Down::Gone(why) => self.close(&why, ctx),
        }
    }
}
