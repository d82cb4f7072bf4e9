//! What a service manager is told: that we run, what we wait for, and that we live.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::world::World;

const SOON: Duration = Duration::from_secs(60);

/// Words until one is among them.
#[track_caller]
fn wait_word(socket: &UnixDatagram, is_it: impl Fn(&str) -> bool) -> Vec<String> {
    let deadline = Instant::now() + SOON;
    let mut words = Vec::new();
    let mut datagram = [0; 4096];
    while Instant::now() < deadline {
        let Ok(length) = socket.recv(&mut datagram) else { continue };
        let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
        words.extend(text.lines().map(str::to_owned));
        if words.iter().any(|word| is_it(word)) {
            return words;
        }
    }
    panic!("not among {words:?}");
}

#[test]
fn the_service_manager_is_told_that_we_run_that_we_live_and_that_we_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let manager = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "600000")];
    let mut world = World::start_as(&json!({}), &[], &manager);
    let words = wait_word(&socket, |word| word == "WATCHDOG=1");
    assert!(words.contains(&"READY=1".into()), "{words:?}");
    let said = wait_word(&socket, |word| word == "STATUS=ready" || word == "WATCHDOG=1");
    assert!(!said.is_empty());

    // It hangs: no word of life comes. Then it goes on.
    let pid = Pid::from_raw(world.edge.id().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut [0; 4096]).is_ok() {} // what was said before
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1200))).unwrap();
    assert!(socket.recv(&mut [0; 4096]).is_err(), "four words would have been due");
    kill_process(pid, Signal::CONT).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    wait_word(&socket, |word| word == "WATCHDOG=1");
    assert!(world.edge.terminate().success());
    wait_word(&socket, |word| word == "STOPPING=1");
}
