//! A machine on this one: systemd as its first process, with processes, names, network and cgroups
//! of its own, and a root over this machine's that only it writes to. Debian's own docker.service
//! starts dockerd in it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::image::run;
use crate::support::wait_for;

const DOCKER_UNIT: &str = "/lib/systemd/system/docker.service";
const INIT: &str = "/lib/systemd/systemd";

/// Becomes the first process. Device nodes are its own: who changes their rights changes no others';
/// and of the kernel it can set what is its network's.
const BOOT: &str = r#"
set -eu
echo $$ >"$CGROUP/cgroup.procs"
exec unshare --mount --uts --ipc --net --pid --cgroup --fork --kill-child --propagation private \
    sh -euc '
ip link set lo up
hostname edge-machine
mount -t tmpfs tmpfs "$ROOT/run"
mkdir -p "$ROOT/run/lock"
mount -t tmpfs tmpfs "$ROOT/tmp"
mount -t proc proc "$ROOT/proc"
mount --bind "$ROOT/proc/sys" "$ROOT/proc/sys"
mount --bind "$ROOT/proc/sys/net" "$ROOT/proc/sys/net"
mount -o remount,bind,ro "$ROOT/proc/sys"
cat /proc/sys/kernel/random/uuid >"$ROOT/run/boot-id"
mount -t sysfs sysfs "$ROOT/sys"
mount -t cgroup2 cgroup2 "$ROOT/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$ROOT/dev"
node() { mknod -m 666 "$ROOT/dev/$1" c "$2" "$3"; }
node null 1 3; node zero 1 5; node full 1 7; node random 1 8; node urandom 1 9; node tty 5 0
mkdir "$ROOT/dev/pts" "$ROOT/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$ROOT/dev/pts"
ln -s pts/ptmx "$ROOT/dev/ptmx"
mount -t tmpfs tmpfs "$ROOT/dev/shm"
mount --bind "$DISK" "$ROOT/var/lib/docker"
for program in edge-runtime edgectl; do
    mount --bind "$PROGRAMS/$program" "$ROOT/usr/local/bin/$program"
done
cd "$ROOT"
mkdir -p .before
pivot_root . .before
umount -l /.before
exec env -i container=machine PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --log-target=journal --show-status=0
'
"#;

/// Never reached: what waits for it waits for ever, as without a link.
const NEVER: &str = "[Unit]\nDefaultDependencies=no\nBefore=network-online.target time-sync.target\n\
    [Service]\nType=oneshot\nTimeoutStartSec=infinity\nExecStart=/bin/sleep infinity\n";
const TARGET: &str = "[Unit]\nWants=docker.service edge-runtime.service\nAfter=basic.target\n\
    Requires=basic.target\n";
/// What would meddle with this machine.
const MASKED: [&str; 10] = [
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-sysctl.service",
    "systemd-modules-load.service",
    "systemd-timesyncd.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-pstore.service",
    "apparmor.service",
    "kmod-static-nodes.service",
];

pub struct Machine {
    folder: tempfile::TempDir,
    cgroup: PathBuf,
    /// Where ours are.
    programs: PathBuf,
    on: Option<On>,
}

struct On {
    child: Child,
    /// Of its first process, on this machine.
    init: u32,
}

impl Machine {
    /// Switched off. `None` where there can be none; says why.
    pub fn new(programs: PathBuf) -> Option<Self> {
        let cgroups = cgroup2();
        for (is_so, what) in [
            (rustix::process::geteuid().is_root(), "root"),
            (Path::new(INIT).exists(), "systemd on this machine"),
            (Path::new(DOCKER_UNIT).exists(), "Debian's package docker.io"),
            (cgroups.is_some(), "a cgroup2 hierarchy"),
        ] {
            if !is_so {
                eprintln!("SKIPPED: this needs {what}");
                return None;
            }
        }
        let name = format!("edge-machine-{}", std::process::id());
        let folder = tempfile::Builder::new().prefix(&name).tempdir().unwrap();
        let machine = Machine { cgroup: cgroups?.join(name), folder, programs, on: None };
        let at = |name: &str| machine.folder.path().join(name).display().to_string();
        let options = "size=1g,mode=755";
        run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", &at("")]);
        for name in ["upper", "work", "root", "docker"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let layers = format!("lowerdir=/,upperdir={},workdir={}", at("upper"), at("work"));
        run("mount", &["-t", "overlay", "-o", &layers, "overlay", &at("root")]);
        machine.install();
        Some(machine)
    }

    /// No units but those of the packages, and ours.
    fn install(&self) {
        let units = self.path("/etc/systemd/system");
        std::fs::remove_dir_all(&units).unwrap();
        self.write("/etc/systemd/system/default.target", TARGET);
        for name in MASKED {
            std::os::unix::fs::symlink("/dev/null", units.join(name)).unwrap();
        }
        self.write("/etc/systemd/system/never.service", NEVER);
        for target in ["network-online", "time-sync"] {
            let wants = units.join(format!("{target}.target.wants"));
            std::fs::create_dir_all(&wants).unwrap();
            let unit = "/etc/systemd/system/never.service";
            std::os::unix::fs::symlink(unit, wants.join("never.service")).unwrap();
        }
        // As docs/booting.md says: Docker itself needs no link.
        let docker = std::fs::read_to_string(DOCKER_UNIT).unwrap();
        assert!(docker.contains("network-online.target"), "this can be left out now");
        let docker = docker.replace("network-online.target", "network.target");
        self.write("/etc/systemd/system/docker.service", &docker);
        self.write("/etc/docker/daemon.json", "{}");
        // To the kernel its boots are this machine's.
        let own = "/etc/systemd/system/edge-runtime.service.d/machine.conf";
        let bind = "BindReadOnlyPaths=/run/boot-id:/proc/sys/kernel/random/boot_id";
        self.write(own, &format!("[Service]\n{bind}\n"));
        self.write("/etc/fstab", "");
        self.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        self.write("/usr/local/bin/edge-runtime", "");
        self.write("/usr/local/bin/edgectl", "");
        std::fs::create_dir_all(self.path("/var/lib/docker")).unwrap();
    }

    /// Where a file of it is on this machine.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path.trim_start_matches('/'))
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = std::fs::remove_file(&path);
        std::fs::write(path, text).unwrap();
    }

    pub fn switch_on(&mut self) {
        std::fs::create_dir_all(&self.cgroup).unwrap();
        let log = self.folder.path().join("log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", BOOT]).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command.env("CGROUP", &self.cgroup).env("ROOT", self.path(""));
        command.env("DISK", self.folder.path().join("docker")).env("PROGRAMS", &self.programs);
        let child = command.spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let init = wait_for("the first process of the machine", Duration::from_secs(20), || {
            let first = std::fs::read_to_string(&children).ok()?;
            let pid: u32 = first.split_whitespace().next()?.parse().ok()?;
            let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            (program.trim() == "systemd").then_some(pid)
        });
        self.on = Some(On { child, init });
    }

    /// All of its processes are gone at once.
    pub fn cut_power(&mut self) {
        if let Some(On { mut child, init }) = self.on.take() {
            let init = rustix::process::Pid::from_raw(init.cast_signed()).unwrap();
            let _ = rustix::process::kill_process(init, rustix::process::Signal::KILL);
            let _ = child.wait();
        }
    }

    fn init(&self) -> u32 {
        self.on.as_ref().expect("it is switched on").init
    }

    /// Runs a program within.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init().to_string(), "-m", "-u", "-i", "-n", "-p", "-C", "--"]);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env_remove("DOCKER_HOST").arg(program).args(arguments).output().unwrap()
    }

    /// Its standard output.
    pub fn says(&self, program: &str, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.run(program, arguments).stdout).trim().to_owned()
    }

    /// What its services logged.
    pub fn journal(&self) -> String {
        self.says("journalctl", &["--no-pager", "-o", "cat", "-n", "60", "-u", "edge-runtime"])
    }

    /// A link: these ports of `address` in the machine lead to this machine's.
    pub fn plug(&self, address: &str, ports: &[(u16, SocketAddr)]) -> Link {
        self.run("ip", &["address", "add", &format!("{address}/32"), "dev", "lo"]);
        let is_out = Arc::new(AtomicBool::new(false));
        for (port, to) in ports {
            let at: SocketAddr = format!("{address}:{port}").parse().unwrap();
            let namespace = File::open(format!("/proc/{}/ns/net", self.init())).unwrap();
            let (to, is_out) = (*to, Arc::clone(&is_out));
            let (comes, come) = channel();
            let (bound, is_bound) = channel();
            thread::spawn(move || {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), kind).unwrap();
                let listener = TcpListener::bind(at).unwrap();
                listener.set_nonblocking(true).unwrap();
                bound.send(()).unwrap();
                while !is_out.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((client, _)) => comes.send(client).unwrap(),
                        Err(_) => thread::sleep(Duration::from_millis(20)),
                    }
                }
            });
            is_bound.recv().unwrap();
            thread::spawn(move || {
                for client in come {
                    let Ok(server) = TcpStream::connect(to) else { continue };
                    client.set_nonblocking(false).unwrap();
                    pump(client.try_clone().unwrap(), server.try_clone().unwrap());
                    pump(server, client);
                }
            });
        }
        Link(is_out)
    }
}

/// There as long as this lives.
pub struct Link(Arc<AtomicBool>);

impl Drop for Link {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() && self.on.is_some() {
            let jobs = self.says("systemctl", &["--no-pager", "list-jobs"]);
            let state = self.says("systemctl", &["--no-pager", "status", "docker", "edge-runtime"]);
            eprintln!("---- of the machine:\n{jobs}\n{state}\n{}\n----", self.journal());
        }
        self.cut_power();
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        if thread::panicking() {
            eprintln!("---- before its first process:\n{log}\n----");
        }
        for mount in [self.path(""), self.folder.path().to_path_buf()] {
            let _ = Command::new("umount").arg("-l").arg(mount).status();
        }
        remove_cgroup(&self.cgroup);
    }
}

fn remove_cgroup(path: &Path) {
    let below = std::fs::read_dir(path).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.path().is_dir()) {
        remove_cgroup(&entry.path());
    }
    let _ = std::fs::remove_dir(path);
}

/// Where cgroup2 is mounted.
fn cgroup2() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let line = lines.find(|line| line.get(2) == Some(&"cgroup2"))?;
    line.get(1).map(PathBuf::from)
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let mut chunk = [0; 16_384];
        while let Ok(read) = from.read(&mut chunk) {
            if read == 0 || to.write_all(&chunk[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write); // the other way may go on
    });
}
