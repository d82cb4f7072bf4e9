//! What modules wrote, and this process: its log stands under the names edgeAgent and edgeHub.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::{LocalBoxStream, StreamExt, unfold};

use crate::actors::port::Port;
use crate::domain::agent::methods::line::{Line, Said, Splitter, at};
use crate::domain::agent::methods::logs::Filter;
use crate::messages::agent::{GetLogs, LogChunk, ModuleLogs};
use crate::protocol::logging::LogRing;

/// For the engine to find the container.
const SOON: Duration = Duration::from_secs(5);
/// A log that stands still for so long, and is not followed, has broken off.
const STILL: Duration = Duration::from_secs(30);

/// See the module documentation.
#[derive(Clone)]
pub struct Logs {
    ring: LogRing,
    engine: Port<GetLogs>,
}

/// Line by line.
pub(super) type Lines = LocalBoxStream<'static, Result<Line, String>>;

/// These are this process.
pub(super) fn is_ours(module: &str) -> bool {
    ["edgeAgent", "edgeHub", "$edgeAgent", "$edgeHub"].contains(&module)
}

impl Logs {
    /// Of this process's own log, and of the engine's.
    pub fn new(ring: LogRing, engine: Port<GetLogs>) -> Self {
        Logs { ring, engine }
    }

    /// As it was written.
    pub(super) async fn chunks(&self, ask: GetLogs) -> Result<ModuleLogs, String> {
        if !is_ours(&ask.module) {
            let away = |_| "the agent does not answer now".to_owned();
            return self.engine.ask(ask, SOON).await.map_err(away)?;
        }
        // Each line has its own time.
        let (since, until) = (ask.since, ask.until);
        let is_in = move |line: &[u8]| {
            let said = Said::parse_own(String::from_utf8_lossy(line).trim_end());
            let at = said.time.as_deref().and_then(at).map(|at| at.as_secs());
            at.is_none_or(|at| {
                since.is_none_or(|since| at >= since) && until.is_none_or(|until| at <= until)
            })
        };
        let lines = self.ring.read(ask.tail, ask.follow);
        let lines = lines.filter_map(move |line| {
            let line = line.ok().filter(|line| is_in(line));
            std::future::ready(line.map(|bytes| Ok(LogChunk { is_error: true, bytes })))
        });
        Ok(lines.boxed())
    }

    /// The lines that a filter may take: its tail has yet to be taken.
    pub(super) async fn lines(&self, module: &str, filter: &Filter) -> Result<Lines, String> {
        let ask = GetLogs {
            module: module.to_owned(),
            tail: filter.tail.filter(|_| filter.is_tail_enough()),
            since: filter.since.map(|at| at.as_secs()),
            until: filter.until.map(|at| at.as_secs() + 1), // to the end of that second
            is_stamped: true,
            follow: false,
        };
        Ok(lines(self.chunks(ask).await?, is_ours(module)))
    }
}

struct Reading {
    chunks: ModuleLogs,
    is_own: bool,
    splitters: [Splitter; 2],
    ready: VecDeque<Line>,
    is_over: bool,
}

fn lines(chunks: ModuleLogs, is_own: bool) -> Lines {
    let splitters = [Splitter::new(false), Splitter::new(true)];
    let reading = Reading { chunks, is_own, splitters, ready: VecDeque::new(), is_over: false };
    unfold(reading, |mut reading| async move {
        loop {
            if let Some(line) = reading.ready.pop_front() {
                return Some((Ok(line), reading));
            }
            if reading.is_over {
                return None;
            }
            match tokio::time::timeout(STILL, reading.chunks.next()).await {
                Ok(Some(Ok(chunk))) => reading.take(&chunk),
                Ok(None) => {
                    reading.is_over = true;
                    let rest = reading.splitters.iter_mut().filter_map(Splitter::finish);
                    reading.ready.extend(rest);
                }
                Ok(Some(Err(why))) => {
                    reading.is_over = true;
                    return Some((Err(why), reading));
                }
                Err(_) => {
                    reading.is_over = true;
                    return Some((Err("the engine sends no more of the log".into()), reading));
                }
            }
        }
    })
    .boxed_local()
}

impl Reading {
    fn take(&mut self, chunk: &LogChunk) {
        if !self.is_own {
            let splitter = &mut self.splitters[usize::from(chunk.is_error)];
            return self.ready.extend(splitter.push(&chunk.bytes));
        }
        let raw = String::from_utf8_lossy(&chunk.bytes).trim_end().to_owned();
        let said = Said::parse_own(&raw);
        self.ready.push_back(Line { is_error: true, stamp: said.time.clone(), raw, said });
    }
}
