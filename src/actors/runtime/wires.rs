//! Who answers what in the edge runtime: every port once, and the factory of its tree.
//!
//! A part that the whole process needs once (sockets, stores, certificates) is made by
//! `start.rs`; what is here is built anew whenever its supervisor says so.

use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;

use super::depot::Depot;
use crate::actors::agent::deployment::Deployment;
use crate::actors::agent::engine::Engine;
use crate::actors::agent::modules::Modules;
use crate::actors::agent::roster::{Roster, registrar};
use crate::actors::agent::{AgentConfig, AgentPorts};
use crate::actors::apis::bundle::Bundler;
use crate::actors::apis::logs::Logs;
use crate::actors::apis::management::Management;
use crate::actors::apis::methods::{Methods, Work};
use crate::actors::apis::metrics::Metrics;
use crate::actors::apis::overview::{About, ApiPorts};
use crate::actors::apis::socket::Rights;
use crate::actors::apis::workload::{Keys, Workload, WorkloadConfig, WorkloadPorts};
use crate::actors::certificates::{CertificateHouse, Certificates};
use crate::actors::endpoint::backend::Backend;
use crate::actors::endpoint::doorkeeper::Doorkeeper;
use crate::actors::endpoint::listener::{Bound, Listener};
use crate::actors::endpoint::sessions::{Accept, ConnectionSettings, Sessions};
use crate::actors::hub::identities::{Identities, IdentitiesConfig, IdentitiesPorts};
use crate::actors::hub::local_topics::{BusHouse, LocalTopics};
use crate::actors::hub::queue::absent::AbsentQueue;
use crate::actors::hub::queue::{Queue, QueuePorts};
use crate::actors::hub::routes::{Routes, RoutesPorts};
use crate::actors::hub::state::State;
use crate::actors::hub::twins::{Twins, TwinsPorts};
use crate::actors::hub::upstream::{Upstream, UpstreamConfig, UpstreamPorts};
use crate::actors::port::Port;
use crate::actors::process::Vital;
use crate::actors::salvage;
use crate::actors::supervision::{Factory, Obituary, Running};
use crate::domain::delivery::LiveShare;
use crate::domain::identity::Identity;
use crate::messages::identities::{Lookup, ScopeChanged, Sign};
use crate::messages::queue::{PlaceQueue, Rewound, Stored};
use crate::messages::registry::Forget;
use crate::messages::routes::SetRoutes;
use crate::messages::sessions::{Invoke, ListOnline, Send};
use crate::messages::state::{Fetch, Save, Scan};
use crate::messages::twins::{DesiredPatched, GetDesired, TwinChanged};
use crate::messages::upstream::{LinkChanged, Request};
use crate::protocol::blob::Uploads;
use crate::protocol::logging::LogRing;
use crate::protocol::parent_rest::ParentRest;
use crate::settings::EdgeSettings;
use crate::store::Kv;
use crate::store::vault::Vault;

/// What the tree is built from, over and over.
pub(super) struct Wires {
    pub(super) device: Identity,
    pub(super) settings: EdgeSettings,
    pub(super) state: Arc<Kv>,
    pub(super) queue: Arc<Depot>,
    pub(super) vital: Vital,
    pub(super) vault: Rc<Vault>,
    pub(super) mqtt: Rc<Vec<Bound>>,
    pub(super) keeper: Doorkeeper,
    pub(super) connections: ConnectionSettings,
    pub(super) identities: IdentitiesConfig,
    pub(super) upstream: UpstreamConfig,
    pub(super) agent: AgentConfig,
    pub(super) parent: ParentRest,
    pub(super) workload: WorkloadConfig,
    pub(super) certificates: CertificateHouse,
    pub(super) about: About,
    pub(super) log: LogRing,
    pub(super) uploads: Uploads,
    pub(super) rights: Rights,
    pub(super) bus: BusHouse,
    pub(super) ports: Ports,
}

/// All ports.
#[derive(Clone, Default)]
pub(super) struct Ports {
    pub(super) backend: Backend,
    pub(super) apis: ApiPorts,
    accept: Port<Accept>,
    save: Port<Save>,
    fetch: Port<Fetch>,
    scan: Port<Scan>,
    send: Port<Send>,
    pub(super) invoke: Port<Invoke>,
    agent_methods: Port<Invoke>,
    online: Port<ListOnline>,
    request: Port<Request>,
    lookup: Port<Lookup>,
    sign: Port<Sign>,
    get_desired: Port<GetDesired>,
    hub_changed: Port<TwinChanged>,
    set_routes: Port<SetRoutes>,
    place: Port<PlaceQueue>,
    stored_upstream: Port<Stored>,
    stored_clients: Port<Stored>,
    rewound_upstream: Port<Rewound>,
    rewound_clients: Port<Rewound>,
    desired_patched: Port<DesiredPatched>,
    scope_changed: Port<ScopeChanged>,
    link_to_twins: Port<LinkChanged>,
    forget_twins: Port<Forget>,
    link_to_identities: Port<LinkChanged>,
    link_to_sessions: Port<LinkChanged>,
    agent: AgentPorts,
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
            "twins" => self.start_twins(obituary),
            "identities" => self.start_identities(obituary),
            "queue" => self.start_queue(obituary),
            "routes" => self.start_routes(obituary),
            "sessions" => self.start_sessions(obituary),
            "upstream" => self.start_upstream(obituary),
            "local-topics" => self.start_local_topics(obituary),
            "certificates" => {
                let certificates = Certificates::new(self.certificates.clone(), obituary).start();
                self.ports.apis.certificates.plug(&certificates);
                Running::worker(&certificates)
            }
            "engine" => {
                let engine = Engine::new(self.agent.clone(), self.agent_ports(), obituary);
                Running::worker(&engine.start())
            }
            "deployment" => {
                let ports = self.agent_ports();
                Running::worker(&Deployment::new(self.agent.clone(), ports, obituary).start())
            }
            "modules" => {
                let (config, ports) = (self.agent.clone(), self.agent_ports());
                let registrar = registrar(ports.make_identity.clone());
                Running::owner(&Modules::new(config, ports, registrar, obituary).start())
            }
            "roster" => {
                let (rest, ports) = (self.parent.clone(), self.agent_ports());
                Running::worker(&Roster::new(rest, ports, obituary).start())
            }
            "workload" => self.start_workload(obituary),
            "management" => {
                let (path, about) = (self.settings.management.socket.clone(), self.about.clone());
                let (ports, log) = (self.api_ports(), self.log.clone());
                let management = Management::new(path, self.rights, about, ports, log, obituary);
                Running::worker(&management.start())
            }
            "methods" => self.start_methods(obituary),
            "metrics" => {
                let (listen, about) = (self.settings.metrics.listen, self.about.clone());
                Running::worker(&Metrics::new(listen, about, self.api_ports(), obituary).start())
            }
            other => unreachable!("the tree has no worker `{other}`"),
        }
    }
}

impl Wires {
    fn start_state(&self, obituary: Obituary) -> Running {
        let state = State::new(Arc::clone(&self.state), obituary).start();
        self.ports.save.plug(&state);
        self.ports.fetch.plug(&state);
        self.ports.scan.plug(&state);
        Running::worker(&state)
    }

    fn start_twins(&self, obituary: Obituary) -> Running {
        let all = self.ports.clone();
        let ports = TwinsPorts {
            save: all.save,
            scan: all.scan,
            request: all.request,
            send: all.send,
            online: all.online,
            ingest: all.backend.ingest.clone(),
            edge_hub: all.hub_changed,
            edge_agent: all.agent.twin_changed,
        };
        let twins =
            Twins::new(&self.device, ports, obituary).sealing(Rc::clone(&self.vault)).start();
        all.backend.get_twin.plug(&twins);
        all.backend.patch_reported.plug(&twins);
        all.backend.watch_desired.plug(&twins);
        all.backend.desired_taken.plug(&twins);
        all.forget_twins.plug(&twins);
        all.apis.refused.plug(&twins);
        all.get_desired.plug(&twins);
        all.desired_patched.plug(&twins);
        all.link_to_twins.plug(&twins);
        all.apis.twins.plug(&twins);
        Running::worker(&twins)
    }

    fn start_identities(&self, obituary: Obituary) -> Running {
        let all = self.ports.clone();
        let ports = IdentitiesPorts {
            save: all.save,
            scan: all.scan,
            request: all.request,
            send: all.send,
            forget: all.forget_twins,
            link: all.link_to_twins,
        };
        let (config, vault) = (self.identities.clone(), Rc::clone(&self.vault));
        let identities = Identities::new(config, vault, ports, obituary).start();
        all.backend.log_in.plug(&identities);
        all.lookup.plug(&identities);
        all.sign.plug(&identities);
        all.scope_changed.plug(&identities);
        all.link_to_identities.plug(&identities);
        Running::worker(&identities)
    }

    fn start_queue(&self, obituary: Obituary) -> Running {
        let all = self.ports.clone();
        let readiness = all.backend.readiness;
        let Some(store) = self.queue.store() else {
            let depot = Arc::clone(&self.queue);
            let look = move || if depot.open() { Ok(()) } else { Err(depot.why()) };
            let (why, status) = (self.queue.why(), all.apis.queue);
            let absent = AbsentQueue::new(Arc::new(look), why, readiness, status, obituary);
            return Running::worker(&absent.start());
        };
        self.vital.watch("queue", store.state());
        let of_store = Arc::clone(&store);
        self.vital.tell("queue", salvage::milestones(move || of_store.in_use()));
        readiness.is_ready("queue");
        let ports = QueuePorts {
            ingest: all.backend.ingest,
            pull: all.backend.pull,
            finish: all.backend.finish,
            set_routes: all.set_routes,
            place: all.place,
            status: all.apis.queue,
            stored_upstream: all.stored_upstream,
            stored_client: all.stored_clients,
            letters: all.apis.letters,
            settle: all.apis.settle,
            pause: all.apis.pause,
            try_routes: all.apis.try_routes,
            compact: all.apis.compact,
            trace: all.apis.trace,
            peek: all.apis.peek,
            rewound_upstream: all.rewound_upstream,
            rewound_client: all.rewound_clients,
            refused: all.backend.refused,
            report: all.backend.patch_reported,
            twin: all.backend.get_twin,
        };
        let depot = Arc::clone(&self.queue);
        let bring = Arc::new(move |location: Option<&str>| depot.bring(location));
        let queue = Queue::new(store, self.edge_hub(), ports, bring, obituary)
            .bounded(self.settings.store.budget(), all.backend.fullness)
            .keeping_lanes(self.connections.live != LiveShare::NONE)
            .tracing(self.settings.store.trace_ended);
        Running::worker(&queue.start())
    }

    fn edge_hub(&self) -> Identity {
        self.device.sibling("$edgeHub").expect("the id of this device was checked")
    }

    fn start_routes(&self, obituary: Obituary) -> Running {
        let all = self.ports.clone();
        let ports = RoutesPorts {
            desired: all.get_desired,
            changed: all.hub_changed,
            report: all.backend.patch_reported.clone(),
            set: all.set_routes,
            place: all.place,
            list: all.apis.routes,
            fetch: all.fetch,
            save: all.save,
            local: all.backend.local,
        };
        let routes = Routes::new(self.edge_hub(), ports, all.backend.readiness, obituary).start();
        Running::owner(&routes)
    }

    fn start_sessions(&self, obituary: Obituary) -> Running {
        let all = self.ports.clone();
        let connections = self.connections.clone();
        let sessions =
            Sessions::new(all.backend, all.save, all.scan, connections, obituary).start();
        all.accept.plug(&sessions);
        all.send.plug(&sessions);
        all.invoke.plug(&sessions);
        all.online.plug(&sessions);
        all.stored_clients.plug(&sessions);
        all.rewound_clients.plug(&sessions);
        all.link_to_sessions.plug(&sessions);
        all.apis.online.plug(&sessions);
        Running::owner(&sessions)
    }

    fn start_upstream(&self, obituary: Obituary) -> Running {
        let all = self.ports.clone();
        let ports = UpstreamPorts {
            pull: all.backend.pull.clone(),
            finish: all.backend.finish.clone(),
            sign: all.sign,
            scope: all.scope_changed,
            desired: all.desired_patched,
            invoke: all.invoke,
            of_agent: all.agent_methods,
            send: all.send,
            changed: vec![all.link_to_identities, all.link_to_sessions], // twins hear of it by identities
        };
        let upstream = Upstream::new(self.upstream.clone(), ports, obituary).start();
        all.request.plug(&upstream);
        all.stored_upstream.plug(&upstream);
        all.rewound_upstream.plug(&upstream);
        all.backend.presence.plug(&upstream);
        all.backend.settle.plug(&upstream);
        all.apis.link.plug(&upstream);
        Running::worker(&upstream)
    }

    fn start_local_topics(&self, obituary: Obituary) -> Running {
        let (local, bus) = (self.ports.backend.local.clone(), Rc::clone(&self.bus));
        let topics = LocalTopics::new(local, bus, obituary).start();
        self.ports.apis.local.plug(&topics);
        Running::worker(&topics)
    }

    fn start_workload(&self, obituary: Obituary) -> Running {
        let all = self.ports.clone();
        let ports =
            WorkloadPorts { sign: all.sign, lookup: all.lookup, agent: all.agent.status.clone() };
        let keys = Keys::new(Rc::clone(&self.vault), all.fetch, all.save);
        let workload = Workload::new(self.workload.clone(), ports, keys, obituary).start();
        all.agent.sockets.plug(&workload);
        Running::worker(&workload)
    }

    fn start_methods(&self, obituary: Obituary) -> Running {
        let (about, ports) = (self.about.clone(), self.api_ports());
        let logs = Logs::new(self.log.clone(), ports.logs.clone());
        let bundler = Bundler::new(about.clone(), ports.clone(), logs.clone());
        let uploads = self.uploads.clone();
        let methods = Methods::new(Work { about, ports, logs, uploads, bundler }, obituary).start();
        self.ports.agent_methods.plug(&methods);
        Running::worker(&methods)
    }

    fn agent_ports(&self) -> AgentPorts {
        let all = self.ports.clone();
        AgentPorts {
            get_desired: all.get_desired,
            get_twin: all.backend.get_twin,
            patch_reported: all.backend.patch_reported,
            lookup: all.lookup,
            fetch: all.fetch,
            save: all.save,
            scan: all.scan,
            ..all.agent
        }
    }

    fn api_ports(&self) -> ApiPorts {
        let all = self.ports.clone();
        ApiPorts {
            agent: all.agent.status,
            preview: all.agent.preview,
            restart: all.agent.restart,
            logs: all.agent.logs,
            inspect: all.agent.inspect,
            list: all.agent.list,
            run: all.agent.run,
            engine: all.agent.engine_status,
            stop: all.agent.stop,
            desired: all.get_desired,
            lookup: all.lookup,
            ..all.apis
        }
    }
}
