//! Supervision from outside: the running tree is the declared one; and, in test builds, every
//! actor panics, one after the other, under traffic.
//! `cargo test --features faults --target-dir target/mutants --test supervision`
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use edge_runtime::domain::tree::EDGE_RUNTIME;
use serde_json::json;

use support::wait_for;
use support::world::World;

fn routes() -> serde_json::Value {
    json!({ "all": "FROM /messages INTO $upstream" })
}

#[test]
fn the_running_tree_is_the_declared_one() {
    let world = World::start(&routes());
    let declared: BTreeSet<String> = EDGE_RUNTIME.paths().into_iter().skip(1).collect();
    let running = wait_for("the whole tree", Duration::from_secs(10), || {
        let tree = world.management.get("/tree")?;
        let paths = tree.as_array()?.iter().map(|one| {
            let path = one["path"].as_str().unwrap();
            assert_eq!(one["status"], "running", "{one}");
            format!("edge-runtime/{}", path.trim_start_matches("edge-runtime/"))
        });
        let paths: BTreeSet<String> = paths.collect();
        declared.is_subset(&paths).then_some(paths)
    });
    let more: Vec<_> = running.difference(&declared).collect();
    // What comes and goes: the route of this test; no module, no client.
    assert_eq!(more, ["edge-runtime/core/services/edge-hub/routes/route all"]);
}

#[cfg(feature = "faults")]
mod panics {
    use std::time::Instant;

    use super::*;
    use support::count::{Count, broken_account};
    use support::sender::Sender;

    /// Below these a panic ends no client's connection.
    const HARMLESS: [&str; 4] = ["edge-runtime/listener", "/upstream", "/edge-agent/", "/apis/"];
    /// Clients are back by then after any other (architecture 3; and a slow machine).
    const BACK: Duration = Duration::from_secs(15);

    #[test]
    fn every_actor_may_panic_under_traffic_and_nothing_acknowledged_is_lost() {
        let mut world = World::start(&routes());
        let leaves = [world.leaf("leaf-1"), world.leaf("leaf-2")];
        let mut senders = leaves.map(|leaf| Sender::start(leaf, ""));
        let acked = |senders: &[Sender], since: Instant| {
            let is_back = |one: &Sender| one.sent().last_ack.is_some_and(|at| at > since);
            senders.iter().all(is_back).then_some(())
        };
        wait_for("traffic", BACK, || acked(&senders, Instant::now() - BACK));
        let hub = "edge-runtime/core/services/edge-hub";
        let mut paths: Vec<String> = EDGE_RUNTIME.paths().into_iter().skip(1).collect();
        paths.push(format!("{hub}/routes/route%20all"));
        paths.push(format!("{hub}/sessions/connection%20leaf-1"));
        for path in paths {
            let before: Vec<_> = senders.iter().map(|one| one.sent().connections).collect();
            let target = format!("/faults/panic?path={path}");
            let what = format!("the panic of {path}");
            wait_for(&what, BACK, || {
                let (status, _) = world.management.try_call("POST", &target).ok()?;
                (status == 204).then_some(())
            });
            let panicked = Instant::now();
            let what = format!("all senders to be acknowledged after the panic of {path}");
            wait_for(&what, BACK, || acked(&senders, panicked));
            std::thread::sleep(Duration::from_millis(300)); // its restart is over
            let after: Vec<_> = senders.iter().map(|one| one.sent().connections).collect();
            println!(
                "{path}: acknowledged after {:?}, connections {before:?} {after:?}",
                panicked.elapsed()
            );
            let is_harmless = HARMLESS.iter().any(|part| path.contains(part));
            if is_harmless || path.contains("route%20") {
                assert_eq!(before, after, "the panic of {path} ended a connection");
            }
            if path.contains("connection%20leaf-1") {
                assert_eq!(before[1], after[1], "the panic of one connection ended another");
            }
            assert!(world.edge.ended().is_none(), "the process ended with {path}");
        }
        senders.iter_mut().for_each(Sender::finish);
        let queue = world.wait_drained(Duration::from_secs(60));
        let mut count = Count::default();
        for sender in &senders {
            let arrived = world.at_hub(sender.id());
            count.add(sender.id(), &sender.sent(), &arrived);
        }
        assert!(count.is_clean(), "{count:#?}");
        assert_eq!(broken_account(&queue), Vec::<String>::new());
    }
}
