//! A flood of log-ins that fail: wrong keys and unknown ids, from one place, as fast as they can.
//! Others come in and are served as before; the parent and the log are spared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use edge_runtime::protocol::tls::TlsClient;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::crowd::{Client, from, make_devices, trust};
use crate::gauge::{is_unhurt, median, round_trips, timed};
use crate::support::mqtt::LogIn;
use crate::support::world::World;

const ATTACKERS: usize = 40;
const FLOOD: Duration = Duration::from_secs(12);
/// At once, and in a second (`domain/door/pace.rs`): from one place.
const LOOKUPS: (u64, u64) = (64, 20);
const OTHER_KEY: &str = "bm90LXRoZS1rZXktb2YtYW55LWNsaWVudC1oZXJlLTA=";

async fn log_ins(who: &LogIn, tls: &TlsClient) -> Duration {
    let mut all = Vec::new();
    for _ in 0..15 {
        let (took, client) = timed(Client::connect(who, tls, from(44))).await;
        client.unwrap().disconnect().await;
        all.push(took);
        sleep(Duration::from_millis(50)).await;
    }
    median(all)
}

/// How many there were, for how long, and after what time each was refused.
fn attack(known: &LogIn, tls: &TlsClient) -> (u64, Duration, Duration) {
    let (count, waited) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begin = Instant::now();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for n in 0..ATTACKERS {
            let (tls, count, waited) = (tls.clone(), Arc::clone(&count), Arc::clone(&waited));
            let known = known.clone();
            tasks.spawn(async move {
                while begin.elapsed() < FLOOD {
                    let next = count.fetch_add(1, Ordering::Relaxed);
                    let who = match n % 2 {
                        0 => LogIn { key: OTHER_KEY.into(), ..known.clone() },
                        _ => LogIn { id: format!("nobody-{next}"), ..known.clone() },
                    };
                    let (took, refused) = timed(Client::connect(&who, &tls, None)).await;
                    assert!(refused.is_err(), "{} is not let in", who.id);
                    waited.fetch_add(took.as_millis() as u64, Ordering::Relaxed);
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    });
    let count = count.load(Ordering::Relaxed);
    (count, begin.elapsed(), Duration::from_millis(waited.load(Ordering::Relaxed) / count))
}

#[test]
fn a_flood_of_bad_log_ins_hurts_nobody_else() {
    let mut world = World::start(&json!({ "all": "FROM /messages/* INTO $upstream" }));
    let devices = make_devices(&world, "good", 4);
    let tls = trust(&world);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (bad, took, held) = runtime.block_on(async {
        let mut witness = Client::connect(&devices[0], &tls, from(45)).await.unwrap();
        let quiet = (round_trips(&mut witness, 50).await, log_ins(&devices[1], &tls).await);
        let (wrong, clients) = (devices[2].clone(), tls.clone());
        let attack = std::thread::spawn(move || attack(&wrong, &clients));
        sleep(Duration::from_secs(2)).await;
        let during = (round_trips(&mut witness, 50).await, log_ins(&devices[1], &tls).await);
        // From where the flood comes, and for an id that it is for.
        let same_place = Client::connect(&devices[3], &tls, None).await;
        let same_id = Client::connect(&devices[2], &tls, None).await;
        let (bad, took, held) = attack.join().unwrap();
        println!("{bad} bad log-ins within {took:.1?}, answered after {held:.1?} each");
        is_unhurt("round trips", quiet.0, during.0);
        is_unhurt("log-ins", quiet.1, during.1);
        same_place.expect("a good one from there").publish(1, b"good").await.unwrap();
        same_id.expect("the good one of that id").publish(1, b"good").await.unwrap();
        sleep(Duration::from_secs(16)).await; // the span of the last ones
        (bad, took, held)
    });
    assert!(held > Duration::from_millis(1_000), "{held:?}: they are not held back");
    let asked = world.hub.program.log_since_start().matches("not in the scope of").count() as u64;
    let most = LOOKUPS.0 + LOOKUPS.1 * (took.as_secs() + 1);
    println!("the parent was asked {asked} times, {most} at most");
    assert!((1..=most).contains(&asked), "{asked} look-ups");
    let log = world.edge.log_since_start();
    let lines = log.lines().filter(|line| line.contains("log-in refused")).count() as u64;
    println!("{lines} lines in the log for {bad} log-ins");
    assert!(lines <= 50 * (took.as_secs() / 10 + 2), "{lines} lines");
    assert!(log.contains("more log-ins failed than are in the log"), "{log}");
    assert!(world.edge.ended().is_none());
}
