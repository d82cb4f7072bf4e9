//! What engines do otherwise, as far as it is theirs.

use std::path::Path;

use super::run;

/// Podman in Docker's place.
pub(crate) fn is_podman() -> bool {
    let parts = run("docker", &["version", "-f", "{{range .Server.Components}}{{.Name}} {{end}}"]);
    parts.contains("Podman")
}

/// Podman has timers of systemd run health checks: without systemd nobody does.
pub(crate) fn are_health_checks_run() -> bool {
    let are_run = !is_podman() || Path::new("/run/systemd/system").exists();
    if !are_run {
        eprintln!("SKIPPED in part: Podman runs no health checks on a machine without systemd");
    }
    are_run
}
