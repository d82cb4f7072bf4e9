//! Routes take turns under traffic: every message is taken by the one or the other, and nothing by
//! a route once its successor is in force.
//!
//! next: `churn.rs`

use std::time::Duration;

use serde_json::json;

use crate::report::{DRAIN, RECOVERY, Report, Task};
use crate::support::sender::Sender;
use crate::support::wait_for;
use crate::support::world::World;

pub(crate) fn run(task: Task) -> Report {
    let routes = |name: &str| json!({ name: "FROM /messages/* INTO $upstream" });
    let mut random = task.random();
    let mut world = World::start(&routes("turn-0"));
    let mut senders: Vec<Sender> =
        ["leaf-1", "leaf-2"].map(|id| Sender::start(world.leaf(id), "")).into();
    let mut wrong = Vec::new();
    for cycle in 1..=task.cycles {
        std::thread::sleep(Duration::from_millis(20 + random.below(300)));
        let (before, now) = (format!("turn-{}", cycle - 1), format!("turn-{cycle}"));
        world.set_routes(&routes(&now));
        wait_for(&format!("route {now}"), RECOVERY, || is_in_force(&world, &now).then_some(()));
        let taken = received(&world, &before);
        std::thread::sleep(Duration::from_millis(200));
        let later = received(&world, &before);
        if later > taken {
            wrong.push(format!("{before} took {} messages after {now}", later - taken));
        }
    }
    senders.iter_mut().for_each(Sender::finish);
    let account = world.wait_drained(DRAIN);
    let mut report = Report::of_account(&account);
    report.wrong.append(&mut wrong);
    if account["unrouted"] != 0 {
        report.wrong.push(format!("messages that no route took: {}", account["unrouted"]));
    }
    for sender in &senders {
        report.count.add(sender.id(), &sender.sent(), &world.at_hub(sender.id()));
    }
    report
}

fn is_in_force(world: &World, route: &str) -> bool {
    let routes = world.management.get("/routes").unwrap_or_default();
    let routes = routes["routes"].as_array().into_iter().flatten();
    routes.map(|one| one["name"].as_str()).eq([Some(route)])
}

/// What a route has taken, by the account.
fn received(world: &World, route: &str) -> u64 {
    let queue = wait_for("the account", RECOVERY, || world.queue());
    let accounts = queue["routes"].as_array().into_iter().flatten();
    let own = accounts.filter(|account| account["route"] == route);
    own.map(|account| account["received"].as_u64().unwrap_or(0)).sum()
}
