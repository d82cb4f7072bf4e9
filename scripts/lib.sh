#!/usr/bin/env bash
# What the scripts share: saying steps, ending with the next thing to do, installing packages.
# Sourced by the others; `root` is the top of the repository.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Steps and troubles go to stderr, data to stdout.
step() { printf '\n==> %s\n' "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
# die WHAT NEXT: says what is wrong and what to do about it.
die() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf 'next:  %s\n' "$2" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Can we install packages here: Debian or one of its children, as root.
can_apt() { have apt-get && [ "$(id -u)" = 0 ]; }

# apt_install WHY PACKAGE...: announces, installs, shows the log only when it failed.
apt_install() {
    local why=$1 log
    shift
    mkdir -p "$root/target"
    log=$root/target/apt.log
    step "installing $* ($why)"
    export DEBIAN_FRONTEND=noninteractive
    if ! apt-get install -y --no-install-recommends "$@" >"$log" 2>&1 </dev/null; then
        note "the package lists may be old: updating them"
        apt-get update >"$log" 2>&1 </dev/null || true
        apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1 </dev/null || {
            tail -n 15 "$log" >&2
            die "apt-get could not install $*" "read $log, or install $* by hand, then run this again"
        }
    fi
}
