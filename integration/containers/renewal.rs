//! A module in a container while the certificates of its gateway are renewed every few seconds.

use edge_runtime::protocol::http_client::{ClientRequest, Place};
use serde_json::{Value, json};

use super::support::gateway::{Gateway, docker, make_images};
use super::support::rest::ask_now;
use super::support::wait_for;
use super::support::world::EDGE;
use super::{SOON, body};

/// How often a certificate was renewed since the edge began.
fn renewals(gateway: &Gateway, name: &str) -> u64 {
    let place = Place::Tcp(gateway.world.edge_address.to_string(), 9600);
    let answer = ask_now(&place, ClientRequest::new("GET", "/metrics")).unwrap();
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let line = format!("edge_runtime_certificate_renewals_total{{certificate=\"{name}\"}} ");
    let count = text.lines().find_map(|it| it.strip_prefix(&line)?.parse().ok());
    count.unwrap_or_else(|| panic!("{line}: {text}"))
}

/// The container's end of its connection to EdgeHub, by what the kernel knows of its network.
fn session(life: &str) -> String {
    let pid = life.rsplit(' ').next().unwrap();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let is_established = |it: &&str| it.contains(":22B3 01 "); // 8883
    let line = table.lines().find(is_established).unwrap_or_else(|| panic!("none: {table}"));
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn a_container_keeps_its_session_over_renewals_and_its_next_connection_trusts_what_it_is_shown() {
    make_images("images");
    let life = ("EDGE_RUNTIME__CERTIFICATES__SERVER_LIFE", "5 s");
    let mut gateway = Gateway::with("renewal", &[life]);
    let module = json!({ "type": "docker", "status": "running", "restartPolicy": "always",
        "imagePullPolicy": "never", "env": { "MESSAGE_PERIOD": { "value": "500ms" } },
        "settings": { "image": "edge-runtime/temperature-sensor:local", "createOptions": "{}" } });
    let service = gateway.world.hub.service.clone();
    service.apply(
        EDGE,
        &json!({
            "$edgeAgent": { "schemaVersion": "1.1", "runtime": { "type": "docker", "settings": {} },
                "systemModules": {}, "modules": { "sensor": module } },
            "$edgeHub": { "schemaVersion": "1.1",
                "routes": { "up": "FROM /messages/* INTO $upstream" },
                "storeAndForwardConfiguration": { "timeToLiveSecs": 7200 } },
        }),
    );
    let some = |gateway: &Gateway, since: u64, what: &str| -> (Vec<Value>, u64) {
        wait_for(what, SOON, || {
            let (items, next) = gateway.telemetry("sensor", since);
            (items.len() >= 3).then_some((items, next))
        })
    };
    let (_, next) = some(&gateway, 0, "messages of the container");
    let id = gateway.network.container("sensor");
    let life = || {
        docker(&[
            "inspect",
            "-f",
            "{{.Id}} {{.State.StartedAt}} {{.RestartCount}} {{.State.Pid}}",
            &id,
        ])
    };
    let (born, connected) = (life(), session(&life()));

    let before = renewals(&gateway, "server");
    wait_for("four more server certificates", SOON, || {
        (renewals(&gateway, "server") >= before + 4).then_some(())
    });
    let (_, next) = some(&gateway, next, "messages after the renewals");
    assert_eq!(life(), born, "no container was started anew");
    assert_eq!(session(&life()), connected, "it is the same connection");

    // It has to come again, and trusts what it is shown by what it was given at its start.
    gateway.world.edge.kill();
    gateway.world.edge.again();
    gateway.world.edge.wait_ready();
    let (items, _) = some(&gateway, next, "messages by its next connection");
    assert!(items.iter().all(|item| body(item).is_object()));
    assert_ne!(session(&life()), connected, "it is another one");
    assert_eq!(life(), born, "nor was it for that");
}
