//! A client of the gateway on raw MQTT 3.1.1, many on one thread: sends numbered telemetry and
//! reported patches, runs methods, takes cloud-to-device messages and desired patches, and keeps
//! the log of all of it. It never reconnects: no cut of the link may reach it.
//!
//! next: `judge.rs`

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, Login, Packet, PubAck, Publish, Subscribe,
    SubscribeFilter, SubscribeReasonCode,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::support::mqtt::LogIn;
use crate::support::rest::token;

const LARGEST: usize = 1 << 20;
/// CONNACK 3.
const NOT_NOW: &str = "ServiceUnavailable";
/// Packet ids of reported patches; below are those of telemetry.
const PATCHES: u16 = 40_000;
/// A reported patch with each so many messages.
const PATCH_EACH: u64 = 3;

/// What one client saw and did.
#[derive(Default)]
pub struct Log {
    pub is_ready: bool,
    /// Why it is no longer connected.
    pub ended: Option<String>,
    pub sent: u64,
    /// By number of the message, the time since 1970 at which it was sent.
    pub sent_at: Vec<Duration>,
    pub acked: u64,
    pub patches: u64,
    /// By patch, the status of its answer.
    pub answers: BTreeMap<u64, u16>,
    /// Numbers of the cloud-to-device messages, in order of arrival.
    pub devicebound: Vec<u64>,
    /// By number of the call, how often it ran.
    pub runs: BTreeMap<u64, u32>,
    /// The desired patches put together.
    pub desired: serde_json::Map<String, Value>,
    pub wrong: Vec<String>,
}

/// What all of them are told.
#[derive(Default)]
pub struct Signals {
    /// Talk, after all are there.
    pub go: AtomicBool,
    /// Send nothing new.
    pub stop: AtomicBool,
}

/// See the module documentation.
pub struct Client {
    pub log_in: LogIn,
    pub log: Arc<Mutex<Log>>,
}

/// Runs clients on one thread until the process ends; a batch of log-ins at a time.
pub fn run_all(clients: &[Client], signals: &Arc<Signals>, period: Duration) {
    let clients: Vec<_> = clients.iter().map(|c| (c.log_in.clone(), Arc::clone(&c.log))).collect();
    let signals = Arc::clone(signals);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let doors = Arc::new(tokio::sync::Semaphore::new(32));
            let count = u32::try_from(clients.len()).unwrap();
            let mut running = Vec::new();
            for (number, (log_in, log)) in (0u32..).zip(clients) {
                let (doors, signals) = (Arc::clone(&doors), Arc::clone(&signals));
                let offset = period * number / count;
                running.push(tokio::spawn(async move {
                    let door = doors.acquire().await.unwrap();
                    let talk = match Talk::begin_soon(&log_in, &log).await {
                        Ok(talk) => talk,
                        Err(why) => return log.lock().unwrap().ended = Some(why),
                    };
                    drop(door);
                    let why = talk.run(&signals, offset, period).await;
                    log.lock().unwrap().ended = why.err();
                }));
            }
            for task in running {
                task.await.unwrap();
            }
        });
    });
}

struct Talk {
    id: String,
    stream: TcpStream,
    bytes: BytesMut,
    log: Arc<Mutex<Log>>,
}

impl Talk {
    /// Tries again while the gateway says "not now": nobody has been looked up before the link
    /// is there.
    async fn begin_soon(log_in: &LogIn, log: &Arc<Mutex<Log>>) -> Result<Self, String> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            match Talk::begin(log_in, Arc::clone(log)).await {
                Err(why) if why.contains(NOT_NOW) && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                begun => return begun,
            }
        }
    }

    /// Logs in and subscribes to everything.
    async fn begin(log_in: &LogIn, log: Arc<Mutex<Log>>) -> Result<Self, String> {
        let stream = TcpStream::connect(log_in.address).await.map_err(|e| e.to_string())?;
        let id = log_in.id.clone();
        let mut talk = Talk { id, stream, bytes: BytesMut::new(), log };
        let mut connect = Connect::new(&log_in.id);
        connect.keep_alive = 240;
        let user = format!("{}/{}/?api-version=2021-04-12", log_in.hub, log_in.id);
        let resource = format!("{}/devices/{}", log_in.hub, log_in.id);
        connect.login = Some(Login::new(user, token(&resource, &log_in.key, None)));
        talk.write(|bytes| connect.write(bytes)).await?;
        match talk.next().await? {
            Packet::ConnAck(ConnAck { code: ConnectReturnCode::Success, .. }) => {}
            other => return Err(format!("{}: not let in: {other:?}", log_in.id)),
        }
        let filters = [
            format!("devices/{}/messages/devicebound/#", log_in.id),
            "$iothub/methods/POST/#".to_owned(),
            "$iothub/twin/res/#".to_owned(),
            "$iothub/twin/PATCH/properties/desired/#".to_owned(),
        ];
        let filters = filters.map(|path| SubscribeFilter::new(path, QoS::AtLeastOnce));
        let mut subscribe = Subscribe::new_many(filters);
        subscribe.pkid = u16::MAX;
        talk.write(|bytes| subscribe.write(bytes)).await?;
        match talk.next().await? {
            Packet::SubAck(ack)
                if ack.return_codes.iter().all(|c| *c != SubscribeReasonCode::Failure) => {}
            other => return Err(format!("{}: not subscribed: {other:?}", log_in.id)),
        }
        talk.log.lock().unwrap().is_ready = true;
        Ok(talk)
    }

    /// The next packet, in time.
    async fn next(&mut self) -> Result<Packet, String> {
        let read = async {
            loop {
                if let Some(packet) = self.packet()? {
                    return Ok(packet);
                }
                self.fill().await?;
            }
        };
        timeout(Duration::from_secs(30), read).await.map_err(|_| "no answer in 30 s".to_owned())?
    }

    fn packet(&mut self) -> Result<Option<Packet>, String> {
        match Packet::read(&mut self.bytes, LARGEST) {
            Ok(packet) => Ok(Some(packet)),
            Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn fill(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.bytes).await {
            Ok(0) => Err(format!("{}: closed by the gateway", self.id)),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{}: {error}", self.id)),
        }
    }

    async fn write<E: std::fmt::Debug>(
        &mut self,
        packet: impl FnOnce(&mut BytesMut) -> Result<usize, E>,
    ) -> Result<(), String> {
        let mut bytes = BytesMut::new();
        packet(&mut bytes).map_err(|error| format!("{error:?}"))?;
        self.stream.write_all(&bytes).await.map_err(|e| format!("{}: {e}", self.id))
    }

    async fn publish(&mut self, topic: &str, pkid: u16, body: Vec<u8>) -> Result<(), String> {
        let qos = if pkid == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        let mut packet = Publish::new(topic, qos, body);
        packet.pkid = pkid;
        self.write(|bytes| packet.write(bytes)).await
    }

    /// Until the connection is lost.
    async fn run(mut self, say: &Signals, offset: Duration, each: Duration) -> Result<(), String> {
        while !say.go.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut tick = interval_at(Instant::now() + offset, each);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(packet) = self.packet()? {
                self.take(packet).await?;
            }
            tokio::select! {
                read = self.stream.read_buf(&mut self.bytes) => match read {
                    Ok(0) => return Err(format!("{}: closed by the gateway", self.id)),
                    Ok(_) => {}
                    Err(error) => return Err(format!("{}: {error}", self.id)),
                },
                _ = tick.tick() => if !say.stop.load(Ordering::SeqCst) {
                    self.send().await?;
                },
            }
        }
    }

    async fn send(&mut self) -> Result<(), String> {
        let n = self.log.lock().unwrap().sent;
        let topic = format!("devices/{}/messages/events/", self.id);
        let pkid = u16::try_from(n + 1).unwrap();
        {
            let mut log = self.log.lock().unwrap();
            log.sent += 1;
            log.sent_at.push(UNIX_EPOCH.elapsed().unwrap());
        }
        self.publish(&topic, pkid, n.to_string().into_bytes()).await?;
        if n.is_multiple_of(PATCH_EACH) {
            let patch = n / PATCH_EACH;
            self.log.lock().unwrap().patches += 1;
            let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid={patch}");
            let body = json!({ format!("p{patch}"): patch, "last": patch }).to_string();
            let pkid = PATCHES + u16::try_from(patch).unwrap();
            self.publish(&topic, pkid, body.into_bytes()).await?;
        }
        Ok(())
    }

    async fn take(&mut self, packet: Packet) -> Result<(), String> {
        match packet {
            Packet::PubAck(PubAck { pkid }) if pkid < PATCHES => {
                let mut log = self.log.lock().unwrap();
                if u64::from(pkid) != log.acked + 1 {
                    let why = format!("{}: PUBACK {pkid} after {}", self.id, log.acked);
                    log.wrong.push(why);
                }
                log.acked = u64::from(pkid);
                Ok(())
            }
            Packet::Publish(publish) => {
                if publish.pkid != 0 {
                    self.write(|bytes| PubAck::new(publish.pkid).write(bytes)).await?;
                }
                self.take_publish(&publish).await
            }
            _ => Ok(()),
        }
    }

    async fn take_publish(&mut self, publish: &Publish) -> Result<(), String> {
        let topic = publish.topic.as_str();
        let body: Value = serde_json::from_slice(&publish.payload).unwrap_or_default();
        if let Some(rest) = topic.strip_prefix("$iothub/methods/POST/run/?$rid=") {
            let call = body["call"].as_u64().ok_or("a call without a number")?;
            *self.log.lock().unwrap().runs.entry(call).or_default() += 1;
            let topic = format!("$iothub/methods/res/200/?$rid={rest}");
            return self.publish(&topic, 0, publish.payload.to_vec()).await;
        }
        let mut log = self.log.lock().unwrap();
        if let Some(rest) = topic.strip_prefix("$iothub/twin/res/") {
            let (status, rest) = rest.split_once("/?$rid=").ok_or("an answer without $rid")?;
            let rid = rest.split('&').next().unwrap_or(rest);
            let (patch, status) = (rid.parse().unwrap(), status.parse().unwrap());
            if log.answers.insert(patch, status).is_some() {
                log.wrong.push(format!("{}: patch {patch} was answered twice", self.id));
            }
        } else if topic.starts_with("$iothub/twin/PATCH/properties/desired/") {
            let patch = body.as_object().ok_or("a desired patch that is no object")?;
            log.desired.extend(patch.iter().map(|(name, value)| (name.clone(), value.clone())));
        } else if topic.contains("/messages/devicebound/") {
            let n = body["n"].as_u64().ok_or("a cloud-to-device message that is not ours")?;
            log.devicebound.push(n);
        } else {
            log.wrong.push(format!("{}: got {topic}", self.id));
        }
        Ok(())
    }
}
