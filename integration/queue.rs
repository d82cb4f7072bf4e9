//! What waits in the queue, seen from outside: who holds up whom, and what becomes of each message.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "queue/lives.rs"]
mod lives;
mod support;

use std::time::{Duration, Instant};

use rumqttc::mqttbytes::v4::Packet;
use serde_json::{Value, json};

use support::count::{broken_account, total};
use support::gateway::Ctl;
use support::mqtt::{LogIn, Mqtt};
use support::wait_for;
use support::world::{EDGE, World};

const SOON: Duration = Duration::from_secs(90);
const UP: &str = "FROM /messages/* INTO $upstream";

fn connect(who: &LogIn) -> Mqtt {
    wait_for("a connection", SOON, || who.connect().ok())
}

/// Publishes numbered messages, 200 at a time, and waits for their PUBACKs.
fn send(mqtt: &mut Mqtt, topic: &str, numbers: std::ops::Range<u64>) {
    for chunk in numbers.collect::<Vec<_>>().chunks(200) {
        for n in chunk {
            let id = u16::try_from(n % 60_000 + 1).unwrap();
            mqtt.publish(topic, id, false, n.to_string().as_bytes()).unwrap();
        }
        let (mut acks, deadline) = (0, Instant::now() + SOON);
        while acks < chunk.len() {
            let packet = mqtt.read(Duration::from_millis(200)).unwrap();
            acks += usize::from(matches!(packet, Some(Packet::PubAck(_))));
            assert!(Instant::now() < deadline, "{acks} PUBACKs of {}", chunk.len());
        }
    }
}

fn route(world: &World, name: &str) -> Value {
    let queue = world.queue().unwrap_or_default();
    let mut routes = queue["routes"].as_array().into_iter().flatten();
    routes.find(|it| it["route"] == name).cloned().unwrap_or_default()
}

/// Everything at the hub, in order of arrival: who sent it.
fn arrivals(world: &World) -> Vec<String> {
    let (mut all, mut since) = (Vec::new(), 0);
    while let Some((items, next)) = world.hub.service.telemetry(since) {
        since = next;
        if items.is_empty() {
            break;
        }
        all.extend(items.iter().map(|item| item["deviceId"].as_str().unwrap().to_owned()));
    }
    all
}

/// The window of the link, and what goes to a backlog between two live messages.
const BOUND: usize = 1_024 + 50;

#[test]
fn after_an_outage_the_alarms_of_others_arrive_within_the_bound_and_each_sender_in_order() {
    let settings = [("EDGE_RUNTIME__HUB__LIVE_SHARE_PERCENT", "50")];
    let mut world = World::start_as(&json!({ "up": UP }), &[], &settings);
    let (big, alarm) = (world.leaf("big"), world.leaf("alarm"));
    let (mut big_mqtt, mut alarms) = (connect(&big), connect(&alarm));
    let (of_big, of_alarm) = (big.telemetry_topic(""), alarm.telemetry_topic(""));
    send(&mut alarms, &of_alarm, 0..1);
    world.wait_drained(SOON);
    world.hub.program.kill();
    send(&mut big_mqtt, &of_big, 0..20_000);
    world.hub.program.again();
    wait_for("the backlog begins to drain", SOON, || {
        (route(&world, "up")["delivered"].as_u64() > Some(1)).then_some(())
    });
    let mut bounds = Vec::new();
    for n in 1..6 {
        send(&mut alarms, &of_alarm, n..n + 1);
        send(&mut big_mqtt, &of_big, 19_999 + n..20_000 + n);
        let delivered = route(&world, "up")["delivered"].as_u64().unwrap();
        bounds.push(usize::try_from(delivered).unwrap() + BOUND);
    }
    let account = world.wait_drained(SOON);
    let order = arrivals(&world);
    let places: Vec<_> = (0..order.len()).filter(|at| order[*at] == "alarm").collect();
    println!("of {} messages the alarms are at {places:?}, at most {bounds:?}", order.len());
    assert_eq!(places.len(), 6);
    assert!(bounds[0] < 19_000, "the backlog was gone too soon for this test: {bounds:?}");
    for (place, bound) in places[1..].iter().zip(&bounds) {
        assert!(place <= bound, "alarms are at {places:?}, at most {bounds:?}");
    }
    let of_big: Vec<_> = world.at_hub("big").iter().map(|it| it.n).collect();
    assert!(of_big.iter().copied().eq(0..20_005), "in order, none lost, none twice");
    assert!(world.at_hub("alarm").iter().map(|it| it.n).eq(0..6));
    assert_eq!(broken_account(&account), Vec::<String>::new());
}

#[test]
fn a_sender_whose_messages_are_all_refused_holds_up_nobody_behind_it() {
    let mut world = World::start(&json!({ "up": UP }));
    let ctl = Ctl::new(&world.hub, &world.management.0);
    let (gone, leaf) = (world.leaf("gone"), world.leaf("leaf"));
    let (mut first, mut second) = (connect(&gone), connect(&leaf));
    ctl.run(&["route", "pause", "up"]);
    send(&mut first, &gone.telemetry_topic(""), 0..2_000);
    send(&mut second, &leaf.telemetry_topic(""), 0..10);
    world.hub.service.call("DELETE", "/devices/gone", None);
    ctl.run(&["route", "resume", "up"]);
    let account = world.wait_drained(SOON);
    assert!(world.at_hub("leaf").iter().map(|it| it.n).eq(0..10));
    let up = &account["routes"][0];
    assert_eq!((&up["dead_lettered"], &up["delivered"]), (&2_000.into(), &10.into()), "{up}");
    assert_eq!(broken_account(&account), Vec::<String>::new());
}

#[test]
fn a_message_that_a_module_never_acknowledges_holds_up_no_other() {
    let to = "INTO BrokeredEndpoint(\"/modules/slow/inputs/in\")";
    let world = World::start(&json!({ "in": format!("FROM /messages/* {to}") }));
    let (leaf, slow) = (world.leaf("leaf"), world.module("slow"));
    let mut module = connect(&slow);
    assert!(module.subscribe(&format!("devices/{EDGE}/modules/slow/inputs/#")).unwrap());
    send(&mut connect(&leaf), &leaf.telemetry_topic(""), 0..300);
    let (mut taken, mut held) = (Vec::new(), None);
    wait_for("all the others", SOON, || {
        if let Some(Packet::Publish(it)) = module.read(Duration::from_millis(200)).unwrap() {
            let n: u64 = str::from_utf8(&it.payload).unwrap().parse().unwrap();
            if n == 0 {
                assert!(held.replace(it.pkid).is_none(), "it is sent once on a connection");
            } else {
                module.ack(it.pkid).unwrap();
                taken.push(n);
            }
        }
        (taken.len() == 299).then_some(())
    });
    assert!(taken.iter().copied().eq(1..300), "in order");
    let queue =
        wait_for("one is left", SOON, || world.queue().filter(|queue| total(queue, "stored") == 1));
    assert_eq!(total(&queue, "delivered"), 299);
    module.ack(held.unwrap()).unwrap();
    let account = world.wait_drained(SOON);
    assert_eq!(broken_account(&account), Vec::<String>::new());
}
