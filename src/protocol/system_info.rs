//! What this machine is, and what it has left: out of `/proc` and `uname` (spec edgeagent.md 7.1).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::fs::statvfs;
use rustix::system::uname;
use serde_json::{Value, json};

/// What does not change while it runs.
pub fn system_info(version: &str) -> Value {
    let name = uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let os = os_release(&read("/etc/os-release"));
    let of = |key: &str| os.get(key).cloned();
    json!({
        "osType": "linux",
        "architecture": text(name.machine()),
        "kernel_release": text(name.release()),
        "kernel_version": text(name.version()),
        "operating_system": of("ID"),
        "operating_system_version": of("VERSION_ID"),
        "operating_system_variant": of("VARIANT_ID"),
        "operating_system_build": of("BUILD_ID"),
        "cpus": std::thread::available_parallelism().map_or(1, usize::from),
        "total_memory": memory(&read("/proc/meminfo"), "MemTotal"),
        "virtualized": virtualized(),
        "product_name": dmi("product_name"),
        "system_vendor": dmi("sys_vendor"),
        "version": version,
        "provisioning": {
            "type": "manual.device_connection_string",
            "dynamicReprovisioning": false,
            "alwaysReprovisionOnStartup": false,
        },
    })
}

/// What it has left; `state` is on the disk that is shown beside the root's.
pub fn resources(state: &Path) -> Value {
    let meminfo = read("/proc/meminfo");
    let total = memory(&meminfo, "MemTotal").unwrap_or_default();
    let free = memory(&meminfo, "MemAvailable").unwrap_or_default();
    let uptime = read("/proc/uptime");
    let uptime: f64 = uptime.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or_default();
    let load = read("/proc/loadavg");
    let load: f64 = load.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    json!({
        "host_uptime": uptime as u64,
        "process_uptime": process_uptime(uptime),
        "used_cpu": (load / cpus as f64 * 100.0).min(100.0),
        "used_ram": total.saturating_sub(free),
        "total_ram": total,
        "disks": disks(&read("/proc/mounts"), state),
        "docker_stats": "[]",
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn dmi(name: &str) -> Option<String> {
    let text = read(&format!("/sys/class/dmi/id/{name}")).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn virtualized() -> &'static str {
    match read("/proc/cpuinfo") {
        info if info.is_empty() => "unknown",
        info if info.split_whitespace().any(|word| word == "hypervisor") => "yes",
        _ => "no",
    }
}

fn os_release(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.to_owned(), value.trim_matches('"').to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// Bytes.
fn memory(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// Seconds since this process began: field 22 of its `stat`, in ticks of 1/100 s.
fn process_uptime(host: f64) -> u64 {
    let stat = read("/proc/self/stat");
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let started = after.split_whitespace().nth(19).and_then(|ticks| ticks.parse::<f64>().ok());
    started.map_or(0, |ticks| (host - ticks / 100.0).max(0.0) as u64)
}

fn disks(mounts: &str, state: &Path) -> Vec<Value> {
    let mut disks = Vec::new();
    let mut seen = Vec::new();
    for place in [Path::new("/"), state] {
        let mut best: Option<(&str, &str, &str)> = None;
        for line in mounts.lines() {
            let mut parts = line.split(' ');
            let (Some(device), Some(at), Some(kind)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let is_better = best.is_none_or(|(_, other, _)| at.len() >= other.len());
            if place.starts_with(at) && is_better {
                best = Some((device, at, kind));
            }
        }
        let Some((device, at, kind)) = best.filter(|(_, at, _)| !seen.contains(at)) else {
            continue;
        };
        seen.push(at);
        let Ok(stat) = statvfs(at) else { continue };
        disks.push(json!({
            "name": device,
            "available_space": stat.f_bavail * stat.f_frsize,
            "total_space": stat.f_blocks * stat.f_frsize,
            "file_system": kind,
            "file_type": at,
        }));
    }
    disks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described_and_what_it_has_left() {
        let info = system_info("1");
        assert!(info["cpus"].as_u64().unwrap() > 0 && info["total_memory"].as_u64().unwrap() > 0);
        assert!(!info["kernel_release"].as_str().unwrap().is_empty());
        let left = resources(Path::new("/var/lib"));
        let (used, total) =
            (left["used_ram"].as_u64().unwrap(), left["total_ram"].as_u64().unwrap());
        assert!(used > 0 && used < total);
        assert!(left["host_uptime"].as_u64().unwrap() >= left["process_uptime"].as_u64().unwrap());
        assert!(left["disks"][0]["total_space"].as_u64().unwrap() > 0);
    }

    #[test]
    fn what_the_system_writes_is_read() {
        assert_eq!(memory("MemTotal:       16 kB\nMemFree: 1 kB\n", "MemTotal"), Some(16_384));
        assert_eq!(os_release("ID=debian\nVERSION_ID=\"13\"\n")["VERSION_ID"], "13");
        let mounts = "/dev/a / ext4 rw 0 0\nproc /proc proc rw 0 0\n";
        let disks = disks(mounts, Path::new("/var"));
        assert_eq!((disks.len(), &disks[0]["name"]), (1, &json!("/dev/a")));
    }
}
