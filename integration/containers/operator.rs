//! `edgectl` as an operator uses it: configure, start, deploy, restart, why, logs, stop.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::gateway::{Ctl, GATEWAY, Network, docker, engine, make_images};
use super::support::program::{binary, own_address, run};
use super::support::wait_for;
use super::support::world::{EDGE, Hub};

const SOON: Duration = Duration::from_secs(60);

/// A module of one of the images that `scripts/images.sh` makes.
fn module(env: &[(&str, &str)], change: Value) -> Value {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), json!({ "value": value })));
    let mut module = json!({
        "type": "docker", "status": "running", "restartPolicy": "always",
        "imagePullPolicy": "never", "env": env.collect::<serde_json::Map<_, _>>(),
        "settings": { "image": "edge-runtime/temperature-sensor:local", "createOptions": "{}" },
    });
    for (name, value) in change.as_object().unwrap() {
        module[name] = value.clone();
    }
    module
}

fn manifest(modules: &Value, routes: &Value) -> Value {
    let agent = json!({
        "schemaVersion": "1.1", "runtime": { "type": "docker", "settings": {} },
        "systemModules": {}, "modules": modules,
    });
    let hub = json!({
        "schemaVersion": "1.1", "routes": routes,
        "storeAndForwardConfiguration": { "timeToLiveSecs": 7200 },
    });
    json!({ "modulesContent": {
        "$edgeAgent": { "properties.desired": agent }, "$edgeHub": { "properties.desired": hub },
    }})
}

/// Lines of `edgectl logs -f`, as they come. Ended with this.
struct Following(Child, Receiver<String>);

impl Following {
    fn start(ctl: &Ctl, module: &str) -> Self {
        let mut command = Command::new(binary("edgectl"));
        command.args(["logs", module, "-f", "--tail", "1"]).envs(ctl.0.iter().cloned());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (send, receive) = channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        Following(child, receive)
    }

    #[track_caller]
    fn wait_line(&self, word: &str) {
        wait_for(&format!("`{word}` in the log"), SOON, || {
            self.1.try_iter().any(|line| line.contains(word)).then_some(())
        });
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends the runtime that `edgectl start` left running, whatever becomes of the test.
struct Started<'a>(&'a Ctl, &'a str);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        let stopped = self.0.try_run(&["stop", "--config", self.1]);
        if std::thread::panicking() {
            eprintln!("stopped: {stopped:?}");
        }
    }
}

/// `edgectl configure …` with something on its standard input.
fn configure(arguments: &[&str], input: &str) {
    let mut command = Command::new(binary("edgectl"));
    command.arg("configure").args(arguments).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "edgectl configure {arguments:?}");
}

/// A settings file as an engineer writes it on a new gateway.
fn write_settings(file: &Path, hub: &Hub, connection: &str, network: &Network) {
    let folder = file.parent().unwrap().display().to_string();
    let (own, there) = (own_address(), hub.address);
    let path = file.to_str().unwrap();
    let ca = hub.state.join("ca.pem");
    let (ca, dash) = (ca.to_str().unwrap(), "-");
    let first = ["--file", path, "--connection-string", dash, "--gateway-hostname", GATEWAY];
    configure(&[first.as_slice(), &["--trusted-ca", ca]].concat(), &format!("{connection}\n"));
    let settings = [
        format!("state.path={folder}/edge"),
        format!("hub.listen=[\"{}:8883\", \"{own}:8883\"]", network.address),
        format!("hub.listen_https=[\"{own}:8443\"]"),
        format!("upstream.address={there}:8883"),
        format!("upstream.https_address={there}:8443"),
        format!("agent.docker={}", engine()),
        format!("agent.network={}", network.name),
        format!("metrics.listen={own}:9600"),
    ];
    let settings: Vec<_> = settings.iter().flat_map(|pair| ["--set", pair]).collect();
    configure(&[&["--file", path], settings.as_slice()].concat(), "");
    let registry = ["--file", path, "--registry", "registry.test", "--username", "edge"];
    configure(&registry, "not-to-be-shown\n");
}

#[test]
fn an_operator_configures_starts_deploys_looks_into_restarts_and_stops_a_gateway() {
    make_images("images");
    let network = Network::make("operator");
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::start(folder.path());
    let ctl = Ctl::new(&hub, &folder.path().join("edge/mgmt.sock"));
    let file = folder.path().join("config.toml");
    let path = file.to_str().unwrap();

    // Not there yet: the next thing to do is named.
    let (status, _, errors) = ctl.outcome(&["list"]);
    assert!(status == 1 && errors.contains("edgectl start"), "{status} {errors}");

    // configure: what it writes is taken by the service, and no secret is shown.
    let connection = ctl.run(&["hub", "device", "create", EDGE, "--edge"]);
    write_settings(&file, &hub, connection.trim(), &network);
    let shown = run("edge-runtime", &["--config", path, "config"], &[]);
    assert!(shown.status.success(), "{shown:?}");
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains(GATEWAY) && shown.contains("registry.test"), "{shown}");
    let key = connection.trim().rsplit_once("SharedAccessKey=").unwrap().1;
    assert!(!shown.contains("not-to-be-shown") && !shown.contains(key), "{shown}");

    // start: returns once it is ready; a second one finds it running.
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "[hub]\nlisen = []\n").unwrap();
    let (status, _, errors) = ctl.outcome(&["start", "--config", bad.to_str().unwrap()]);
    assert!(status == 1 && errors.contains("hub.listen"), "{status} {errors}");
    let started = Started(&ctl, path);
    let (status, _, errors) = ctl.outcome(&["start", "--config", path, "--wait", "90s"]);
    assert!(status == 0 && errors.contains("ready"), "{status} {errors}");
    let (status, _, errors) = ctl.outcome(&["start", "--config", path]);
    assert!(status == 0 && errors.contains("runs already"), "{status} {errors}");

    // deploy: 0 once it runs; what changes is shown; doing it again changes nothing.
    let sensor = |period: &str| module(&[("MESSAGE_PERIOD", period)], json!({}));
    let everything = json!({ "all": "FROM /messages/* INTO $upstream" });
    let manifest_file = folder.path().join("deployment.json");
    let manifest_path = manifest_file.to_str().unwrap();
    let deploy = |manifest: &Value, wait: &str| {
        std::fs::write(&manifest_file, manifest.to_string()).unwrap();
        ctl.outcome(&["deploy", manifest_path, "--yes", wait])
    };
    let good = manifest(&json!({ "sensor": sensor("200ms") }), &everything);
    let (status, out, errors) = deploy(&good, "--wait=120s");
    assert_eq!(status, 0, "{out}{errors}");
    assert!(out.contains("+ module sensor (edge-runtime/temperature-sensor:local)"), "{out}");
    assert!(out.ends_with("edge runs as desired\n"), "{out}");
    let (status, out, _) = deploy(&json!({ "content": good }), "--wait=120s");
    assert!(status == 0 && out.contains("nothing changes"), "{out}");
    wait_for("actual to be as desired", SOON, || (ctl.outcome(&["status"]).0 == 0).then_some(()));

    // deploy: 1 when it is not so in time, with what is missing; status says so, too.
    let crashing = module(&[("MESSAGE_PERIOD", "never")], json!({}));
    let both = json!({ "sensor": sensor("200ms"), "crashing": crashing });
    let (status, _, errors) = deploy(&manifest(&both, &everything), "--wait=15s");
    assert_eq!(status, 1, "{errors}");
    assert!(
        errors.contains("after 15 s: crashing is backoff (ended with exit code 1)"),
        "{errors}"
    );
    let (status, out, _) = ctl.outcome(&["status"]);
    assert!(status == 1 && out.contains("NOT IN SYNC") && out.contains("crashing"), "{out}");
    let why = ctl.run(&["why", "crashing"]);
    for part in ["crashing is backoff", "ended with exit code 1", "next attempt", "last exit     1"]
    {
        assert!(why.contains(part), "{part} in {why}");
    }
    assert!(why.contains("MESSAGE_PERIOD=never is not a time"), "its last lines: {why}");

    // deploy: 1 at once for what no waiting mends.
    let broken = json!({ "all": "FROM /messages/* INTO nowhere" });
    let good_modules = json!({ "sensor": sensor("200ms") });
    let (status, _, errors) = deploy(&manifest(&good_modules, &broken), "--wait=120s");
    assert!(status == 1 && errors.contains("cannot run as desired: hub: 400"), "{errors}");
    let (status, _, errors) =
        ctl.outcome(&["deploy", manifest_path, "--device", "nobody", "--yes"]);
    assert!(status == 1 && errors.contains("nobody"), "{errors}");
    std::fs::write(&manifest_file, "{").unwrap();
    let (status, _, errors) = ctl.outcome(&["deploy", manifest_path, "--yes"]);
    assert!(status == 1 && errors.contains("line 1"), "{errors}");
    let (status, out, errors) = deploy(&good, "--wait=120s");
    assert!(status == 0 && out.contains("~ route all"), "{out}{errors}");

    // A job that is done, by a policy that takes that for an end, is as desired.
    let job = module(&[("MESSAGE_PERIOD", "200ms")], json!({ "restartPolicy": "on-failure" }));
    let with_job = manifest(&json!({ "sensor": sensor("200ms"), "job": job }), &everything);
    let (status, out, errors) = deploy(&with_job, "--wait=120s");
    assert_eq!(status, 0, "{out}{errors}");
    docker(&["stop", &network.container("job")]); // on which it ends with 0
    wait_for("its end", SOON, || (ctl.module("job")["status"] == "stopped").then_some(()));
    let why = ctl.run(&["why", "job"]);
    let end = "ended by itself (exit code 0); restartPolicy on-failure: not started again";
    assert!(why.contains(end) && !why.contains("not in sync"), "{why}");
    let (status, out, _) = ctl.outcome(&["status"]);
    assert!(status == 0 && out.contains("in sync"), "{out}");
    let (status, out, errors) = deploy(&with_job, "--wait=60s");
    assert!(status == 0 && out.ends_with("edge runs as desired\n"), "{out}{errors}");
    let (status, out, errors) = deploy(&good, "--wait=120s");
    assert!(status == 0 && out.contains("- module job"), "{out}{errors}");

    // logs -f goes on as the module writes, and over its restart.
    let following = Following::start(&ctl, "sensor");
    following.wait_line("readings");
    let container = network.container("sensor");
    let start_of = |id: &str| docker(&["inspect", "-f", "{{.State.StartedAt}}", id]);
    let first_start = start_of(&container);
    let (status, _, errors) = ctl.outcome(&["restart", "sensor"]);
    assert!(status == 0 && errors.contains("restarted sensor"), "{errors}");
    assert_ne!(start_of(&network.container("sensor")), first_start);
    wait_for("it to run again", SOON, || {
        (ctl.module("sensor")["status"] == "running").then_some(())
    });
    following.wait_line("temperature-sensor "); // its first line, written anew
    following.wait_line("readings");
    drop(following);
    let (status, _, errors) = ctl.outcome(&["restart", "nothing"]);
    assert!(status == 1 && errors.contains("there is no module nothing"), "{errors}");
    assert!(ctl.run(&["logs", "sensor", "--tail", "2"]).lines().count() <= 2);
    assert!(ctl.run(&["logs", "edgeHub", "--tail", "50"]).contains("sensor"));
    assert!(ctl.run(&["why", "edgeHub"]).contains("edgeHub is running"));

    // stop: containers run on, the next start adopts them; stop --modules takes them along.
    let container = network.container("sensor");
    let runs = || docker(&["inspect", "-f", "{{.State.Running}}", &container]);
    let (status, _, errors) = ctl.outcome(&["stop", "--config", path]);
    assert!(status == 0 && errors.contains("stopped"), "{errors}");
    assert_eq!(runs(), "true");
    assert_eq!(ctl.outcome(&["stop", "--config", path]).0, 0, "it does not run: nothing to do");
    ctl.run(&["start", "--config", path, "--wait", "90s"]);
    wait_for("the sensor to be adopted", SOON, || {
        (ctl.module("sensor")["status"] == "running").then_some(())
    });
    assert_eq!(network.container("sensor"), container);
    ctl.run(&["stop", "--modules", "--config", path]);
    assert_eq!(runs(), "false");
    drop(started);
}
