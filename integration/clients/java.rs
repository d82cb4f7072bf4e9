//! iot-device-client for Java over MQTT (`transport/mqtt`).
//!
//! All with QoS 1. Names of system properties are not encoded (`$.mid=…`); a module's topic ends
//! in a slash, and it names its own device and module in `$.cdid` and `$.cmid`. A patch carries
//! `&$version=`. Of an answer it reads three digits of status, and a version only behind `$rid`.
//! A module that is not below an edge asks for `devicebound` of its own, and gets nothing there.

use serde_json::json;

use crate::replay::{Replay, Scene, Style, module_topic, value};

const STYLE: Style = Style {
    user: "?api-version=2020-09-30&DeviceClientType=com.microsoft.azure.sdk.iot.iot-device-client%2F2.5.0",
    keep_alive: 230,
};
const TWIN: &str = "$iothub/twin/res/#";

#[test]
fn a_device_of_java() {
    let scene = Scene::start();
    for who in &scene.devices {
        let (mut client, _) = Replay::connect(&STYLE, who, None);
        let devicebound = format!("devices/{}/messages/devicebound/#", who.id);
        assert_eq!(client.subscribe(1, &[(&devicebound, 1)]), [1]);
        let topic = format!(
            "devices/{}/messages/events/$.mid=id%2F1&$.cid=c&$.ct=text%2Fplain&$.ce=utf-8&a%20b=c%2Bd",
            who.id
        );
        client.publish(&topic, 1, 2, false, b"java");
        client.acked(2);
        let item = scene.telemetry(who, 1).remove(0);
        assert_eq!(item["applicationProperties"], json!({ "a b": "c+d" }));
        assert_eq!(item["systemProperties"]["mid"], "id/1");
        assert_eq!(client.subscribe(3, &[(TWIN, 1)]), [1]);
        client.publish("$iothub/twin/GET/?$rid=7", 1, 4, false, b"");
        let answer = client.receive("$iothub/twin/res/200/?$rid=7");
        assert!(!answer.payload.is_empty());
        client.acked(4);
        let desired = "$iothub/twin/PATCH/properties/desired/#";
        assert_eq!(client.subscribe(5, &[(desired, 1)]), [1]);
        let patch = "$iothub/twin/PATCH/properties/reported/?$rid=8&$version=0";
        client.publish(patch, 1, 6, false, br#"{"java":1}"#);
        let answer = client.receive("$iothub/twin/res/204/?$rid=8");
        let version = answer.topic.split_once("&$version=").map(|(_, version)| version);
        assert!(version.is_none_or(|version| version.parse::<i32>().is_ok()), "{}", answer.topic);
        client.acked(6);
        scene.want(who, &json!({ "x": 1 }));
        let desired = client.receive("$iothub/twin/PATCH/properties/desired/?$version=");
        assert!(desired.topic.rsplit('=').next().unwrap().parse::<i32>().is_ok());
        assert_eq!(client.subscribe(7, &[("$iothub/methods/POST/#", 1)]), [1]);
        let answer = scene.call(who, "go", || {
            let (rid, _) = client.called("go");
            client.publish(&format!("$iothub/methods/res/201/?$rid={rid}"), 1, 8, false, b"3");
        });
        assert_eq!(answer, json!({ "status": 201, "payload": 3 }));
        client.acked(8);
    }
}

#[test]
fn a_module_of_java_names_no_other_sender() {
    let scene = Scene::start();
    let (mut reader, _) = Replay::connect(&STYLE, &scene.reader, None);
    let own = format!("{}/messages/devicebound/#", module_topic("reader"));
    assert_eq!(reader.subscribe(1, &[(&own, 1)]), [1]);
    let inputs = format!("{}/inputs/#", module_topic("reader"));
    assert_eq!(reader.subscribe(2, &[(&inputs, 1)]), [1]);
    let (mut writer, _) = Replay::connect(&STYLE, &scene.writer, None);
    let bag = "$.mid=1&$.on=out&$.cdid=another&$.cmid=liar&k=v";
    let topic = format!("{}/messages/events/{bag}/", module_topic("writer"));
    writer.publish(&topic, 1, 1, false, b"x");
    writer.acked(1);
    let input = reader.receive(&format!("{}/inputs/in/", module_topic("reader")));
    let bag = input.topic.rsplit('/').next().unwrap();
    assert_eq!((value(bag, "$.cmid"), value(bag, "k")), ("writer".into(), "v".into()));
    let item = scene.telemetry(&scene.writer, 1).remove(0);
    assert_eq!(item["deviceId"], crate::support::world::EDGE);
}
