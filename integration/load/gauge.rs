//! What a process takes of the machine, and how long others wait for it meanwhile.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::crowd::Client;

pub const MIB: u64 = 1 << 20;
pub const KIB: u64 = 1 << 10;

/// Memory of its own (`RssAnon`), in bytes.
pub fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * KIB
}

/// Waits until it does not grow any more.
pub fn settled(process: u32) -> u64 {
    let (mut last, mut same) = (memory(process), 0);
    while same < 20 {
        std::thread::sleep(Duration::from_millis(50));
        let now = memory(process);
        same = if now > last { 0 } else { same + 1 };
        last = now;
    }
    last
}

/// Processor time that it used, in ms.
pub fn used(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}

/// Medians of round trips: a message until it is stored.
pub async fn round_trips(client: &mut Client, count: u16) -> Duration {
    let mut all = Vec::new();
    for id in 1..=count {
        all.push(client.publish(id, b"witness").await.unwrap());
        sleep(Duration::from_millis(20)).await;
    }
    median(all)
}

pub fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// How long something takes, and what it gives.
pub async fn timed<T>(act: impl Future<Output = T>) -> (Duration, T) {
    let begin = Instant::now();
    let answer = act.await;
    (begin.elapsed(), answer)
}

/// Others are slower than before by no more than so many times; a little never counts, as the
/// machine has two processors and those who attack use one.
#[track_caller]
pub fn is_unhurt(what: &str, before: Duration, during: Duration) {
    let ratio = during.as_secs_f64() / before.as_secs_f64();
    println!("  {what}: {before:.1?} before, {during:.1?} during: {ratio:.1} times");
    assert!(during <= before * 8 + Duration::from_millis(60), "{what}");
}
