//! The queue is moved by the twin of `$edgeHub`: what is refused, a place that is gone, and (in test
//! builds) a death at each step.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::count::Count;
use super::support::sender::Sender;
use super::support::wait_for;
use super::support::world::World;

const SOON: Duration = Duration::from_secs(60);
const KEY: &str = "storeAndForwardConfiguration.location";

/// A world whose queue may be moved to `disk`.
struct Scene {
    world: World,
    senders: Vec<Sender>,
    home: PathBuf,
    disk: PathBuf,
    // Last: nobody is in there any more.
    _disk: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().canonicalize().unwrap();
        let roots = disk.display().to_string();
        let more = [("EDGE_RUNTIME__STORE__ALLOWED_ROOTS", roots.as_str())];
        let world = World::start_as(&super::routes(), &[], &more);
        let senders = ["leaf-1", "leaf-2"].map(|id| Sender::start(world.leaf(id), "")).into();
        let home = world.folder.path().canonicalize().unwrap().join("edge/queue");
        Scene { world, senders, home, disk, _disk: folder }
    }

    /// A directory on the disk.
    fn make(&self, name: &str) -> PathBuf {
        let place = self.disk.join(name);
        std::fs::create_dir(&place).unwrap();
        place
    }

    /// Answers with the version of the deployment.
    fn deploy(&self, place: Option<&Path>) -> u64 {
        let place = place.map(|place| place.to_str().unwrap());
        let store = json!({ "timeToLiveSecs": 7200, "location": place });
        self.world.set_store(&super::routes(), &store);
        let twin = self.world.hub.service.twin("edge", "$edgeHub");
        twin["properties"]["desired"]["$version"].as_u64().unwrap()
    }

    /// Code and description that are reported of it.
    fn outcome(&self, version: u64) -> (u64, String) {
        let reported = self.world.wait_reported("$edgeHub", "the outcome", |reported| {
            reported["lastDesiredVersion"] == version
        });
        let status = &reported["lastDesiredStatus"];
        (status["code"].as_u64().unwrap(), status["description"].as_str().unwrap().to_owned())
    }

    fn place(&self) -> Option<PathBuf> {
        Some(self.world.queue()?["place"].as_str()?.into())
    }

    fn is_served(&self) {
        let since = Instant::now();
        for sender in &self.senders {
            let is_back = || sender.sent().last_ack.filter(|at| *at > since);
            wait_for(&format!("an acknowledgement of {}", sender.id()), SOON, is_back);
        }
    }

    fn moved_to(&self, place: &Path) {
        let what = format!("the queue in {}", place.display());
        wait_for(&what, SOON, || (self.place()? == place).then_some(()));
        self.is_served();
    }

    /// Everything that was acknowledged is at the hub, once, in order.
    fn end(mut self) {
        self.senders.iter_mut().for_each(Sender::finish);
        self.world.wait_drained(SOON);
        let mut count = Count::default();
        for sender in &self.senders {
            count.add(sender.id(), &sender.sent(), &self.world.at_hub(sender.id()));
        }
        assert!(count.is_clean() && count.acked > 100, "{count:#?}");
    }
}

fn has_store(place: &Path) -> bool {
    place.join("data.mdb").exists()
}

/// A file system of its own, gone with this.
struct Mount(PathBuf);

impl Mount {
    fn new(place: PathBuf, options: &str) -> Self {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "queue-test"])
            .arg(&place)
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "this test mounts tmpfs: run it as root"
        );
        Mount(place)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_place_that_will_not_do_is_named_and_the_queue_stays_and_a_good_one_takes_it() {
    let scene = Scene::new();
    let outside = scene.world.folder.path().join("edge");
    std::os::unix::fs::symlink(&outside, scene.disk.join("link")).unwrap();
    let taken = scene.make("taken");
    std::fs::write(taken.join("data.mdb"), "somebody's").unwrap();
    let small = Mount::new(scene.make("small"), "size=4m");
    let readonly = Mount::new(scene.make("readonly"), "size=64m,ro");
    for (place, why) in [
        (outside.clone(), "store.allowed_roots"),
        (scene.disk.join("link/queue"), "store.allowed_roots"),
        (scene.disk.join("taken/../.."), "store.allowed_roots"),
        (scene.disk.join("nothing"), "make it"),
        (taken, "there is a store in"),
        (small.0.clone(), "bytes free"),
        (readonly.0.clone(), "read-only"),
    ] {
        let version = scene.deploy(Some(&place));
        let (code, description) = scene.outcome(version);
        assert!(code == 400 && description.starts_with(KEY), "{code} {description}");
        assert!(description.contains(why), "{}: {description}", place.display());
        assert_eq!(scene.place(), Some(scene.home.clone()));
        scene.is_served();
    }
    let good = scene.make("good");
    let version = scene.deploy(Some(&good));
    assert_eq!(scene.outcome(version), (200, String::new()));
    scene.moved_to(&good);
    assert!(has_store(&good) && !has_store(&scene.home));
    // What was mended is found without a new deployment.
    let late = scene.disk.join("late");
    let version = scene.deploy(Some(&late));
    assert_eq!(scene.outcome(version).0, 400);
    scene.make("late");
    scene.moved_to(&late);
    let version = scene.deploy(None);
    assert_eq!(scene.outcome(version), (200, String::new()));
    scene.moved_to(&scene.home);
    assert!(has_store(&scene.home) && !has_store(&good) && !has_store(&late));
    drop((small, readonly));
    scene.end();
}

#[test]
fn a_place_that_is_gone_gets_no_empty_queue_and_all_goes_on_when_it_is_back() {
    let mut scene = Scene::new();
    let (usb, away) = (scene.make("usb"), scene.disk.join("away"));
    scene.deploy(Some(&usb));
    scene.moved_to(&usb);
    assert!(scene.world.edge.terminate().success());
    std::fs::rename(&usb, &away).unwrap();
    scene.make("usb"); // a mount point that nothing is mounted on
    scene.world.edge.again();
    scene.world.edge.wait_log("the queue cannot be had", SOON);
    let other = scene.make("other");
    let version = scene.deploy(Some(&other));
    let status = wait_for("the status", SOON, || scene.world.management.get("/status"));
    let is_queue = |part: &&Value| part["name"] == "queue";
    let part = status["parts"].as_array().unwrap().iter().find(is_queue).cloned().unwrap();
    assert!(part["why"].as_str().unwrap().contains("plugged in"), "{part}");
    let (code, description) = scene.outcome(version);
    assert!(code == 500 && description.contains("plugged in"), "{code} {description}");
    let leaf = scene.world.leaf("late");
    let refused = leaf.connect().map(drop);
    assert_eq!(refused, Err("CONNACK ServiceUnavailable".into()));
    assert!(!has_store(&usb) && !has_store(&scene.home) && !has_store(&other));
    std::fs::remove_dir_all(&usb).unwrap();
    std::fs::rename(&away, &usb).unwrap();
    scene.world.edge.wait_ready();
    scene.moved_to(&other); // what was asked for meanwhile
    assert!(!has_store(&usb) && !has_store(&scene.home));
    scene.end();
}

/// Where a crash must do no harm, in order.
#[cfg(feature = "faults")]
const STEPS: [&str; 11] = [
    "move-noted",
    "move-began",
    "move-copying",
    "move-copied",
    "move-numbered",
    "move-renamed",
    "move-remembered",
    "move-switched",
    "move-removing",
    "move-cleared",
    "move-done",
];

#[cfg(feature = "faults")]
#[test]
fn a_death_at_any_step_of_a_move_ends_in_the_old_place_or_in_the_new_one() {
    let mut scene = Scene::new();
    let places = [scene.make("a"), scene.make("b")];
    let mut now = scene.home.clone();
    for (n, step) in STEPS.into_iter().enumerate() {
        let next = &places[n % 2];
        assert!(scene.world.edge.terminate().success());
        scene.world.edge.set("EDGE_DIE_AT", step);
        scene.world.edge.again();
        scene.world.edge.wait_ready();
        scene.is_served();
        scene.deploy(Some(next));
        wait_for(&format!("the death at {step}"), SOON, || scene.world.edge.ended());
        let stores = [has_store(&now), has_store(next)];
        scene.world.edge.set("EDGE_DIE_AT", "");
        scene.world.edge.again();
        scene.world.edge.wait_ready();
        scene.moved_to(next);
        let left = |place: &Path| std::fs::read_dir(place).unwrap().count();
        wait_for("the old place cleared", SOON, || (left(&now) == 0).then_some(()));
        println!(
            "{step}: stores at the old and the new place {stores:?}, then in {}",
            next.display()
        );
        let half = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.unwrap().file_name().to_string_lossy().starts_with("incoming-")
        };
        assert!(!std::fs::read_dir(next).unwrap().any(half), "half a copy is left");
        now.clone_from(next);
    }
    scene.end();
}
