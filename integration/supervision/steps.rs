//! The runtime dies at each step of what it does with modules' containers, in a real engine: it
//! ends in what is wanted, or, where that does not come up, in what ran before; never in neither.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::agent::{make_image, run};
use super::support::gateway::Network;
use super::support::wait_for;
use super::support::world::{EDGE, World};
use super::support::{Random, number};

const IMAGE: &str = "edge-runtime-test/steps:1";
const SOON: Duration = Duration::from_secs(60);
/// So long a new container is on trial.
const TRIAL: &str = "2 s";

/// What is done with a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Added,
    Updated,
    /// Updated to what does not come up: it ends at once.
    UpdatedToEnd,
    /// It never becomes healthy.
    UpdatedToSick,
    Stopped,
    /// Deployed stopped, and to run now.
    Started,
    Removed,
    /// By the operator.
    Restarted,
}
use Change::*;

/// After which step the runtime dies, of what.
const DEATHS: [(&str, Change); 21] = [
    ("update-pulled", Added),
    ("update-created", Added),
    ("update-started", Added),
    ("update-fetched", Updated),
    ("update-aside", Updated),
    ("update-created", Updated),
    ("update-stopped", Updated),
    ("update-started", Updated),
    ("update-removed", Updated),
    ("update-started", UpdatedToEnd),
    ("undo-refused", UpdatedToEnd),
    ("undo-noted", UpdatedToEnd),
    ("undo-started", UpdatedToEnd),
    ("undo-removed", UpdatedToEnd),
    ("undo-back", UpdatedToEnd),
    ("undo-stopped", UpdatedToSick),
    ("update-stopped", Stopped),
    ("update-started", Started),
    ("halt-stopped", Removed),
    ("halt-removed", Removed),
    ("halt-stopped", Restarted),
];

/// Of the number in `DEATHS`.
fn name(number: usize) -> String {
    format!("step{number}-{}", std::process::id())
}

fn module(version: &str, status: &str) -> Value {
    let mut options = json!({ "Labels": { "version": version } });
    match version {
        "ends" => options["Cmd"] = json!(["exit", "3"]),
        "sick" => {
            let test = ["CMD", "/p", "exit", "1"];
            options["Healthcheck"] = json!({ "Test": test, "Interval": 200_000_000, "Retries": 1 });
        }
        _ => {}
    }
    json!({
        "type": "docker", "status": status, "restartPolicy": "always", "imagePullPolicy": "never",
        "settings": { "image": IMAGE, "createOptions": options },
    })
}

/// Before and after; none: it is not deployed.
fn deployed(change: Change) -> (Option<Value>, Option<Value>) {
    let old = Some(module("old", "running"));
    match change {
        Added => (None, Some(module("new", "running"))),
        Updated => (old, Some(module("new", "running"))),
        UpdatedToEnd => (old, Some(module("ends", "running"))),
        UpdatedToSick => (old, Some(module("sick", "running"))),
        Stopped => (old, Some(module("old", "stopped"))),
        Started => (Some(module("old", "stopped")), old),
        Removed => (old, None),
        Restarted => (old.clone(), old),
    }
}

/// A container, as the engine shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    id: String,
    name: String,
    version: String,
    state: String,
}

fn containers(filter: &str) -> Vec<Seen> {
    let format = "{{.ID}} {{.Names}} {{.Label \"version\"}} {{.State}}";
    let filter = format!("label={filter}");
    let all = run("docker", &["ps", "-a", "--no-trunc", "--filter", &filter, "--format", format]);
    let seen = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let [id, name, version, state] = std::array::from_fn(|_| words.next().unwrap());
        Seen { id, name, version, state }
    };
    all.lines().map(seen).collect()
}

fn of_module(module: &str) -> Vec<Seen> {
    containers(&format!("io.edge-runtime.module={module}"))
}

/// When it was started, and how often it said that it runs.
fn runs(id: &str) -> (String, usize) {
    let started = run("docker", &["inspect", "-f", "{{.State.StartedAt}}", id]);
    let said = run("docker", &["logs", id]);
    (started, said.lines().filter(|line| *line == "running").count())
}

/// Of somebody else, with the name of a module; gone with this.
struct Foreign(String);

impl Foreign {
    fn with_name(name: &str) -> Self {
        Foreign(run("docker", &["run", "-d", "--name", name, IMAGE]))
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", &self.0]).output();
    }
}

struct Scene {
    world: World,
    modules: Map<String, Value>,
    _network: Network,
}

impl Scene {
    fn start() -> Self {
        let network = Network::make("steps");
        let mut settings = network.settings();
        settings.push(("EDGE_RUNTIME__AGENT__UPDATE_DEADLINE", TRIAL.into()));
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let world = World::start_as(&super::routes(), &[], &settings);
        Scene { world, modules: Map::new(), _network: network }
    }

    fn deploy(&self) {
        let agent = json!({
            "schemaVersion": "1.1", "runtime": { "type": "docker", "settings": {} },
            "systemModules": {}, "modules": self.modules,
        });
        self.world.hub.service.apply(EDGE, &json!({ "$edgeAgent": agent }));
    }

    /// Its line in `edgectl list`, once it is so.
    #[track_caller]
    fn wait_line(&self, module: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            last = self.world.management.get("/modules").unwrap_or_default();
            let mut lines = last["modules"].as_array().into_iter().flatten();
            if let Some(line) = lines.find(|line| line["name"] == module && is_so(line)) {
                return line.clone();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{module} is not so within {SOON:?}: {:#?} {last}", of_module(module));
    }

    /// Dies there for this module only; starts with that.
    fn starts_to_die_at(&mut self, point: &str, module: &str) {
        self.world.edge.set("EDGE_DIE_AT", format!("{point} {module}"));
        self.world.edge.again();
        self.world.edge.wait_ready();
    }

    /// What it is in the end.
    fn check_end(&self, module: &str, change: Change, before: &[Seen]) {
        let (version, state) = match change {
            Added | Updated => ("new", "running"),
            Stopped => ("old", "exited"),
            _ => ("old", "running"),
        };
        if change == Removed {
            wait_for(&format!("the end of {module}"), SOON, || {
                let identity = format!("/devices/{EDGE}/modules/{module}");
                let answer = self.world.hub.service.try_call("GET", &identity, None).unwrap();
                (of_module(module).is_empty() && answer.0 == 404).then_some(())
            });
            return;
        }
        let only = wait_for(&format!("{module} to be {version} {state}"), SOON, || {
            let all = of_module(module);
            let [only] = all.as_slice() else { return None };
            (only.version == version && only.state == state).then(|| only.clone())
        });
        let status = if change == Stopped { "stopped" } else { "running" };
        let line = self.wait_line(module, |line| {
            let why = line["why"].as_str().unwrap();
            let is_told = match change {
                UpdatedToEnd => why.contains("was undone") && why.contains("exit code 3"),
                UpdatedToSick => why.contains("was undone") && why.contains("healthy"),
                _ => line["differences"].as_array().unwrap().is_empty(),
            };
            line["status"] == status && is_told && line["next_attempt"].is_null()
        });
        assert_eq!(line["restarts"], 0, "nothing failed that counts: {line}");
        let is_same = before.iter().any(|it| (&it.id, &it.name) == (&only.id, &only.name));
        assert_eq!(is_same, version == "old", "{module} {change:?}: {before:?} {only:?}");
        let runs = runs(&only.id).1;
        let least = match change {
            Added | Updated | Stopped | Started => 1..=1,
            _ => 2..=2, // stopped once, and started again
        };
        assert!(least.contains(&runs), "{module} {change:?} ran {runs} times");
    }
}

#[test]
fn a_death_at_any_step_of_a_module_ends_in_what_is_wanted_or_in_what_ran_before() {
    make_image(IMAGE);
    let began = Instant::now();
    let mut scene = Scene::start();
    // Two of the modules cannot have their own names.
    let taken = [5, 14].map(|number| Foreign::with_name(&name(number)));
    let steady = format!("steady-{}", std::process::id());
    scene.modules.insert(steady.clone(), module("old", "running"));
    for (number, (_, change)) in DEATHS.iter().enumerate() {
        if let Some(module) = deployed(*change).0 {
            scene.modules.insert(name(number), module);
        }
    }
    scene.deploy();
    let all: Vec<String> = scene.modules.keys().cloned().collect();
    for module in &all {
        scene.wait_line(module, |line| line["differences"] == json!([]));
    }
    let before: Vec<Vec<Seen>> = (0..DEATHS.len()).map(|it| of_module(&name(it))).collect();
    let witness = || (of_module(&steady), runs(&of_module(&steady)[0].id));
    let lives = witness();
    let of_others = || taken.each_ref().map(|it| runs(&it.0));
    let others = of_others();

    assert!(scene.world.edge.terminate().success());
    for (number, (point, change)) in DEATHS.into_iter().enumerate() {
        let module = name(number);
        scene.starts_to_die_at(point, &module);
        match deployed(change).1 {
            Some(new) => scene.modules.insert(module.clone(), new),
            None => scene.modules.remove(&module),
        };
        if change == Restarted {
            scene.wait_line(&module, |line| line["status"] == "running");
            let restart = format!("/modules/{module}/restart");
            assert!(scene.world.management.try_call("POST", &restart).is_err(), "it died");
        } else {
            scene.deploy();
        }
        let what = format!("the death at {point} of {module}");
        let status = wait_for(&what, SOON, || scene.world.edge.ended());
        assert_eq!(status.signal(), Some(9), "{what}");
        let left = of_module(&module);
        let states: Vec<_> = left.iter().map(|it| format!("{} {}", it.version, it.state)).collect();
        println!("{:.1?} {point} {change:?}: {}", began.elapsed(), states.join(", "));
        assert!(!left.is_empty() || before[number].is_empty() || change == Removed, "{what}");
    }
    scene.world.edge.set("EDGE_DIE_AT", "");
    scene.world.edge.again();
    scene.world.edge.wait_ready();
    for (number, (_, change)) in DEATHS.into_iter().enumerate() {
        scene.check_end(&name(number), change, &before[number]);
    }
    assert_eq!(witness(), lives, "what nobody changed was not touched");
    assert_eq!(of_others(), others, "containers of others were not touched");
    let instance = run(
        "docker",
        &["inspect", "-f", "{{index .Config.Labels \"io.edge-runtime.instance\"}}", &lives.0[0].id],
    );
    let ours = containers(&format!("io.edge-runtime.instance={instance}"));
    assert_eq!(ours.len(), scene.modules.len(), "none is left over: {ours:#?}");
}

/// Updates of one module, to what comes up and to what does not, and a kill at some moment of each.
/// `MOMENTS=100` by hand.
#[test]
fn a_death_at_any_moment_of_an_update_leaves_a_container_that_runs() {
    make_image(IMAGE);
    let seed = number("SEED", u64::from(std::process::id()));
    let (mut random, moments) = (Random::new(seed), number("MOMENTS", 3));
    let mut scene = Scene::start();
    let name = format!("moments-{}", std::process::id());
    scene.modules.insert(name.clone(), module("0", "running"));
    scene.deploy();
    scene.wait_line(&name, |line| line["differences"] == json!([]));
    let mut last = "0".to_owned();
    for moment in 1..=moments {
        last = match random.below(3) {
            0 => "ends".to_owned(),
            1 => "sick".to_owned(),
            _ => moment.to_string(),
        };
        scene.modules.insert(name.clone(), module(&last, "running"));
        scene.deploy();
        let wait = Duration::from_millis(random.below(4_000));
        std::thread::sleep(wait);
        scene.world.edge.kill();
        let left = of_module(&name);
        let states: Vec<_> = left.iter().map(|it| format!("{} {}", it.version, it.state)).collect();
        println!("seed {seed}: {moment}, to {last}, killed after {wait:?}: {}", states.join(", "));
        assert!(!left.is_empty(), "neither");
        scene.world.edge.again();
        scene.world.edge.wait_ready();
        wait_for("a container that runs", SOON, || {
            let is_good = |it: &Seen| it.state == "running" && it.version.parse::<u64>().is_ok();
            of_module(&name).iter().any(is_good).then_some(())
        });
    }
    let is_good = last.parse::<u64>().is_ok();
    wait_for("the end", SOON, || {
        let all = of_module(&name);
        let [only] = all.as_slice() else { return None };
        let is_it = (only.version == last) == is_good && only.name == name;
        (is_it && only.state == "running").then_some(())
    });
    let line = scene.wait_line(&name, |line| {
        let is_undone = line["why"].as_str().unwrap().contains("was undone");
        line["status"] == "running" && is_undone != is_good
    });
    assert_eq!(line["restarts"], 0, "{line}");
}
