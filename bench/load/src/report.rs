//! One run from begin to end, and its line.

use std::fmt::Write;
use std::time::Duration;

use crate::histogram::Histogram;
use crate::options::Run;
use crate::run::Load;

/// Prints NAME=NUMBER…; an error if the broker lost, doubled or mixed up messages.
pub(crate) fn run(options: &Run) -> Result<(), String> {
    let mut load = Load::new(options)?;
    let has_more = load.drive(Duration::from_secs_f64(options.warm_up))?;
    if has_more {
        load.acks = Histogram::new();
        load.ends = Histogram::new();
    }
    let before = load.mark();
    if has_more {
        load.drive(Duration::from_secs_f64(options.seconds))?;
    }
    let after = load.mark();
    let is_cut_short = load.wait()?;
    let end = load.mark();
    let disorder = load.disorder();
    load.leave();
    // With a number of messages that ended in the warm-up, the whole run is what was measured.
    let (before, after) = if has_more { (before, after) } else { (Default::default(), end) };
    let seconds = (after.at - before.at) as f64 / 1e9;
    let per_second = |count: u64| count as f64 / seconds;
    let through =
        |last: u64, count: u64| if last > 0 { count as f64 / (last as f64 / 1e9) } else { 0.0 };
    let is_received = options.subscriber.is_some();
    let missing = load.sent - if is_received { load.receiver.received } else { load.acked };
    let (lost, owed) = if is_cut_short { (0, missing) } else { (missing, 0) };
    let mut line = String::new();
    let mut add = |name: &str, value: f64, digits: usize| {
        let _ = write!(line, "{name}={value:.digits$} ");
    };
    add("sent", load.sent as f64, 0);
    add("acked", load.acked as f64, 0);
    add("received", load.receiver.received as f64, 0);
    add("lost", lost as f64, 0);
    add("owed", owed as f64, 0);
    add("duplicates", load.receiver.duplicates as f64, 0);
    add("reordered", load.receiver.reordered as f64, 0);
    add("ack_disorder", disorder as f64, 0);
    add("foreign", load.receiver.foreign as f64, 0);
    add("acked_per_s", per_second(after.acked - before.acked), 0);
    add("received_per_s", per_second(after.received - before.received), 0);
    let last = match (is_cut_short, is_received) {
        (true, _) => end.at,
        (false, true) => load.last_received,
        (false, false) => load.last_acked,
    };
    let count = if is_received { load.receiver.received } else { load.acked };
    add("through_per_s", through(last, count), 0);
    for (name, histogram) in [("ack", &load.acks), ("e2e", &load.ends)] {
        add(&format!("{name}_p50_ms"), histogram.milliseconds(0.5), 3);
        add(&format!("{name}_p99_ms"), histogram.milliseconds(0.99), 3);
        add(&format!("{name}_max_ms"), histogram.max_milliseconds(), 3);
    }
    let processor = (after.usage.processor - before.usage.processor) as f64 / 1e9;
    let whole = (end.usage.processor - load.first.processor) as f64 / 1e3;
    add("cpu_percent", processor / seconds * 100.0, 1);
    add("cpu_us_per_message", whole / load.sent.max(1) as f64, 2);
    for (name, bytes) in [
        ("anon_mb", end.usage.anonymous),
        ("shm_mb", end.usage.shared),
        ("rss_mb", end.usage.resident),
        ("peak_mb", load.peak),
    ] {
        add(name, bytes as f64 / 1e6, 2);
    }
    println!("{}", line.trim_end());
    match lost + load.receiver.duplicates + load.receiver.reordered + disorder {
        0 => Ok(()),
        _ => Err("messages were lost, doubled or out of order: see the line".into()),
    }
}
