//! All of them on one thread, and what a step does.

use std::time::Duration;

use serde_json::json;

use super::Step;
use super::client::Client;
use super::gateway::Gateway;
use super::hub::{Down2, Hub};
use super::wire::{Chance, Faults, Line, Wire};

/// See the module documentation.
pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) gateway: Gateway,
    pub(super) clients: Vec<Client>,
    pub(super) faults: Faults,
    line: Line,
    chance: Chance,
    /// The script reports more than are kept one by one.
    is_coalescing: bool,
}

async fn wait(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

impl World {
    pub(super) async fn start(seed: u64, clients: usize, is_coalescing: bool) -> Self {
        let (chance, line, faults) = (Chance::new(seed), Line::default(), Faults::default());
        let (hub, gateway) = (Hub::new(&chance, &line), Gateway::new(&chance, &line));
        let clients: Vec<_> = (0..clients).map(|n| Client::new(&format!("leaf{n}"))).collect();
        let own = hub.clone();
        gateway.connect(Wire::new(&line, &chance, move |up| own.take(up)), &clients);
        let own = gateway.clone();
        hub.connect(Wire::new(&line, &chance, move |down| match down {
            Down2::Answer(asked, answer) => drop(asked.send(answer)),
            Down2::Scope(asked, scope) => drop(asked.send(scope)),
            Down2::ScopeChanged => own.read_scope(false),
            Down2::Desired { to, version, patch } => own.on_desired(to, version, patch),
        }));
        hub.start().await;
        gateway.start();
        for client in &clients {
            client.connect(&gateway, &hub, &chance, &faults);
            let id = client.id().clone();
            hub.make(&id).await;
        }
        let world = World { hub, gateway, clients, faults, line, chance, is_coalescing };
        world.join();
        wait(100).await; // the scope is read
        world.clients.iter().for_each(|client| world.welcome(client));
        world
    }

    /// The link is up (again).
    fn join(&self) {
        if !self.line.is_up() {
            self.line.join();
            self.gateway.on_link(true);
        }
    }

    fn cut(&self, is_gateway_living: bool) {
        if self.line.is_up() {
            self.line.cut();
            self.hub.on_cut();
            if is_gateway_living {
                self.gateway.on_link(false);
            }
        }
    }

    /// Lets a client in that is known in this generation.
    fn welcome(&self, client: &Client) {
        if self.gateway.generation(&client.id()).is_none() {
            let client = client.clone();
            self.later(100, move |world| world.welcome(&client)); // CONNACK 3
        } else if !client.line().is_up() {
            client.join(&self.gateway);
        }
    }

    fn later(&self, milliseconds: u64, then: impl FnOnce(&World) + 'static) {
        let world = World {
            hub: self.hub.clone(),
            gateway: self.gateway.clone(),
            clients: self.clients.clone(),
            faults: self.faults.clone(),
            line: self.line.clone(),
            chance: self.chance.clone(),
            is_coalescing: self.is_coalescing,
        };
        actix::spawn(async move {
            wait(60 + milliseconds).await; // all that was on its way has arrived nowhere
            then(&world);
        });
    }

    pub(super) async fn carry_out(&self, step: &Step) {
        match step {
            Step::Report(n, patch) => self.clients[*n].report(patch.clone()),
            // One that was put together with others takes them along (link.md, coalesced).
            Step::ReportRefused(_) if self.is_coalescing => {}
            Step::ReportRefused(n) => {
                self.clients[*n].report(json!({ "refused": self.chance.below(1_000), "a": 9 }));
            }
            Step::ReportInvalid(n) => self.clients[*n].report(json!({ "bad name": 1, "a": 9 })),
            Step::ReportMany(n) => {
                for k in 0..70 {
                    self.clients[*n].report(json!({ "a": { "many": k } }));
                }
            }
            Step::Desire(n, patch, is_merged) => {
                let id = self.clients[*n].id().clone();
                self.hub.desire(&id, patch, *is_merged).await;
            }
            Step::Read(n) => self.clients[*n].read(),
            Step::CutLink(milliseconds) => {
                self.cut(true);
                self.later(*milliseconds, |world| world.join());
            }
            Step::CutClient(n, milliseconds) => {
                let n = *n;
                self.clients[n].cut();
                self.gateway.leave(&self.clients[n].id().clone());
                self.later(*milliseconds, move |world| world.welcome(&world.clients[n]));
            }
            Step::KillGateway(milliseconds) => {
                self.cut(false);
                for client in &self.clients {
                    client.cut();
                    client.doubt();
                }
                self.gateway.kill();
                self.gateway.start();
                self.later(*milliseconds, |world| {
                    world.join();
                    world.clients.iter().for_each(|client| world.welcome(client));
                });
            }
            Step::KillHub(milliseconds) => {
                self.cut(true);
                self.hub.kill();
                self.hub.start().await;
                self.later(*milliseconds, |world| world.join());
            }
            Step::Recreate(n) => self.recreate(*n).await,
            Step::Busy(is_busy) => self.hub.set_busy(*is_busy),
            Step::Queue(takes) => self.gateway.set_queue(*takes),
            Step::Wait(milliseconds) => wait(*milliseconds).await,
        }
    }

    async fn recreate(&self, n: usize) {
        let id = self.clients[n].id().clone();
        self.hub.delete(&id);
        // With the link up the gateway hears of it before there is another one; what was on its
        // way in the name of the first one is answered with 404.
        while self.line.is_up() && self.gateway.generation(&id).is_some() {
            wait(5).await;
        }
        wait(if self.line.is_up() { 100 } else { 0 }).await;
        self.hub.make(&id).await;
        self.later(200, move |world| world.welcome(&world.clients[n]));
    }

    /// All cuts are over, and all that is owed has time.
    pub(super) async fn quiet(&self) {
        wait(1_000).await;
        self.hub.set_busy(false);
        self.gateway.set_queue(true);
        self.join();
        wait(500).await;
        self.clients.iter().for_each(|client| self.welcome(client));
        wait(120_000).await;
    }

    pub(super) async fn end(&self) {
        self.cut(false);
        self.gateway.kill();
        self.hub.kill();
        wait(10).await;
    }
}
