//! Reading the log.

use actix::prelude::*;

use super::copies::Copies;
use super::runs::Runs;
use super::{Log, Telemetry, TelemetryPorts, item};
use crate::actors::clock;
use crate::actors::hub::state::settled;
use crate::actors::port::Port;
use crate::domain::row::Offset;
use crate::localhub::tables::{self, TELEMETRY, TELEMETRY_STATE};
use crate::messages::state::{Fetch, Scan, StoreError};
use crate::messages::telemetry::{AwaitTelemetry, Items, ReadTelemetry};

/// Bytes read at a time, about.
const PAGE_BYTES: u64 = 2 << 20;
/// Items read at a time.
const PAGE: u64 = 1000;
/// Items at the end of the log that edges may not know to be there: the windows of a few of them.
const UNSETTLED: u64 = 5_000;
/// How long the store may take to say where the log ends.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);

/// Where the log begins and ends, and what edges and clients have sent.
pub(super) fn load(
    ports: &TelemetryPorts,
) -> impl Future<Output = Result<(Log, Runs, Copies), StoreError>> + use<> {
    let (settled, fetch, scan) = (settled(&ports.save), ports.fetch.clone(), ports.scan.clone());
    async move {
        settled.await?; // the end of the log and what was sent are of one time
        let log = fetch.ask(Fetch(TELEMETRY_STATE, b"log".to_vec()), DEADLINE);
        let log = log.await.unwrap_or(Err(StoreError::Unavailable))?;
        let log = match log.map(|json| serde_json::from_slice::<Log>(&json)) {
            None => None,
            Some(Ok(log)) => Some(log),
            Some(Err(why)) => {
                return Err(StoreError::Broken(format!("the log's own record: {why}")));
            }
        };
        let log = match log {
            Some(log) if !has_item(&scan, log.next).await? => log,
            _ => measured(scan.clone()).await?,
        };
        let mut runs = Runs::load(scan.clone()).await?;
        again(&mut runs, log, &scan).await?;
        Ok((log, runs, Copies::load(scan).await?))
    }
}

/// Whether there are items that the log's own record, an older one, does not know of.
async fn has_item(port: &Port<Scan>, from: u64) -> Result<bool, StoreError> {
    let from = tables::number(from).to_vec();
    let scan = Scan { table: TELEMETRY, prefix: Vec::new(), from, max: 1 };
    Ok(!tables::scan(port, scan).await?.is_empty())
}

/// The log's own record is not there: there was never anything, or it was damaged.
async fn measured(port: Port<Scan>) -> Result<Log, StoreError> {
    let mut log: Option<Log> = None;
    let items = tables::load(port, TELEMETRY, |key, value| {
        let offset = tables::read_number(key)?;
        let bytes = value.len() as u64;
        let so_far = log.unwrap_or(Log { first: offset, next: offset, bytes: 0 });
        log = Some(Log { next: offset + 1, bytes: so_far.bytes + bytes, ..so_far });
        Some(())
    });
    items.await?;
    if let Some(log) = log {
        tracing::error!(?log, "the log's own record was damaged; it was measured anew");
    }
    Ok(log.unwrap_or(Log::EMPTY))
}

/// The last items tell which messages edges may send again, if the memory of that was damaged.
async fn again(runs: &mut Runs, log: Log, port: &Port<Scan>) -> Result<(), StoreError> {
    let (now, mut from) = (clock::unix_time(), log.next.saturating_sub(UNSETTLED).max(log.first));
    while from < log.next {
        let first = tables::number(from).to_vec();
        let max = usize::try_from(PAGE).unwrap_or(1);
        let scan = Scan { table: TELEMETRY, prefix: Vec::new(), from: first, max };
        let page = tables::scan(port, scan).await?;
        for (edge, stamp) in page.iter().filter_map(|(_, value)| item::stamp(value)) {
            runs.note_again(edge, stamp, now);
        }
        let last = page.last().and_then(|(key, _)| tables::read_number(key));
        let Some(last) = last else { break };
        from = last + 1;
    }
    Ok(())
}

impl Handler<ReadTelemetry> for Telemetry {
    type Result = ResponseFuture<Result<Items, StoreError>>;

    fn handle(&mut self, read: ReadTelemetry, _: &mut Self::Context) -> Self::Result {
        let Some(log) = self.log else {
            return Box::pin(std::future::ready(Err(StoreError::Unavailable)));
        };
        let end = *self.end.borrow();
        let since = read.since.0.max(log.first);
        if since >= end || read.max == 0 {
            let next = Offset(since.min(end));
            let nothing = Items { items: Vec::new(), next, has_more: since < end };
            return Box::pin(std::future::ready(Ok(nothing)));
        }
        let average = log.bytes / (log.next - log.first).max(1);
        let page = (PAGE_BYTES / average.max(1)).clamp(10, PAGE).min(read.max as u64);
        let max = usize::try_from(page).unwrap_or(1);
        let from = tables::number(since).to_vec();
        let scan = Scan { table: TELEMETRY, prefix: Vec::new(), from, max };
        let scanned = tables::scan(&self.ports.scan, scan);
        Box::pin(async move {
            let pairs = scanned.await?;
            let items: Vec<_> =
                pairs.iter().filter_map(|(key, value)| item::decode(key, value)).collect();
            // Damaged items are left out of a page: a short one need not be the last.
            let last = pairs.last().and_then(|(key, _)| tables::read_number(key));
            let next = last.map_or(end.min(since + page), |last| last + 1);
            Ok(Items { items, next: Offset(next), has_more: next < end })
        })
    }
}

impl Handler<AwaitTelemetry> for Telemetry {
    type Result = ResponseFuture<Result<(), StoreError>>;

    fn handle(&mut self, wanted: AwaitTelemetry, _: &mut Self::Context) -> Self::Result {
        let mut end = self.end.subscribe();
        Box::pin(async move {
            let reached = end.wait_for(|end| *end > wanted.since.0).await;
            reached.map(|_| ()).map_err(|_| StoreError::Unavailable)
        })
    }
}
