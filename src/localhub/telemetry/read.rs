//! Reading the log.

use actix::prelude::*;

use super::copies::Copies;
use super::runs::Runs;
use super::{Log, Telemetry, TelemetryPorts, item};
use crate::actors::hub::state::settled;
use crate::domain::row::Offset;
use crate::localhub::tables::{self, TELEMETRY, TELEMETRY_STATE};
use crate::messages::state::{Fetch, Scan, StoreError};
use crate::messages::telemetry::{AwaitTelemetry, Items, ReadTelemetry};

/// Bytes read at a time, about.
const PAGE_BYTES: u64 = 2 << 20;
/// Items read at a time.
const PAGE: u64 = 1000;
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
        let log = match log.map(|json| serde_json::from_slice(&json)) {
            None => Log::EMPTY,
            Some(Ok(log)) => log,
            Some(Err(why)) => {
                return Err(StoreError::Broken(format!("the log's own record: {why}")));
            }
        };
        Ok((log, Runs::load(scan.clone()).await?, Copies::load(scan).await?))
    }
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
