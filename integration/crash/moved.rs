//! The queue is moved from one directory to another and back under traffic, and the runtime is
//! killed at random moments of it: it goes on from the old place or from the new one, and the other
//! one is cleared.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rumqttc::mqttbytes::v4::Packet;
use serde_json::{Value, json};

use crate::report::{DRAIN, RECOVERY, Report, Task, wait_acked_since};
use crate::support::count::total;
use crate::support::sender::Sender;
use crate::support::wait_for;
use crate::support::world::World;

/// What makes the queue large enough for a move to take a while.
const BALLAST: u16 = 150;
const BALLAST_BYTES: usize = 200_000;
/// A kill comes so long after the deployment at most, in milliseconds.
const LATEST: u64 = 900;

pub(crate) fn run(task: Task) -> Report {
    let mut random = task.random();
    let disk = tempfile::tempdir().unwrap();
    let disk = disk.path().canonicalize().unwrap();
    let places = ["a", "b"].map(|name| disk.join(name));
    places.iter().for_each(|place| std::fs::create_dir(place).unwrap());
    let roots = disk.display().to_string();
    let mut world =
        World::start_as(&routes(), &[], &[("EDGE_RUNTIME__STORE__ALLOWED_ROOTS", &roots)]);
    let home = world.folder.path().canonicalize().unwrap().join("edge/queue");
    load(&world);
    let mut senders: Vec<Sender> =
        ["leaf-1", "leaf-2"].map(|id| Sender::start(world.leaf(id), "")).into();
    wait_acked_since(&senders, task.began);
    let (mut now, mut killed, mut half_way) = (home.clone(), 0, 0);
    let (mut worst, mut wrong) = (Duration::ZERO, Vec::new());
    for cycle in 0..task.cycles {
        let all = [&home, &places[0], &places[1]];
        let others: Vec<_> = all.into_iter().filter(|place| **place != now).collect();
        let next = others[usize::try_from(random.below(2)).unwrap()].clone();
        let location = (next != home).then(|| next.to_str().unwrap());
        world.set_store(&routes(), &json!({ "timeToLiveSecs": 7200, "location": location }));
        let since = Instant::now();
        if random.below(5) > 0 {
            std::thread::sleep(Duration::from_millis(random.below(LATEST)));
            world.edge.kill();
            killed += 1;
            half_way += u64::from(is_half_way(&next));
            world.edge.again();
            world.edge.wait_ready();
        }
        worst = worst.max(wait_acked_since(&senders, since));
        let what = format!("move {cycle} to {}", next.display());
        wait_for(&what, RECOVERY, || (place(&world)? == next).then_some(()));
        let left = wait_cleared(&all.map(PathBuf::as_path), &next);
        wrong.extend(left.map(|left| format!("after {what}: {left}")));
        now = next;
    }
    senders.iter_mut().for_each(Sender::finish);
    let discard = "/queue/discard?endpoint=edge%2Fgone";
    let (status, answer) = world.management.try_call("POST", discard).unwrap();
    assert_eq!(status, 200, "{answer}");
    let account = world.wait_drained(DRAIN);
    let mut report = Report { worst, ..Report::of_account(&account) };
    report.wrong.append(&mut wrong);
    if total(&account, "discarded") != u64::from(BALLAST) {
        report.wrong.push(format!("not all of the ballast was there: {account}"));
    }
    for sender in &senders {
        report.count.add(sender.id(), &sender.sent(), &world.at_hub(sender.id()));
    }
    report.more = format!("kills={killed} kills_with_half_a_copy={half_way}");
    report
}

fn routes() -> Value {
    json!({
        "ballast": "FROM /messages/* WHERE IS_DEFINED(ballast) INTO BrokeredEndpoint(\"/modules/gone/inputs/in\")",
        "up": "FROM /messages/* WHERE NOT IS_DEFINED(ballast) INTO $upstream",
    })
}

/// Messages that stay.
fn load(world: &World) {
    let log_in = world.leaf("ballast");
    let topic = format!("{}ballast=1", log_in.telemetry_topic(""));
    let mut client = log_in.connect().unwrap();
    let body = vec![b'x'; BALLAST_BYTES];
    for n in 1..=BALLAST {
        client.publish(&topic, n, false, &body).unwrap();
        let answer = client.read(RECOVERY).unwrap();
        assert!(matches!(answer, Some(Packet::PubAck(_))), "{answer:?}");
    }
}

fn place(world: &World) -> Option<PathBuf> {
    Some(world.queue()?["place"].as_str()?.into())
}

/// Copies in the making.
fn incoming(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("incoming-")).collect()
}

fn is_half_way(place: &Path) -> bool {
    !incoming(place).is_empty()
}

/// Nothing may be left at the other places; what is.
fn wait_cleared(all: &[&Path], now: &Path) -> Option<String> {
    let left = || {
        let others = all.iter().filter(|place| **place != now);
        let mut left = others.filter(|place| place.join("data.mdb").exists() || is_half_way(place));
        left.next().map(|place| format!("something is left in {}", place.display()))
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while left().is_some() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    left().or_else(|| is_half_way(now).then(|| format!("half a copy in {}", now.display())))
}
