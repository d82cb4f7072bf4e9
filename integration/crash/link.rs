//! The link to the parent as real networks are: far, slow, coming and going, and gone without a word.
//!
//! A proxy of the tests stands for the network (`tc netem` is not in every kernel). It is cut again and
//! again under load; nothing is lost, doubled or reordered, and once it is there again the first
//! message is at the hub within the cap of the delay between two attempts and five round trips. Of
//! a cut that nobody is told of, that counts from when the link is known to be dead: 30 s after the
//! last that came.
//!
//! next: `news.rs`

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use crate::news::{News, now};
use crate::report::{Report, Task, wait_acked_since};
use crate::support::count::total;
use crate::support::pipe::Profile;
use crate::support::program::own_address;
use crate::support::proxy::{Cut, Proxy};
use crate::support::sender::{Sender, Speech};
use crate::support::world::World;
use crate::support::{Random, number, wait_for};

const MQTT: u16 = 8883;
/// The cap of the delay between two attempts in the first ten minutes.
const CAP: Duration = Duration::from_secs(1);
/// A link is dead when nothing came for so long.
const SILENCE: Duration = Duration::from_secs(30);
/// With fewer cuts the slowest is no 99th percentile: then the median is held to the bound.
const MANY: u64 = 20;

const SATELLITE: Profile = Profile {
    delay: Duration::from_millis(300),
    jitter: Duration::from_millis(25),
    rate: 0,
    lost_of_1000: 20,
};
/// 384 kbit/s.
const THIRD_GENERATION: Profile = Profile {
    delay: Duration::from_millis(50),
    jitter: Duration::from_millis(5),
    rate: 48_000,
    lost_of_1000: 0,
};
/// What is left of a link at the edge of its range.
const SLOW: Profile = Profile {
    delay: Duration::from_millis(300),
    jitter: Duration::ZERO,
    rate: 2_000,
    lost_of_1000: 0,
};
/// A link that is away for most of the time leaves a backlog.
const DRAIN: Duration = Duration::from_secs(900);
/// Three senders, 45 messages a second in all.
const LOAD: Speech = Speech { pause: Duration::from_millis(400), size: 100, ..Speech::USUAL };

pub(crate) fn satellite(task: Task) -> Report {
    run(task, SATELLITE, |random| Cuts {
        how: any(random),
        up: Duration::from_millis(3_000 + random.below(3_000)),
        down: Duration::from_millis(200 + random.below(3_000)),
    })
}

pub(crate) fn third_generation(task: Task) -> Report {
    run(task, THIRD_GENERATION, |random| Cuts {
        how: any(random),
        up: Duration::from_millis(1_000 + random.below(3_000)),
        down: Duration::from_millis(200 + random.below(3_000)),
    })
}

/// Five seconds there, five seconds not.
pub(crate) fn flaps(task: Task) -> Report {
    run(task, THIRD_GENERATION, |random| Cuts {
        how: any(random),
        up: Duration::from_secs(5),
        down: Duration::from_secs(5),
    })
}

/// The network is there, but what was connected over it is gone, and neither side is told.
pub(crate) fn half_open(task: Task) -> Report {
    run(task, THIRD_GENERATION, |random| Cuts {
        how: Cut::Silent,
        up: Duration::from_millis(1_000 + random.below(12_000)),
        down: Duration::ZERO,
    })
}

struct Cuts {
    how: Cut,
    /// Before the cut.
    up: Duration,
    down: Duration,
}

fn any(random: &mut Random) -> Cut {
    [Cut::Reset, Cut::Close, Cut::BlackHole][usize::try_from(random.below(3)).unwrap()]
}

fn start(task: Task, profile: Profile) -> (World, Proxy) {
    let mut proxy = None;
    let routes = json!({ "all": "FROM /messages/* INTO $upstream" });
    let world = World::start_behind(&routes, &[], |hub| {
        let to = SocketAddr::from((hub.address, MQTT));
        let through = Proxy::start_as(own_address(), to, profile, task.seed);
        let address = through.address.to_string();
        proxy = Some(through);
        vec![("EDGE_RUNTIME__UPSTREAM__ADDRESS".into(), address)]
    });
    (world, proxy.unwrap())
}

fn run(task: Task, profile: Profile, draw: fn(&mut Random) -> Cuts) -> Report {
    let mut random = task.random();
    let (mut world, proxy) = start(task, profile);
    let mut senders = vec![Sender::speaking(world.module("sensor"), "out", LOAD)];
    for id in ["leaf-1", "leaf-2"] {
        senders.push(Sender::speaking(world.leaf(id), "", LOAD));
    }
    wait_acked_since(&senders, task.began);
    let mut news = News::default();
    let (mut delays, mut bound) = (Vec::new(), CAP + 5 * profile.round_trip());
    for _ in 0..task.cycles {
        let Cuts { how, up, down } = draw(&mut random);
        std::thread::sleep(up);
        proxy.down(how);
        std::thread::sleep(down);
        let is_there = now();
        proxy.up();
        if how == Cut::Silent {
            bound = SILENCE + CAP + 5 * profile.round_trip();
        }
        news.skip(&world, is_there);
        let what = format!("a message at the hub, after {how:?}, {down:?} of it");
        let first = wait_for(&what, 3 * bound, || news.first(&world, is_there));
        delays.push(first.saturating_sub(is_there));
    }
    senders.iter_mut().for_each(Sender::finish);
    let account = world.wait_drained(DRAIN);
    let mut report = Report::of_account(&account);
    let mut arrived = 0;
    for sender in &senders {
        let at_hub = world.at_hub(sender.id());
        arrived += at_hub.len() as u64;
        report.count.add(sender.id(), &sender.sent(), &at_hub);
    }
    if total(&account, "delivered") != arrived {
        let delivered = total(&account, "delivered");
        report.wrong.push(format!("{delivered} delivered, {arrived} at the hub"));
    }
    delays.sort_unstable();
    let at = |share: usize| delays[(delays.len() - 1) * share / 100];
    let (p50, p99, max) = (at(50), at(99), at(100));
    let held = if task.cycles < MANY { p50 } else { p99 };
    if held > bound {
        report.wrong.push(format!("the first message came after {held:?}, more than {bound:?}"));
    }
    report.worst = max;
    report.more = format!(
        "by=proxy first_delivery_p50_ms={} p99_ms={} max_ms={} bound_ms={} connections={}",
        p50.as_millis(),
        p99.as_millis(),
        max.as_millis(),
        bound.as_millis(),
        proxy.accepted(),
    );
    report
}

/// Large messages over a link that takes a minute for each, and small ones beside them: all come, over
/// one connection that nobody gives up. `LARGE` is their size.
pub(crate) fn slow(task: Task) -> Report {
    let size = usize::try_from(number("LARGE", 120_000)).unwrap();
    let each = Duration::from_secs(size as u64 / SLOW.rate);
    let (mut world, proxy) = start(task, SLOW);
    let large = Speech { burst: 1, pause: each, size, ..Speech::USUAL };
    let small = Speech { burst: 1, pause: Duration::from_secs(2), ..Speech::USUAL };
    let mut senders = vec![
        Sender::speaking(world.leaf("leaf-1"), "", large),
        Sender::speaking(world.module("sensor"), "out", small),
    ];
    let enough = usize::try_from(task.cycles).unwrap();
    wait_for("the large messages to be sent", each * (task.cycles as u32 + 1), || {
        (senders[0].sent().acked.len() >= enough).then_some(())
    });
    std::thread::sleep(each);
    senders.iter_mut().for_each(Sender::finish);
    let account = world.wait_drained(2 * each * (task.cycles as u32 + 1));
    let mut report = Report::of_account(&account);
    for sender in &senders {
        report.count.add(sender.id(), &sender.sent(), &world.at_hub(sender.id()));
    }
    if proxy.accepted() > 1 {
        report.wrong.push(format!("the link was made {} times", proxy.accepted()));
    }
    report.more = format!("by=proxy bytes={size} connections={}", proxy.accepted());
    report
}
