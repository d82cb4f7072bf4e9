//! From desired properties to assignments: read, keep what is good, look at the engine, plan, tell.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use actix::prelude::*;
use serde_json::Value;

use super::{Deployment, RETRY};
use crate::actors::agent::{AgentConfig, AgentPorts, TABLE};
use crate::domain::agent::body::{Body, Surroundings};
use crate::domain::agent::gateway::extra_host;
use crate::domain::agent::image::is_registry;
use crate::domain::agent::last_good::{Follow, follow};
use crate::domain::agent::manifest::{Manifest, ModuleSpec, Rejected};
use crate::domain::agent::plan::{Plan, Want, plan};
use crate::domain::identity::Identity;
use crate::messages::agent::ModulesChanged;
use crate::messages::engine::{Done, EngineStatus, GetEngineStatus, ListContainers, Run};
use crate::messages::modules::{Assign, Assignment, ModulesWanted};
use crate::messages::state::{Change, Fetch, Save};
use crate::messages::twins::{Desired, GetDesired};

pub(super) const SHORT: Duration = Duration::from_secs(10);
pub(super) const ENGINE: Duration = Duration::from_secs(130);
/// The port that the SDKs of modules connect to.
const MQTTS: u16 = 8883;
const GOOD: &[u8] = b"last-good";

/// What one application found and did.
pub(super) struct Applied {
    desired: Option<(u64, Result<Manifest, Rejected>)>,
    good: Option<Manifest>,
    /// It is on disk.
    is_kept: bool,
    engine: EngineStatus,
    /// What is to be done; or why the modules could not be assigned.
    result: Result<Plan, String>,
}

impl Deployment {
    /// One at a time; what came meanwhile makes one more.
    pub(super) fn apply(&mut self, ctx: &mut Context<Self>) {
        if self.is_applying {
            self.apply_again = true;
            return;
        }
        self.is_applying = true;
        if let Some(retry) = self.retry.take() {
            ctx.cancel_future(retry);
        }
        let (config, ports) = (self.config.clone(), self.ports.clone());
        let known = (self.good.clone(), self.is_kept);
        let work = apply(config, ports, self.own.clone(), known);
        ctx.spawn(work.into_actor(self).map(|applied, this, ctx| {
            this.is_applying = false;
            this.on_applied(applied, ctx);
        }));
    }

    fn on_applied(&mut self, applied: Applied, ctx: &mut Context<Self>) {
        if let Some((version, current)) = applied.desired {
            if self.version != Some(version) {
                self.times.on_read();
                let refused = current.as_ref().err().map(ToString::to_string);
                tracing::info!(target: "audit", version, refused, "deployment of $edgeAgent");
                for warning in current.iter().flat_map(|manifest| &manifest.warnings) {
                    tracing::warn!("{warning}");
                }
                if let Err(rejected) = &current {
                    let stays = applied.good.as_ref().map(|_| "the last good one stays in force");
                    tracing::error!(version, %rejected, stays, "deployment is refused");
                }
            }
            self.version = Some(version);
            self.current = Some(current);
        }
        self.good = applied.good;
        self.is_kept = applied.is_kept;
        self.engine = applied.engine;
        self.trouble = match applied.result {
            Ok(plan) => {
                self.log_news(plan);
                None
            }
            Err(trouble) => Some(trouble),
        };
        self.reporting.mark();
        if std::mem::take(&mut self.apply_again) {
            self.apply(ctx);
        } else if self.trouble.is_some() || self.current.is_none() {
            self.retry = Some(ctx.run_later(RETRY, |this, ctx| {
                this.retry = None;
                this.apply(ctx);
            }));
        }
    }

    /// A refused update is planned at each look for as long as it is deployed, and told once.
    fn log_news(&mut self, plan: Plan) {
        let news = plan.news_since(&self.planned);
        if !news.is_empty() {
            tracing::info!(?news, "plan");
        }
        self.planned = plan;
    }

    /// Idempotent: a `workload` that was restarted learns what there is.
    pub(super) fn tell_sockets(&self) {
        if let Some(good) = &self.good {
            self.ports.sockets.tell(ModulesChanged(good.modules.keys().cloned().collect()));
        }
    }
}

async fn apply(
    config: AgentConfig,
    ports: AgentPorts,
    own: Identity,
    (good, mut is_kept): (Option<Manifest>, bool),
) -> Applied {
    let engine = ports.engine_status.ask(GetEngineStatus, SHORT).await.unwrap_or_default();
    let parent = config.parent_hostname.as_deref();
    let desired = ports.get_desired.ask(GetDesired(own), SHORT).await.ok().flatten();
    let desired = desired.map(|Desired { version, properties }| {
        (version, Manifest::parse(&properties, parent), properties)
    });
    let usable = desired.as_ref().and_then(|(_, manifest, _)| manifest.as_ref().ok());
    let good = match follow(usable, good.as_ref(), is_kept) {
        Follow::New => {
            if let Some((_, _, properties)) = &desired {
                is_kept = keep(&config, &ports, properties).await;
            }
            usable.cloned()
        }
        Follow::Same | Follow::Good => good,
        Follow::Kept => fetch(&config, &ports).await,
    };
    let version = desired.as_ref().map_or(0, |(version, ..)| *version);
    let result = match &good {
        Some(good) => assign(&config, &ports, (version, good), &engine).await,
        None => Ok(Plan::default()),
    };
    let desired = desired.map(|(version, manifest, _)| (version, manifest));
    Applied { desired, good, is_kept, engine, result }
}

/// Written only when it changes; whether it is on disk. If it cannot be kept, modules run all the
/// same, and it is tried again at the next look.
async fn keep(config: &AgentConfig, ports: &AgentPorts, properties: &Value) -> bool {
    let text = properties.to_string().into_bytes();
    if kept(config, ports).await.is_some_and(|known| known == text) {
        return true;
    }
    let sealed = config.vault.as_ref().map_or(Ok(text.clone()), |vault| vault.seal(GOOD, &text));
    let saved = match sealed {
        Ok(text) => {
            ports.save.ask_in_words(Save(vec![Change::put(TABLE, GOOD, text)]), SHORT).await
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = &saved {
        tracing::warn!(why, "the deployment cannot be kept for offline starts; again later");
    }
    saved.is_ok()
}

/// What was kept last, as text.
async fn kept(config: &AgentConfig, ports: &AgentPorts) -> Option<Vec<u8>> {
    let known = ports.fetch.ask(Fetch(TABLE, GOOD.to_vec()), SHORT).await.ok()?.ok()??;
    let Some(vault) = &config.vault else { return Some(known) };
    let opened = vault.open_or_plain(GOOD, &known);
    opened.inspect_err(|error| tracing::warn!(%error, "the last good deployment")).ok()
}

async fn fetch(config: &AgentConfig, ports: &AgentPorts) -> Option<Manifest> {
    let properties: Value = serde_json::from_slice(&kept(config, ports).await?).ok()?;
    Manifest::parse(&properties, config.parent_hostname.as_deref()).ok()
}

async fn assign(
    config: &AgentConfig,
    ports: &AgentPorts,
    (version, manifest): (u64, &Manifest),
    engine: &EngineStatus,
) -> Result<Plan, String> {
    if !engine.is_ready {
        let why = if engine.text.is_empty() { "its actor does not answer" } else { &engine.text };
        return Err(format!("the container engine cannot be used: {why}"));
    }
    let network = Run::EnsureNetwork(config.network.clone());
    let network = ports.run.ask_in_words(network, ENGINE).await;
    let gateway = match network.map_err(|error| format!("network {}: {error}", config.network))? {
        Done::Network(gateway) => gateway,
        Done::Plain | Done::Created(_) | Done::Image(_) => None,
    };
    let modules = assignments(config, (version, manifest), gateway.as_deref());
    let kept = manifest.modules.iter().filter(|(_, spec)| spec.is_err());
    let kept: Vec<String> = kept.map(|(name, _)| name.clone()).collect();
    let observed = ports.list.ask_in_words(ListContainers { module: None }, ENGINE).await?;
    let wanted: Vec<Want> = modules.iter().map(|it| it.want.clone()).collect();
    let plan = plan(&wanted, &kept, &observed);
    let names: Vec<String> = manifest.modules.keys().cloned().collect();
    ports.modules_wanted.tell(ModulesWanted(names.clone()));
    match ports.sockets.ask(ModulesChanged(names), SHORT).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "workload sockets"),
        Err(error) => tracing::warn!(%error, "workload sockets; modules are started all the same"),
    }
    let running = plan.running(&wanted, &observed);
    let unwanted = plan.unwanted.iter().map(|(module, _)| module.clone()).collect();
    ports.assign.tell(Assign { modules, running, kept, unwanted });
    Ok(plan)
}

pub(super) fn assignments(
    config: &AgentConfig,
    (version, manifest): (u64, &Manifest),
    gateway: Option<&str>,
) -> Vec<Assignment> {
    let extra_host = extra_host(&config.gateway_hostname, gateway);
    let around = Surroundings {
        instance: config.instance.clone(),
        network: config.network.clone(),
        extra_host: extra_host.clone().unwrap_or_default(),
        state: config.state.clone(),
        hub: config.hub.clone(),
        device: config.device.device_id().to_owned(),
        gateway_hostname: config.gateway_hostname.clone(),
        parent_hostname: config.parent_hostname.clone(),
        allow_elevated: config.allow_elevated,
    };
    // A container's namespace can be entered where the engine is on this machine.
    let is_here = config.docker.starts_with("unix://") || config.docker.starts_with('/');
    let address = extra_host.as_ref().ok().map(|named| match named {
        Some((_, address)) => address.as_str(),
        None => config.gateway_hostname.trim_matches(['[', ']']),
    });
    let address: Option<IpAddr> = address.and_then(|address| address.parse().ok());
    let hub_address = address.filter(|_| is_here).map(|address| SocketAddr::new(address, MQTTS));
    let specs = manifest.modules.values().filter_map(|spec| spec.as_ref().ok());
    let assignment = |spec: &ModuleSpec| {
        let body = Body::new(spec, &around);
        let registry = spec.image.registry();
        let of_device =
            |registry| config.credentials.iter().find(|it| is_registry(&it.address, registry));
        let credential =
            registry.and_then(|registry| manifest.credential(registry).or(of_device(registry)));
        Assignment {
            want: Want {
                name: spec.name.clone(),
                hash: body.hash.clone(),
                generation: None,
                status: spec.status,
                startup_order: spec.startup_order,
            },
            version,
            spec: spec.clone(),
            body,
            instance: config.instance.clone(),
            update_deadline: config.update_deadline,
            credential: credential.cloned(),
            hub_address,
            obstacle: extra_host.as_ref().err().cloned(),
        }
    };
    specs.map(assignment).collect()
}
