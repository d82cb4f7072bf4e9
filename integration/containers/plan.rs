//! `edgectl plan`, `deploy --dry-run`, layers, and a manifest as the public samples have it: with the
//! real programs and a real engine.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::gateway::{Gateway, docker, make_images};
use super::support::wait_for;
use super::support::world::EDGE;

const SOON: Duration = Duration::from_secs(60);
const IMAGE: &str = "edge-runtime/temperature-sensor:local";
const TO_HUB: &str = "FROM /messages/* INTO $upstream";

fn module(image: &str, policy: &str, env: &str) -> Value {
    json!({
        "type": "docker", "status": "running", "restartPolicy": policy, "imagePullPolicy": "never",
        "env": { "PERIOD": { "value": env } }, "settings": { "image": image },
    })
}

fn manifest(modules: &Value, routes: &Value) -> Value {
    json!({ "modulesContent": {
        "$edgeAgent": { "properties.desired": {
            "schemaVersion": "1.1", "runtime": { "type": "docker" }, "systemModules": {},
            "modules": modules,
        }},
        "$edgeHub": { "properties.desired": {
            "schemaVersion": "1.1", "routes": routes,
            "storeAndForwardConfiguration": { "timeToLiveSecs": 7200 },
        }},
    }})
}

/// Without the engine nobody knows what there is to change.
fn wait_engine(gateway: &Gateway) {
    wait_for("the container engine", SOON, || {
        (gateway.ctl.json(&["list"])["engine"] == "ready").then_some(())
    });
}

/// A manifest on disk, and what `edgectl` says of it.
struct Scene(Gateway);

impl Scene {
    fn file(&self, name: &str, content: &Value) -> String {
        let path: PathBuf = self.0.world.folder.path().join(name);
        std::fs::write(&path, content.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Exit status, and what it would do, by both commands.
    #[track_caller]
    fn plan(&self, file: &str) -> (i32, String) {
        let (status, out, errors) = self.0.ctl.outcome(&["plan", file]);
        let dry = self.0.ctl.outcome(&["deploy", file, "--dry-run"]);
        assert_eq!((status, &out), (dry.0, &dry.1), "{errors} {}", dry.2);
        (status, format!("{out}{errors}"))
    }

    fn deploy(&self, file: &str) {
        self.0.ctl.run(&["deploy", file, "--device", EDGE, "--yes", "--wait=120s"]);
    }

    fn module_names(&self) -> Vec<String> {
        let list = self.0.ctl.json(&["list"]);
        let modules = list["modules"].as_array().unwrap().iter();
        modules.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_plan_tells_what_a_deployment_then_does_and_a_layer_touches_what_it_names_only() {
    make_images("images");
    let scene = Scene(Gateway::start("plan"));
    wait_engine(&scene.0);
    let first = scene.file(
        "first.json",
        &manifest(
            &json!({
                "same": module(IMAGE, "always", "1"), "env": module(IMAGE, "always", "1"),
                "policy": module(IMAGE, "always", "1"), "gone": module(IMAGE, "always", "1"),
            }),
            &json!({ "all": TO_HUB, "old": TO_HUB, "text": TO_HUB }),
        ),
    );

    // Nothing is there: all of it is added, and nothing is done yet.
    let (status, told) = scene.plan(&first);
    assert_eq!(status, 2, "{told}");
    for line in ["+ same added\n", "+ gone added\n", &format!("+ route all added: {TO_HUB}\n")] {
        assert!(told.contains(line), "{line} in {told}");
    }
    assert!(told.contains(&format!("image {IMAGE}: on this device, ")), "{told}");
    assert!(told.contains("modules: 4 added; routes: 3 added"), "{told}");
    assert_eq!(scene.module_names(), ["edgeAgent", "edgeHub"]);
    scene.deploy(&first);
    let (status, told) = scene.plan(&first);
    assert_eq!(status, 0, "{told}");
    assert!(told.ends_with("modules: 4 untouched; routes: 3 untouched\n"), "{told}");
    let container = |name: &str| scene.0.network.container(name);
    let before = ["same", "env", "policy"].map(container);

    // Of each kind one.
    let second = scene.file(
        "second.json",
        &manifest(
            &json!({
                "same": module(IMAGE, "always", "1"), "env": module(IMAGE, "always", "2"),
                "policy": module(IMAGE, "on-failure", "1"),
                "new": module("edge-runtime-test/not-there:1", "always", "1"),
            }),
            &json!({ "all": TO_HUB, "text": "FROM /messages/* WHERE false INTO $upstream",
                "next": { "route": TO_HUB, "priority": 1 } }),
        ),
    );
    let (status, told) = scene.plan(&second);
    assert_eq!(status, 2, "{told}");
    for line in [
        "= same untouched\n",
        "~ env changed, its container is made anew: env PERIOD\n",
        "~ policy changed in place: restartPolicy always -> on-failure\n",
        "+ new added\n",
        "- gone removed\n",
        "= route all untouched\n",
        &format!("~ route text changed: {TO_HUB} -> FROM /messages/* WHERE false INTO $upstream\n"),
        &format!("+ route next added: {TO_HUB}\n"),
        &format!("- route old removed: {TO_HUB}\n"),
        "image edge-runtime-test/not-there:1: not on this device, and never pulled",
        "modules: 1 added, 2 changed, 1 removed, 1 untouched; \
         routes: 1 added, 1 changed, 1 removed, 1 untouched\n",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }

    // One that is wrong is named, and so is a document that cannot be used at all.
    let bad = json!({ "same": module(IMAGE, "always", "1"), "bad": { "type": "docker" } });
    let bad = scene.file("bad.json", &manifest(&bad, &json!({ "all": "FROM nowhere" })));
    let (status, told) = scene.plan(&bad);
    assert_eq!(status, 1, "{told}");
    assert!(told.contains("! bad wrong: modules.bad.status: is missing"), "{told}");
    assert!(told.contains("! route all wrong: "), "{told}");
    let mut older = manifest(&json!({}), &json!({}));
    older["modulesContent"]["$edgeAgent"]["properties.desired"]["schemaVersion"] = json!("2.0");
    let (status, told) = scene.plan(&scene.file("older.json", &older));
    assert_eq!(status, 1, "{told}");
    assert!(told.contains("412 schema version `2.0` is not served"), "{told}");

    // A layer: what it names is added, and nothing else is touched.
    let layer = json!({ "modulesContent": {
        "$edgeAgent": { "properties.desired.modules.layered": module(IMAGE, "always", "1") },
        "$edgeHub": { "properties.desired.routes.layered": TO_HUB },
    }});
    let layer = scene.file("layer.json", &layer);
    let (status, told) = scene.plan(&layer);
    assert_eq!(status, 2, "{told}");
    assert!(told.contains("+ layered added\n") && told.contains("= gone untouched\n"), "{told}");
    let summary = "modules: 1 added, 4 untouched; routes: 1 added, 3 untouched\n";
    assert!(told.ends_with(summary), "{told}");
    scene.deploy(&layer);
    assert_eq!(["same", "env", "policy"].map(container), before, "they run on");
    container("layered");
    let routes = scene.0.ctl.run(&["route", "list"]);
    assert!(routes.contains("layered") && routes.contains("old"), "{routes}");
    let (status, told) = scene.plan(&layer);
    assert_eq!(status, 0, "{told}");
}

/// Takes the names of the public sample's images, and its volume, away again.
struct Names;

const SAMPLE: &str = "mcr.microsoft.com/azureiotedge-simulated-temperature-sensor:1.5";
const VOLUME: &str = "edge-runtime-public-sample";

impl Drop for Names {
    fn drop(&mut self) {
        let quiet = |arguments: &[&str]| {
            let _ = std::process::Command::new("docker").args(arguments).output();
        };
        quiet(&["rmi", SAMPLE]);
        quiet(&["volume", "rm", VOLUME]);
    }
}

#[test]
fn a_manifest_of_the_public_samples_is_taken_as_it_is_and_says_what_cannot_run() {
    make_images("images");
    let _names = Names; // gone behind the containers
    docker(&["tag", IMAGE, SAMPLE]);
    let gateway = Gateway::start("sample");
    wait_engine(&gateway);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/public-sample/deployment.json");
    let (status, told, errors) = gateway.ctl.outcome(&["plan", file]);
    assert_eq!(status, 2, "{told}{errors}");
    for line in [
        "+ SimulatedTemperatureSensor added\n",
        "+ collector added\n",
        "+ route sensorToCollector added: ",
        "note: SimulatedTemperatureSensor: speaks AMQP (ClientTransportType), which is not served",
        "note: systemModules.edgeHub is this process: its createOptions are not acted on",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
    gateway.ctl.run(&["deploy", file, "--device", EDGE, "--yes"]);
    for name in ["collector", "SimulatedTemperatureSensor"] {
        wait_for(name, SOON * 2, || {
            (gateway.ctl.module(name)["status"] == "running").then_some(())
        });
    }
    // The images of the system modules are neither pulled nor run.
    assert_eq!(gateway.network.containers().len(), 2);
    let images = docker(&["images", "-q", "mcr.microsoft.com/azureiotedge-hub"]);
    assert_eq!(images, "", "the hub's image");

    let why = gateway.ctl.run(&["why", "SimulatedTemperatureSensor"]);
    assert!(why.contains("speaks AMQP (ClientTransportType), which is not served"), "{why}");
    assert!(why.contains("set ClientTransportType to Mqtt"), "{why}");
    let why = gateway.ctl.run(&["why", "edgeHub"]);
    assert!(why.contains("5671/tcp") && why.contains("AMQP (5671) is not served"), "{why}");

    // createOptions as they are: binds, a volume, ports.
    let container = gateway.network.container("collector");
    let read = docker(&["inspect", "-f", "{{json .HostConfig}}", &container]);
    let host: Value = serde_json::from_str(&read).unwrap();
    let binds = host["Binds"].as_array().unwrap();
    for bind in ["/etc/hostname:/host/hostname:ro", &format!("{VOLUME}:/data")] {
        assert!(binds.contains(&json!(bind)), "{bind} in {host}");
    }
    assert_eq!(host["PortBindings"]["9/tcp"][0]["HostPort"], "18409", "{host}");
    let routes = gateway.ctl.run(&["route", "list"]);
    assert!(routes.contains("sensorToCollector") && routes.contains("allToCloud"), "{routes}");
    let reported = wait_for("the report", SOON, || {
        Some(gateway.reported("$edgeAgent")).filter(|it| it["lastDesiredStatus"]["code"] == 200)
    });
    assert_eq!(reported["modules"]["collector"]["startupOrder"], 1, "{reported}");
}
