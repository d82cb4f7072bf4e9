//! The loop: all clients on one epoll; warm-up, measuring, then waiting for what is owed.
//!
//! next: `report.rs`

use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::Timespec;

use crate::histogram::Histogram;
use crate::log_in::Door;
use crate::options::Run;
use crate::process::{self, Usage};
use crate::publisher::Publisher;
use crate::receiver::Receiver;
use crate::transport::Transport;
use crate::wire;

/// Memory is looked at so often.
const LOOK: u64 = 250_000_000;
/// Longest wait.
const TICK: u64 = 50_000_000;

/// What a client does.
enum Part {
    Sends(Publisher),
    Receives,
}

struct Client {
    transport: Transport,
    part: Part,
    /// What came and is no whole packet yet.
    rest: Vec<u8>,
    /// Whether epoll tells when it can be written to.
    is_stuck: bool,
}

/// Counts at a moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mark {
    /// Nanoseconds.
    pub(crate) at: u64,
    pub(crate) acked: u64,
    pub(crate) received: u64,
    pub(crate) usage: Usage,
}

/// See the module documentation.
pub(crate) struct Load<'a> {
    options: &'a Run,
    epoll: OwnedFd,
    clients: Vec<Client>,
    pub(crate) receiver: Receiver,
    scratch: Vec<u8>,
    begin: Instant,
    /// Of the broker, before the first message.
    pub(crate) first: Usage,
    pub(crate) acks: Histogram,
    pub(crate) ends: Histogram,
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) last_acked: u64,
    pub(crate) last_received: u64,
    /// Most of anonymous and shared memory together.
    pub(crate) peak: u64,
    next_look: u64,
}

impl<'a> Load<'a> {
    /// All logged in.
    pub(crate) fn new(options: &'a Run) -> Result<Self, String> {
        let door = Door::new(&options.broker)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
        let run = std::process::id();
        let mut clients = Vec::new();
        if let Some(id) = &options.subscriber {
            let entered = door.enter(id, false, options.filter.as_deref())?;
            clients.push(Client::new(entered, Part::Receives));
        }
        for number in 0..options.publishers {
            let id = format!("{}-{number:04}", options.broker.prefix);
            let topic = format!("devices/{id}/messages/events/");
            let size = options.size as usize;
            let publisher = Publisher::new(run, number, &topic, size, options.window);
            clients.push(Client::new(door.enter(&id, true, None)?, Part::Sends(publisher)));
        }
        for (at, client) in clients.iter().enumerate() {
            let data = EventData::new_u64(at as u64);
            epoll::add(&epoll, client.transport.fd(), data, EventFlags::IN)
                .map_err(|e| e.to_string())?;
        }
        let mut load = Load {
            options,
            epoll,
            clients,
            receiver: Receiver::new(run, options.publishers),
            scratch: vec![0; 1 << 18],
            begin: Instant::now(),
            first: options.broker.pid.and_then(process::usage).unwrap_or_default(),
            acks: Histogram::new(),
            ends: Histogram::new(),
            sent: 0,
            acked: 0,
            last_acked: 0,
            last_received: 0,
            peak: 0,
            next_look: 0,
        };
        for at in 0..load.clients.len() {
            load.read(at)?;
            load.flush(at)?;
        }
        Ok(load)
    }

    /// Nanoseconds since the begin.
    pub(crate) fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }

    pub(crate) fn mark(&self) -> Mark {
        let usage = self.options.broker.pid.and_then(process::usage).unwrap_or_default();
        Mark { at: self.now(), acked: self.acked, received: self.receiver.received, usage }
    }

    /// Load from now on for so long; whether there is more to send.
    pub(crate) fn drive(&mut self, duration: Duration) -> Result<bool, String> {
        let until = self.now() + duration.as_nanos() as u64;
        loop {
            let now = self.now();
            if now >= until {
                return Ok(true);
            }
            let next = self.send_all(now)?;
            if self.sent >= self.options.messages {
                return Ok(false);
            }
            self.turn(next.min(until), true)?;
        }
    }

    /// Sends nothing new until all is acknowledged and received, or nothing goes on any more; whether
    /// what is missing may still come.
    pub(crate) fn wait(&mut self) -> Result<bool, String> {
        let patience = (self.options.patience * 1e9) as u64;
        let limit = self.now() + (self.options.limit * 1e9) as u64;
        let mut progress = (self.now(), 0);
        loop {
            let is_owed = self.options.subscriber.is_some() && self.receiver.received < self.sent;
            if self.acked == self.sent && !is_owed {
                return Ok(false);
            }
            let now = self.now();
            let done = self.acked + self.receiver.received;
            if done != progress.1 {
                progress = (now, done);
            } else if now - progress.0 > patience {
                return Ok(false);
            }
            if now > limit {
                return Ok(true);
            }
            self.turn(now + TICK, false)?;
        }
    }

    /// New messages of all; when the next one is due.
    fn send_all(&mut self, now: u64) -> Result<u64, String> {
        let mut next = u64::MAX;
        for at in 0..self.clients.len() {
            next = next.min(self.send(at, now)?);
        }
        Ok(next)
    }

    /// New messages of one, as many as are due and have room; when its next one is due.
    fn send(&mut self, at: usize, now: u64) -> Result<u64, String> {
        let client = &mut self.clients[at];
        let Part::Sends(publisher) = &mut client.part else { return Ok(u64::MAX) };
        let number = at as u64 - u64::from(self.options.subscriber.is_some());
        let (rate, all) = (self.options.rate, u64::from(self.options.publishers));
        let mut next = u64::MAX;
        while publisher.has_room() && self.sent < self.options.messages {
            let mut due = now;
            if rate > 0 {
                // The time at which it should go counts, not that at which it can.
                due =
                    ((publisher.sent * all + number) as u128 * 1_000_000_000 / rate as u128) as u64;
                if due > now {
                    next = due;
                    break;
                }
            }
            publisher.send(due, client.transport.out());
            self.sent += 1;
        }
        self.flush(at)?;
        Ok(next)
    }

    fn flush(&mut self, at: usize) -> Result<(), String> {
        let client = &mut self.clients[at];
        let is_stuck = !client.transport.flush().map_err(|e| self.broken(at, &e))?;
        let client = &mut self.clients[at];
        if is_stuck != client.is_stuck {
            client.is_stuck = is_stuck;
            let flags = if is_stuck { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            let data = EventData::new_u64(at as u64);
            epoll::modify(&self.epoll, client.transport.fd(), data, flags)
                .map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Waits for what comes until then, and takes it.
    fn turn(&mut self, until: u64, may_send: bool) -> Result<(), String> {
        let now = self.now();
        if now >= self.next_look {
            self.next_look = now + LOOK;
            if let Some(usage) = self.options.broker.pid.and_then(process::usage) {
                self.peak = self.peak.max(usage.anonymous + usage.shared);
            }
        }
        let wait = until.saturating_sub(now).min(TICK);
        let wait = Timespec { tv_sec: 0, tv_nsec: wait as i64 };
        let mut events = Vec::with_capacity(256);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
        for event in events {
            let (at, flags) = (event.data.u64() as usize, event.flags);
            if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                self.read(at)?;
            }
            if may_send && self.options.rate == 0 {
                let now = self.now();
                self.send(at, now)?;
            }
            self.flush(at)?;
        }
        Ok(())
    }

    fn read(&mut self, at: usize) -> Result<(), String> {
        let mut have = self.clients[at].rest.len();
        if self.scratch.len() < have {
            self.scratch.resize(have, 0);
        }
        self.scratch[..have].copy_from_slice(&self.clients[at].rest);
        have = (self.clients[at].transport.read(&mut self.scratch, have))
            .map_err(|error| self.broken(at, &error))?;
        let now = self.now();
        let client = &mut self.clients[at];
        let mut done = 0;
        while let Some(packet) = wire::first(&self.scratch[done..have])? {
            done += packet.length;
            match (packet.kind, &mut client.part) {
                (wire::PUBACK, Part::Sends(publisher)) if packet.rest.len() == 2 => {
                    if let Some(sent) = publisher.on_ack([packet.rest[0], packet.rest[1]]) {
                        self.acks.record(now.saturating_sub(sent));
                        self.acked += 1;
                        self.last_acked = now;
                    }
                }
                (wire::PUBLISH, Part::Receives) => {
                    let (id, body) = wire::publish(&packet).ok_or("a PUBLISH that is cut short")?;
                    if let Some(sent) = self.receiver.on_body(body) {
                        self.ends.record(now.saturating_sub(sent));
                        self.last_received = now;
                    }
                    if let Some(id) = id {
                        client.transport.out().extend_from_slice(&[0x40, 2, id[0], id[1]]);
                    }
                }
                _ => {}
            }
        }
        client.rest.clear();
        client.rest.extend_from_slice(&self.scratch[done..have]);
        Ok(())
    }

    fn broken(&self, at: usize, error: &std::io::Error) -> String {
        let who = match self.clients.get(at).map(|client| &client.part) {
            Some(Part::Receives) => "the subscriber".to_owned(),
            _ => format!("publisher {at}"),
        };
        let (sent, acked) = (self.sent, self.acked);
        format!(
            "the broker closed the connection of {who} after {sent} messages, {acked} of them acknowledged: {error}"
        )
    }

    /// All say that they go.
    pub(crate) fn leave(&mut self) {
        self.clients.drain(..).for_each(|client| client.transport.leave());
    }

    /// Acknowledgements out of order, of all.
    pub(crate) fn disorder(&self) -> u64 {
        let of = |client: &Client| match &client.part {
            Part::Sends(publisher) => publisher.disorder,
            Part::Receives => 0,
        };
        self.clients.iter().map(of).sum()
    }
}

impl Client {
    fn new((transport, rest): (Transport, Vec<u8>), part: Part) -> Self {
        Client { transport, part, rest, is_stuck: false }
    }
}
