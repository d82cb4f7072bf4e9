//! Who may publish and subscribe where: denied by default, changed at run time, unreadable.

use rumqttc::mqttbytes::QoS::AtLeastOnce;
use serde_json::{Value, json};

use crate::scene::*;
use crate::support::wait_for;

fn statement(identity: &str, operation: &str, topics: &[&str]) -> Value {
    let rule = json!([{ "operations": [operation], "resources": topics }]);
    json!({ "identities": [identity], "allow": rule })
}

#[test]
fn what_no_policy_allows_is_refused_and_counted() {
    let world = start(&[]);
    deploy(
        &world,
        &json!([
            statement("{{iot:identity}}", "mqtt:publish", &["of/{{iot:device_id}}/#"]),
            statement("edge/m", "mqtt:subscribe", &["of/#", "own/{{iot:module_id}}"]),
            { "identities": ["edge/m"], "deny": [{ "operations": ["mqtt:subscribe"], "resources": ["of/secret/#"] }] },
        ]),
    );
    let (leaf, mut module) = (world.leaf("leaf"), world.module("m").connect().unwrap());
    let asked = ["of/leaf/#", "own/m", "of/#", "of/secret/x", "own/n", "#"];
    let ok = Some(AtLeastOnce);
    let granted = subscribe(&mut module, &asked, AtLeastOnce);
    assert_eq!(granted, [ok, ok, None, None, None, None]);
    let mut mqtt = leaf.connect().unwrap();
    assert_eq!(subscribe(&mut mqtt, &["of/leaf/#"], AtLeastOnce), [None]);
    publish_taken(&mut mqtt, "of/leaf/x", false, "1");
    assert_eq!(next(&mut module), "of/leaf/x=1 1");
    publish(&mut mqtt, "of/other/x", AtLeastOnce, false, 5, "2");
    wait_closed(&world, &mut mqtt, "no policy of local topics allows it");
    nothing_comes(&mut module);
    assert_eq!(metric(&world, "denied_total"), 6);
}

#[test]
fn a_policy_that_changes_ends_what_it_no_longer_allows_and_one_that_cannot_be_read_does_not() {
    let mut world = start(&[]);
    let (leaf, reader) = (world.leaf("leaf"), world.module("m"));
    let (mut sender, mut mqtt) = (leaf.connect().unwrap(), reader.connect().unwrap());
    subscribe(&mut mqtt, &["a/#", "b/#"], AtLeastOnce);
    let reported = deploy(
        &world,
        &json!([
            statement("leaf", "mqtt:publish", &["#"]),
            statement("edge/m", "mqtt:subscribe", &["b/#"]),
        ]),
    );
    assert_eq!(reported["lastDesiredStatus"]["code"], 200, "{reported}");
    wait_for("the end of the subscription", SOON, || {
        world.edge.log_since_start().contains("any more: ended").then_some(())
    });
    publish_taken(&mut sender, "a/1", false, "x");
    publish_taken(&mut sender, "b/1", false, "y");
    assert_eq!(next(&mut mqtt), "b/1=y 1", "and not a/1");
    assert_eq!(subscribe(&mut mqtt, &["a/#"], AtLeastOnce), [None]);

    let bad = json!([{ "identities": ["leaf"], "allow": [{ "operations": ["fly"] }] }]);
    let reported = deploy(&world, &bad);
    let status = &reported["lastDesiredStatus"];
    assert_eq!(status["code"], 400, "{status}");
    let said = status["description"].as_str().unwrap();
    let place = "mqttBroker.authorizations[0].allow[0].operations[0]: expected mqtt:connect";
    assert!(said.contains(place), "{said}");
    publish_taken(&mut sender, "b/2", false, "z");
    assert_eq!(next(&mut mqtt), "b/2=z 1", "the last good one stays");

    // Also over a restart; the subscription that was ended does not come back.
    drop((sender, mqtt));
    world.edge.kill();
    world.edge.again();
    world.edge.wait_ready();
    let mut mqtt = reader.connect().unwrap();
    let mut sender = None;
    wait_for("b to arrive again", SOON, || {
        let client = sender.get_or_insert_with(|| leaf.connect().unwrap());
        publish(client, "a/3", AtLeastOnce, false, 1, "x");
        publish(client, "b/3", AtLeastOnce, false, 2, "y");
        if client.is_closed_within(A_WHILE) {
            sender = None; // the last good policy was not read yet
        }
        match mqtt.read(A_WHILE).unwrap() {
            Some(rumqttc::mqttbytes::v4::Packet::Publish(publish)) => {
                assert_eq!(publish.topic, "b/3");
                Some(())
            }
            _ => None,
        }
    });
}

#[test]
fn the_settings_have_rules_too_and_a_bad_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.toml");
    let rule = |operations: &str| {
        format!(
            "[local_topics]\nenabled = true\n[[local_topics.rules]]\neffect = 'allow'\n\
             identities = ['{{{{iot:identity}}}}']\noperations = {operations}\ntopics = ['a/#']\n"
        )
    };
    let config = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let arguments = ["--config", file.to_str().unwrap(), "config"];
        let output = crate::support::program::run("edge-runtime", &arguments, &[]);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (status, said) = config(&rule("['publish']"));
    assert_eq!(status, Some(0), "{said}");
    let line = "local_topics.rules = [{ effect = \"allow\", identities = [\"{{iot:identity}}\"], operations = [\"publish\"], topics = [\"a/#\"] }]";
    assert!(said.contains(line) && said.contains("local_topics.enabled = true"), "{said}");
    let (status, said) = config(&rule("['fly']"));
    assert_eq!(status, Some(78), "{said}");
    assert!(said.contains("local_topics.rules") && said.contains("not `mqtt:fly`"), "{said}");
}
