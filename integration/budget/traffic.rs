//! A sensor that sends as fast as it is acknowledged, and a filter that acknowledges an input only
//! when what it made of it is acknowledged.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rumqttc::mqttbytes::v4::Packet;

use crate::support::mqtt::{LogIn, Mqtt};

/// With properties and the rest it shares a page with one other.
const BODY: usize = 1_900;
const WINDOW: usize = 40;

fn body(n: u64) -> Vec<u8> {
    format!("{n:0>BODY$}").into_bytes()
}

/// See the module documentation.
pub(crate) struct Flood {
    acked: Arc<AtomicU64>,
    /// Messages that are to be sent; less once it is to end.
    most: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Sends so many, if it is not told to end before.
    pub(crate) fn start(log_in: LogIn, most: u64) -> Self {
        let (flood_acked, flood_sent) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let flood_most = Arc::new(AtomicU64::new(most));
        let (acked, sent) = (Arc::clone(&flood_acked), Arc::clone(&flood_sent));
        let most = Arc::clone(&flood_most);
        let thread = std::thread::spawn(move || {
            let mut unacked = VecDeque::new();
            loop {
                let talked = log_in.connect();
                let talked = talked
                    .and_then(|mqtt| send(mqtt, &log_in, &mut unacked, (&acked, &most, &sent)));
                match talked {
                    Ok(()) => return,
                    Err(_) => sleep(Duration::from_millis(50)), // the other side is away: again
                }
            }
        });
        let (acked, most, sent) = (flood_acked, flood_most, flood_sent);
        Flood { acked, most, sent, thread: Some(thread) }
    }

    /// Messages that were acknowledged: the first so many.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::SeqCst)
    }

    /// Sends no new ones, or what is left of those asked for; answers how many were acknowledged.
    #[track_caller]
    pub(crate) fn finish(mut self, within: Duration) -> u64 {
        let sent = self.sent.load(Ordering::SeqCst) + 100;
        self.most.fetch_min(sent, Ordering::SeqCst);
        let thread = self.thread.take().unwrap();
        let deadline = Instant::now() + within;
        while !thread.is_finished() {
            assert!(Instant::now() < deadline, "{} acknowledged after {within:?}", self.acked());
            sleep(Duration::from_millis(20));
        }
        thread.join().unwrap();
        self.acked()
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.most.store(0, Ordering::SeqCst);
    }
}

fn send(
    mut mqtt: Mqtt,
    log_in: &LogIn,
    unacked: &mut VecDeque<u64>,
    (acked, most, sent): (&AtomicU64, &AtomicU64, &AtomicU64),
) -> Result<(), String> {
    let topic = log_in.telemetry_topic("out");
    let id = |n: u64| u16::try_from(n % 60_000 + 1).unwrap();
    for n in unacked.iter() {
        mqtt.publish(&topic, id(*n), true, &body(*n))?;
    }
    loop {
        while unacked.len() < WINDOW && sent.load(Ordering::SeqCst) < most.load(Ordering::SeqCst) {
            let n = sent.fetch_add(1, Ordering::SeqCst);
            unacked.push_back(n);
            mqtt.publish(&topic, id(n), false, &body(n))?;
        }
        if unacked.is_empty() || most.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        if let Some(Packet::PubAck(ack)) = mqtt.read(Duration::from_millis(100))? {
            let first = unacked.pop_front().ok_or("an acknowledgement too many")?;
            assert_eq!(ack.pkid, id(first), "acknowledged out of order");
            acked.store(first + 1, Ordering::SeqCst);
        }
    }
}

/// See the module documentation.
pub(crate) struct Relay {
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    pub(crate) fn start(log_in: LogIn) -> Self {
        let is_stopping = Arc::<AtomicBool>::default();
        let stop = Arc::clone(&is_stopping);
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let _ended = log_in.connect().and_then(|mqtt| relay(mqtt, &log_in, &stop));
                sleep(Duration::from_millis(50)); // the other side is away: again
            }
        });
        Relay { is_stopping, thread: Some(thread) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Ends with no output un-acknowledged, unless the connection ends.
fn relay(mut mqtt: Mqtt, log_in: &LogIn, is_stopping: &AtomicBool) -> Result<(), String> {
    let (device, module) = log_in.id.split_once('/').unwrap();
    mqtt.subscribe_quietly(&format!("devices/{device}/modules/{module}/inputs/#"));
    let topic = log_in.telemetry_topic("out");
    let (mut made, mut last) = (HashMap::new(), 0_u16);
    while !is_stopping.load(Ordering::SeqCst) || !made.is_empty() {
        match mqtt.read(Duration::from_millis(100))? {
            Some(Packet::Publish(input)) => {
                if is_stopping.load(Ordering::SeqCst) {
                    continue; // it comes again
                }
                last = last % 60_000 + 1;
                made.insert(last, input.pkid);
                mqtt.publish(&topic, last, false, &input.payload)?;
            }
            Some(Packet::PubAck(ack)) => {
                let input = made.remove(&ack.pkid).ok_or("an acknowledgement too many")?;
                mqtt.ack(input)?;
            }
            _ => {}
        }
    }
    Ok(())
}
