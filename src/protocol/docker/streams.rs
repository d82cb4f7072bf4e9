//! What the engine sends on its own: events of our containers, and the logs of one.

use std::collections::HashMap;

use bollard::container::LogOutput;
use bollard::query_parameters::{EventsOptionsBuilder, LogsOptionsBuilder};
use futures_util::stream::{BoxStream, StreamExt};

use super::{Docker, from_bollard};
use crate::domain::agent::names::{INSTANCE, MODULE};
use crate::messages::agent::{GetLogs, LogChunk};
use crate::messages::engine::EngineError;

/// The modules to whose containers something happened.
pub type EventStream = BoxStream<'static, Result<String, EngineError>>;
/// Chunks of what a container wrote, standard output and error as they came.
pub type LogStream = BoxStream<'static, Result<LogChunk, EngineError>>;

/// What a container may do that is of no interest.
const NOISE: [&str; 3] = ["exec_", "top", "attach"];

impl Docker {
    /// Names of modules, as something happens to their containers, from `since` (seconds of Unix
    /// time) on. Ends when the engine goes away.
    pub fn events(&self, since: u64) -> EventStream {
        let instance = format!("{INSTANCE}={}", self.instance);
        let filters: HashMap<&str, Vec<&str>> =
            HashMap::from([("type", vec!["container"]), ("label", vec![instance.as_str()])]);
        let options =
            EventsOptionsBuilder::new().since(&since.to_string()).filters(&filters).build();
        let events = self.client.events(Some(options)).filter_map(async |event| match event {
            Ok(event) => {
                let action = event.action.unwrap_or_default();
                let module = event.actor?.attributes?.remove(MODULE)?;
                let is_noise = NOISE.iter().any(|noise| action.starts_with(noise));
                (!is_noise).then_some(Ok(module))
            }
            Err(error) => Some(Err(from_bollard(error))),
        });
        events.boxed()
    }

    /// What a container wrote; with `follow` also what comes until it ends.
    pub fn logs(&self, id: &str, ask: &GetLogs) -> LogStream {
        let tail = ask.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let mut options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&tail);
        options = options.follow(ask.follow).timestamps(ask.is_stamped);
        let seconds = |at: u64| i32::try_from(at).unwrap_or(i32::MAX);
        if let Some(since) = ask.since {
            options = options.since(seconds(since));
        }
        if let Some(until) = ask.until {
            options = options.until(seconds(until));
        }
        let logs = self.client.logs(id, Some(options.build()));
        logs.map(|chunk| chunk.map(to_chunk).map_err(from_bollard)).boxed()
    }
}

fn to_chunk(output: LogOutput) -> LogChunk {
    let is_error = matches!(output, LogOutput::StdErr { .. });
    LogChunk { is_error, bytes: output.into_bytes() }
}
