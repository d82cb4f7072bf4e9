//! Starts the edge runtime: stores and sockets once, then its tree.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use super::depot::{Depot, Places};
use super::wires::{Ports, Wires};
use crate::actors::agent::{AgentConfig, Collection, ImagesConfig};
use crate::actors::apis::clients::ClientsApi;
use crate::actors::apis::overview::About;
use crate::actors::apis::socket::Rights;
use crate::actors::apis::workload::WorkloadConfig;
use crate::actors::certificates::CertificateHouse;
use crate::actors::clock;
use crate::actors::endpoint::budget::{Limits, Shared};
use crate::actors::endpoint::doorkeeper::Doorkeeper;
use crate::actors::endpoint::listener::{Bound, Door};
use crate::actors::endpoint::local::Local;
use crate::actors::endpoint::sessions::{self, ConnectionSettings};
use crate::actors::endpoint::writer::Unwritten;
use crate::actors::hub::identities::{self, IdentitiesConfig};
use crate::actors::hub::local_topics::BusHouse;
use crate::actors::hub::twins;
use crate::actors::hub::upstream::UpstreamConfig;
use crate::actors::process::Vital;
use crate::actors::supervision::Factory;
use crate::actors::{agent, process, salvage};
use crate::cli::StoreName;
use crate::domain::agent::manifest::Credential;
use crate::domain::connection_string::host_and_port;
use crate::domain::delivery::{LiveShare, Share};
use crate::domain::tree::EDGE_RUNTIME;
use crate::messages::salvage::Report;
use crate::protocol::blob::Uploads;
use crate::protocol::certs::{DeviceCertificates, DeviceNames};
use crate::protocol::files::{is_mounted, make_dir, read_text};
use crate::protocol::groups::group_id;
use crate::protocol::http;
use crate::protocol::http::Handler;
use crate::protocol::http_client::Place;
use crate::protocol::link::Address;
use crate::protocol::lock::StateLock;
use crate::protocol::logging::LogRing;
use crate::protocol::open_files;
use crate::protocol::parent_rest::ParentRest;
use crate::protocol::sockets::bind;
use crate::protocol::tls::{ClientAuthorities, TlsClient, TlsServer, Trust};
use crate::settings::EdgeSettings;
use crate::store::queue;
use crate::store::salvage::{Recipe, never_later, nothing_to_mend};
use crate::store::vault::Vault;
use crate::store::{Kv, Options};

/// Messages of one client that are read and not on disk yet (architecture 4).
const PARKED: usize = 100;
/// Rows in flight to one module, and 4 MiB of them at most, or 2 MiB while it acknowledges fewer:
/// each keeps its place until its end is on disk, so fewer would be sent per commit.
const WINDOW: usize = 4_096;

/// Another one after each restart of the machine.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Tables of `state/`, beside those of the twins.
const TABLES: [&str; 4] = ["meta", identities::TABLE, agent::TABLE, sessions::TABLE];

/// How `queue` or `state` is salvaged.
pub fn recipe(store: StoreName) -> Recipe {
    match store {
        StoreName::Queue => queue::recipe(),
        StoreName::State => Recipe {
            name: "state",
            tables: tables(),
            options: Options::state(),
            is_better: |table, _, have, _| table == "meta" && have.is_none(),
            later: never_later,
            mend: nothing_to_mend,
        },
    }
}

/// Where a store lies, by the settings.
pub fn store_directory(store: StoreName, settings: &EdgeSettings) -> PathBuf {
    match store {
        StoreName::Queue => settings.store.queue.clone(),
        StoreName::State => settings.state.path.join("state"),
    }
}

/// Of `state/`.
fn tables() -> Vec<&'static str> {
    [&TABLES[..], &twins::TABLES].concat()
}

/// Runs the service until it is told to stop.
/// `shown` is what `edge-runtime config` prints.
pub fn run(
    settings: EdgeSettings,
    shown: String,
    log: LogRing,
) -> Result<ExitCode, Box<dyn Error>> {
    let (connection, device) = settings.connection()?.clone();
    let open_files = open_files::raise();
    let key = connection.key.clone();
    let path = settings.state.path.clone();
    if let Some(disk) = settings.state.mount_point.as_deref().filter(|disk| !is_mounted(disk)) {
        let disk = disk.display();
        return Err(format!(
            "nothing is mounted at {disk} (state.mount_point), so there is no state: is the disk \
             plugged in? nothing is begun anew elsewhere; it goes on at the first start with it"
        )
        .into());
    }
    make_dir(&path, 0o700)?;
    let _lock = StateLock::take(&path)?; // held until the process ends
    let listen = [settings.hub.listen.as_slice(), &settings.hub.listen_https].concat();
    let names = DeviceNames {
        state: path.clone(),
        device: device.device_id().to_owned(),
        gateway_hostname: settings.device.gateway_hostname.clone(),
        listen,
        trusted_ca: settings.upstream.trusted_ca.clone(),
        server_life: settings.certificates.server_life.0,
        ca_life: settings.certificates.ca_life.0,
    };
    let certificates = DeviceCertificates::prepare(names, clock::unix_time())?;
    let authorities = ClientAuthorities::read(settings.hub.client_ca.as_deref())?;
    let tls = TlsServer::new(certificates.server(), authorities)?;

    let directory = path.join("state");
    let open = || Kv::open(&directory, &tables(), Options::state());
    let state = salvage::opened("state", &directory, open)?;
    let queue_options = Options { reserve: settings.store.reserve_bytes.0, ..Options::queue() };
    let store = &settings.store;
    let places = Places { home: store.queue.clone(), roots: store.allowed_roots.clone() };
    let queue = Depot::new(places, queue_options, Arc::clone(&state));
    queue.open(); // if it is not there, that is looked after later
    let vital = Vital::default();
    let (of_process, stored) = (vital.clone(), Arc::clone(&state));
    let vault = Rc::new(Vault::open(&path.join("vault.key"))?);

    let (hub, _) = connection.host_and_port(8883);
    let trust = Trust::from_file(settings.upstream.trusted_ca.as_deref())?;
    let client = TlsClient::new(&trust)?;
    let address = settings.upstream.address.clone().unwrap_or_else(|| format!("{hub}:8883"));
    let https = settings.upstream.https_address.clone().unwrap_or_else(|| format!("{hub}:443"));
    let (https_host, https_port) = host_and_port(&https, 443);
    let uploads = Uploads { trust: trust.clone(), parent: https_host.clone() };
    let parent = Place::Tls(https_host, https_port, client);
    let parent_rest = ParentRest {
        place: parent.clone(),
        host: hub.clone(),
        device: device.clone(),
        key: key.clone(),
    };
    let (host, port) = host_and_port(&address, 8883);
    let address = Address::tls(&host, port, &hub, &trust)?;

    let gateway_hostname = settings.device.gateway_hostname.clone();
    let credentials = settings.agent.registry_credentials.iter().map(|one| Credential {
        address: one.address.clone(),
        username: one.username.clone(),
        password: one.password.reveal().to_owned(),
    });
    let agent = AgentConfig {
        device: device.clone(),
        hub: hub.clone(),
        gateway_hostname: gateway_hostname.clone(),
        parent_hostname: None,
        network: settings.agent.network.clone(),
        docker: settings.agent.docker.clone(),
        allow_elevated: settings.agent.allow_elevated,
        credentials: credentials.collect(),
        images: ImagesConfig {
            max_pulls: settings.images.max_pulls,
            reserve: settings.images.disk_reserve,
            daemon_file: settings.agent.docker_config.clone(),
            rules: settings.images.rules.clone(),
            collection: settings.images.collection.map(|(every, age)| Collection { every, age }),
        },
        state: path.clone(),
        instance: format!("{:032x}", state.id().0),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        vault: Some(Rc::clone(&vault)),
        restart_backoff: settings.agent.restart_backoff.0,
        boot: read_text(BOOT.as_ref()).map_or_else(|_| String::new(), |id| id.trim().into()),
        update_deadline: settings.agent.update_deadline,
        startup_deadline: settings.agent.startup_deadline,
    };
    let group = settings.management.group.as_deref().map(group_id).transpose()?;
    let rights = Rights { mode: settings.management.mode(), group };
    let mut warnings = settings.warnings();
    let reports = state.environment().reports();
    warnings.extend(salvage::recent(&reports).map(Report::summary));
    let addresses = format!("mqtt={:?} plain={:?}", settings.hub.listen, settings.hub.listen_plain);
    let mut ports = Ports::default();
    ports.backend.edge_device = Some(device.device_id().to_owned());
    let of_topics = settings.local_topics.clone();
    if of_topics.is_enabled {
        let local = Local::new(device.device_id(), of_topics.limits, of_topics.policy);
        ports.backend.local = Some(local);
    }
    let (readiness, tree) = (ports.backend.readiness.clone(), ports.apis.clone());
    let clients = ClientsApi {
        device: device.clone(),
        log_in: ports.backend.log_in.clone(),
        invoke: ports.invoke.clone(),
        parent,
    };
    let mqtt = sockets(&settings, &tls, &clients.handler())?;
    let share = Share::of_percent(settings.hub.priority_share_percent).unwrap_or_default();
    let live = LiveShare::of_percent(settings.hub.live_share_percent);
    let wires = Wires {
        device: device.clone(),
        state: Arc::clone(&state),
        queue,
        vital,
        vault,
        mqtt: Rc::new(mqtt),
        keeper: Doorkeeper::new(open_files),
        connections: ConnectionSettings {
            limits: Limits {
                packets: PARKED,
                bytes: settings.hub.parking_bytes_per_client.bytes(),
            },
            parking: Shared::new(settings.hub.parking_bytes.bytes()),
            window: WINDOW,
            share,
            live,
            unwritten: Unwritten::default(),
            watch: Default::default(),
        },
        identities: IdentitiesConfig {
            device_id: device.device_id().to_owned(),
            hub_host: hub.clone(),
            gateway_hostname: gateway_hostname.clone(),
        },
        upstream: UpstreamConfig {
            hub_host: hub.clone(),
            device: device.clone(),
            address,
            device_key: Some(key.reveal().to_owned()),
            share,
            live,
        },
        agent,
        parent: parent_rest,
        workload: WorkloadConfig {
            hub: hub.clone(),
            gateway_hostname: gateway_hostname.clone(),
            authority: certificates.authority(),
            state: path.clone(),
            device: device.clone(),
            trust_bundle: certificates.trust_bundle(),
            development_socket: settings.agent.workload_development_socket.clone(),
        },
        certificates: CertificateHouse::new(certificates, tls),
        about: About { device, hub, gateway_hostname, state: path, warnings, settings: shown },
        log,
        uploads,
        rights,
        bus: BusHouse::default(),
        settings,
        ports,
    };
    let factory = move || -> Rc<dyn Factory> {
        wires.vital.watch("state", stored.state());
        wires.vital.tell("state", salvage::milestones(move || stored.environment().clone()));
        Rc::new(wires)
    };
    let plug = move |root: &crate::actors::supervision::Running| {
        tree.tree.plug_recipient(root.snapshot.clone().expect("the root has children"));
        #[cfg(feature = "faults")]
        tree.panic.plug_recipient(root.panic_at.clone().expect("the root has children"));
    };
    let code = process::run(&EDGE_RUNTIME, factory, readiness, addresses, of_process, plug);
    Ok(code)
}

/// An HTTPS address that cannot be had stops nothing: often another service has the port.
fn sockets(
    settings: &EdgeSettings,
    tls: &TlsServer,
    clients: &Handler,
) -> Result<Vec<Bound>, Box<dyn Error>> {
    let mut bound = Vec::new();
    for address in &settings.hub.listen {
        bound.push(Bound { socket: bind("hub.listen", *address)?, door: Door::Tls(tls.clone()) });
    }
    for address in &settings.hub.listen_plain {
        bound.push(Bound { socket: bind("hub.listen_plain", *address)?, door: Door::Plain });
    }
    for address in &settings.hub.listen_https {
        let door = Door::Https(tls.clone(), Rc::clone(clients), http::Limits::default());
        match bind("hub.listen_https", *address) {
            Ok(socket) => bound.push(Bound { socket, door }),
            Err(error) => {
                tracing::warn!(%error, "no WebSockets, and no methods between modules, there");
            }
        }
    }
    Ok(bound)
}
