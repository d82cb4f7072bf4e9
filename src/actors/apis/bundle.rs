//! A support bundle: a zip file with what somebody far away needs to see why a device is as it
//! is. What cannot be had is named in it (`…_err.txt`) and spoils nothing else.
//!
//! | entry | |
//! |---|---|
//! | `version.txt` | of the program and of the engine |
//! | `status.json`, `tree.json`, `routes.json` | as `edgectl status`, `GET /tree`, `edgectl route list` show them |
//! | `config.txt` | as `edge-runtime config` shows it |
//! | `logs/MODULE_log.txt` | the last 64 MiB at most |
//! | `inspect/MODULE.json` | what the engine says of its container |
//!
//! Settings, the engine's word and logs are shown without keys, signatures and values of
//! environment variables (`domain/agent/redact.rs`). It is made as it is read: nothing is put on
//! the disk, and no more than a piece of it is held.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{LocalBoxStream, StreamExt, unfold};
use serde::Serialize;
use tokio::sync::mpsc::{Sender, channel};

use super::logs::{Logs, is_ours};
use super::overview::{About, ApiPorts};
use crate::actors::clock;
use crate::domain::agent::methods::BundleAsked;
use crate::domain::agent::methods::logs::Filter;
use crate::domain::agent::redact;
use crate::messages::agent::InspectModule;
use crate::messages::routes::ListRoutes;
use crate::protocol::zip::{FULL, Zip};

const SOON: Duration = Duration::from_secs(10);
/// Without `since`.
const BACK: Duration = Duration::from_secs(24 * 3600);
/// Of one log.
const LARGEST_LOG: u64 = 64 << 20;
const PIECE: u64 = 64 * 1024;

/// Makes support bundles.
#[derive(Clone)]
pub struct Bundler {
    about: About,
    ports: ApiPorts,
    logs: Logs,
}

/// The file, piece by piece.
pub(super) type Pieces = LocalBoxStream<'static, Result<Bytes, String>>;

impl Bundler {
    /// Asks these.
    pub fn new(about: About, ports: ApiPorts, logs: Logs) -> Self {
        Bundler { about, ports, logs }
    }

    /// A bundle; it is given up when its reader goes away.
    pub(super) fn stream(&self, asked: BundleAsked) -> Pieces {
        let (sender, receiver) = channel(4);
        let making = Making { zip: Zip::new(clock::unix_time()), out: sender.clone() };
        let bundler = self.clone();
        let made = actix::spawn(async move {
            if let Err(why) = bundler.make(asked, making).await {
                let _ = sender.send(Err(why)).await; // the reader may have gone
            }
        });
        let of_reader = Reader(made);
        let pieces = unfold((receiver, of_reader), |(mut receiver, reader)| async move {
            let piece = receiver.recv().await?;
            Some((piece, (receiver, reader)))
        });
        pieces.boxed_local()
    }

    async fn make(&self, asked: BundleAsked, mut zip: Making) -> Result<(), String> {
        let overview = self.ports.overview(&self.about).await;
        let modules = overview.agent.as_ref().map(|agent| agent.modules.clone());
        let version = format!("edge-runtime {}\n", env!("CARGO_PKG_VERSION"));
        zip.add("version.txt", version.as_bytes()).await?;
        zip.json("status", Ok::<_, String>(overview)).await?;
        zip.json("tree", self.ports.tree().await).await?;
        zip.json("routes", self.ports.routes.ask(ListRoutes, SOON).await).await?;
        zip.add("config.txt", redact::text(&self.about.settings).as_bytes()).await?;
        let since = asked.since.unwrap_or_else(|| clock::unix_time().saturating_sub(BACK));
        let filter = Filter { since: Some(since), until: asked.until, ..Filter::default() };
        zip.log(&self.logs, "edgeAgent", &filter).await?;
        let modules = modules.unwrap_or_default();
        let others = modules.iter().map(|module| &module.name).filter(|name| !is_ours(name));
        for module in others.filter(|_| !asked.runtime_only) {
            let said = self.ports.inspect.ask(InspectModule(module.clone()), SOON).await;
            let said = said.map_err(|e| e.to_string()).and_then(|said| said);
            let said = said.map(|mut said| {
                redact::inspect(&mut said);
                said
            });
            zip.json(&format!("inspect/{}", file_name(module)), said).await?;
            zip.log(&self.logs, module, &filter).await?;
        }
        zip.finish().await
    }
}

/// Ends the making with its reader.
struct Reader(tokio::task::JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Making {
    zip: Zip,
    out: Sender<Result<Bytes, String>>,
}

const GONE: &str = "the reader of the support bundle has gone";

impl Making {
    async fn pass_on(&mut self) -> Result<(), String> {
        let piece = self.zip.take();
        if piece.is_empty() {
            return Ok(());
        }
        self.out.send(Ok(piece.into())).await.map_err(|_| GONE.to_owned())
    }

    async fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.zip.add(name, bytes).map_err(|e| e.to_string())?;
        self.pass_on().await
    }

    async fn json<T: Serialize, E: ToString>(
        &mut self,
        name: &str,
        value: Result<T, E>,
    ) -> Result<(), String> {
        let text = value.map_err(|e| e.to_string());
        let text = text.and_then(|it| serde_json::to_vec_pretty(&it).map_err(|e| e.to_string()));
        match text {
            Ok(text) => self.add(&format!("{name}.json"), &text).await,
            Err(why) => self.add(&format!("{name}_err.txt"), why.as_bytes()).await,
        }
    }

    async fn log(&mut self, logs: &Logs, module: &str, filter: &Filter) -> Result<(), String> {
        let name = file_name(module);
        let trouble = match self.try_log(logs, module, filter).await {
            Ok(()) => return Ok(()),
            Err(why) if why == GONE => return Err(why),
            Err(why) => why,
        };
        self.add(&format!("logs/{name}_err.txt"), trouble.as_bytes()).await
    }

    async fn try_log(&mut self, logs: &Logs, module: &str, filter: &Filter) -> Result<(), String> {
        let mut lines = logs.lines(module, filter).await?;
        self.zip
            .begin(&format!("logs/{}_log.txt", file_name(module)))
            .map_err(|e| e.to_string())?;
        let (mut size, mut passed) = (0, 0);
        while let Some(line) = lines.next().await {
            let line = line?;
            let is_stamped = line.stamp.is_some() && !is_ours(module);
            let stamp = line.stamp.as_ref().filter(|_| is_stamped);
            let stamp = stamp.map(|stamp| format!("{stamp} ")).unwrap_or_default();
            let text = format!("{stamp}{}\n", redact::text(&line.raw));
            size += text.len() as u64;
            if size > LARGEST_LOG || self.zip.position() > FULL {
                return Err("the rest of this log has no room here: ask for a shorter time".into());
            }
            self.zip.write(text.as_bytes()).map_err(|e| e.to_string())?;
            passed += text.len() as u64;
            if passed > PIECE {
                passed = 0;
                self.pass_on().await?;
            }
        }
        Ok(())
    }

    async fn finish(self) -> Result<(), String> {
        let rest = self.zip.finish().map_err(|e| e.to_string())?;
        self.out.send(Ok(rest.into())).await.map_err(|_| GONE.to_owned())
    }
}

/// Of a module: it leads to no other place.
fn file_name(module: &str) -> String {
    module
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.$".contains(c) { c } else { '_' })
        .collect()
}
