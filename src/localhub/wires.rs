//! Who answers what in the local hub: every port once, and the factory of its tree.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;

use super::devicebound::{Devicebound, DeviceboundPorts};
use super::files::Files;
use super::presence::Presence;
use super::registry::{Registry, RegistryPorts};
use super::rest::{Owner, Rest, RestPorts};
use super::telemetry::{Retention, Telemetry, TelemetryPorts};
use super::twins::{Twins, TwinsPorts};
use crate::actors::endpoint::backend::Backend;
use crate::actors::endpoint::doorkeeper::Doorkeeper;
use crate::actors::endpoint::listener::{Bound, Door, Listener};
use crate::actors::endpoint::sessions::{Accept, ConnectionSettings, Sessions};
use crate::actors::hub::state::State;
use crate::actors::port::Port;
use crate::actors::supervision::{Factory, Obituary, Running};
use crate::messages::registry::{Active, Forget};
use crate::messages::sessions::Send;
use crate::messages::state::{Fetch, Save, Scan};
use crate::protocol::http::Limits;
use crate::protocol::tls::TlsServer;
use crate::store::Kv;

/// What the tree is built from, over and over.
pub(super) struct Wires {
    pub(super) hostname: String,
    pub(super) store: Arc<Kv>,
    pub(super) mqtt: Rc<Vec<Bound>>,
    pub(super) keeper: Doorkeeper,
    pub(super) https: Rc<Vec<Arc<TcpListener>>>,
    pub(super) tls: TlsServer,
    pub(super) owner: Owner,
    pub(super) files: Rc<Files>,
    pub(super) retention: Retention,
    pub(super) settings: ConnectionSettings,
    pub(super) ports: Ports,
}

/// All ports.
#[derive(Clone, Default)]
pub(super) struct Ports {
    pub(super) backend: Backend,
    accept: Port<Accept>,
    save: Port<Save>,
    fetch: Port<Fetch>,
    scan: Port<Scan>,
    send: Port<Send>,
    active: Port<Active>,
    forget_twins: Port<Forget>,
    forget_presence: Port<Forget>,
    forget_copies: Port<Forget>,
    forget_devicebound: Port<Forget>,
    pub(super) rest: RestPorts,
}

impl Factory for Wires {
    fn start(&self, name: &'static str, obituary: Obituary) -> Running {
        match name {
            "listener" => {
                let (sockets, keeper) = (Rc::clone(&self.mqtt), self.keeper.clone());
                let accept = self.ports.accept.clone();
                Running::worker(&Listener::new(sockets, keeper, accept, obituary).start())
            }
            "state" => self.start_state(obituary),
            "registry" => self.start_registry(obituary),
            "presence" => self.start_presence(obituary),
            "twins" => self.start_twins(obituary),
            "telemetry" => self.start_telemetry(obituary),
            "devicebound" => self.start_devicebound(obituary),
            "sessions" => self.start_sessions(obituary),
            "rest" => {
                let (ports, files) = (self.ports.rest.clone(), Rc::clone(&self.files));
                let handler = Rest::new(ports, self.owner.clone(), files).handler();
                let limits = Limits { late: Rest::is_late, ..Limits::default() };
                let bound = self.https.iter().map(|socket| Bound {
                    socket: Arc::clone(socket),
                    door: Door::Https(self.tls.clone(), Rc::clone(&handler), limits),
                });
                let (sockets, keeper) = (Rc::new(bound.collect()), self.keeper.clone());
                let accept = self.ports.accept.clone();
                Running::worker(&Listener::new(sockets, keeper, accept, obituary).start())
            }
            other => unreachable!("the tree has no worker `{other}`"),
        }
    }
}

impl Wires {
    fn start_state(&self, obituary: Obituary) -> Running {
        let state = State::new(Arc::clone(&self.store), obituary).start();
        self.ports.save.plug(&state);
        self.ports.fetch.plug(&state);
        self.ports.scan.plug(&state);
        Running::worker(&state)
    }

    fn start_registry(&self, obituary: Obituary) -> Running {
        let all = self.ports.clone();
        let ports = RegistryPorts {
            save: all.save,
            scan: all.scan,
            send: all.send,
            forget_twins: all.forget_twins,
            forget_presence: all.forget_presence,
            forget_copies: all.forget_copies,
            forget_devicebound: all.forget_devicebound,
        };
        let registry = Registry::new(ports, self.hostname.clone(), obituary).start();
        all.backend.log_in.plug(&registry);
        all.backend.scope.plug(&registry);
        all.rest.log_in.plug(&registry);
        all.rest.put.plug(&registry);
        all.rest.delete.plug(&registry);
        all.rest.list.plug(&registry);
        Running::worker(&registry)
    }

    fn start_presence(&self, obituary: Obituary) -> Running {
        let all = &self.ports;
        let presence = Presence::new(all.save.clone(), all.scan.clone(), obituary).start();
        all.backend.presence.plug(&presence);
        all.active.plug(&presence);
        all.forget_presence.plug(&presence);
        all.rest.presence.plug(&presence);
        Running::worker(&presence)
    }

    fn start_twins(&self, obituary: Obituary) -> Running {
        let all = self.ports.clone();
        let ports = TwinsPorts { save: all.save, scan: all.scan, send: all.send };
        let twins = Twins::new(ports, obituary).start();
        all.backend.get_twin.plug(&twins);
        all.backend.patch_reported.plug(&twins);
        all.forget_twins.plug(&twins);
        all.rest.read_twins.plug(&twins);
        all.rest.change_twin.plug(&twins);
        Running::worker(&twins)
    }

    fn start_telemetry(&self, obituary: Obituary) -> Running {
        let all = self.ports.clone();
        let ports =
            TelemetryPorts { save: all.save, fetch: all.fetch, scan: all.scan, active: all.active };
        let telemetry = Telemetry::new(ports, self.retention, obituary).start();
        all.backend.ingest.plug(&telemetry);
        all.forget_copies.plug(&telemetry);
        all.rest.read_telemetry.plug(&telemetry);
        all.rest.await_telemetry.plug(&telemetry);
        all.rest.refuse_telemetry.plug(&telemetry);
        Running::worker(&telemetry)
    }

    fn start_devicebound(&self, obituary: Obituary) -> Running {
        let all = self.ports.clone();
        let ports =
            DeviceboundPorts { save: all.save, fetch: all.fetch, scan: all.scan, send: all.send };
        let devicebound = Devicebound::new(ports, obituary).start();
        all.backend.pull.plug(&devicebound);
        all.backend.finish.plug(&devicebound);
        all.forget_devicebound.plug(&devicebound);
        all.rest.enqueue.plug(&devicebound);
        all.rest.purge.plug(&devicebound);
        all.rest.count.plug(&devicebound);
        all.rest.feedback.plug(&devicebound);
        Running::worker(&devicebound)
    }

    fn start_sessions(&self, obituary: Obituary) -> Running {
        let all = &self.ports;
        let (save, scan) = (all.save.clone(), all.scan.clone());
        let (backend, settings) = (all.backend.clone(), self.settings.clone());
        let sessions = Sessions::new(backend, save, scan, settings, obituary).start();
        all.accept.plug(&sessions);
        all.send.plug(&sessions);
        all.rest.invoke.plug(&sessions);
        Running::owner(&sessions)
    }
}
