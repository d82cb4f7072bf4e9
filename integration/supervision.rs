//! Supervision from outside: the running tree is the declared one; a stop under traffic answers
//! what it has taken; and, in test builds (`panics.rs`), every actor panics, one after the other.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

#[cfg(feature = "faults")]
#[allow(dead_code, unused_imports, reason = "it takes the image only")]
mod agent;
#[path = "supervision/identities.rs"]
mod identities;
#[path = "supervision/moved.rs"]
mod moved;
#[cfg(feature = "faults")]
#[path = "supervision/panics.rs"]
mod panics;
#[cfg(feature = "faults")]
#[path = "supervision/steps.rs"]
mod steps;
mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use edge_runtime::domain::tree::EDGE_RUNTIME;
use serde_json::{Value, json};

use support::count::{Count, broken_account};
use support::sender::Sender;
use support::wait_for;
use support::world::World;

fn routes() -> serde_json::Value {
    json!({ "all": "FROM /messages INTO $upstream" })
}

#[test]
fn the_running_tree_is_the_declared_one() {
    let world = World::start(&routes());
    let mut expected: BTreeSet<String> = EDGE_RUNTIME.paths().into_iter().skip(1).collect();
    // What comes and goes: the route of this test; no module, no client.
    expected.insert("edge-runtime/core/services/edge-hub/routes/route all".into());
    let mut running = BTreeSet::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    while running != expected && Instant::now() < deadline {
        let tree = world.management.get("/tree").unwrap_or_default();
        let all = tree.as_array().into_iter().flatten().filter(|one| one["status"] == "running");
        let path = |one: &Value| format!("edge-runtime/{}", one["path"].as_str().unwrap());
        running = all.map(path).collect();
    }
    assert_eq!(running, expected);
}

#[test]
fn a_stop_under_traffic_acknowledges_all_that_it_has_stored() {
    let mut world = World::start(&routes());
    let leaves = ["leaf-1", "leaf-2", "leaf-3"].map(|id| world.leaf(id));
    let mut senders = leaves.map(|leaf| Sender::start_busy(leaf, ""));
    for stop in 0..5 {
        let before = senders.each_ref().map(|one| one.sent().acked_count());
        wait_for("traffic", Duration::from_secs(30), || {
            let mut all = senders.iter().zip(before);
            all.all(|(one, before)| one.sent().acked_count() > before + 300).then_some(())
        });
        let status = world.edge.terminate();
        assert!(status.success(), "stop {stop}: {status}");
        world.edge.again();
        world.edge.wait_ready();
    }
    senders.iter_mut().for_each(Sender::finish);
    let queue = world.wait_drained(Duration::from_secs(60));
    let mut count = Count::default();
    for sender in &senders {
        let arrived = world.at_hub(sender.id());
        count.add(sender.id(), &sender.sent(), &arrived);
    }
    assert!(count.is_clean(), "{count:#?}");
    assert_eq!(queue["resent"], 0, "stored, and sent again as it was not acknowledged: {queue}");
    assert_eq!(broken_account(&queue), Vec::<String>::new());
}
