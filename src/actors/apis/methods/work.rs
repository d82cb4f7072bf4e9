//! What direct methods do. Each is a future of its own, which the actor spawns.

use std::time::Duration;

use serde_json::Value;

use futures_util::stream::StreamExt;

use crate::actors::apis::bundle::Bundler;
use crate::actors::apis::logs::{Logs, is_ours};
use crate::actors::apis::overview::{About, ApiPorts};
use crate::actors::clock;
use crate::domain::agent::methods::logs::{Filter, Last, LogsAsked};
use crate::domain::agent::methods::sas_url::SasUrl;
use crate::domain::agent::methods::written::{Form, Source, Written, answer, notice};
use crate::domain::agent::methods::{BundleAsked, LARGEST_ANSWER, Refused};
use crate::domain::iso8601;
use crate::messages::agent::RestartModule;
use crate::protocol::blob::{Blob, Uploads};

/// Stopping a container takes as long as it wants, up to Docker's patience.
const LONG: Duration = Duration::from_secs(120);
/// Lines of one module that are held for an answer: compressed, more of them fit.
const HELD: usize = LARGEST_ANSWER;
const HELD_GZIP: usize = 2 << 20;
/// Compressed bytes that go to a blob at a time.
const PIECE: usize = 64 * 1024;

/// Whom direct methods ask.
pub struct Work {
    /// This device.
    pub about: About,
    /// EdgeAgent's actors.
    pub ports: ApiPorts,
    /// Of all modules.
    pub logs: Logs,
    /// To blobs.
    pub uploads: Uploads,
    /// Support bundles.
    pub bundler: Bundler,
}

impl Work {
    async fn modules(&self) -> Result<Vec<String>, String> {
        let status = self.ports.agent_status().await;
        let status = status.map_err(|_| "the agent does not answer now: try again".to_owned())?;
        Ok(status.modules.into_iter().map(|module| module.name).collect())
    }

    pub(super) async fn restart(&self, id: &str) -> Result<Value, Refused> {
        if is_ours(id) {
            let why = format!("{id} is the service itself: it is restarted on its device");
            return Err(Refused::bad(why));
        }
        let modules = self.modules().await.map_err(Refused::failed)?;
        if !modules.iter().any(|name| name == id) {
            let why = format!("there is no module {id}; there are: {}", modules.join(", "));
            return Err(Refused::failed(why));
        }
        let asked = self.ports.restart.order(RestartModule(id.to_owned()), LONG).await;
        asked.map_err(|e| Refused::failed(e.to_string()))?.map_err(Refused::failed)?;
        Ok(Value::Null)
    }

    fn source<'a>(&'a self, module: &'a str) -> Source<'a> {
        Source { hub: &self.about.hub, device: self.about.device.device_id(), module }
    }

    /// Each module has an equal share of what is left of the room.
    pub(super) async fn get_logs(&self, asked: &LogsAsked) -> Result<Value, Refused> {
        let modules = self.modules().await.map_err(Refused::failed)?;
        let named = asked.of(modules.iter().map(String::as_str));
        let mut room = LARGEST_ANSWER - 2;
        let mut elements = Vec::new();
        for (n, (module, filter)) in named.iter().enumerate() {
            let held = if asked.is_gzip { HELD_GZIP } else { HELD };
            let mut last = Last::new(filter.tail, held);
            if let Err(why) = self.read(module, filter, &mut last).await {
                last.push(notice(format!("({why})")));
            }
            let share = room / (named.len() - n) - 1;
            let element = answer(&self.source(module), form(asked, filter), &mut last, share);
            let element = element.map_err(|e| Refused::failed(e.to_string()))?;
            room = room.saturating_sub(element.to_string().len() + 1);
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    async fn read(&self, module: &str, filter: &Filter, last: &mut Last) -> Result<(), String> {
        let mut lines = self.logs.lines(module, filter).await?;
        while let Some(line) = lines.next().await {
            let line = line?;
            if filter.takes(&line) {
                last.push(line);
            }
        }
        Ok(())
    }

    /// A blob for each module; one that fails does not hold up the others.
    pub(super) async fn upload_logs(
        &self,
        asked: &LogsAsked,
        url: &SasUrl,
    ) -> Result<String, String> {
        let modules = self.modules().await?;
        let named = asked.of(modules.iter().map(String::as_str));
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for (module, filter) in named {
            match self.upload_log(module, filter, asked, url).await {
                Ok(name) => done.push(name),
                Err(why) => failed.push(format!("{module}: {why}")),
            }
        }
        match failed.is_empty() {
            true if done.is_empty() => Ok("no module is named so: nothing to upload".into()),
            true => Ok(format!("uploaded {}", done.join(", "))),
            false => Err(failed.join("; ")),
        }
    }

    async fn upload_log(
        &self,
        module: &str,
        filter: &Filter,
        asked: &LogsAsked,
        url: &SasUrl,
    ) -> Result<String, String> {
        let mut extension = if asked.is_json { "json" } else { "log" }.to_owned();
        if asked.is_gzip {
            extension.push_str(".gz");
        }
        let name = self.blob_name(&format!("{module}-"), &extension);
        let kind = match (asked.is_gzip, asked.is_json) {
            (true, _) => "application/gzip",
            (false, true) => "application/json",
            (false, false) => "text/plain; charset=utf-8",
        };
        let blob = self.uploads.blob(url, name.clone(), kind);
        let mut blob = blob.map_err(|e| e.to_string())?;
        let mut written = Written::new(form(asked, filter));
        let source = self.source(module);
        // With a tail, what comes last is known at the end only.
        let mut last = filter.tail.map(|tail| Last::new(Some(tail), HELD_GZIP * 8));
        let mut lines = self.logs.lines(module, filter).await?;
        while let Some(line) = lines.next().await {
            let line = line?;
            if !filter.takes(&line) {
                continue;
            }
            match &mut last {
                Some(last) => last.push(line),
                None => {
                    written.line(&source, &line).map_err(|e| e.to_string())?;
                    pass_on(&mut written, &mut blob).await?;
                }
            }
        }
        if let Some(last) = last {
            if last.left_out() > 0 {
                let left_out = format!("({} older lines are left out)", last.left_out());
                written.line(&source, &notice(left_out)).map_err(|e| e.to_string())?;
            }
            for line in last.lines() {
                written.line(&source, line).map_err(|e| e.to_string())?;
                pass_on(&mut written, &mut blob).await?;
            }
        }
        let rest = written.finish().map_err(|e| e.to_string())?;
        blob.write(&rest).await.map_err(|e| e.to_string())?;
        blob.finish().await.map_err(|e| e.to_string())?;
        Ok(name)
    }

    pub(super) async fn upload_bundle(
        &self,
        asked: BundleAsked,
        url: &SasUrl,
    ) -> Result<String, String> {
        let name = self.blob_name("support-bundle-", "zip");
        let blob = self.uploads.blob(url, name.clone(), "application/zip");
        let mut blob = blob.map_err(|e| e.to_string())?;
        let mut pieces = self.bundler.stream(asked);
        while let Some(piece) = pieces.next().await {
            blob.write(&piece?).await.map_err(|e| e.to_string())?;
        }
        blob.finish().await.map_err(|e| e.to_string())?;
        Ok(format!("uploaded {name}"))
    }

    /// `hub/device/PREFIXyyyy-MM-dd--HH-mm-ss.EXTENSION`
    fn blob_name(&self, prefix: &str, extension: &str) -> String {
        let now = iso8601::text(clock::unix_time());
        let now = now[..19].replace(':', "-").replace('T', "--");
        format!("{}/{}/{prefix}{now}.{extension}", self.about.hub, self.about.device.device_id())
    }
}

async fn pass_on(written: &mut Written, blob: &mut Blob) -> Result<(), String> {
    if written.ready() < PIECE {
        return Ok(());
    }
    blob.write(&written.take()).await.map_err(|e| e.to_string())
}

fn form(asked: &LogsAsked, filter: &Filter) -> Form {
    Form { is_gzip: asked.is_gzip, is_json: asked.is_json, is_stamped: filter.is_stamped }
}
