//! What a process takes of the machine, from /proc.

/// Bytes, and nanoseconds of processor time.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) processor: u64,
    pub(crate) anonymous: u64,
    pub(crate) shared: u64,
    pub(crate) resident: u64,
}

/// Nothing if there is no such process.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let bytes = |name| kib(name).unwrap_or(0) << 10;
    Some(Usage {
        processor: processor(pid).unwrap_or(0),
        anonymous: bytes("RssAnon:"),
        shared: bytes("RssShmem:"),
        resident: bytes("VmRSS:"),
    })
}

/// utime and stime, all threads; in ticks of 10 ms.
fn processor(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((ticks(11)? + ticks(12)?) * 10_000_000)
}
