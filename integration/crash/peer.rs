//! mosquitto, for comparison: the senders of the other loops, and a subscriber with a session that
//! outlives its connections. Each cycle it is away while they send and the broker is killed, or its
//! power cut; back on its feet, the broker gets what it did not acknowledge once more, and then the
//! subscriber takes all there is.
//!
//! The subscriber asks anew for its subscription at each connection, a queue has no limit, and names
//! are as durable as on ext4 (`Names::Journal`): what is counted as lost was acknowledged, and lost by
//! the broker's way of saving.
//!
//! next: `swap.rs`

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use faultfs::Names;
use rumqttc::mqttbytes::v4::Packet;
use tempfile::TempDir;

use crate::power::Power;
use crate::report::{RECOVERY, Report, Task, wait_acked_since};
use crate::support::count::Arrival;
use crate::support::mqtt::{LogIn, Mqtt};
use crate::support::program::own_address;
use crate::support::sender::Sender;
use crate::support::wait_for;

const PORT: u16 = 1883;
const SENDERS: [&str; 3] = ["leaf-1", "leaf-2", "leaf-3"];
/// So long nothing more comes: it has given all it has, or the rest comes in the next cycle.
const QUIET: Duration = Duration::from_millis(300);
/// The same at the end: a broker that saves after each change is slow.
const LAST_QUIET: Duration = Duration::from_secs(10);
/// A save is awaited so long.
const SAVE: Duration = Duration::from_millis(300);
/// mosquitto saves after each change, not when it stops and each 30 minutes.
const SAVING: &str = "autosave_on_changes true\nautosave_interval 1\n";

pub(crate) fn killed(task: Task) -> Report {
    run(task, "", false)
}

pub(crate) fn power_cut(task: Task) -> Report {
    run(task, "", true)
}

pub(crate) fn saving_killed(task: Task) -> Report {
    run(task, SAVING, false)
}

pub(crate) fn saving_power_cut(task: Task) -> Report {
    run(task, SAVING, true)
}

fn run(task: Task, settings: &str, is_power_cut: bool) -> Report {
    if let Some(why) = faultfs::why_not().filter(|_| is_power_cut) {
        return Report { more: format!("SKIPPED: {why}"), ..Report::default() };
    }
    let mut random = task.random();
    let mut power = is_power_cut.then(|| Power::new(task.seed, Names::Journal));
    let place = power.as_ref().map(Power::place);
    let mut broker = Broker::start(place.as_deref(), settings);
    let mut subscriber = Subscriber { log_in: broker.log_in("reader"), arrived: HashMap::new() };
    subscriber.leave(broker.connect(&subscriber.log_in));
    let mut senders: Vec<Sender> =
        SENDERS.iter().map(|id| Sender::start(broker.log_in(id), "")).collect();
    let (mut worst, mut met) = (Duration::ZERO, 0);
    for _ in 0..task.cycles {
        let resumed = Instant::now();
        senders.iter().for_each(|sender| sender.pause(false));
        wait_acked_since(&senders, resumed);
        std::thread::sleep(Duration::from_millis(20 + random.below(700)));
        let when = match &mut power {
            None => Instant::now(),
            Some(power) => power.cut(broker.child.id(), SAVE, &mut random),
        };
        broker.kill();
        if let Some(power) = &mut power {
            met += u64::from(power.disk.met() > 0);
            power.again();
        }
        broker.again();
        let mqtt = broker.connect(&subscriber.log_in);
        let mqtt = subscriber.ask(mqtt);
        worst = worst.max(wait_acked_since(&senders, when));
        senders.iter().for_each(|sender| sender.pause(true));
        wait_for("the last acknowledgements", RECOVERY, || {
            senders.iter().all(|sender| sender.sent().in_flight() == 0).then_some(())
        });
        let mqtt = subscriber.drain(mqtt, QUIET);
        subscriber.leave(mqtt);
    }
    senders.iter_mut().for_each(Sender::finish);
    let mqtt = subscriber.ask(broker.connect(&subscriber.log_in));
    drop(subscriber.drain(mqtt, LAST_QUIET));
    let mut report = Report { worst, has_no_account: true, ..Report::default() };
    for sender in &senders {
        let arrived = subscriber.arrived.get(sender.id()).map_or(&[][..], Vec::as_slice);
        report.count.add(sender.id(), &sender.sent(), arrived);
    }
    report.count.examples.truncate(1);
    if is_power_cut {
        report.more = format!("cuts_with_unsynced={}%", met * 100 / task.cycles.max(1));
    }
    report
}

struct Broker {
    address: Ipv4Addr,
    configuration: String,
    child: Child,
    // Last: it goes when nobody writes into it any more.
    folder: TempDir,
}

impl Broker {
    fn start(place: Option<&str>, settings: &str) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), own_address());
        let place = place.map_or_else(|| folder.path().to_str().unwrap().to_owned(), str::to_owned);
        let text = format!(
            "listener {PORT} {address}\nallow_anonymous true\nuser root\nmax_queued_messages 0\n\
             persistence true\npersistence_location {place}/\n{settings}"
        );
        let configuration = folder.path().join("mosquitto.conf");
        fs::write(&configuration, text).unwrap();
        let configuration = configuration.to_str().unwrap().to_owned();
        let child = spawn(&configuration, folder.path());
        Broker { address, configuration, child, folder }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn again(&mut self) {
        self.child = spawn(&self.configuration, self.folder.path());
    }

    fn log_in(&self, id: &str) -> LogIn {
        let address = SocketAddr::from((self.address, PORT));
        LogIn { address, hub: "peer".into(), id: id.into(), key: "AAAA".into() }
    }

    fn connect(&self, log_in: &LogIn) -> Mqtt {
        wait_for("mosquitto", RECOVERY, || log_in.connect().ok())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(configuration: &str, folder: &Path) -> Child {
    let log = fs::File::create(folder.join("mosquitto.log")).unwrap();
    let mut command = Command::new("mosquitto");
    let child = command.args(["-c", configuration]).stdout(Stdio::null()).stderr(log).spawn();
    child.expect("mosquitto can be started (Debian: apt-get install mosquitto)")
}

struct Subscriber {
    log_in: LogIn,
    arrived: HashMap<String, Vec<Arrival>>,
}

impl Subscriber {
    /// A subscription that outlives the connection, which ends.
    fn leave(&mut self, mqtt: Mqtt) {
        drop(self.ask(mqtt));
    }

    /// For all messages; in the first it may be that what comes before SUBACK is here already.
    fn ask(&mut self, mut mqtt: Mqtt) -> Mqtt {
        assert!(mqtt.subscribe_quietly("devices/#"), "mosquitto has gone");
        mqtt
    }

    fn drain(&mut self, mut mqtt: Mqtt, quiet: Duration) -> Mqtt {
        while let Ok(Some(packet)) = mqtt.read(quiet) {
            let Packet::Publish(publish) = packet else { continue };
            let sender = publish.topic.split('/').nth(1).unwrap().to_owned();
            let arrival = Arrival::of(&publish.payload, publish.dup);
            self.arrived.entry(sender).or_default().push(arrival);
            mqtt.ack(publish.pkid).unwrap();
        }
        mqtt
    }
}
