//! Connections that do nothing, and what each costs the broker.

use std::time::{Duration, Instant};

use crate::log_in::Door;
use crate::options::Idle;
use crate::process::{self, Usage};
use crate::transport::Transport;

/// Prints NAME=NUMBER….
pub(crate) fn run(options: &Idle) -> Result<(), String> {
    let door = Door::new(&options.broker)?;
    let usage = || options.broker.pid.and_then(process::usage).unwrap_or_default();
    let own = |usage: Usage| usage.anonymous + usage.shared;
    let (before, begin) = (usage(), Instant::now());
    let mut open = Vec::new();
    for number in 0..options.connections {
        open.push(door.enter(&format!("{}-{number:04}", options.broker.prefix), true, None)?);
    }
    let took = begin.elapsed().as_secs_f64();
    stay(&mut open, options)?;
    let after = usage();
    std::thread::sleep(Duration::from_secs(2));
    let still = usage();
    is_open(&mut open)?;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "connections={} per_s={:.0} before_mb={:.2} own_mb={:.2} anon_mb={:.2} shm_mb={:.2} rss_mb={:.2} \
         kib_each={:.2} idle_cpu_percent={:.1}",
        options.connections,
        f64::from(options.connections) / took,
        mb(own(before)),
        mb(own(after)),
        mb(after.anonymous),
        mb(after.shared),
        mb(after.resident),
        own(after).saturating_sub(own(before)) as f64
            / 1024.0
            / f64::from(options.connections.max(1)),
        (still.processor - after.processor) as f64 / 2e7,
    );
    Ok(())
}

type Open = [(Transport, Vec<u8>)];

/// Stays, and pings if it is to.
fn stay(open: &mut Open, options: &Idle) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs_f64(options.seconds);
    let every = Duration::from_secs(options.ping.into());
    while options.ping > 0 && Instant::now() + every < end {
        std::thread::sleep(every);
        for (transport, _) in &mut *open {
            transport.out().extend_from_slice(&[0xc0, 0]);
            transport.flush().map_err(|error| format!("closed while idle: {error}"))?;
        }
    }
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    Ok(())
}

fn is_open(open: &mut Open) -> Result<(), String> {
    let mut bytes = Vec::new();
    for (transport, _) in open {
        transport.read(&mut bytes, 0).map_err(|error| format!("closed while idle: {error}"))?;
    }
    Ok(())
}
