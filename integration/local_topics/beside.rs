//! A benchmark: what a flood on local topics costs IoT Hub's messages on the same edge. Run by
//! `make bench` (release); FLOOD_ROUNDS (3) rounds of FLOOD_SECONDS (4), without and with in turn.
//! The flood's own threads are nice, so that the machine's cores are not what is measured.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rumqttc::mqttbytes::QoS::{AtLeastOnce, AtMostOnce};
use rumqttc::mqttbytes::v4::Packet;
use serde_json::json;

use crate::scene::*;
use crate::support::mqtt::LogIn;
use crate::support::number;
use crate::support::world::{EDGE, World};

/// Publishers of the flood; each as fast as it is read.
const FLOODERS: usize = 4;
const EVERY: Duration = Duration::from_millis(5);

/// Milliseconds.
#[derive(Default)]
struct Delays(Vec<f64>);

impl Delays {
    fn at(&mut self, part: f64) -> f64 {
        self.0.sort_unstable_by(f64::total_cmp);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let index = ((self.0.len() - 1) as f64 * part) as usize;
        self.0[index]
    }
}

fn milliseconds(since: u128, base: Instant) -> f64 {
    (base.elapsed().as_nanos().saturating_sub(since)) as f64 / 1e6
}

/// Floods until it drops.
struct Flood {
    is_on: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
    got: Arc<AtomicU64>,
}

impl Flood {
    fn start(publishers: &[LogIn], reader: &LogIn) -> Self {
        let (is_on, got) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let mut mqtt = reader.connect().unwrap();
        subscribe(&mut mqtt, &["flood/#"], AtMostOnce);
        let (on, count) = (Arc::clone(&is_on), Arc::clone(&got));
        let read = thread::spawn(move || {
            rustix::process::setpriority_process(None, 19).unwrap();
            while on.load(Ordering::Relaxed) {
                if let Ok(Some(Packet::Publish(_))) = mqtt.read(Duration::from_millis(50)) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let publish = publishers.iter().enumerate().map(|(number, log_in)| {
            let (mut mqtt, on) = (log_in.connect().unwrap(), Arc::clone(&is_on));
            thread::spawn(move || {
                rustix::process::setpriority_process(None, 19).unwrap();
                let (topic, body) = (format!("flood/é/{number}"), "x".repeat(256));
                while on.load(Ordering::Relaxed) {
                    publish(&mut mqtt, &topic, AtMostOnce, false, 0, &body);
                }
            })
        });
        let threads = publish.chain([read]).collect();
        Flood { is_on, threads, got }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_on.store(false, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// Acknowledgements, and arrivals at a module, of messages of a device.
#[derive(Default)]
struct Measured {
    ack: Delays,
    end_to_end: Delays,
}

fn send(sender: &LogIn, base: Instant, seconds: u64, into: &mut Measured) {
    let mut mqtt = sender.connect().unwrap();
    let topic = sender.telemetry_topic("out");
    let (begin, mut next) = (Instant::now(), Instant::now());
    while begin.elapsed() < Duration::from_secs(seconds) {
        let at = base.elapsed().as_nanos();
        let body = format!("{at:032}{}", "x".repeat(224));
        publish(&mut mqtt, &topic, AtLeastOnce, false, 1, &body);
        match mqtt.read(SOON) {
            Ok(Some(Packet::PubAck(_))) => into.ack.0.push(milliseconds(at, base)),
            other => panic!("no PUBACK but {other:?}"),
        }
        next += EVERY;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

#[test]
#[ignore = "a benchmark: BENCH=local-topics make bench"]
fn iot_hub_beside_a_flood() {
    let world: World = start(&[]);
    let desired = json!({
        "schemaVersion": "1.2",
        "routes": { "in": format!(r#"FROM /messages/* INTO BrokeredEndpoint("/modules/reader/inputs/in")"#) },
        "mqttBroker": { "authorizations": anything() },
    });
    world.hub.service.apply(EDGE, &json!({ "$edgeHub": desired }));
    let sender = world.leaf("leaf");
    let floods: Vec<_> = (0..FLOODERS).map(|n| world.leaf(&format!("flood{n}"))).collect();
    let sink = world.module("sink");
    let (base, arrived) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let mut reader = world.module("reader").connect().unwrap();
    subscribe(&mut reader, &["devices/edge/modules/reader/inputs/#"], AtLeastOnce);
    let (is_on, into) = (Arc::new(AtomicBool::new(true)), Arc::clone(&arrived));
    let on = Arc::clone(&is_on);
    let reading = thread::spawn(move || {
        while on.load(Ordering::Relaxed) {
            if let Ok(Some(Packet::Publish(it))) = reader.read(Duration::from_millis(50)) {
                reader.ack(it.pkid).unwrap();
                let at = std::str::from_utf8(&it.payload[..32]).unwrap().parse().unwrap();
                into.lock().unwrap().push(milliseconds(at, base));
            }
        }
    });
    thread::sleep(Duration::from_secs(1));
    let (rounds, seconds) = (number("FLOOD_ROUNDS", 3), number("FLOOD_SECONDS", 4));
    let mut measured = [Measured::default(), Measured::default()];
    let (mut flooded, mut got) = (0, 0);
    send(&sender, base, 1, &mut Measured::default()); // warm
    for _ in 0..rounds {
        for is_flooded in [false, true] {
            let flood = is_flooded.then(|| Flood::start(&floods, &sink));
            let before = metric(&world, "published_total");
            thread::sleep(Duration::from_millis(300));
            arrived.lock().unwrap().clear();
            let of = &mut measured[usize::from(is_flooded)];
            send(&sender, base, seconds, of);
            thread::sleep(Duration::from_millis(200));
            of.end_to_end.0.append(&mut arrived.lock().unwrap());
            if let Some(flood) = flood {
                flooded += metric(&world, "published_total") - before;
                got += flood.got.load(Ordering::Relaxed);
            }
        }
    }
    is_on.store(false, Ordering::Relaxed);
    reading.join().unwrap();
    for (name, Measured { ack, end_to_end }) in ["without", "with"].iter().zip(&mut measured) {
        println!(
            "iot-hub flood={name} n={} ack_p50_ms={:.3} ack_p99_ms={:.3} e2e_p50_ms={:.3} e2e_p99_ms={:.3}",
            ack.0.len(),
            ack.at(0.5),
            ack.at(0.99),
            end_to_end.at(0.5),
            end_to_end.at(0.99),
        );
    }
    let total = rounds * seconds;
    let (dropped, delivered) = (metric(&world, "dropped_total"), metric(&world, "delivered_total"));
    println!(
        "flood published_per_s={} received_per_s={} delivered={delivered} dropped={dropped}",
        flooded / total,
        got / total,
    );
    assert!(flooded / total > 1000, "that is no flood");
}
