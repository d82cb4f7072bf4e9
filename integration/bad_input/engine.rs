//! Deployments with a bad module among good ones, and a container engine that is away. With the
//! real engine, which this test stands in front of.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::door::Door;
use crate::image;
use crate::support::program;
use crate::support::wait_for;
use crate::support::world::World;

/// Containers are made by an engine that others use too.
const DONE: Duration = Duration::from_secs(90);
const IMAGE: &str = "edge-runtime-test/bad-input:1";

/// An edge whose modules have a network of their own.
struct Scene {
    // In this order: the runtime ends before its containers are removed.
    world: World,
    socket: PathBuf,
    network: Network,
}

struct Network(String);

impl Drop for Network {
    fn drop(&mut self) {
        let docker = |arguments: &[&str]| {
            std::process::Command::new("docker").args(arguments).output().map(|it| it.stdout)
        };
        let filter = format!("network={}", self.0);
        let ids = docker(&["ps", "-aq", "--filter", &filter]).unwrap_or_default();
        for id in String::from_utf8_lossy(&ids).lines() {
            let _ = docker(&["rm", "-f", id]);
        }
        let _ = docker(&["network", "rm", &self.0]);
    }
}

impl Scene {
    fn start(name: &str) -> Self {
        image::make_image(IMAGE);
        let network = Network(format!("edge-bad-input-{name}-{}", std::process::id()));
        image::run("docker", &["network", "create", &network.0]);
        let format = "{{(index .IPAM.Config 0).Gateway}}";
        let gateway = image::run("docker", &["network", "inspect", "-f", format, &network.0]);
        let folder = tempfile::Builder::new().prefix("engine").tempdir().unwrap().keep();
        let socket = folder.join("docker.sock");
        let docker = format!("unix://{}", socket.display());
        let edge = [
            ("EDGE_RUNTIME__DEVICE__GATEWAY_HOSTNAME", "gw.test"),
            ("EDGE_RUNTIME__HUB__LISTEN", &format!("{gateway}:8883")),
            ("EDGE_RUNTIME__AGENT__DOCKER", &docker),
            ("EDGE_RUNTIME__AGENT__NETWORK", &network.0),
        ];
        let world =
            World::start_as(&json!({ "up": "FROM /messages/* INTO $upstream" }), &[], &edge);
        Scene { world, socket, network }
    }

    /// Deploys these modules; their names are made unique on this machine.
    fn deploy(&self, modules: &Value) {
        let desired = json!({
            "schemaVersion": "1.1", "runtime": { "type": "docker" }, "systemModules": {},
            "modules": modules,
        });
        self.world.hub.service.apply("edge", &json!({ "$edgeAgent": desired }));
    }

    fn edgectl(&self, arguments: &[&str]) -> Output {
        let socket = self.world.management.0.display().to_string();
        program::run("edgectl", &[&["--socket", &socket], arguments].concat(), &[])
    }

    fn says(&self, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.edgectl(arguments).stdout).into_owned()
    }

    #[track_caller]
    fn wait_status(&self, module: &str, status: &str) -> Value {
        let mut last = Value::Null;
        let deadline = std::time::Instant::now() + DONE;
        while std::time::Instant::now() < deadline {
            let agent = self.world.management.get("/status").map(|it| it["agent"].clone());
            last = agent.unwrap_or_default();
            let lines = last["modules"].as_array().into_iter().flatten();
            let line = lines.into_iter().find(|it| it["name"] == module);
            if let Some(line) = line.filter(|line| line["status"] == status) {
                return line.clone();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{module} is not {status}: {last:#}");
    }

    /// Containers of this test, running or not.
    fn all_containers(&self) -> Vec<String> {
        let filter = format!("network={}", self.network.0);
        let ids = image::run("docker", &["ps", "-aq", "--filter", &filter]);
        ids.lines().map(str::to_owned).collect()
    }

    /// Containers of this test that run.
    fn running(&self) -> usize {
        let filter = format!("network={}", self.network.0);
        image::run("docker", &["ps", "-q", "--filter", &filter]).lines().count()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.world.edge.terminate().success());
        }
        let _ = self.socket.parent().map(std::fs::remove_dir_all);
    }
}

fn module(change: Value) -> Value {
    let mut module = json!({
        "type": "docker", "status": "running", "imagePullPolicy": "never",
        "restartPolicy": "always", "settings": { "image": IMAGE, "createOptions": {} },
    });
    for (name, value) in change.as_object().unwrap() {
        module[name] = value.clone();
    }
    module
}

fn options(options: Value) -> Value {
    module(json!({ "settings": { "image": IMAGE, "createOptions": options } }))
}

#[test]
fn a_bad_module_is_reported_with_its_error_and_the_others_run() {
    let scene = Scene::start("modules");
    let _door = Door::open(&scene.socket);
    let own = |name: &str| format!("{name}-{}", std::process::id());
    let (good, amqp) = (own("good"), own("amqp"));
    let bad = [
        (own("no-settings"), json!({ "type": "docker" }), "failed", "is missing"),
        (own("no-json"), options("{not json".into()), "failed", "createOptions"),
        (own("policy"), module(json!({ "restartPolicy": "sometimes" })), "failed", "restartPolicy"),
        (
            own("image"),
            module(json!({ "settings": { "image": "NOT AN IMAGE" } })),
            "failed",
            "NOT AN IMAGE",
        ),
        (
            own("absent"),
            module(json!({ "settings": { "image": "edge-runtime-test/absent:1" } })),
            "backoff",
            "edge-runtime-test/absent:1",
        ),
        (own("refused"), options(json!({ "HostConfig": { "Memory": 1 } })), "backoff", "memory"),
        (own("no-program"), options(json!({ "Entrypoint": ["/absent"] })), "backoff", "/absent"),
    ];
    let mut modules = json!({
        &good: module(json!({})),
        &amqp: module(json!({ "env": { "ClientTransportType": { "value": "Amqp_Tcp_Only" } } })),
    });
    let gives_up = own("gives-up");
    let env = json!(["ClientTransportType=Amqp"]);
    modules[&gives_up] = options(json!({ "Env": env, "Cmd": ["exit", "1"] }));
    for (name, spec, ..) in &bad {
        modules[name] = spec.clone();
    }
    scene.deploy(&modules);
    let line = scene.wait_status(&good, "running");
    assert_eq!(line["why"], "", "{line}");
    for (name, _, status, why) in &bad {
        let line = scene.wait_status(name, status);
        let text = line["why"].as_str().unwrap();
        assert!(text.to_lowercase().contains(&why.to_lowercase()), "{name}: {line}");
        let shown = scene.says(&["why", name]);
        assert!(shown.contains(text), "{name}: `edgectl why` says {shown}");
    }
    // A module that speaks AMQP is told what to do, whether it runs or gives up.
    let shown = scene.wait_status(&gives_up, "backoff")["why"].to_string();
    assert!(shown.contains("exit code 1") && shown.contains("speaks AMQP"), "{shown}");
    scene.wait_status(&amqp, "running");
    let shown = scene.says(&["why", &amqp]);
    assert!(
        shown.contains("speaks AMQP") && shown.contains("ClientTransportType to Mqtt"),
        "{shown}"
    );
    let reported = scene.world.wait_reported("$edgeAgent", "every module as it is", |reported| {
        let is = |name: &str, status: &str| reported["modules"][name]["runtimeStatus"] == status;
        is(&good, "running") && is(&amqp, "running") && bad.iter().all(|it| is(&it.0, it.2))
    });
    assert_eq!(reported["lastDesiredStatus"]["code"], 400, "{reported}");
    for (name, _, _, why) in &bad {
        let text = reported["modules"][name]["statusDescription"].as_str().unwrap();
        assert!(text.to_lowercase().contains(&why.to_lowercase()), "{name}: {text}");
    }
    let (listed, status) = (scene.says(&["list"]), scene.edgectl(&["status"]));
    let status_text = String::from_utf8_lossy(&status.stdout);
    for (name, ..) in &bad {
        assert!(listed.contains(name) && status_text.contains(name), "{listed}\n{status_text}");
    }
    assert!(!status.status.success(), "it is not in sync: {status_text}");
    assert!(scene.running() >= 2, "and so says the engine");

    // Without them all is well, and what ran before ran on.
    scene.deploy(&json!({ &good: module(json!({})) }));
    wait_for("all to be in sync", DONE, || {
        scene.edgectl(&["status"]).status.success().then_some(())
    });
    let line = scene.wait_status(&good, "running");
    assert_eq!(line["restarts"], 0, "{line}");
    assert_eq!(scene.running(), 1);

    // What runs is left alone while it is not known what is wanted of it.
    scene.deploy(&json!({ &good: { "type": "docker" } }));
    let line = scene.wait_status(&good, "failed");
    assert!(line["why"].as_str().unwrap().contains("is missing"), "{line}");
    assert_eq!(scene.running(), 1);
    scene.deploy(&json!({ &good: module(json!({})) }));
    assert_eq!(scene.wait_status(&good, "running")["restarts"], 0);
}

#[test]
fn an_engine_that_is_away_is_said_and_tried_until_it_is_there() {
    let scene = Scene::start("engine");
    let name = format!("waits-{}", std::process::id());
    scene.deploy(&json!({ &name: module(json!({})) }));
    let socket = scene.socket.display().to_string();
    let is_away = || {
        let shown = scene.says(&["status"]);
        let lines = shown.lines().filter(|line| line.contains("agent: away"));
        let is_said = lines.clone().any(|line| line.contains(&socket));
        (is_said && shown.contains(&name)).then_some(shown.clone())
    };
    let shown = wait_for("the engine to be said away", DONE, is_away);
    assert!(shown.contains(": ready"), "clients are served all the same: {shown}");
    assert!(shown.contains("NOT IN SYNC") && shown.contains(&name), "{shown}");
    let listed = scene.says(&["list"]);
    assert!(listed.contains(&name) && listed.contains("containers: away"), "{listed}");
    let reported = scene.world.wait_reported("$edgeAgent", "the state at the hub", |reported| {
        !reported["lastDesiredStatus"]["code"].is_null()
    });
    assert_ne!(reported["lastDesiredStatus"]["code"], 200, "{reported}");
    let mut witness = crate::witness::Witness::start(&scene.world.leaf("leaf"));
    witness.is_served();

    let door = Door::open(&scene.socket);
    let line = scene.wait_status(&name, "running");
    assert_eq!(line["restarts"], 0, "it never ran before: {line}");
    wait_for("all to be in sync", DONE, || {
        scene.edgectl(&["status"]).status.success().then_some(())
    });

    // It goes away again: said, and the container runs on and is taken over.
    drop(door);
    wait_for("the engine to be said away", DONE, is_away);
    assert_eq!(scene.running(), 1);
    witness.is_served();
    let _door = Door::open(&scene.socket);
    wait_for("all to be in sync", DONE, || {
        scene.edgectl(&["status"]).status.success().then_some(())
    });
    let line = scene.wait_status(&name, "running");
    assert_eq!(line["restarts"], 0, "it ran all the time: {line}");
    witness.is_served();
}

/// Everything that may be there, or not, when the edge starts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Comes {
    Hub,
    Engine,
}

#[test]
fn the_last_good_deployment_runs_in_whatever_order_the_hub_and_the_engine_come() {
    use Comes::{Engine, Hub};
    const PASSWORD: &str = "pass-word-of-a-registry";
    let mut scene = Scene::start("boot");
    let mut door = Some(Door::open(&scene.socket));
    let name = format!("boots-{}", std::process::id());
    let credentials = json!({ "r": {
        "address": "registry.test", "username": "u", "password": PASSWORD,
    }});
    let desired = json!({
        "schemaVersion": "1.1", "systemModules": {}, "modules": { &name: module(json!({})) },
        "runtime": { "type": "docker", "settings": { "registryCredentials": credentials } },
    });
    scene.world.hub.service.apply("edge", &json!({ "$edgeAgent": desired }));
    scene.wait_status(&name, "running");
    scene.world.wait_reported("$edgeAgent", "success", |it| it["lastDesiredStatus"]["code"] == 200);
    // What is there before the edge starts, and what comes then.
    for (before, after) in [
        (vec![], vec![Engine, Hub]),
        (vec![], vec![Hub, Engine]),
        (vec![Engine], vec![Hub]),
        (vec![Hub], vec![Engine]),
        (vec![Engine, Hub], vec![]),
    ] {
        scene.world.edge.kill();
        scene.world.hub.program.kill();
        drop(door.take());
        for id in scene.all_containers() {
            image::run("docker", &["rm", "-f", &id]); // as if the machine was made anew
        }
        let mut here = Vec::new();
        let all = before.iter().map(Some).chain([None]).chain(after.iter().map(Some));
        for comes in all {
            match comes {
                Some(Engine) => door = Some(Door::open(&scene.socket)),
                Some(Hub) => {
                    scene.world.hub.program.again();
                    scene.world.hub.program.wait_ready();
                }
                None => {
                    scene.world.edge.again();
                    scene.world.edge.wait_ready();
                }
            }
            here.push(comes.copied());
            let is_up = here.contains(&None) && here.contains(&Some(Engine));
            if is_up {
                let line = scene.wait_status(&name, "running");
                assert_eq!(line["restarts"], 0, "{before:?}, then {after:?}: {line}");
            }
            assert_eq!(scene.running(), usize::from(is_up), "{before:?}, then {after:?}: {here:?}");
        }
        wait_for("all to be in sync", DONE, || {
            scene.edgectl(&["status"]).status.success().then_some(())
        });
        scene.world.wait_reported("$edgeAgent", "success", |reported| {
            reported["lastDesiredStatus"]["code"] == 200
                && reported["modules"][&name]["runtimeStatus"] == "running"
        });
    }
    // What was needed for it lies on no disk in the open.
    let twin = scene.world.hub.service.twin("edge", "$edgeAgent")["properties"].clone();
    assert!(twin["desired"].to_string().contains(PASSWORD), "it is deployed");
    assert!(!twin["reported"].to_string().contains(PASSWORD), "{}", twin["reported"]);
    scene.world.edge.kill();
    let mut bytes = Vec::new();
    bytes_below(&scene.world.folder.path().join("edge"), &mut bytes);
    assert!(!bytes.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()));
    scene.world.edge.again();
    scene.world.edge.wait_ready();
}

fn bytes_below(directory: &std::path::Path, all: &mut Vec<u8>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => bytes_below(&entry.path(), all),
            kind if kind.is_file() => all.extend(std::fs::read(entry.path()).unwrap()),
            _ => {} // a socket
        }
    }
}
