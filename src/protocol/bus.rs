//! The bus of local topics: rumqttd's router on a thread of its own, in this process, without any
//! listener. It carries references of eight bytes, from the link of one client to those of others.
//!
//! Its defects are kept out by what it is given (crates.md A2): topics are `u/` and a number, so
//! its matcher never sees a client's topic (a letter outside ASCII kills it), its tables do not
//! grow, and its logs, which keep what they delivered, hold no bodies; ids are in hexadecimal;
//! there is one subscription per link, made before anything is sent to it; and nothing is ever
//! waited for on the caller's thread.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, Stream};
use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet, PingReq, Publish};
use rumqttd::{Notification, Router, RouterConfig};
use tokio::sync::watch;

use crate::domain::hex::hex;

/// Links at a time: the router's queue has a thousand places, and a link uses four at most, so
/// that nobody waits for one.
pub const MAX_LINKS: usize = 240;
/// References in one batch at most, so that no link keeps the thread to itself.
const BATCH: usize = 64;
/// A log holds the last 2 to 3 times this; those under way together are 64 of 17 bytes at most.
const SEGMENT: usize = 2048;
/// A topic that nobody has.
const NOBODY: &str = "u/nobody";
/// Below others: what it delays is volatile anyway.
const NICE: i32 = 10;

type Open = dyn Fn(&str) -> Result<(LinkTx, LinkRx), BusError> + Send + Sync;

/// Why there is no bus, or no link.
#[derive(Debug, thiserror::Error)]
#[error("router of local topics: {0}")]
pub struct BusError(String);

fn broken(why: &dyn std::fmt::Display) -> BusError {
    BusError(why.to_string())
}

/// See the module documentation. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    open: Arc<Open>,
    /// Whether the router is known to have ended.
    is_over: watch::Receiver<bool>,
}

impl Bus {
    /// Starts a router; the future ends when its thread has.
    pub async fn start() -> Result<(Bus, impl Future<Output = ()>), BusError> {
        // It inherits how nice this thread is, which ends.
        let spawn = || {
            if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                tracing::debug!(%error, "the router of local topics runs as others do");
            }
            let config = RouterConfig {
                max_connections: MAX_LINKS + 1,
                max_outgoing_packet_count: BATCH as u64,
                max_segment_size: SEGMENT,
                max_segment_count: 3,
                ..RouterConfig::default()
            };
            Router::new(0, config).spawn()
        };
        let spawned = std::thread::Builder::new().name("bus".into()).spawn(spawn);
        let router = spawned.map_err(|error| broken(&error))?.join();
        let router = router.map_err(|_| broken(&"its thread cannot be started"))?;
        let events = router.clone();
        let open = move |id: &str| {
            let built = LinkBuilder::new(id, events.clone()).build();
            built.map(|(tx, rx, _)| (tx, rx)).map_err(|error| broken(&error))
        };
        let (over, is_over) = watch::channel(false);
        let bus = Bus { open: Arc::new(open), is_over };
        let (_, mut hears) = bus.link("watch".into()).await?;
        let ended = async move {
            while hears.next().await.is_ok() {} // nothing is sent to it: it only hears of the end
            while !router.is_disconnected() {
                tokio::time::sleep(Duration::from_millis(1)).await; // it takes events to its last moment
            }
            over.send_replace(true);
        };
        Ok((bus, ended))
    }

    /// Building waits for the router: not on this thread.
    async fn link(&self, id: String) -> Result<(LinkTx, LinkRx), BusError> {
        let open = Arc::clone(&self.open);
        let opened = tokio::task::spawn_blocking(move || open(&id));
        let mut is_over = self.is_over.clone();
        // An event that the router took in its last moment is answered by nobody.
        let is_over = async {
            if is_over.wait_for(|is_over| *is_over).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = is_over => Err(broken(&"its router has ended")),
            opened = opened => opened.map_err(|error| broken(&error))?,
        }
    }

    /// A link for a client, to which references for `slot` come.
    pub async fn open(&self, client: &str, slot: usize) -> Result<(BusTx, BusRx), BusError> {
        let (tx, mut rx) = self.link(hex(client.as_bytes())).await?;
        let mut tx = BusTx(tx);
        tx.0.try_subscribe(topic(slot)).map_err(|error| broken(&error))?;
        loop {
            let came = rx.next().await.map_err(|error| broken(&error))?;
            if let Some(Packet::SubAck(..)) = came.and_then(Into::into) {
                return Ok((tx, BusRx(rx)));
            }
        }
    }
}

fn topic(slot: usize) -> String {
    format!("u/{slot}")
}

/// Where a client's references go in. Closes when it is dropped.
pub struct BusTx(LinkTx);

impl BusTx {
    /// Sends references to slots, in order; `is_last`: and has it said when the router has them.
    pub fn push(&mut self, to: &[(usize, u64)], is_last: bool) -> Result<(), BusError> {
        let publish = |(slot, reference): &(usize, u64)| {
            let payload = Bytes::copy_from_slice(&reference.to_be_bytes());
            Publish::new(Bytes::from(topic(*slot)), payload, false)
        };
        if is_last {
            self.0.buffer().push_back(Packet::PingReq(PingReq));
        }
        let Some((last, before)) = to.split_last() else { return self.signal() };
        let before = before.iter().map(|one| Packet::Publish(publish(one), None));
        self.0.buffer().extend(before);
        let last = publish(last);
        self.0.try_publish(last.topic, last.payload).map(drop).map_err(|error| broken(&error))
    }

    fn signal(&mut self) -> Result<(), BusError> {
        let nothing = self.0.try_publish(NOBODY, Bytes::new());
        nothing.map(drop).map_err(|error| broken(&error))
    }

    /// Ends the router's thread, as one of its defects would.
    #[cfg(any(test, feature = "faults"))]
    pub fn kill_router(&mut self) {
        let _ = self.0.try_publish("é", Bytes::new()); // it is to die
    }
}

impl Drop for BusTx {
    fn drop(&mut self) {
        let reason_code = DisconnectReasonCode::NormalDisconnection;
        let bye = Packet::Disconnect(Disconnect { reason_code }, None);
        self.0.buffer().push_back(bye);
        let _ = self.signal(); // without a router there is nothing to close
    }
}

/// What came out for a client.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// References sent to its slot, in order.
    pub references: Vec<u64>,
    /// How many pushes with `is_last` of its own the router has.
    pub taken: usize,
}

/// Where they come out. It ends when the link was closed, or the router is dead.
pub struct BusRx(LinkRx);

impl BusRx {
    /// Batches, as they come.
    pub fn into_batches(self) -> impl Stream<Item = Came> {
        futures_util::stream::unfold(self, |mut this| async {
            let mut came = Came::default();
            let first = this.0.next().await.ok()?;
            this.note(first, &mut came).await;
            while came.references.len() < BATCH
                && let Some(Ok(next)) = this.0.next().now_or_never()
            {
                this.note(next, &mut came).await;
            }
            Some((came, this))
        })
    }

    async fn note(&self, notification: Option<Notification>, came: &mut Came) {
        if let Some(Notification::Unschedule) = notification {
            let _ = self.0.wake().await; // its end shows at the next reading
            return;
        }
        match notification.and_then(Into::into) {
            Some(Packet::Publish(publish, _)) => {
                let bytes = publish.payload.as_ref().try_into();
                came.references.extend(bytes.map(u64::from_be_bytes));
            }
            Some(Packet::PingResp(_)) => came.taken += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn references_go_from_link_to_link_and_the_router_says_that_it_has_them() {
        let (bus, _ended) = Bus::start().await.unwrap();
        let (mut one, own) = bus.open("gw/$edgeHub", 0).await.unwrap();
        let (_other, rx) = bus.open("d+é#", 7).await.unwrap();
        let (mut own, mut rx) = (Box::pin(own.into_batches()), Box::pin(rx.into_batches()));
        one.push(&[(7, 1), (3, 2), (7, u64::MAX)], true).unwrap();
        let mut got = Vec::new();
        while got.len() < 2 {
            got.extend(rx.next().await.unwrap().references);
        }
        assert_eq!(got, [1, u64::MAX]);
        assert_eq!(own.next().await.unwrap(), Came { references: vec![], taken: 1 });
        one.push(&[], true).unwrap();
        assert_eq!(own.next().await.unwrap().taken, 1);
    }

    #[tokio::test]
    async fn a_link_that_was_closed_ends_and_its_slot_is_free_for_another() {
        let (bus, _ended) = Bus::start().await.unwrap();
        let (mut one, _own) = bus.open("a", 0).await.unwrap();
        for round in 0..3_u64 {
            let (tx, rx) = bus.open("b", 1).await.unwrap();
            let mut rx = Box::pin(rx.into_batches());
            one.push(&[(1, round)], false).unwrap();
            assert_eq!(rx.next().await.unwrap().references, [round], "and nothing of before");
            drop(tx);
            while rx.next().await.is_some() {}
        }
    }

    #[tokio::test]
    async fn all_that_may_be_under_way_comes_out_whatever_came_before() {
        let (bus, _ended) = Bus::start().await.unwrap();
        let (mut one, _own) = bus.open("a", 0).await.unwrap();
        let (_tx, rx) = bus.open("b", 239).await.unwrap();
        let mut rx = Box::pin(rx.into_batches());
        for round in 0..100_u64 {
            let all: Vec<_> = (0..64).map(|n| (239, round * 64 + n)).collect();
            one.push(&all, true).unwrap();
            let mut got = Vec::new();
            while got.len() < 64 {
                got.extend(rx.next().await.unwrap().references);
            }
            assert!(got.iter().eq(all.iter().map(|(_, reference)| reference)));
        }
    }

    #[tokio::test]
    async fn the_death_of_the_router_is_heard_of() {
        let (bus, ended) = Bus::start().await.unwrap();
        let (mut one, own) = bus.open("a", 0).await.unwrap();
        one.kill_router();
        ended.await;
        assert_eq!(Box::pin(own.into_batches()).next().await, None);
        assert!(bus.open("b", 1).await.is_err());
    }
}
