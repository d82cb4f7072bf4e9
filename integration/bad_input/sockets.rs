//! The sockets of the management and the workload API, and HTTPS, as those have them who want to
//! take them from others: half a request, a thousand connections, giant bodies, another user.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use edge_runtime::protocol::http_client::{ClientRequest, Place};
use edge_runtime::protocol::tls::{TlsClient, Trust};
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde_json::{Value, json};

use crate::support::rest::{Management, ask_now, token};
use crate::support::wait_for;
use crate::support::world::World;
use crate::witness::{SOON, Witness};

/// No user and no group of this machine has these numbers.
const USERS: [u32; 2] = [54_321, 54_322];
const GROUP: u32 = 54_323;
/// Connections of one user (`actors/apis/management/mod.rs`), and of a module.
const OF_USER: usize = 32;
const OF_MODULE: usize = 16;

/// What `work` comes to for a user that is not root and is in this group only: the kernel looks at
/// who a thread is.
fn as_user<T: Send + 'static>(
    user: u32,
    group: u32,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    std::thread::spawn(move || {
        let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
        set_thread_groups(&[Gid::from_raw(group)]).expect("the test runs as root");
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        work()
    })
}

/// The status, or why there is none.
fn ask_as(user: u32, group: u32, socket: &Path, call: &str) -> String {
    let (socket, request) =
        (socket.to_owned(), format!("{call} HTTP/1.1\r\nConnection: close\r\n\r\n"));
    let ask = move || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[9..]).into_owned())
    };
    let asked = as_user(user, group, ask).join().unwrap();
    asked.unwrap_or_else(|why| why.kind().to_string())
}

/// So many connections with half a request on each, for as long as this is there.
fn hold(user: u32, group: u32, socket: &Path, number: usize) -> Vec<UnixStream> {
    let socket = socket.to_owned();
    let open = move || {
        let one = |_| {
            let mut stream = UnixStream::connect(&socket).ok()?;
            let _ = stream.write_all(b"GET /status HT"); // it may be closed already
            Some(stream)
        };
        (0..number).filter_map(one).collect()
    };
    as_user(user, group, open).join().unwrap()
}

fn open_files(world: &World) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", world.edge.id())).unwrap().count()
}

/// A world whose management socket lies where others may get to, and is that of a group.
fn world_for_a_group() -> (World, tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let (socket, workload) = (folder.path().join("mgmt.sock"), folder.path().join("any.sock"));
    let group = GROUP.to_string();
    let world = World::start_as(
        &json!({ "all": "FROM /messages/* INTO $upstream" }),
        &[],
        &[
            ("EDGE_RUNTIME__MANAGEMENT__SOCKET", socket.to_str().unwrap()),
            ("EDGE_RUNTIME__MANAGEMENT__GROUP", &group),
            ("EDGE_RUNTIME__AGENT__WORKLOAD_DEVELOPMENT_SOCKET", workload.to_str().unwrap()),
        ],
    );
    (world, folder, socket)
}

#[test]
fn the_management_socket_is_for_root_and_its_group_and_no_user_takes_it_from_another() {
    let (mut world, folder, socket) = world_for_a_group();
    let mut witness = Witness::start(&world.leaf("leaf"));
    let found = std::fs::metadata(&socket).unwrap();
    assert_eq!((found.mode() & 0o777, found.gid()), (0o660, GROUP));
    let [one, other] = USERS;
    const STATUS: &str = "GET /status";
    assert_eq!(ask_as(one, one, &socket, STATUS), "permission denied", "the kernel says no");
    assert_eq!(ask_as(one, GROUP, &socket, STATUS), "200");
    let audit = || std::fs::read_to_string(world.folder.path().join("edge/audit.log"));
    assert_eq!(ask_as(one, GROUP, &socket, "POST /routes/all/pause"), "204");
    let lines: Vec<Value> =
        audit().unwrap().lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let by_one = lines.iter().find(|it| it["uid"] == one).expect("who did it is in the audit log");
    assert_eq!(by_one["path"], "/routes/all/pause");

    // A thousand connections of one of them, with half a request on each.
    let before = open_files(&world);
    let held = hold(one, GROUP, &socket, 1_000);
    let answers: Vec<_> = (0..5).map(|_| ask_as(one, GROUP, &socket, STATUS)).collect();
    assert!(answers.iter().all(|it| it != "200"), "{answers:?}: it has enough");
    assert_eq!(ask_as(other, GROUP, &socket, STATUS), "200", "another one of the group");
    let status = || Management(socket.clone()).try_call("GET", "/status").unwrap().0;
    assert_eq!(status(), 200, "root");
    witness.is_served();
    let most = before + OF_USER + 16;
    let files = open_files(&world);
    println!("{before} open files before, {files} with a thousand connections of one user");
    assert!(files <= most, "{files} open files, {most} at most");
    drop(held);
    wait_for("its own to be taken again", SOON, || {
        (ask_as(one, GROUP, &socket, STATUS) == "200").then_some(())
    });

    // A module's socket: its own takes all of its room, and nobody else's.
    let workload = folder.path().join("any.sock");
    let before = open_files(&world);
    let held = hold(one, one, &workload, 1_000);
    assert_eq!(status(), 200);
    witness.is_served();
    let files = open_files(&world);
    println!("{before} open files before, {files} with a thousand at a workload socket");
    assert!(files <= before + OF_MODULE + 8, "{files}");
    drop(held);
    let place = Place::Unix(workload.clone());
    let trust = ClientRequest::new("GET", "/trust-bundle?api-version=2019-01-30");
    assert_eq!(ask_now(&place, trust).unwrap().status, 200);

    // A body that never ends is refused as soon as it is too large, and nothing of it is held.
    for socket in [&socket, &workload] {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let head = "POST /modules/m/genid/1/sign?api-version=2019-01-30 HTTP/1.1\r\n\
                    Content-Length: 99999999999\r\n\r\n";
        let mut said = head.as_bytes().to_vec();
        said.resize(head.len() + (2 << 20), b'x');
        let _ = stream.write_all(&said); // it may be closed meanwhile
        let mut answer = [0; 64];
        let read = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    witness.is_served();
    assert!(world.edge.ended().is_none());
}

#[test]
fn a_module_at_the_gateway_does_not_call_the_agent() {
    let world = World::start(&json!({ "all": "FROM /messages/* INTO $upstream" }));
    let module = world.module("m");
    let ca = world.folder.path().join("edge/certs/device-ca.pem");
    let tls = TlsClient::new(&Trust::from_file(Some(&ca)).unwrap()).unwrap();
    let place = Place::Tls(world.edge_address.to_string(), 8443, tls);
    let token = token(&format!("{}/devices/edge/modules/m", module.hub), &module.key, None);
    for name in ["$edgeAgent", "%24edgeAgent", "$EDGEAGENT"] {
        let ping = ClientRequest::new("POST", format!("/twins/edge/modules/{name}/methods"));
        let ping = ping.with_header("Authorization", token.clone());
        let answer = ask_now(&place, ping.with_json(&json!({ "methodName": "ping" }))).unwrap();
        let body = String::from_utf8_lossy(&answer.body);
        assert!(answer.status == 404 && body.contains("404103"), "{name}: {answer:?}");
    }
    // The link leads there.
    let body = json!({ "methodName": "ping", "payload": null, "responseTimeoutInSeconds": 20 });
    let path = "/twins/edge/modules/$edgeAgent/methods";
    assert_eq!(world.hub.service.call("POST", path, Some(&body))["status"], 200);
}

#[test]
fn who_is_refused_over_https_is_in_the_audit_log_and_does_not_fill_it() {
    const MANY: usize = 150;
    let world = World::start(&json!({ "all": "FROM /messages/* INTO $upstream" }));
    let ca = world.folder.path().join("edge/certs/device-ca.pem");
    let tls = TlsClient::new(&Trust::from_file(Some(&ca)).unwrap()).unwrap();
    let place = Place::Tls(world.edge_address.to_string(), 8443, tls);
    let path = format!("/twins/{0}/modules/{0}/methods?sig=do-not-show", "%78".repeat(128));
    let begin = std::time::Instant::now();
    let strangers: Vec<_> = (0..MANY)
        .map(|n| {
            let (place, path) = (place.clone(), path.clone());
            let path = if n % 2 == 0 { path } else { "/twins/edge/modules/m/methods".to_owned() };
            std::thread::spawn(move || {
                let request = ClientRequest::new("POST", path);
                let token = "SharedAccessSignature sr=x%2Fdevices%2Fa&sig=do-not-show&se=9";
                ask_now(&place, request.with_header("Authorization", token))
            })
        })
        .collect();
    let statuses: Vec<_> = strangers.into_iter().map(|it| it.join().unwrap()).collect();
    let refused = statuses.iter().flatten().filter(|answer| answer.status == 401).count();
    let spans = begin.elapsed().as_secs() as usize / 10 + 2;
    let audit = || std::fs::read_to_string(world.folder.path().join("edge/audit.log")).unwrap();
    let summed_up = "more log-ins failed than are in the log";
    let audit = wait_for("those that were left out to be counted", Duration::from_secs(40), || {
        Some(audit()).filter(|audit| audit.contains(summed_up))
    });
    let lines: Vec<Value> = audit.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let said = lines.iter().filter(|it| it["message"] == "refused").count();
    println!("{refused} refused within {:.1?}, {said} lines", begin.elapsed());
    assert!(refused > 100 && (1..=50 * spans).contains(&said), "{said} lines for {refused}");
    assert!(lines.iter().all(|it| it["message"] != "refused" || it["peer"].is_string()));
    assert!(audit.lines().all(|line| line.len() < 1_000), "what strangers write is cut");
    let log = world.edge.log_since_start();
    for text in [&audit, &log] {
        assert!(!text.contains("do-not-show"), "a signature");
    }
}
