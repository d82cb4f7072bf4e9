//! The ledger of images that this runtime pulled, in `state/`, and those that go by it. Nothing that
//! fails here ends anything: it is tried again at the next turn.

use std::collections::BTreeSet;
use std::time::Duration;

use actix::prelude::*;

use super::Engine;
use super::gate;
use crate::actors::agent::{AgentPorts, Collection, TABLE};
use crate::actors::clock;
use crate::domain::agent::garbage::{Now, PREFIX, Record, Verdict};
use crate::domain::agent::image::Location;
use crate::messages::agent::GetWantedImages;
use crate::messages::engine::EngineError;
use crate::messages::state::{Change, Fetch, Save, Scan};
use crate::protocol::docker::{Docker, Image};

const DEADLINE: Duration = Duration::from_secs(10);
/// Between looks whether it is time.
const LOOK: Duration = Duration::from_secs(600);
/// More images than any device has.
const MOST: usize = 10_000;
/// The longest key of the store.
const LONGEST: usize = 480;
const LAST_RUN: &[u8] = b"images-collected";

impl Engine {
    /// Looks now and then, if images are collected at all.
    pub(super) fn collect_now_and_then(&self, ctx: &mut Context<Self>) {
        let Some(collection) = self.config.images.collection else { return };
        ctx.run_interval(collection.every.min(LOOK), move |this, ctx| {
            let Ok(docker) = this.docker() else { return };
            if this.is_collecting {
                return;
            }
            this.is_collecting = true;
            let work = collect(docker, this.ports.clone(), collection);
            ctx.spawn(work.into_actor(this).map(|result, this, _| {
                this.is_collecting = false;
                if let Err(why) = result {
                    tracing::warn!(why, "images are not collected now; again later");
                }
            }));
        });
    }
}

/// Notes that we pulled it, unless its name led to an image before that is not ours.
pub(super) async fn record(
    docker: &Docker,
    ports: &AgentPorts,
    name: &str,
    before: Option<Image>,
) -> Result<(), String> {
    let of = |id: String| Record { id, name: name.to_owned(), used: clock::unix_time() };
    if let Some(before) = before {
        let known = ports.fetch.ask(Fetch(TABLE, of(before.id).key()), DEADLINE).await;
        if known.map_err(|it| it.to_string())?.map_err(|it| it.to_string())?.is_none() {
            return Ok(());
        }
    }
    let pulled = docker.image(name).await.map_err(|error| error.to_string())?;
    let Some(pulled) = pulled else { return Ok(()) };
    let record = of(pulled.id);
    if record.key().len() > LONGEST {
        return Ok(()); // it stays for good
    }
    save(ports, vec![Change::put(TABLE, record.key(), record.value())]).await
}

async fn collect(
    docker: Docker,
    ports: AgentPorts,
    Collection { every, age }: Collection,
) -> Result<(), String> {
    let now = clock::unix_time();
    let last = ports.fetch.ask(Fetch(TABLE, LAST_RUN.to_vec()), DEADLINE).await;
    let last = last.map_err(|it| it.to_string())?.map_err(|it| it.to_string())?;
    let last = last.and_then(|last| std::str::from_utf8(&last).ok()?.parse().ok());
    if last.map(Duration::from_secs).is_some_and(|last| last <= now && now - last < every) {
        return Ok(());
    }
    let wanted = ports.wanted_images.ask(GetWantedImages, DEADLINE).await;
    let wanted = wanted.map_err(|error| error.to_string())?;
    let Some(wanted) = wanted else { return Ok(()) }; // no deployment is known yet
    let wanted: BTreeSet<String> = wanted.into_iter().collect();
    let used = docker.images_in_use().await.map_err(|error| error.to_string())?;
    let used: BTreeSet<String> = used.into_iter().collect();
    let prefix = PREFIX.as_bytes().to_vec();
    let all = Scan { table: TABLE, prefix, from: Vec::new(), max: MOST };
    let all = ports.scan.ask_in_words(all, DEADLINE).await?;
    let mut changes = Vec::new();
    for (key, value) in all.iter() {
        let Some(record) = Record::parse(key, value) else { continue };
        let (is_wanted, is_used) = (wanted.contains(&record.name), used.contains(&record.id));
        match one(&docker, &record, is_wanted, is_used, now, age).await {
            Ok(more) => changes.extend(more),
            Err(error) => tracing::info!(image = record.name, %error, "image is not collected now"),
        }
    }
    let time = now.as_secs().to_string().into_bytes();
    changes.push(Change::put(TABLE, LAST_RUN, time));
    save(&ports, changes).await
}

/// Judges one, and removes it if it is to go.
async fn one(
    docker: &Docker,
    record: &Record,
    is_wanted: bool,
    is_used: bool,
    now: Duration,
    age: Duration,
) -> Result<Vec<Change>, EngineError> {
    let image = docker.image(&record.id).await?;
    let named = docker.image(&record.name).await?;
    let is_named = named.is_some_and(|named| named.id == record.id);
    let state = Now {
        is_here: image.is_some(),
        is_named,
        has_names: image.as_ref().is_some_and(|image| !image.tags.is_empty()),
        is_wanted: is_wanted && is_named,
        is_used,
    };
    let forget = || {
        let own = Location::of(&record.name).digest;
        let others = image.iter().flat_map(|it| &it.digests);
        let others = others.filter_map(|digest| Location::of(digest).digest);
        let signatures = own.into_iter().chain(others);
        let mut changes = vec![Change::delete(TABLE, record.key())];
        changes.extend(signatures.map(|digest| Change::delete(TABLE, gate::key(&digest))));
        changes
    };
    match record.judge(state, now, age) {
        Verdict::Keep => Ok(Vec::new()),
        Verdict::Touch => {
            let record = Record { used: now, ..record.clone() };
            Ok(vec![Change::put(TABLE, record.key(), record.value())])
        }
        Verdict::Forget => Ok(forget()),
        Verdict::Remove(name) => {
            docker.remove_image(&name).await?;
            tracing::info!(image = record.name, id = record.id, "image is collected");
            Ok(forget())
        }
    }
}

async fn save(ports: &AgentPorts, changes: Vec<Change>) -> Result<(), String> {
    let saved = ports.save.ask(Save(changes), DEADLINE).await;
    saved.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
