//! The wall clock of the edge jumps: by an hour, days, years, and back to 1970; while it runs and
//! across a restart, and it starts for the first time in 1970. The hub and the clients know the time.
//!
//! `support/clock_shift.c`, preloaded into the real program, does it: nobody else's clock is touched.
//! Nothing expires, nothing is lost; whoever has a token that is good is served throughout; once the
//! time is right the link is there again, and who was shut out comes in.
//!
//! next: `../support/clock_shift.c`

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_runtime::protocol::tls::{TlsClient, Trust};
use serde_json::json;
use tempfile::TempDir;

use crate::news::{News, now};
use crate::report::{DRAIN, Report, Task, wait_acked_since};
use crate::support::count::total;
use crate::support::mqtt::Mqtt;
use crate::support::sender::{Sender, Speech};
use crate::support::wait_for;
use crate::support::world::World;

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;
/// Once the time is right the first message is at the hub within this: a look at the clock, the
/// log-in, and a machine that is shared.
const BACK: Duration = Duration::from_secs(10);
/// Between here and there a token is good.
const AGE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The clock of a program that is started with `environment`.
struct Clock {
    shift: Arc<File>,
    library: PathBuf,
    _folder: TempDir,
}

impl Clock {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("clock_shift.so");
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/support/clock_shift.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        assert!(compiler.status().expect("a C compiler, cc").success());
        let path = folder.path().join("shift");
        std::fs::write(&path, 0_i64.to_ne_bytes()).unwrap();
        let shift = Arc::new(File::options().write(true).open(path).unwrap());
        Clock { shift, library, _folder: folder }
    }

    fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![
            ("LD_PRELOAD".into(), text(&self.library)),
            ("CLOCK_SHIFT".into(), text(&self._folder.path().join("shift"))),
        ]
    }

    /// Off by so many seconds from now on.
    fn set(&self, seconds: i64) {
        self.shift.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

/// Seconds to half a minute after the beginning of 1970.
fn to_1970() -> i64 {
    30 - i64::try_from(now().as_secs()).unwrap()
}

pub(crate) fn run(task: Task) -> Report {
    let mut random = task.random();
    let clock = Clock::new();
    clock.set(to_1970());
    let routes = json!({ "all": "FROM /messages/* INTO $upstream" });
    let mut world = World::start_behind(&routes, &[], |_| {
        // Never connected before: it is not ready until somebody tells it the time.
        let shift = Arc::clone(&clock.shift);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(3));
            shift.write_all_at(&0_i64.to_ne_bytes(), 0).unwrap();
        });
        clock.environment()
    });
    let mut wrong = Vec::new();
    if let Err(why) = over_tls(&world) {
        wrong.push(format!("the certificate made in 1970 is of no use: {why}"));
    }
    let usual = Speech { pause: Duration::from_millis(50), ..Speech::USUAL };
    let ageless = Speech { token: AGE, ..usual };
    let mut senders = vec![
        Sender::speaking(world.module("sensor"), "out", ageless),
        Sender::speaking(world.leaf("leaf-1"), "", ageless),
    ];
    let mut mortal = vec![Sender::speaking(world.leaf("leaf-2"), "", usual)];
    wait_acked_since(&senders, task.began);
    wait_acked_since(&mortal, task.began);
    let (mut worst, mut worst_back, mut news) = (Duration::ZERO, Duration::ZERO, News::default());
    for cycle in 0..task.cycles {
        let shift = match random.below(6) {
            0 => HOUR + 60,
            1 => 3 * 24 * HOUR,
            2 => 20 * YEAR,
            3 => -2 * HOUR,
            4 => -YEAR,
            _ => to_1970(),
        };
        let jumped = Instant::now();
        // Across a restart, across a kill, and while it runs.
        match cycle % 3 {
            0 => restart(&mut world, || clock.set(shift), true),
            1 => restart(&mut world, || clock.set(shift), false),
            _ => clock.set(shift),
        }
        worst = worst.max(wait_acked_since(&senders, jumped));
        std::thread::sleep(Duration::from_millis(500 + random.below(3_000)));
        let is_right = now();
        if random.below(3) == 0 {
            restart(&mut world, || clock.set(0), true);
        } else {
            clock.set(0);
        }
        news.skip(&world, is_right);
        let what = format!("a message at the hub after the clock was off by {shift} s");
        let back = wait_for(&what, 6 * BACK, || news.first(&world, is_right));
        worst_back = worst_back.max(back.saturating_sub(is_right));
        wait_acked_since(&mortal, Instant::now());
    }
    if worst_back > BACK {
        wrong.push(format!("the hub heard of it {worst_back:?} after the time was right"));
    }
    senders.append(&mut mortal);
    senders.iter_mut().for_each(Sender::finish);
    let account = world.wait_drained(DRAIN);
    let mut report = Report { worst, ..Report::of_account(&account) };
    report.wrong.append(&mut wrong);
    for sender in &senders {
        report.count.add(sender.id(), &sender.sent(), &world.at_hub(sender.id()));
    }
    let expired = total(&account, "expired");
    if expired > 0 {
        report.wrong.push(format!("{expired} expired by a clock that jumped"));
    }
    let log = std::fs::read_to_string(world.folder.path().join("edge.log")).unwrap();
    let in_1970 = log.lines().filter(|line| line.starts_with("1970-")).count();
    if in_1970 == 0 {
        report.wrong.push("the clock did not jump: no line of the log is of 1970".into());
    }
    report.more = format!("back_after_right_time_ms={}", worst_back.as_millis());
    report
}

/// `jump` while it is not running.
fn restart(world: &mut World, jump: impl FnOnce(), in_good_order: bool) {
    if in_good_order {
        world.edge.terminate();
    } else {
        world.edge.kill();
    }
    jump();
    world.edge.again();
    world.edge.wait_ready();
}

/// A client that trusts the device's authority, made in 1970.
fn over_tls(world: &World) -> Result<(), String> {
    let authority = world.folder.path().join("edge/certs/device-ca.pem");
    let trust = Trust::from_file(Some(&authority)).map_err(|e| e.to_string())?;
    let tls = TlsClient::new(&trust).map_err(|e| e.to_string())?;
    let leaf = world.leaf("leaf-tls");
    let until = Instant::now() + BACK;
    loop {
        // New to the gateway: it hears of it from the hub.
        let stream = Mqtt::open_tls((world.edge_address, 8883).into(), &tls)?;
        match stream.log_in(&leaf.hub, &leaf.id, &leaf.token()) {
            Ok(_) => return Ok(()),
            Err(why) if Instant::now() > until => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
