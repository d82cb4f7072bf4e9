//! `edgectl module env`: the programs of `examples/`, run on this machine in place of their
//! containers, as the READMEs there say.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::support::gateway::{Gateway, make_images};
use super::support::wait_for;
use super::support::world::EDGE;
use super::{SOON, count};

/// A program of this machine; ends with the test.
struct OnHost(Child);

impl Drop for OnHost {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn at_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Stops the container by a change of the deployment, and runs `program` as the module.
fn runs_on_host_as(gateway: &Gateway, module: &str, mut program: Command) {
    let env = || gateway.ctl.outcome(&["module", "env", module]);
    let (status, variables, warning) = env();
    assert_eq!(status, 0, "{warning}");
    let both = format!("{module} runs in its container, too");
    assert!(warning.contains(&both) && warning.contains("status=stopped"), "{warning}");
    let set = |status: &str| {
        let status = format!("modules.{module}.status={status}");
        gateway.ctl.run(&["hub", "twin", "set", EDGE, "$edgeAgent", &status]);
    };
    set("stopped");
    wait_for("its container's end", SOON, || {
        (gateway.ctl.module(module)["status"] == "stopped").then_some(())
    });
    assert_eq!(env(), (0, variables.clone(), String::new()), "nothing is in its way now");

    let since = gateway.now();
    let log = gateway.world.folder.path().join(format!("{module}.log"));
    let pairs = variables.lines().filter_map(|line| line.split_once('='));
    program.envs(pairs).env("PERIOD", "0.5").stdin(Stdio::null());
    let output = File::create(&log).unwrap();
    program.stdout(output.try_clone().unwrap()).stderr(output);
    let mut host = OnHost(program.spawn().unwrap());
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_for("three messages of it, counted from one", SOON, || {
        assert!(host.0.try_wait().unwrap().is_none(), "it ended: {}", said());
        let (items, _) = gateway.telemetry(module, since);
        let counts: Vec<_> = items.iter().filter_map(count).collect();
        ([1, 2, 3].iter().all(|n| counts.contains(n))).then_some(())
    });
    wait_for("an input of the sensor", SOON, || said().contains("input input1: ").then_some(()));
    let payload = gateway.ctl.run(&["hub", "method", EDGE, "ping", "7", "--module", module]);
    assert!(payload.contains("\"payload\": 7"), "{payload}");
    let pid = Pid::from_child(&host.0);
    kill_process(pid, Signal::TERM).unwrap();
    let ended = wait_for("its end", SOON, || host.0.try_wait().unwrap());
    assert!(ended.success() && said().contains("stopping after"), "{ended} {}", said());

    set("running");
    let since = gateway.now();
    wait_for("telemetry of its container again", SOON, || {
        gateway.telemetry(module, since).0.iter().find_map(count)
    });
}

#[test]
fn the_examples_run_on_this_machine_in_place_of_their_containers() {
    make_images("images");
    make_images("python-image");
    make_images("node-image");
    let gateway = Gateway::by_address("host");

    gateway.deploy("examples/python-module/deployment.json");
    let mut python = Command::new(at_root("target/venv-image/bin/python"));
    let packages = at_root("target/images/python-module/files/usr/local/lib");
    let packages = std::fs::read_dir(packages).unwrap().map(|entry| entry.unwrap().path());
    let packages = packages.map(|lib| lib.join("site-packages")).find(|path| path.is_dir());
    python.arg("main.py").env("PYTHONPATH", packages.unwrap());
    python.current_dir(at_root("examples/python-module"));
    runs_on_host_as(&gateway, "python-module", python);

    gateway.deploy("examples/node-module/deployment.json");
    let mut node = Command::new("node");
    node.arg("main.js").current_dir(at_root("examples/node-module"));
    node.env("NODE_PATH", at_root("target/images/node-module/packages/node_modules"));
    runs_on_host_as(&gateway, "node-module", node);
}
