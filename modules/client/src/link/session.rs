//! What outlives a connection: messages not yet acknowledged, twin requests not yet answered,
//! what the application subscribed to. next: `inbound.rs`, what arrives.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use rumqttc::QoS;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection::Connection;
use super::{Command, Outbound, Outlets, TWIN_DEADLINE, TwinKind};
use crate::error::{AttemptError, ClientError};
use crate::topics::{self, Topics};

/// How many messages may be under way.
const WINDOW: usize = 64;

/// The state of a client.
pub(super) struct Session {
    pub(super) topics: Topics,
    pub(super) out: Outlets,
    /// Counts connections, so that a late acknowledgement is not sent on the wrong one.
    pub(super) connection: u64,
    /// Subscriptions of the current connection that the hub has not answered yet.
    pub(super) subscribing: VecDeque<String>,
    wanted: BTreeSet<String>,
    pub(super) in_flight: InFlight,
    pub(super) twin: BTreeMap<u64, TwinRequest>,
    next_rid: u64,
    pub(super) refetch: Option<Instant>,
}

/// A twin request that is not answered yet.
pub(super) struct TwinRequest {
    kind: TwinKind,
    sent: Instant,
    /// `None`: asked by ourselves, for the desired properties.
    pub(super) reply: Option<oneshot::Sender<Result<Value, ClientError>>>,
}

/// Messages under way, in order. rumqttc numbers them in the order they are given to it.
#[derive(Default)]
pub(super) struct InFlight {
    next: u64,
    submitted: VecDeque<(u64, Outbound)>,
    numbered: HashMap<u16, (u64, Outbound)>,
}

impl InFlight {
    fn len(&self) -> usize {
        self.submitted.len() + self.numbered.len()
    }

    fn submit(&mut self, outbound: Outbound) {
        self.submitted.push_back((self.next, outbound));
        self.next += 1;
    }

    /// rumqttc has sent the oldest submitted one with this packet id.
    pub(super) fn number(&mut self, pkid: u16) {
        if let Some(oldest) = self.submitted.pop_front() {
            self.numbered.insert(pkid, oldest);
        }
    }

    /// The hub has it: tells who sent it.
    pub(super) fn acknowledge(&mut self, pkid: u16) {
        if let Some((_, outbound)) = self.numbered.remove(&pkid) {
            let _ = outbound.acked.send(());
        }
    }

    /// Everything not acknowledged, in order, to be sent again.
    fn take(&mut self) -> Vec<Outbound> {
        let mut all: Vec<_> = self.numbered.drain().map(|(_, one)| one).collect();
        all.extend(self.submitted.drain(..));
        all.sort_by_key(|(order, _)| *order);
        all.into_iter().map(|(_, outbound)| outbound).collect()
    }
}

impl Session {
    pub(super) fn new(topics: Topics, out: Outlets) -> Self {
        Self {
            topics,
            out,
            connection: 0,
            subscribing: VecDeque::new(),
            wanted: BTreeSet::new(),
            in_flight: InFlight::default(),
            twin: BTreeMap::new(),
            next_rid: 1,
            refetch: None,
        }
    }

    /// A new connection: subscribe again, send again what is owed, ask again what was not answered.
    pub(super) fn connected(&mut self, on: &mut Connection) -> Result<(), AttemptError> {
        for filter in self.wanted.clone() {
            self.subscribe(on, filter)?;
        }
        for outbound in self.in_flight.take() {
            self.send(on, outbound)?;
        }
        for (rid, request) in &mut self.twin {
            request.sent = Instant::now();
            publish_twin(on, *rid, &request.kind)?;
        }
        if self.wanted.contains(topics::DESIRED_PATCHES) {
            self.fetch_desired(on)?; // patches are not kept for who is away
        }
        Ok(())
    }

    /// The connection is gone; what is owed waits in `in_flight` and `twin`.
    pub(super) fn disconnected(&mut self) {
        self.connection += 1;
        self.subscribing.clear();
        self.refetch = None;
    }

    pub(super) fn idle(&self) -> bool {
        self.in_flight.len() == 0
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_flight.len() < WINDOW
    }

    pub(super) fn send(&mut self, on: &Connection, outbound: Outbound) -> Result<(), AttemptError> {
        let given = on.publish(&outbound.topic, QoS::AtLeastOnce, &outbound.body);
        self.in_flight.submit(outbound); // also if it was not taken: then the connection ends
        given
    }

    pub(super) fn on_command(
        &mut self,
        on: &mut Connection,
        command: Command,
    ) -> Result<(), AttemptError> {
        match command {
            Command::WantInputs => self.want(on, self.topics.inputs()),
            Command::WantMethods => self.want(on, topics::METHODS.into()),
            Command::WantDesired => {
                self.want(on, topics::DESIRED_PATCHES.into())?;
                self.fetch_desired(on)
            }
            Command::Twin { kind, reply } => self.ask_twin(on, kind, Some(reply)),
            Command::Done { connection, pkid } if connection == self.connection => {
                on.acknowledge(pkid)
            }
            Command::Answer { connection, rid, status, body } if connection == self.connection => {
                let topic = Topics::method_answer(status, &rid);
                on.publish(&topic, QoS::AtMostOnce, body.as_bytes())
            }
            // Of an earlier connection: the hub delivers again or has given up the call.
            Command::Done { .. } | Command::Answer { .. } => Ok(()),
        }
    }

    /// Asks for the twin on our own account, unless that is under way.
    pub(super) fn fetch_desired(&mut self, on: &Connection) -> Result<(), AttemptError> {
        self.refetch = None;
        if self.twin.values().any(|request| request.reply.is_none()) {
            return Ok(());
        }
        self.ask_twin(on, TwinKind::Get, None)
    }

    fn ask_twin(
        &mut self,
        on: &Connection,
        kind: TwinKind,
        reply: Option<oneshot::Sender<Result<Value, ClientError>>>,
    ) -> Result<(), AttemptError> {
        self.want(on, topics::TWIN_ANSWERS.into())?;
        let rid = self.next_rid;
        self.next_rid += 1;
        let sent = publish_twin(on, rid, &kind);
        self.twin.insert(rid, TwinRequest { kind, sent: Instant::now(), reply });
        sent
    }

    fn want(&mut self, on: &Connection, filter: String) -> Result<(), AttemptError> {
        if self.wanted.insert(filter.clone()) { self.subscribe(on, filter) } else { Ok(()) }
    }

    fn subscribe(&mut self, on: &Connection, filter: String) -> Result<(), AttemptError> {
        let given = on.subscribe(&filter);
        self.subscribing.push_back(filter);
        given
    }

    /// Looks at what should have happened by now.
    pub(super) fn check_deadlines(&mut self, on: &mut Connection) -> Result<(), AttemptError> {
        if self.twin.values().any(|request| request.sent.elapsed() > TWIN_DEADLINE) {
            return Err(AttemptError::TwinSilent);
        }
        match self.refetch {
            Some(at) if Instant::now() >= at => self.fetch_desired(on),
            _ => Ok(()),
        }
    }
}

fn publish_twin(on: &Connection, rid: u64, kind: &TwinKind) -> Result<(), AttemptError> {
    match kind {
        TwinKind::Get => on.publish(&Topics::twin_get(rid), QoS::AtMostOnce, b" "),
        TwinKind::Report(patch) => {
            on.publish(&Topics::twin_report(rid), QoS::AtMostOnce, patch.as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbound(topic: &str) -> (Outbound, oneshot::Receiver<()>) {
        let (acked, answer) = oneshot::channel();
        (Outbound { topic: topic.into(), body: bytes::Bytes::new(), acked }, answer)
    }

    #[test]
    fn what_is_not_acknowledged_is_taken_in_the_order_it_was_sent() {
        let mut in_flight = InFlight::default();
        let mut answers = Vec::new();
        for topic in ["a", "b", "c", "d"] {
            let (one, answer) = outbound(topic);
            in_flight.submit(one);
            answers.push(answer);
        }
        for pkid in [999, 1, 2] {
            in_flight.number(pkid); // ids go round; `d` was not sent yet
        }
        in_flight.acknowledge(1);
        in_flight.acknowledge(77); // nobody's
        assert!(answers[1].try_recv().is_ok());
        assert!(answers[0].try_recv().is_err());
        let left: Vec<_> = in_flight.take().into_iter().map(|one| one.topic).collect();
        assert_eq!(left, ["a", "c", "d"]);
        assert_eq!(in_flight.len(), 0);
    }
}
