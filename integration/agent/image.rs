//! An image that needs no registry, and the engine that it is made with.

use std::io::Read;
use std::process::Command;

/// A program for containers: `exit N`, `run` (until SIGTERM, then 0), `env` (prints it, then runs),
/// `eat` (takes memory until there is none; after a second, as who dies in the moment of its start may
/// be told without OOMKilled: containerd#8180).
const PROGRAM: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern char **environ;
static void end(int signal) { (void)signal; _exit(0); }
int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "run";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(what, "exit")) { printf("going\n"); return argc > 2 ? atoi(argv[2]) : 0; }
    if (!strcmp(what, "env")) for (char **e = environ; *e; e++) printf("%s\n", *e);
    if (!strcmp(what, "eat")) { printf("eating\n"); sleep(1); for (;;) memset(malloc(1 << 20), 1, 1 << 20); }
    if (!strcmp(what, "ls")) printf("%s\n", access(argv[2], F_OK) ? "absent" : "present");
    signal(SIGTERM, end);
    printf("running\n");
    fprintf(stderr, "errors too\n");
    for (;;) pause();
}
"#;

/// Where the engine is, as for the `docker` command.
pub(crate) fn address() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".into())
}

/// Runs a command; its standard output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect(program);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An image without a registry: one static program. Made once for each name and program.
pub(crate) fn make_image(name: &str) {
    let label = format!("io.edge-runtime.content={:x}", crc32c::crc32c(PROGRAM.as_bytes()));
    let made = run("docker", &["images", "-q", "--filter", &format!("label={label}"), name]);
    if !made.is_empty() {
        return;
    }
    import(name, 0, &[&format!("LABEL {label}")]);
}

/// An image with so many bytes that no other has; `changes` as the engine takes them.
pub(crate) fn import(name: &str, bytes: u64, changes: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    std::fs::write(at("p.c"), PROGRAM).unwrap();
    run("cc", &["-static", "-O1", "-o", &at("p"), &at("p.c")]);
    let random = std::fs::File::open("/dev/urandom").unwrap().take(bytes);
    std::io::copy(&mut { random }, &mut std::fs::File::create(at("ballast")).unwrap()).unwrap();
    let tar = at("image.tar");
    run("tar", &["-cf", &tar, "-C", folder.path().to_str().unwrap(), "p", "ballast"]);
    let own = [r#"ENTRYPOINT ["/p"]"#, r#"CMD ["run"]"#];
    let changes: Vec<&str> = own.iter().chain(changes).flat_map(|it| ["-c", *it]).collect();
    run("docker", &[["import"].as_slice(), &changes, &[&tar, name]].concat());
}
