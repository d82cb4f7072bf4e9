//! The disk of the state directory is not there at boot, cannot be written to, or is full; link and
//! engine come when they come. A service manager starts the runtime again whenever it ends.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::deployment;
use crate::door::Door;
use crate::image::{make_image, run};
use crate::support::gateway::{Network, docker};
use crate::support::program::Program;
use crate::support::world::{EDGE, World};

const IMAGE: &str = "edge-runtime-test/boot-disk:1";
const DONE: Duration = Duration::from_secs(90);
/// Between two starts by the service manager.
const AGAIN: Duration = Duration::from_millis(250);

/// A disk that is mounted, or not. What is on it stays.
struct Disk(tempfile::TempDir);

/// How it can be of no use.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lack {
    Unmounted,
    ReadOnly,
    Full,
}

impl Disk {
    fn new() -> Self {
        let disk = Disk(tempfile::Builder::new().prefix("disk").tempdir().unwrap());
        for place in [disk.store(), disk.place()] {
            std::fs::create_dir(place).unwrap();
        }
        let store = disk.store().display().to_string();
        run("mount", &["-t", "tmpfs", "-o", "size=64m", "tmpfs", &store]);
        disk.mount();
        disk
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    /// Where it is mounted.
    fn place(&self) -> PathBuf {
        self.0.path().join("disk")
    }

    fn mount(&self) {
        let (store, place) = (self.store(), self.place());
        run("mount", &["--bind", store.to_str().unwrap(), place.to_str().unwrap()]);
    }

    fn remount(&self, rights: &str) {
        run("mount", &["-o", &format!("remount,bind,{rights}"), self.place().to_str().unwrap()]);
    }

    fn ballast(&self) -> PathBuf {
        self.store().join("ballast")
    }

    fn take_away(&self, lack: Lack) {
        match lack {
            Lack::Unmounted => drop(run("umount", &[self.place().to_str().unwrap()])),
            Lack::ReadOnly => self.remount("ro"),
            Lack::Full => {
                let all = vec![0; 64 << 20];
                assert!(std::fs::write(self.ballast(), all).is_err(), "there is no room for it");
            }
        }
    }

    fn give_back(&self, lack: Lack) {
        match lack {
            Lack::Unmounted => self.mount(),
            Lack::ReadOnly => self.remount("rw"),
            Lack::Full => std::fs::remove_file(self.ballast()).unwrap(),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for place in [self.place(), self.store()] {
            let _ = Command::new("umount").arg("-l").arg(place).status();
        }
    }
}

/// As systemd does with `Restart=always`: whatever it ended with but 78.
#[track_caller]
fn tend(edge: &mut Program) {
    if let Some(status) = edge.ended() {
        assert_eq!(status.code(), Some(1), "{}", edge.log_since_start());
        std::thread::sleep(AGAIN);
        edge.again();
    }
}

#[track_caller]
fn wait_tended<T>(edge: &mut Program, what: &str, mut ask: impl FnMut(&Program) -> Option<T>) -> T {
    let deadline = Instant::now() + DONE;
    loop {
        if let Some(answer) = ask(edge) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: {}", edge.log_since_start());
        tend(edge);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comes {
    Disk,
    Engine,
    Hub,
}

#[test]
fn the_last_good_deployment_runs_when_disk_and_engine_are_there_in_whatever_order_all_come() {
    use Comes::{Disk as D, Engine as E, Hub as H};
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: this needs root, to mount");
        return;
    }
    make_image(IMAGE);
    let disk = Disk::new();
    let network = Network::make("boot-disk");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let mut settings = network.settings();
    settings.push(("EDGE_RUNTIME__AGENT__DOCKER", format!("unix://{}", socket.display())));
    let state = disk.place().join("edge").display().to_string();
    settings.push(("EDGE_RUNTIME__STATE__PATH", state));
    settings.push(("EDGE_RUNTIME__STATE__MOUNT_POINT", disk.place().display().to_string()));
    let pairs: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut door = Some(Door::open(&socket));
    let mut world = World::start_as(&json!({}), &[], &pairs);
    let name = format!("on-disk-{}", std::process::id());
    world.hub.service.apply(EDGE, &deployment(IMAGE, &[&name]));
    let is_good = |reported: &Value| {
        reported["lastDesiredStatus"]["code"] == 200
            && reported["modules"][&name]["runtimeStatus"] == "running"
    };
    let first = world.wait_reported("$edgeAgent", "the module to run", is_good);
    let mut last = first["modules"][&name]["lastStartTimeUtc"].clone();

    for (lack, order) in [
        (Lack::Unmounted, [D, E, H]),
        (Lack::Unmounted, [H, E, D]),
        (Lack::ReadOnly, [E, D, H]),
        (Lack::Full, [E, H, D]),
    ] {
        world.edge.kill();
        world.hub.program.kill();
        drop(door.take());
        for id in network.containers() {
            docker(&["rm", "-f", &id]); // as if the machine was made anew
        }
        disk.take_away(lack);
        // One engine is there and says nothing, before it comes.
        let mut silent = (order[0] == D).then(|| UnixListener::bind(&socket).unwrap());
        world.edge.again();
        let mut here = Vec::new();
        let running = || {
            let filter = format!("network={}", network.name);
            let ids = docker(&["ps", "-q", "--filter", &filter]);
            ids.lines().count()
        };
        for comes in order {
            let what = format!("{lack:?}, {order:?}: before {comes:?}");
            let word = match lack {
                Lack::Unmounted => "nothing is mounted at",
                Lack::ReadOnly => "Read-only file system",
                Lack::Full => "",
            };
            if !here.contains(&D) {
                let says = |edge: &Program| edge.log_since_start().contains(word).then_some(());
                wait_tended(&mut world.edge, &what, says);
            }
            match comes {
                D => disk.give_back(lack),
                E => {
                    if silent.take().is_some() {
                        std::fs::remove_file(&socket).unwrap();
                    }
                    door = Some(Door::open(&socket));
                }
                H => {
                    world.hub.program.again();
                    world.hub.program.wait_ready();
                }
            }
            here.push(comes);
            // A full disk is read all the same.
            let has_disk = here.contains(&D) || lack == Lack::Full;
            if has_disk && here.contains(&E) {
                let management = world.management.clone();
                let line = wait_tended(&mut world.edge, &format!("{what}: to run"), |_| {
                    let modules = management.get("/status")?["agent"]["modules"].clone();
                    let mut lines = modules.as_array()?.iter();
                    lines.find(|it| it["name"] == *name && it["status"] == "running").cloned()
                });
                assert_eq!(line["restarts"], 0, "{what}: {line}");
                assert_eq!(running(), 1, "{what}");
            } else {
                assert_eq!(running(), 0, "{what}");
            }
            if silent.is_some() && here.contains(&D) {
                let management = world.management.clone();
                wait_tended(&mut world.edge, "its word about the silent engine", |_| {
                    let engine = management.get("/status")?["agent"]["engine"].clone();
                    (engine != "ready").then_some(())
                });
            }
        }
        let service = world.hub.service.clone();
        last = wait_tended(&mut world.edge, "the report", |_| {
            let twin = service.try_call("GET", &format!("/twins/{EDGE}/modules/$edgeAgent"), None);
            let reported = twin.ok()?.1["properties"]["reported"].clone();
            let started = reported["modules"][&name]["lastStartTimeUtc"].clone();
            (is_good(&reported) && started != last).then_some(started)
        });
    }
    // Below the disk nothing was begun while it was not there.
    assert!(world.edge.terminate().success());
    disk.take_away(Lack::Unmounted);
    assert_eq!(std::fs::read_dir(disk.place()).unwrap().count(), 0);
    disk.mount();
}
