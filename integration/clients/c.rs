//! azure-iot-sdk-c over MQTT (`iothubtransport_mqtt_common.c`).
//!
//! One SUBSCRIBE has all its filters; `devicebound` and inputs (`devices/{d}/modules/{m}/#`) with
//! QoS 1, the others with 0. `$rid`s are numbers of 16 bits. A message that is not acknowledged in
//! a minute goes again with DUP and its id on the same connection; after a new connection it
//! subscribes anew.

use serde_json::json;

use crate::replay::{Replay, Scene, Style, module_topic, value};

const STYLE: Style = Style {
    user: "?api-version=2020-09-30&DeviceClientType=iothubclient%2F1.14.0%20%28native%3B%20Linux%3B%20x86_64%29",
    keep_alive: 240,
};

#[test]
fn a_device_of_the_c_client() {
    let scene = Scene::start();
    for who in &scene.devices {
        for round in 0..2 {
            let (mut client, is_present) = Replay::connect(&STYLE, who, None);
            assert_eq!(is_present, round == 1);
            let devicebound = format!("devices/{}/messages/devicebound/#", who.id);
            let filters = [
                (devicebound.as_str(), 1),
                ("$iothub/twin/res/#", 0),
                ("$iothub/twin/PATCH/properties/desired/#", 0),
                ("$iothub/methods/POST/#", 0),
            ];
            assert_eq!(client.subscribe(2, &filters), [1, 0, 0, 0], "one answer, in order");
            let (status, twin) = client.ask_twin("$iothub/twin/GET/?$rid=4", "");
            assert!(status == 200 && twin["desired"]["$version"].is_u64(), "{status} {twin}");
            let patch = "$iothub/twin/PATCH/properties/reported/?$rid=65535";
            assert!(client.ask_twin(patch, r#"{"c":1}"#).0 < 300);
            let topic = format!(
                "devices/{}/messages/events/a=b&%24.ctime=2026-11-25T20%3A00%3A00Z",
                who.id
            );
            client.publish(&topic, 1, 6, false, b"first");
            client.acked(6);
            client.publish(&topic, 1, 6, true, b"first");
            client.acked(6);
            let answer = scene.call(who, "go", || {
                let (rid, _) = client.called("go");
                let topic = format!("$iothub/methods/res/200/?$rid={rid}");
                client.publish(&topic, 0, 0, false, b"1");
            });
            assert_eq!(answer["payload"], json!(1));
            scene.send_to(&who.id, &[("iothub-app-k", "v")], "for it");
            let message = client.receive(&devicebound[..devicebound.len() - 1]);
            let bag = message.topic.rsplit('/').next().unwrap();
            assert_eq!(value(bag, "k"), "v");
            drop(client);
        }
    }
}

#[test]
fn a_module_of_the_c_client() {
    let scene = Scene::start();
    let (mut client, _) = Replay::connect(&STYLE, &scene.reader, None);
    let all = format!("{}/#", module_topic("reader"));
    let filters = [("$iothub/methods/POST/#", 0), (all.as_str(), 1)];
    assert_eq!(client.subscribe(1, &filters), [0, 1]);
    let (mut writer, _) = Replay::connect(&STYLE, &scene.writer, None);
    let topic = format!("{}/messages/events/%24.on=out", module_topic("writer"));
    writer.publish(&topic, 1, 1, false, b"to c");
    writer.acked(1);
    // It looks for `/inputs/`, and takes what follows up to the next slash for the input.
    let input = client.receive(&format!("{}/inputs/in/", module_topic("reader")));
    assert_eq!(&input.payload[..], b"to c");
    let answer = scene.call(&scene.reader, "go", || {
        let (rid, _) = client.called("go");
        client.publish(&format!("$iothub/methods/res/200/?$rid={rid}"), 0, 0, false, b"2");
    });
    assert_eq!(answer["payload"], json!(2));
}
