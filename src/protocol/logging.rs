//! Logs: one line each on standard error, for people or as JSON, and the last lines in memory,
//! for `edgectl logs edgeHub`.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt, iter, unfold};
use tokio::sync::broadcast::{self, error::RecvError};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::prelude::*;

use super::audit::{self, AuditFile};

/// Lines kept, and bytes of them.
const LINES: usize = 1000;
const BYTES: usize = 128 * 1024;
/// Lines that a follower may fall behind.
const BEHIND: usize = 128;

/// The last lines of our own log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogRing {
    lines: Arc<Mutex<Lines>>,
    news: broadcast::Sender<Bytes>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: VecDeque<Bytes>,
    bytes: usize,
}

impl Default for LogRing {
    fn default() -> Self {
        LogRing { lines: Arc::default(), news: broadcast::channel(BEHIND).0 }
    }
}

impl LogRing {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let line = Bytes::copy_from_slice(line);
        let mut kept = self.lock();
        kept.bytes += line.len();
        kept.lines.push_back(line.clone());
        while kept.lines.len() > LINES || kept.bytes > BYTES {
            let Some(oldest) = kept.lines.pop_front() else { break };
            kept.bytes -= oldest.len();
        }
        _ = self.news.send(line); // under the lock: a follower misses none and sees none twice
    }

    /// The last lines, `tail` at most; with `follow` also those to come.
    pub fn read(
        &self,
        tail: Option<usize>,
        follow: bool,
    ) -> impl Stream<Item = Result<Bytes, String>> + Send + 'static {
        let kept = self.lock();
        let skip = tail.map_or(0, |tail| kept.lines.len().saturating_sub(tail));
        let last: Vec<_> = kept.lines.iter().skip(skip).cloned().collect();
        let news = follow.then(|| self.news.subscribe());
        drop(kept);
        let coming = unfold(news, |news| async {
            let mut news = news?;
            let line = match news.recv().await {
                Ok(line) => line,
                Err(RecvError::Lagged(n)) => format!("({n} lines left out)\n").into(),
                Err(RecvError::Closed) => return None,
            };
            Some((line, Some(news)))
        });
        iter(last).chain(coming).map(Ok)
    }
}

/// Writes to standard error and to the ring.
#[derive(Clone, Debug)]
struct Tee(LogRing);

impl Write for Tee {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let plain = one_line(line);
        self.0.push(&plain);
        io::stderr().write_all(&plain)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Enough of a text of a stranger's for a log line.
pub fn cut(text: &str) -> String {
    text.chars().take(300).collect()
}

/// What clients wrote stands in some lines: it is not to look like lines of ours, nor to steer a
/// terminal. What is escaped in JSON stays JSON: it has no other control characters than DEL and
/// those above ASCII.
pub(super) fn one_line(line: &[u8]) -> Cow<'_, [u8]> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    if text.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return Cow::Borrowed(line);
    }
    let mut plain = String::with_capacity(line.len() + 16);
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '\0'..' ' => plain.extend((c as u8).escape_ascii().map(char::from)),
            c if is_hidden(c) => plain.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => plain.push(c),
        }
    }
    let mut plain = plain.into_bytes();
    plain.extend(&line[text.len()..]);
    Cow::Owned(plain)
}

/// Control characters, and those that end a line, turn its direction, or take no room.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
}

impl<'a> MakeWriter<'a> for Tee {
    type Writer = Tee;

    fn make_writer(&'a self) -> Tee {
        self.clone()
    }
}

/// Starts logging. Once per process; `level` as in `log.level`, which does not hold for `audit`.
pub fn init(level: &str, is_json: bool, audit: Option<AuditFile>) -> Result<LogRing, String> {
    let ring = LogRing::default();
    let mut filter = EnvFilter::try_new(level).map_err(|e| format!("log.level: {e}"))?;
    if !level.contains("rumqttd") {
        // It makes spans for each message, and calls errors what is none; its end is seen anyway.
        filter = filter.add_directive("rumqttd=off".parse().expect("a directive"));
    }
    let lines = fmt::layer().with_ansi(false).with_writer(Tee(ring.clone()));
    let lines = match is_json {
        true => lines.json().flatten_event(true).with_current_span(false).boxed(),
        false => lines.compact().boxed(),
    };
    let audit = audit.map(|file| {
        let lines = fmt::layer().with_ansi(false).with_target(false).with_level(false);
        let lines = lines.with_writer(audit::Writer::new(file)).json().flatten_event(true);
        let is_audit = filter_fn(|of| of.target() == audit::TARGET && of.is_event());
        lines.with_current_span(false).with_span_list(false).with_filter(is_audit)
    });
    let set = tracing_subscriber::registry().with(lines.with_filter(filter)).with(audit).try_init();
    set.map_err(|e| e.to_string())?;
    Ok(ring)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    async fn all(ring: &LogRing, tail: Option<usize>) -> String {
        let lines: Vec<_> = ring.read(tail, false).map(Result::unwrap).collect().await;
        String::from_utf8(lines.concat()).unwrap()
    }

    #[tokio::test]
    async fn the_last_lines_are_kept_and_no_more_than_that() {
        let ring = LogRing::default();
        (0..LINES + 5).for_each(|n| ring.push(format!("line {n}\n").as_bytes()));
        assert_eq!(all(&ring, Some(2)).await, "line 1003\nline 1004\n");
        assert!(all(&ring, None).await.starts_with("line 5\n"));
        ring.push(&[b'x'; BYTES - 5]);
        assert_eq!(ring.lock().lines.len(), 1);
    }

    #[test]
    fn what_a_client_wrote_does_not_look_like_a_line_of_ours() {
        assert_eq!(*one_line("refused: é\n".as_bytes()), *"refused: é\n".as_bytes());
        let forged = b"refused: x\n2026 INFO all is well\x1b[0m\n";
        let plain = String::from_utf8(one_line(forged).into_owned()).unwrap();
        assert_eq!(plain, "refused: x\\n2026 INFO all is well\\x1b[0m\n");
        let json = "{\"client\":\"a\u{9b}2J\u{7f}\u{202e}é\"}\n";
        let plain = String::from_utf8(one_line(json.as_bytes()).into_owned()).unwrap();
        assert_eq!(plain, "{\"client\":\"a\\u009b2J\\u007f\\u202eé\"}\n");
    }

    #[tokio::test]
    async fn a_follower_gets_what_comes_and_is_told_what_it_missed() {
        let ring = LogRing::default();
        ring.push(b"old\n");
        let mut lines = Box::pin(ring.read(None, true));
        ring.push(b"new\n");
        assert_eq!(lines.next().await.unwrap().unwrap(), "old\n");
        assert_eq!(lines.next().await.unwrap().unwrap(), "new\n");
        assert!(lines.next().now_or_never().is_none());
        (0..=BEHIND).for_each(|_| ring.push(b"more\n"));
        assert_eq!(lines.next().await.unwrap().unwrap(), "(1 lines left out)\n");
        assert_eq!(lines.next().await.unwrap().unwrap(), "more\n");
    }
}
