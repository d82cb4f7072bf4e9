//! A child of a supervisor: how it is reached while it runs, and its record of restarts.

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::dev::ToEnvelope;
use actix::prelude::*;

use super::Supervised;
use crate::actors::supervision::Obituary;
use crate::domain::restart::RestartLog;
use crate::messages::supervision::{Panic, PanicAt, Probe, Shutdown, TakeSnapshot};

/// The ways to reach a running child.
#[derive(Clone)]
pub struct Running {
    /// Ordered stop.
    pub shutdown: Recipient<Shutdown>,
    /// How it does.
    pub probe: Recipient<Probe>,
    /// Fault on request.
    pub panic: Recipient<Panic>,
    /// If it has children: what they are …
    pub snapshot: Option<Recipient<TakeSnapshot>>,
    /// … and faults for them.
    pub panic_at: Option<Recipient<PanicAt>>,
}

/// A child that is told to stop has this long; then it is left behind.
const DEADLINE: Duration = Duration::from_secs(5);

impl Running {
    /// How long it may take to stop: with children it needs the time of all of them.
    pub(super) fn deadline(&self) -> Duration {
        if self.snapshot.is_some() { DEADLINE * 4 } else { DEADLINE }
    }

    /// An actor without children.
    pub fn worker<A>(addr: &Addr<A>) -> Self
    where
        A: Supervised + Handler<Shutdown> + Handler<Probe> + Handler<Panic>,
        A::Context: ToEnvelope<A, Shutdown> + ToEnvelope<A, Probe> + ToEnvelope<A, Panic>,
    {
        Running {
            shutdown: addr.clone().recipient(),
            probe: addr.clone().recipient(),
            panic: addr.clone().recipient(),
            snapshot: None,
            panic_at: None,
        }
    }

    /// An actor that has children.
    pub fn owner<A>(addr: &Addr<A>) -> Self
    where
        A: Supervised
            + Handler<Shutdown>
            + Handler<Probe>
            + Handler<Panic>
            + Handler<TakeSnapshot>
            + Handler<PanicAt>,
        A::Context: ToEnvelope<A, Shutdown>
            + ToEnvelope<A, Probe>
            + ToEnvelope<A, Panic>
            + ToEnvelope<A, TakeSnapshot>
            + ToEnvelope<A, PanicAt>,
    {
        Running {
            snapshot: Some(addr.clone().recipient()),
            panic_at: Some(addr.clone().recipient()),
            ..Running::worker(addr)
        }
    }
}

/// Builds the worker (or owner) of this name in the tree, and starts it.
pub trait Factory {
    /// `name` is unique in its tree; the actor keeps the obituary for as long as it lives.
    fn start(&self, name: &'static str, obituary: Obituary) -> Running;
}

/// How one child is started anew.
pub(super) type Start = Rc<dyn Fn(Obituary) -> Running>;

/// What a supervisor remembers of a child across its lives.
pub(super) struct Child {
    pub(super) name: String,
    pub(super) start: Start,
    pub(super) log: RestartLog,
    pub(super) running: Option<Running>,
    /// Number of the present life; an exit of an earlier one is no news.
    pub(super) birth: u64,
    pub(super) restarts: u64,
    pub(super) last_error: Option<String>,
    /// Told to stop; its exit is expected.
    pub(super) is_leaving: bool,
    /// When it is to be started anew.
    pub(super) due: Option<Instant>,
}

impl Child {
    pub(super) fn new(name: &str, start: Start, log: RestartLog) -> Self {
        Child {
            name: name.to_owned(),
            start,
            log,
            running: None,
            birth: 0,
            restarts: 0,
            last_error: None,
            is_leaving: false,
            due: None,
        }
    }

    pub(super) fn tell_to_stop(&mut self) {
        if let Some(running) = &self.running {
            running.shutdown.do_send(Shutdown); // idempotent
            self.is_leaving = true;
        }
    }
}
