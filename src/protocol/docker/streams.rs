//! What the engine sends on its own: events of our containers, and the logs of one.

use std::collections::HashMap;

use bollard::query_parameters::{EventsOptionsBuilder, LogsOptionsBuilder};
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};

use super::{Docker, from_bollard};
use crate::domain::agent::names::{INSTANCE, MODULE};
use crate::messages::engine::EngineError;

/// The modules to whose containers something happened.
pub type EventStream = BoxStream<'static, Result<String, EngineError>>;
/// Chunks of what a container wrote, standard output and error as they came.
pub type LogStream = BoxStream<'static, Result<Bytes, EngineError>>;

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

    /// The last `tail` lines of a container's log (all without).
    pub fn logs(&self, id: &str, tail: Option<usize>) -> LogStream {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines(tail));
        self.log(id, options)
    }

    /// The same, from `since` (seconds of Unix time) on, and what comes until the container ends;
    /// a chunk is a line with its time before it.
    pub fn follow(&self, id: &str, tail: Option<usize>, since: Option<u64>) -> LogStream {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines(tail));
        let since = since.map_or(0, |since| i32::try_from(since).unwrap_or(i32::MAX));
        self.log(id, options.follow(true).timestamps(true).since(since))
    }

    fn log(&self, id: &str, options: LogsOptionsBuilder) -> LogStream {
        let logs = self.client.logs(id, Some(options.build()));
        logs.map(|chunk| chunk.map(|it| it.into_bytes()).map_err(from_bollard)).boxed()
    }
}

fn lines(tail: Option<usize>) -> String {
    tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string())
}
