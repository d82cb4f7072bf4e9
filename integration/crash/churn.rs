//! `SWAPS` swaps of routes under traffic, one after the other, each in force before the next: with
//! them come and go a relay between modules, its sink, conditions, times to live and pauses.
//!
//! Every message reaches the hub once, by whichever route was in force; every message that the relay
//! took reaches the module. in = out + stored + named ends, duplicates 0.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::report::{DRAIN, RECOVERY, Report, Task};
use crate::support::count::{Count, total};
use crate::support::receiver::Receiver;
use crate::support::sender::Sender;
use crate::support::world::{EDGE, World};
use crate::support::{Random, wait_for};

/// Names that the route to the hub takes in turn.
const NAMES: u64 = 7;
/// Swaps between two pauses of the relay.
const PAUSE_EVERY: u64 = 25;
const PACE: Duration = Duration::from_millis(40);

pub(crate) fn run(task: Task) -> Report {
    let mut random = task.random();
    let mut world = World::start(&routes(0, &mut random).into());
    let receiver = Receiver::start(world.module("filter"));
    let mut senders: Vec<Sender> =
        ["leaf-1", "leaf-2"].map(|id| Sender::with_pause(world.leaf(id), "", PACE)).into();
    senders.push(Sender::with_pause(world.module("sensor"), "out", PACE));
    for sender in &senders {
        wait_for("the first acknowledgement", RECOVERY, || sender.sent().last_ack);
    }
    let began = Instant::now();
    for swap in 1..=task.cycles {
        let now = routes(swap, &mut random);
        let names: BTreeSet<String> = now.keys().cloned().collect();
        world.set_routes(&now.into());
        let deadline = Instant::now() + RECOVERY;
        while in_force(&world) != names {
            assert!(Instant::now() < deadline, "swap {swap} is not in force: {names:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        if swap % PAUSE_EVERY == 0 {
            // Known from the start: it took something, or is there.
            let how = if swap % (2 * PAUSE_EVERY) == 0 { "resume" } else { "pause" };
            let (status, answer) =
                world.management.try_call("POST", &format!("/routes/relay/{how}")).unwrap();
            assert!(status == 204 || status == 404, "{how}: {status} {answer}");
        }
    }
    let took = began.elapsed();
    let _unknown_is_fine = world.management.try_call("POST", "/routes/relay/resume");
    senders.iter_mut().for_each(Sender::finish);
    let account = world.wait_drained(DRAIN);
    let mut report = Report::of_account(&account);
    let mut at_hub = 0;
    for sender in &senders {
        let arrived = world.at_hub(sender.id());
        at_hub += arrived.len() as u64;
        report.count.add(sender.id(), &sender.sent(), &arrived);
    }
    let relayed = relay(&account, &receiver, &senders[2], &mut report);
    let of_hub = |name: &str| total(&only(&account, |it| it == "$upstream"), name);
    for (what, found) in [("received", of_hub("received")), ("delivered", of_hub("delivered"))] {
        if found != at_hub {
            report.wrong.push(format!("{what} {found} to the hub, where {at_hub} are"));
        }
    }
    if account["unrouted"] != 0 {
        report.wrong.push(format!("messages that no route took: {}", account["unrouted"]));
    }
    report.more = format!(
        "relayed={relayed} swaps_per_second={}",
        u128::from(task.cycles) * 1_000 / took.as_millis().max(1),
    );
    report
}

/// One route takes everything to the hub; its name changes each time. The rest comes and goes.
fn routes(swap: u64, random: &mut Random) -> Map<String, Value> {
    let mut all = Map::new();
    let mut up = json!({ "route": "FROM /messages/* INTO $upstream" });
    if random.below(2) == 0 {
        up["timeToLiveSecs"] = (3_600 + random.below(100)).into();
    }
    all.insert(format!("turn-{}", swap % NAMES), up);
    if random.below(3) == 0 {
        let never = "FROM /messages/* WHERE IS_DEFINED(nobodyHasThis) INTO $upstream";
        all.insert("never".into(), json!(never));
    }
    if random.below(2) == 0 {
        let condition =
            if random.below(3) == 0 { "WHERE NOT IS_DEFINED(nobodyHasThis) " } else { "" };
        let input = if random.below(2) == 0 { "in" } else { "other" };
        let relay = format!(
            "FROM /messages/modules/sensor/outputs/out {condition}INTO \
             BrokeredEndpoint(\"/modules/filter/inputs/{input}\")"
        );
        all.insert("relay".into(), json!(relay));
    }
    all
}

fn in_force(world: &World) -> BTreeSet<String> {
    let routes = world.management.get("/routes").unwrap_or_default();
    let routes = routes["routes"].as_array().into_iter().flatten();
    routes.filter_map(|one| one["name"].as_str()).map(str::to_owned).collect()
}

/// The accounts of some endpoints.
fn only(account: &Value, is_it: impl Fn(&str) -> bool) -> Value {
    let routes = account["routes"].as_array().into_iter().flatten();
    let own = routes.filter(|route| route["endpoint"].as_str().is_some_and(&is_it));
    json!({ "routes": own.collect::<Vec<_>>() })
}

/// What came to the module is what its account says, in order, once.
fn relay(account: &Value, receiver: &Receiver, sensor: &Sender, report: &mut Report) -> u64 {
    let inputs = only(account, |it| it.starts_with(&format!("{EDGE}/filter/")));
    let (taken, delivered) = (total(&inputs, "received"), total(&inputs, "delivered"));
    let arrived = receiver.arrived();
    let different: BTreeSet<u64> = arrived.iter().map(|arrival| arrival.n).collect();
    if taken != delivered || delivered != different.len() as u64 {
        let n = different.len();
        report.wrong.push(format!("the relay took {taken}, delivered {delivered}, {n} came"));
    }
    // Only some were to come, so none of them counts as lost.
    let mut own = Count::default();
    own.add(sensor.id(), &sensor.sent(), &arrived);
    report.count.duplicated += own.duplicated;
    report.count.reordered += own.reordered;
    report.count.invented += own.invented;
    delivered
}
