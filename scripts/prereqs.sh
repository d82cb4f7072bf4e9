#!/usr/bin/env bash
# What must be on the machine besides the container engine; installs what is missing where it can.
#   source scripts/prereqs.sh; need_rust; need_cc; need_space GIB; need_python VENV PACKAGE...; need_node FOLDER FROM
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust() {
    if ! have cargo && [ -f "$HOME/.cargo/env" ]; then
        # shellcheck disable=SC1091
        source "$HOME/.cargo/env"
    fi
    have cargo || die "cargo is not installed" "install Rust $(sed -n 's/^channel = "\(.*\)"/\1/p' "$root/rust-toolchain.toml") with rustup (https://rustup.rs)"
}

# The LMDB and ring crates compile C.
need_cc() {
    if have cc || have gcc || have clang; then return 0; fi
    can_apt || die "no C compiler (cc) is installed" "install gcc and the C library's headers (Debian: build-essential; Fedora: gcc glibc-devel)"
    apt_install "a C compiler: LMDB is C" gcc libc6-dev
}

# need_space GIB: a build that fills the disk fails late and says little.
need_space() {
    local free
    free=$(df --output=avail -BG "$root" | tail -n 1 | tr -dc 0-9)
    note "free on the disk of $root: $free GiB"
    [ "$free" -ge "$1" ] || die "only $free GiB are free on the disk of $root, and $1 are needed" \
        "make room (make clean, docker system prune; du -xh --max-depth=2 / | sort -h | tail shows where it went), then run this again"
}

# A command and the Debian package that brings it.
need() {
    if have "$1"; then return 0; fi
    can_apt || die "$1 is not installed" "install the package $2"
    apt_install "$1" "$2"
}

# need_only COMMAND PACKAGE WHY: the program only, its service is not started.
need_only() {
    local policy=/usr/sbin/policy-rc.d
    if have "$1"; then return 0; fi
    can_apt || die "$1 is not installed" "install the package $2"
    if [ -e "$policy" ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"; fi
    apt_install "$3" "$2"
    [ -z "$policy" ] || rm -f "$policy"
}

need_mosquitto() { need_only mosquitto mosquitto "a broker to compare with"; }

# need_python VENV PACKAGE...: a virtual environment with these packages; again only when the list changed.
need_python() {
    local venv=$1 stamp
    shift
    need python3 python3
    stamp=$(printf '%s\n' "$@")
    if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.packages" 2>/dev/null)" = "$stamp" ]; then return 0; fi
    step "making the Python environment ${venv#"$root"/} ($*)"
    if ! python3 -m venv --clear "$venv" >"$root/target/venv.log" 2>&1; then
        can_apt || die "python3 cannot make virtual environments" "install the package python3-venv"
        apt_install "Python virtual environments" python3-venv
        python3 -m venv --clear "$venv"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2 ||
        die "pip could not install $*" "see that the Python package index can be reached, then run this again"
    echo "$stamp" >"$venv/.packages"
}

# need_node FOLDER FROM: FOLDER/node_modules as FROM/package-lock.json says; again only when that changed.
need_node() {
    local folder=$1 from=$2 major
    need node nodejs
    need npm npm
    major=$(node -p 'process.versions.node.split(".")[0]')
    [ "$major" -ge 18 ] || die "node $(node --version) is too old for the SDKs" "install Node 18 or newer (https://nodejs.org)"
    if cmp -s "$from/package-lock.json" "$folder/.installed"; then return 0; fi
    step "installing what ${from#"$root"/}/package-lock.json names into ${folder#"$root"/}"
    mkdir -p "$folder"
    rm -f "$folder/.installed"
    cp "$from/package.json" "$from/package-lock.json" "$folder/"
    if ! (cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts) >"$root/target/npm.log" 2>&1 </dev/null; then
        tail -n 15 "$root/target/npm.log" >&2
        die "npm could not install the packages" "see that the registry of npm can be reached (npm ping), then run this again"
    fi
    cp "$from/package-lock.json" "$folder/.installed"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    need_space 10
    need_rust
    need_cc
    need curl curl
    need ss iproute2
    need flock util-linux
fi
