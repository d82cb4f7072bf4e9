//! What arrives on a connection, and whom it is for.

use std::time::Duration;

use rumqttc::{Event, Outgoing, Packet, Publish, QoS, SubscribeReasonCode};
use serde_json::Value;
use tokio::time::Instant;

use super::connection::Connection;
use super::session::Session;
use super::words::Receipt;
use super::{Input, MethodCall};
use crate::bag;
use crate::error::{AttemptError, ClientError};
use crate::message::Message;
use crate::topics::{Received, Topics};
use crate::twin::{Merged, merge_patch};

/// After a twin answer that is an error we ask again, but not in a hot loop.
const REFETCH: Duration = Duration::from_secs(5);

impl Session {
    pub(super) fn on_event(
        &mut self,
        on: &mut Connection,
        event: Event,
    ) -> Result<(), AttemptError> {
        match event {
            Event::Outgoing(Outgoing::Publish(pkid)) if pkid != 0 => {
                self.in_flight.number(pkid);
                Ok(())
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                self.in_flight.acknowledge(ack.pkid);
                Ok(())
            }
            Event::Incoming(Packet::SubAck(ack)) => {
                let filter = self.subscribing.pop_front().unwrap_or_default();
                match ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                    true => Err(AttemptError::SubscriptionRefused(filter)),
                    false => Ok(()),
                }
            }
            Event::Incoming(Packet::Publish(publish)) => self.on_publish(on, publish),
            _ => Ok(()),
        }
    }

    fn on_publish(&mut self, on: &mut Connection, publish: Publish) -> Result<(), AttemptError> {
        let at_once = publish.qos != QoS::AtMostOnce;
        match self.topics.clone().parse(&publish.topic) {
            // An input is acknowledged by the application.
            Received::Input { name, bag } => return self.on_input(name, bag, &publish),
            Received::TwinAnswer { status, rid, .. } => {
                self.on_twin_answer(status, &rid, &publish.payload);
            }
            Received::DesiredPatch { version } => {
                self.on_patch(on, version, &publish.payload)?;
            }
            Received::Method { name, rid } => self.on_method(on, name, rid, &publish)?,
            Received::Unknown => (),
        }
        if at_once { on.acknowledge(publish.pkid) } else { Ok(()) }
    }

    fn on_input(&self, name: &str, bag: &str, publish: &Publish) -> Result<(), AttemptError> {
        let commands = self.out.commands.upgrade();
        let receipt = commands.filter(|_| publish.qos != QoS::AtMostOnce).map(|commands| Receipt {
            connection: self.connection,
            pkid: publish.pkid,
            commands,
        });
        let input = Input {
            name: bag::unescape(name),
            message: Message::from_wire(bag, publish.payload.clone()),
            redelivered: publish.dup,
            receipt,
        };
        // The hub has un-acked ones delivered again on the next connection.
        match self.out.inputs.try_send(input) {
            Err(tokio::sync::mpsc::error::TrySendError::Full(_)) => {
                Err(AttemptError::TooManyInputs)
            }
            _ => Ok(()),
        }
    }

    fn on_twin_answer(&mut self, status: u16, rid: &str, body: &[u8]) {
        let Some(request) = rid.parse().ok().and_then(|rid: u64| self.twin.remove(&rid)) else {
            return; // answered before
        };
        let parsed = serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
        let answer = if status < 300 {
            Ok(parsed)
        } else {
            Err(ClientError::Twin { status, body: String::from_utf8_lossy(body).into_owned() })
        };
        match (request.reply, answer) {
            (Some(reply), answer) => drop(reply.send(answer)),
            (None, Ok(mut twin)) => self.show_desired(twin["desired"].take()),
            (None, Err(_)) => self.refetch = Some(Instant::now() + REFETCH),
        }
    }

    fn on_patch(
        &mut self,
        on: &mut Connection,
        version: Option<u64>,
        body: &[u8],
    ) -> Result<(), AttemptError> {
        let patch = serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
        let version = version.or_else(|| patch["$version"].as_u64());
        let mut desired = self.out.desired.borrow().clone();
        match merge_patch(&mut desired, &patch, version) {
            Merged::Yes => self.show_desired(desired),
            Merged::Old => (),
            Merged::Gap => self.fetch_desired(on)?,
        }
        Ok(())
    }

    /// Tells the application, unless it has newer ones.
    fn show_desired(&self, desired: Value) {
        self.out.desired.send_if_modified(|shown| {
            let newer = shown.is_null() || *shown != desired;
            if newer {
                *shown = desired;
            }
            newer
        });
    }

    fn on_method(
        &self,
        on: &Connection,
        name: &str,
        rid: &str,
        publish: &Publish,
    ) -> Result<(), AttemptError> {
        let Some(commands) = self.out.commands.upgrade() else { return Ok(()) };
        let call = MethodCall {
            name: bag::unescape(name),
            payload: serde_json::from_slice(&publish.payload).unwrap_or(Value::Null),
            rid: rid.into(),
            connection: self.connection,
            commands,
        };
        if self.out.methods.try_send(call).is_ok() {
            return Ok(());
        }
        let body = br#"{"message":"the module has too many method calls waiting"}"#;
        on.publish(&Topics::method_answer(503, rid), QoS::AtMostOnce, body)
    }
}
