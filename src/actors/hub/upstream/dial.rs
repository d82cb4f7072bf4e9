//! The connection: made, logged in, subscribed, renewed, lost, made again.

use std::time::Duration;

use actix::prelude::*;
use futures_util::stream;
use tracing::{info, warn};

use super::asks::Pending;
use super::{Connection, Upstream};
use crate::actors::clock;
use crate::domain::delivery::Config;
use crate::domain::identity::Identity;
use crate::domain::link;
use crate::domain::sas;
use crate::domain::upstream::{Lost, Next, Verdict};
use crate::messages::identities::Sign;
use crate::protocol::link::{LinkEvent, Login, open};

/// A token is good for so long, and renewed when three quarters are over.
const TOKEN: Duration = Duration::from_secs(3_600);
const RENEWED: Duration = Duration::from_secs(2_700);
/// After a renewal that did not come about.
const RENEW_AGAIN: Duration = Duration::from_secs(60);
const SIGN_DEADLINE: Duration = Duration::from_secs(3);

impl Upstream {
    /// Does what the line wants done now, and comes back when it is time.
    pub(super) fn drive(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let now = clock::now();
        match self.line.next(now) {
            Next::WaitUntil(until) => {
                let delay = until.saturating_duration_since(now);
                self.timer = Some(ctx.run_later(delay, |this, ctx| {
                    this.timer = None;
                    this.drive(ctx);
                }));
            }
            Next::Dial => {
                self.dial(ctx);
                self.drive(ctx); // the deadline of this step
            }
            Next::GiveUp => self.drop_connection("the parent does not answer", ctx),
            Next::Rest => {}
        }
    }

    fn dial(&mut self, ctx: &mut Context<Self>) {
        self.generation += 1;
        let generation = self.generation;
        let token = self.token().map(move |token, this, ctx| {
            if this.generation != generation {
                return; // given up meanwhile
            }
            match token {
                Some(password) => this.open(password, ctx),
                None => {
                    let why = "neither $edgeHub's key nor the device's own is known";
                    this.on_lost(Lost::Cut, why.into(), ctx);
                }
            }
        });
        token.spawn(ctx);
    }

    /// A token of `$edgeHub` if its key is known, else of the device.
    fn token(&self) -> impl ActorFuture<Self, Output = Option<String>> + 'static + use<> {
        let resource = |of: &Identity| format!("{}/{}", self.config.hub_host, of.resource());
        let expiry = (clock::unix_time() + TOKEN).as_secs();
        let own = resource(&self.edge_hub);
        let data = sas::text_to_sign(&own, expiry).into_bytes();
        let sign = Sign { identity: self.edge_hub.clone(), data };
        let signed = self.ports.sign.ask(sign, SIGN_DEADLINE);
        let key = self.config.device_key.as_deref();
        let device =
            key.and_then(|key| sas::make(&resource(&self.config.device), key, expiry, None).ok());
        let is_own_refused = self.is_own_key_refused && device.is_some();
        let token = async move {
            match signed.await {
                Ok(Ok(signature)) if !is_own_refused => {
                    Some(sas::assemble(&own, &signature, expiry, None))
                }
                _ => device,
            }
        };
        token.into_actor(self)
    }

    fn open(&mut self, password: String, ctx: &mut Context<Self>) {
        let (hub, me) = (&self.config.hub_host, &self.edge_hub);
        let version = link::VERSION;
        let login = Login {
            client_id: me.to_string(),
            user_name: format!("{hub}/{me}/?api-version=2021-04-12&link={version}"),
            password,
        };
        let (sender, receiver) = open(&self.config.address, login);
        let events = stream::unfold(receiver, |mut receiver| async move {
            receiver.next().await.map(|event| (event, receiver))
        });
        let events = actix::fut::wrap_stream::<_, Self>(events);
        let events = events.map(|event, this, ctx| this.on_event(event, ctx)).finish();
        let events = ctx.spawn(events);
        self.connection = Some(Connection { sender, events });
    }

    fn on_event(&mut self, event: LinkEvent, ctx: &mut Context<Self>) {
        match event {
            LinkEvent::Connected => {
                self.line.on_connected(clock::now());
                let sent = self.connection.as_ref().map(|it| it.sender.subscribe(link::FILTER));
                if let Some(Err(stuck)) = sent {
                    return self.drop_connection(&stuck.to_string(), ctx);
                }
                if self.line.is_up() {
                    return self.on_up(ctx);
                }
                self.drive(ctx);
            }
            LinkEvent::Subscribed(true) => {
                let was_up = self.line.is_up();
                self.line.on_granted(clock::now());
                if was_up { self.drive(ctx) } else { self.on_up(ctx) }
            }
            LinkEvent::Subscribed(false) => {
                self.close(ctx);
                self.on_lost(Lost::NotGranted, "the parent serves no links".into(), ctx);
            }
            LinkEvent::Received(topic, payload, ack) => {
                self.on_received(&topic, payload, ctx);
                if let (Some(ack), Some(connection)) = (ack, &self.connection) {
                    let _ = connection.sender.ack(&ack); // not acknowledged: it comes again
                }
            }
            LinkEvent::Acked(number) => self.on_acked(number, ctx),
            LinkEvent::Lost(how, why) => {
                self.connection = None;
                self.on_lost(how, why, ctx);
            }
        }
    }

    /// Everything is established anew: who is here, what is owed; the others do their part.
    fn on_up(&mut self, ctx: &mut Context<Self>) {
        self.drive(ctx);
        info!(parent = %self.config.address, "the link is up");
        self.is_own_key_refused = false;
        let mut all: Vec<_> = self.attached.all().cloned().collect();
        all.sort_by_key(|identity| identity.device_id() != self.config.device.device_id());
        for identity in all {
            self.push_presence(&identity, Vec::new());
        }
        self.send_requests(ctx);
        let effects = self.delivery.on_connected(clock::now());
        self.carry_out(effects, ctx);
        self.tell_all(true);
        self.renew_later(RENEWED, ctx);
    }

    /// Ends a connection for a reason of our own.
    pub(super) fn drop_connection(&mut self, why: &str, ctx: &mut Context<Self>) {
        self.close(ctx);
        self.on_lost(Lost::Cut, why.into(), ctx);
    }

    fn close(&mut self, ctx: &mut Context<Self>) {
        if let Some(connection) = self.connection.take() {
            ctx.cancel_future(connection.events);
        }
    }

    fn on_lost(&mut self, how: Lost, why: String, ctx: &mut Context<Self>) {
        self.generation += 1;
        if let Some(renewal) = self.renewal.take() {
            ctx.cancel_future(renewal);
        }
        let (was_up, was_granted) = (self.line.is_up(), self.line.is_granted());
        let oldest = self.delivery.oldest();
        self.delivery.on_disconnected();
        self.flights.clear();
        self.numbers.clear();
        self.attached.on_lost();
        drop(self.requests.clear()); // who waits for an answer hears that there is none
        if how == Lost::Refused {
            self.is_own_key_refused = !self.is_own_key_refused;
        }
        if how == Lost::Closed && was_granted {
            match self.poison.on_closed(oldest) {
                Verdict::Nothing => {}
                Verdict::OneAtATime => self.delivery.set_window(1),
                Verdict::GiveUp(key, sender) => {
                    warn!(%sender, ?key, "the parent closes whenever it gets this message");
                    self.delivery.set_window(Config::UPSTREAM.window);
                    let effects = self.delivery.give_up(key, sender, "parent closes");
                    self.carry_out(effects, ctx);
                }
            }
        }
        if was_up || self.line.attempts() == 1 {
            warn!(parent = %self.config.address, why, "the link is down");
        }
        self.line.on_lost(how, why, clock::now(), Self::chance());
        if was_up {
            self.tell_all(false);
        }
        self.drive(ctx);
    }

    fn renew_later(&mut self, delay: Duration, ctx: &mut Context<Self>) {
        let renewal = ctx.run_later(delay, |this, ctx| {
            this.renewal = None;
            this.renew(ctx);
        });
        if let Some(earlier) = self.renewal.replace(renewal) {
            ctx.cancel_future(earlier);
        }
    }

    /// Tokens that were made before are good for another time than they say.
    pub(super) fn on_clock_set(&mut self, ctx: &mut Context<Self>) {
        info!("the clock was set");
        self.line.on_clock_set(clock::now());
        if self.line.is_up() {
            self.renew(ctx);
        } else {
            self.drive(ctx);
        }
    }

    /// A new token in-band, before the old one expires.
    fn renew(&mut self, ctx: &mut Context<Self>) {
        let generation = self.generation;
        let token = self.token().map(move |token, this, ctx| {
            if this.generation != generation {
                return;
            }
            if let Some(token) = token {
                this.requests.push(Pending::Token(token));
                this.send_requests(ctx);
            } else {
                this.on_renewed(false, ctx);
            }
        });
        token.spawn(ctx);
    }

    /// The parent answered to a renewal, or did not.
    pub(super) fn on_renewed(&mut self, is_taken: bool, ctx: &mut Context<Self>) {
        if !is_taken {
            warn!("the parent does not take a new token; it is tried again");
        }
        self.renew_later(if is_taken { RENEWED } else { RENEW_AGAIN }, ctx);
    }
}
