//! The log of a module as it goes on: over restarts of its container, and over new containers.
//!
//! The engine's log of a container ends with each run; lines carry their times until here, so that
//! none is given twice when the next run is read.

use std::time::Duration;

use bytes::Buf;
use futures_util::StreamExt;
use futures_util::stream::unfold;

use crate::actors::clock;
use crate::domain::agent::observed::{Phase, newest};
use crate::domain::iso8601;
use crate::messages::agent::{GetLogs, LogChunk, ModuleLogs};
use crate::protocol::docker::{Docker, LogStream};

/// Between two looks for the next run.
const LOOK: Duration = Duration::from_millis(500);
/// Looks in vain, without any container, until the module is taken to be gone.
const GONE: u32 = 60;

/// The last lines of this container, and what the module writes from now on.
pub(super) fn follow(docker: Docker, container: &str, ask: GetLogs) -> ModuleLogs {
    let log = docker.logs(container, &GetLogs { is_stamped: true, ..ask.clone() });
    let last = clock::unix_time();
    let read = Read { docker, ask, log, last, floor: Duration::ZERO };
    unfold(read, async |mut read| {
        loop {
            match read.log.next().await {
                Some(Ok(chunk)) => {
                    if let Some(line) = read.new_line(chunk) {
                        return Some((Ok(line), read));
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(module = read.ask.module, %error, "log broke off")
                }
                None if !read.next_run().await => return None,
                None => {}
            }
        }
    })
    .boxed()
}

struct Read {
    docker: Docker,
    ask: GetLogs,
    log: LogStream,
    /// Time of the last line; of the start, until there is one.
    last: Duration,
    /// Lines up to this time were given.
    floor: Duration,
}

impl Read {
    /// Without its time, unless that is wanted; none if it was given before.
    fn new_line(&mut self, mut chunk: LogChunk) -> Option<LogChunk> {
        let end = chunk.bytes.iter().position(|&byte| byte == b' ').unwrap_or_default();
        let time = std::str::from_utf8(&chunk.bytes[..end]).ok().and_then(iso8601::parse);
        let Some(time) = time else { return Some(chunk) };
        if time <= self.floor {
            return None;
        }
        if !self.ask.is_stamped {
            chunk.bytes.advance(end + 1);
        }
        self.last = time;
        Some(chunk)
    }

    /// Waits until there is one; whether there will be.
    async fn next_run(&mut self) -> bool {
        let mut missing = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            let Ok(containers) = self.docker.list(Some(&self.ask.module)).await else { continue };
            match newest(&containers) {
                Some(it) if it.phase == Phase::Running => {
                    self.floor = self.last;
                    let since = Some(self.last.as_secs());
                    let next = GetLogs { tail: None, since, is_stamped: true, ..self.ask.clone() };
                    self.log = self.docker.logs(&it.id, &next);
                    return true;
                }
                Some(_) => missing = 0,
                None if missing == GONE => return false,
                None => missing += 1,
            }
        }
    }
}
