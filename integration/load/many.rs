//! Many TLS clients at once: how fast they come in, what each costs, and that all are served.

use std::collections::HashMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::crowd::{connect_all, each, make_devices, trust};
use crate::gauge::{settled, used};
use crate::support::mqtt::LogIn;
use crate::support::world::World;
use crate::support::{number, wait_for};

/// Hand-shakes under way at the same time.
const AT_ONCE: usize = 64;
/// Bytes of memory of its own that a client may cost the runtime (issue 3).
const MOST: u64 = 40 << 10;

#[test]
fn many_clients_come_in_cost_little_and_are_served() {
    let count = usize::try_from(number("LOAD_CLIENTS", 300)).unwrap();
    let mut world = World::start(&json!({ "all": "FROM /messages/* INTO $upstream" }));
    let devices = make_devices(&world, "crowd", count);
    let edge = world.edge.id();
    wait_for("the edge to know the devices", Duration::from_secs(60), || {
        LogIn { address: (world.edge_address, 1883).into(), ..devices.last().unwrap().clone() }
            .connect()
            .ok()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tls = trust(&world);
    let before = settled(edge);
    let (begin, used_before) = (Instant::now(), used(edge));
    let clients = runtime.block_on(connect_all(&devices, &tls, AT_ONCE));
    let took = begin.elapsed();
    let spent = used(edge) - used_before;
    let rate = count as f64 / took.as_secs_f64();
    println!("{count} TLS clients came in within {took:.1?}: {rate:.0} a second");
    println!("  the runtime used {:.2} ms of processor for each", spent as f64 / count as f64);
    let connected = settled(edge);
    let of_each = |now: u64| now.saturating_sub(before) / count as u64;
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    println!("  RssAnon {:.0} KiB before, {:.0} KiB after", kib(before), kib(connected));
    println!("  {:.1} KiB for each that is connected", kib(of_each(connected)));
    let clients = runtime.block_on(each(clients, async move |mut client| {
        client.subscribe().await?;
        Ok(client)
    }));
    let subscribed = settled(edge);
    println!("  {:.1} KiB for each that has subscribed too", kib(of_each(subscribed)));
    let begin = Instant::now();
    let clients = runtime.block_on(each(clients, async move |mut client| {
        client.publish(2, client.log_in.id.clone().as_bytes()).await?;
        Ok(client)
    }));
    println!("  a message from each was stored within {:.1?}", begin.elapsed());
    world.wait_drained(Duration::from_secs(120));
    let mut counts: HashMap<String, usize> = HashMap::new();
    let (mut since, mut total) = (0, 0);
    while let Some((items, next)) = world.hub.service.telemetry(since) {
        if items.is_empty() {
            break;
        }
        since = next;
        total += items.len();
        for item in items {
            *counts.entry(item["deviceId"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    println!("  {total} messages at the hub, of {} senders", counts.len());
    for device in &devices {
        assert_eq!(counts.get(&device.id), Some(&1), "messages of {}", device.id);
    }
    let sent = settled(edge);
    println!("  {:.1} KiB for each after its message", kib(of_each(sent)));
    let used_before = used(edge);
    sleep(Duration::from_secs(5));
    let idle = (used(edge) - used_before) as f64 / 50.0;
    println!("  {idle:.1} % of a processor while all are idle");
    assert!(world.edge.ended().is_none());
    drop(clients);
    if count >= 1000 {
        assert!(of_each(sent) <= MOST, "{} bytes for each client", of_each(sent));
    }
}
