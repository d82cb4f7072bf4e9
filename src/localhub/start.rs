//! Starts the local hub: certificates, owner's key, store, sockets, then its tree.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use super::files::{self, Files};
use super::rest::Owner;
use super::tables::{TABLES, TELEMETRY, TELEMETRY_STATE};
use super::telemetry::Retention;
use super::wires::{Ports, Wires};
use crate::actors::clock;
use crate::actors::endpoint::budget::{Limits, Shared};
use crate::actors::endpoint::doorkeeper::Doorkeeper;
use crate::actors::endpoint::listener::{Bound, Door};
use crate::actors::endpoint::sessions::{self, ConnectionSettings};
use crate::actors::endpoint::writer::Unwritten;
use crate::actors::process::{self, Vital};
use crate::actors::salvage;
use crate::actors::supervision::{Factory, Running};
use crate::domain::delivery::{LiveShare, Share};
use crate::domain::tree::LOCALHUB;
use crate::protocol::certs::{Authority, names_of};
use crate::protocol::files::make_dir;
use crate::protocol::lock::StateLock;
use crate::protocol::open_files;
use crate::protocol::sockets::bind;
use crate::protocol::tls::{ClientAuthorities, TlsServer};
use crate::settings::LocalhubSettings;
use crate::store::salvage::{Recipe, nothing_to_mend};
use crate::store::{Kv, Options};

/// PUBLISH packets that all clients together may have un-acknowledged.
const PARKING: usize = 64 << 20;

/// How the hub's store is salvaged: numbers of edges that came may be older than they were, as the
/// last items tell the rest; what a device sent last was not acknowledged by a header that is lost.
pub fn recipe() -> Recipe {
    Recipe {
        name: "hub",
        tables: tables(),
        options: Options::queue(),
        is_better: |table, key, have, _| {
            table == TELEMETRY_STATE && key.starts_with(b"run\n") && have.is_none()
        },
        later: |in_force| {
            let last = in_force.last_key(TELEMETRY).unwrap_or_default();
            Box::new(move |table, key| table == TELEMETRY && key > &last[..])
        },
        mend: nothing_to_mend,
    }
}

/// Where it lies, by the settings.
pub fn store_directory(settings: &LocalhubSettings) -> PathBuf {
    settings.state.path.join("hub")
}

fn tables() -> Vec<&'static str> {
    [&TABLES[..], &[sessions::TABLE]].concat()
}

/// Runs the hub until it is told to stop.
pub fn run(settings: LocalhubSettings) -> Result<ExitCode, Box<dyn Error>> {
    let open_files = open_files::raise();
    let path = &settings.state.path;
    make_dir(path, 0o700)?;
    let _lock = StateLock::take(path)?; // held until the process ends
    let authority = Authority::load_or_make(&path.join("ca.pem"), "localhub CA")?;
    let all: Vec<SocketAddr> =
        settings.listen.iter().chain(&settings.listen_https).copied().collect();
    let names = names_of(&[&settings.hostname], &all);
    let certificate = authority.certify(&names, clock::unix_time())?;
    let clients = ClientAuthorities::read(settings.client_ca.as_deref())?;
    let tls = TlsServer::new(&certificate, clients)?;
    let port = settings.listen_https.first().map_or(443, SocketAddr::port);
    let hostname = &settings.hostname;
    let service_name = if port == 443 { hostname.clone() } else { format!("{hostname}:{port}") };
    let owner = Owner::load_or_make(path, &service_name)?;
    let (file, total) = (settings.files.max_file_bytes.0, settings.files.max_bytes.0);
    let limits = files::Limits { file, total };
    let files = Files::open(&path.join("files"), &owner.key, limits)?;
    let mut mqtt = Vec::new();
    for address in &settings.listen {
        mqtt.push(Bound { socket: bind("listen", *address)?, door: Door::Tls(tls.clone()) });
    }
    for address in &settings.listen_plain {
        mqtt.push(Bound { socket: bind("listen_plain", *address)?, door: Door::Plain });
    }
    let https = settings.listen_https.iter().map(|address| bind("listen_https", *address));
    let https = https.collect::<Result<Vec<_>, _>>()?;
    let directory = store_directory(&settings);
    let open = || Kv::open(&directory, &tables(), Options::queue());
    let store = salvage::opened("hub", &directory, open)?;
    let addresses = format!("mqtt={:?} https={:?}", settings.listen, settings.listen_https);
    let ports = Ports::default();
    let (readiness, panic) = (ports.backend.readiness.clone(), ports.rest.panic.clone());
    let wires = Wires {
        hostname: settings.hostname,
        store: Arc::clone(&store),
        mqtt: Rc::new(mqtt),
        keeper: Doorkeeper::new(open_files),
        https: Rc::new(https),
        tls,
        owner,
        files: Rc::new(files),
        retention: Retention {
            bytes: settings.telemetry.retention_bytes.map(|size| size.0),
            age: settings.telemetry.retention_age.map(|age| age.0),
        },
        settings: ConnectionSettings {
            limits: Limits { packets: 100, bytes: 1 << 20 },
            parking: Shared::new(PARKING),
            window: 10,
            share: Share::NONE,
            live: LiveShare::NONE,
            unwritten: Unwritten::default(),
            watch: Default::default(),
        },
        ports,
    };
    let vital = Vital::default();
    let of_process = vital.clone();
    let factory = move || -> Rc<dyn Factory> {
        vital.watch("hub", store.state());
        vital.tell("hub", salvage::milestones(move || store.environment().clone()));
        Rc::new(wires)
    };
    let plug = move |root: &Running| {
        panic.plug_recipient(root.panic_at.clone().expect("the root has children"));
    };
    Ok(process::run(&LOCALHUB, factory, readiness, addresses, of_process, plug))
}
