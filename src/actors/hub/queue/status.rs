//! The account of the queue, in the words of the management API and the metrics.

use crate::actors::salvage;
use crate::messages::queue::{EndpointStatus, MoveStatus, QueueStatus, RouteCounts};
use crate::messages::salvage::Report;
use crate::messages::state::StoreError;
use crate::store::queue::{Counts, Moving, Owed};
use crate::store::{QueueStore, WriterState};

/// The store's state in words.
pub(super) fn words(store: &QueueStore) -> String {
    match &*store.state().borrow() {
        WriterState::Ready if store.has_matcher() => "ready".into(),
        WriterState::Ready => "waits for its routes".into(),
        WriterState::Full(why) => format!("full, new messages wait: {why}"),
        WriterState::Retrying(why) => format!("cannot write, trying again: {why}"),
        WriterState::Broken(why) => format!("broken: {why}"),
        WriterState::Stopped => "stopped".into(),
    }
}

pub(super) fn of(store: &QueueStore, not_json: u64) -> Result<QueueStatus, StoreError> {
    let (status, environment) = (store.status()?, store.in_use());
    let quarantined = status.accounts.iter().map(|account| account.ends[5]).sum();
    let reports = environment.reports();
    Ok(QueueStatus {
        salvages: salvage::recent(&reports).cloned().collect(),
        salvage_lost: reports.iter().map(Report::lost_messages).sum(),
        endpoints: status.endpoints.into_iter().map(owed).collect(),
        routes: status.accounts.into_iter().map(counts).collect(),
        unrouted: status.unrouted,
        unrouted_sources: status.unrouted_sources,
        paused: store.paused().iter().cloned().collect(),
        resent: status.resent,
        not_json,
        messages_in: status.messages_in,
        refused: status.refused,
        used_bytes: status.used_bytes,
        max_bytes: store.budget().max,
        full_policy: store.budget().policy,
        fill: store.fill().borrow().level,
        quarantined,
        state: words(store),
        place: environment.directory().display().to_string(),
        store: format!("{:032x}", environment.id().0),
        moving: store.moving().map(moving),
    })
}

fn moving(Moving { to, done, all }: Moving) -> MoveStatus {
    MoveStatus { to: to.display().to_string(), done_bytes: done, all_bytes: all }
}

fn owed(Owed { endpoint, rows, bytes, oldest }: Owed) -> EndpointStatus {
    EndpointStatus {
        endpoint: endpoint.0.to_string(),
        messages: rows,
        bytes,
        oldest_seconds: oldest.map(|oldest| oldest.as_secs()),
    }
}

fn counts(account: Counts) -> RouteCounts {
    let Counts { route, endpoint, input, received, stored, ends, .. } = account;
    let Counts { bytes, oldest, dead_bytes, replayed, dropped, .. } = account;
    let [delivered, expired, dead_lettered, evicted, discarded, quarantined] = ends;
    let endpoint = match input {
        Some(input) => format!("{endpoint}/{input}"),
        None => endpoint,
    };
    RouteCounts {
        route,
        endpoint,
        received,
        stored,
        stored_bytes: bytes,
        oldest_seconds: oldest.map(|(oldest, _)| oldest.as_secs()),
        oldest_is_at_most: oldest.is_some_and(|(_, is_at_most)| is_at_most),
        delivered,
        expired,
        dead_lettered,
        dead_bytes,
        dead_replayed: replayed,
        dead_dropped: dropped,
        evicted,
        discarded,
        quarantined,
    }
}
