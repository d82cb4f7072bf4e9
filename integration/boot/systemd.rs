//! A whole machine boots under systemd, by our unit file: its modules run before there is a link.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use edge_runtime::domain::iso8601;
use serde_json::Value;

use crate::deployment;
use crate::image::{make_image, run};
use crate::machine::Machine;
use crate::support::program::binary;
use crate::support::wait_for;
use crate::support::world::{EDGE, Hub};

const IMAGE: &str = "edge-runtime-test/boot:1";
/// Of the hub, as the machine sees it: there is a way to it only while there is a link.
const HUB: &str = "10.43.77.1";
const MQTT: u16 = 18_883;
const HTTPS: u16 = 18_443;
const SETTINGS: &str = "/etc/edge-runtime/config.toml";
/// systemd, dockerd and the runtime start, on two cores that others use too.
const BOOT: Duration = Duration::from_secs(120);

fn plug(machine: &Machine, hub: &Hub) -> crate::machine::Link {
    let to = |port| SocketAddr::from((hub.address, port));
    machine.plug(HUB, &[(MQTT, to(8883)), (HTTPS, to(8443))])
}

/// Names of the modules whose containers run.
fn running(machine: &Machine) -> Vec<String> {
    let names = machine.says("docker", &["ps", "--format", "{{.Names}}"]);
    let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
    names.sort();
    names
}

fn reported(hub: &Hub) -> Value {
    hub.service.twin(EDGE, "$edgeAgent")["properties"]["reported"].clone()
}

fn wait_reported(hub: &Hub, modules: &[&str]) -> Value {
    wait_for(&format!("{modules:?}, reported as running"), BOOT, || {
        let reported = reported(hub);
        let is_up = |name: &&str| reported["modules"][name]["runtimeStatus"] == "running";
        let is_good = reported["lastDesiredStatus"]["code"] == 200;
        (is_good && modules.iter().all(is_up)).then_some(reported)
    })
}

fn settings(hub: &Hub) -> String {
    let (key, _) = hub.service.make_edge(EDGE);
    format!(
        "[device]\nconnection_string = \"HostName={HUB};DeviceId={EDGE};SharedAccessKey={key}\"\n\
         gateway_hostname = \"machine.test\"\n[upstream]\naddress = \"{HUB}:{MQTT}\"\n\
         https_address = \"{HUB}:{HTTPS}\"\ntrusted_ca = \"/etc/edge-runtime/hub-ca.pem\"\n"
    )
}

#[test]
fn a_machine_boots_without_a_link_and_its_modules_run_before_the_link_is_there() {
    let programs = binary("edge-runtime").parent().unwrap().to_path_buf();
    let Some(mut machine) = Machine::new(programs) else { return };
    make_image(IMAGE);
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::start_as(folder.path(), &[("LOCALHUB__HOSTNAME", HUB)]);
    let settings = settings(&hub);
    machine.write(SETTINGS, &settings);
    let ca = std::fs::read_to_string(hub.state.join("ca.pem")).unwrap();
    machine.write("/etc/edge-runtime/hub-ca.pem", &ca);
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/edge-runtime.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    machine.write("/etc/systemd/system/edge-runtime.service", &unit);
    hub.service.apply(EDGE, &deployment(IMAGE, &["first"]));

    // It is installed where there is a link.
    machine.switch_on();
    let link = plug(&machine, &hub);
    let saved = machine.path("/image.tar").display().to_string();
    run("docker", &["save", "-o", &saved, IMAGE]);
    wait_for("dockerd in the machine", BOOT, || {
        machine.run("docker", &["load", "-i", "/image.tar"]).status.success().then_some(())
    });
    wait_reported(&hub, &["first"]);
    assert_eq!(running(&machine), ["first"]);
    let own = "/etc/systemd/system/edge-runtime.service";
    let verified = machine.run("systemd-analyze", &["verify", own]);
    let words = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !words.contains("edge-runtime"), "{words}");
    let safe = ["security", "--offline=true", "--threshold=30", own]; // 10 times the exposure
    assert!(machine.run("systemd-analyze", &safe).status.success(), "it may do more than 3.0");

    // The power fails. When it is back there is no link, and something else is wanted meanwhile.
    drop(link);
    machine.cut_power();
    let before = reported(&hub);
    hub.service.apply(EDGE, &deployment(IMAGE, &["first", "second"]));
    machine.switch_on();
    let on = Instant::now();
    wait_for("the module of the last good deployment", BOOT, || {
        (running(&machine) == ["first"]).then_some(())
    });
    println!("it runs {:?} after the machine was switched on", on.elapsed());
    // It is not taken for a failure of the module, after which it would wait for 10 s.
    let journal = machine.journal();
    let time = |word: &str| {
        let line = journal.lines().rfind(|line| line.contains(word));
        let line = line.unwrap_or_else(|| panic!("no {word} in {journal}"));
        iso8601::parse(line.split(' ').next().unwrap()).unwrap()
    };
    let (found, begun) = (time("ended with exit code 255"), time("restarted by its policy"));
    assert!(begun.saturating_sub(found) < Duration::from_secs(5), "{journal}");
    let show = |property: &str| {
        machine.says("systemctl", &["show", "edge-runtime", "--value", "-p", property])
    };
    assert_eq!((show("ActiveState").as_str(), show("NRestarts").as_str()), ("active", "0"));
    for never in ["network-online.target", "time-sync.target"] {
        let state = machine.says("systemctl", &["show", never, "--value", "-p", "ActiveState"]);
        assert_eq!(state, "inactive", "{never}: nothing waits for it");
    }
    assert_eq!(reported(&hub), before, "nothing of it is known elsewhere");

    // The link comes: so does the report, and what was wanted meanwhile.
    let _link = plug(&machine, &hub);
    let after = wait_reported(&hub, &["first", "second"]);
    assert_eq!(running(&machine), ["first", "second"]);
    assert_eq!(after["modules"]["first"]["restartCount"], 0, "{after}");
    wait_for("the word for the service manager", BOOT, || {
        (show("StatusText") == "ready").then_some(())
    });

    // Its owner allows no images of that registry any more: what runs is named, what comes is not started.
    let rules = "[[images.rules]]\nimage = \"elsewhere.test\"\nrequire = \"nothing\"\n";
    machine.write(SETTINGS, &(settings + rules));
    assert!(machine.run("systemctl", &["restart", "edge-runtime"]).status.success());
    let no_rule = "no rule of images.rules allows images of docker.io";
    wait_for("what runs to be named", BOOT, || {
        let why = machine.says("edgectl", &["why", "first"]);
        let is_named = why.contains("would not be started any more") && why.contains(no_rule);
        let listed = machine.says("edgectl", &["list"]);
        (is_named && listed.contains("would not be started any more")).then_some(())
    });
    hub.service.apply(EDGE, &deployment(IMAGE, &["first", "second", "third"]));
    wait_for("what is refused to be reported", BOOT, || {
        let reported = reported(&hub);
        let why = reported["modules"]["third"]["statusDescription"].as_str()?.to_owned();
        let is_told = why.contains("is refused") && why.contains(no_rule);
        (is_told && reported["lastDesiredStatus"]["code"] == 500).then_some(())
    });
    assert_eq!(running(&machine), ["first", "second"]);

    // It is stopped as its unit says, and the modules run on.
    let stopped = machine.run("systemctl", &["stop", "edge-runtime"]);
    assert!(stopped.status.success(), "{}", machine.journal());
    assert_eq!(show("Result"), "success");
    assert_eq!(running(&machine), ["first", "second"]);
}
