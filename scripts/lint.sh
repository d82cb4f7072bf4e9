#!/usr/bin/env bash
# Formatting, clippy, dependencies, shell scripts. Warnings are errors.
set -euo pipefail
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"
cd "$root"
need_rust
need_cc
step "cargo fmt --check"
cargo fmt --all --check
step "cargo clippy"
cargo clippy --locked --workspace --all-targets -- -D warnings
step "cargo deny: bans, licences, sources"
# Kept outside of target/, so that other clones and the next clean build have it.
tools=${XDG_CACHE_HOME:-$HOME/.cache}/edge-runtime/tools
PATH=$PATH:$tools/bin
if ! have cargo-deny && [ -n "${CI:-}${INSTALL:-}" ]; then
    note "installing cargo-deny into $tools (some minutes, once)"
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        cargo install cargo-deny --locked --quiet --no-default-features --root "$tools" --target-dir "$root/target/tools" ||
        warn "cargo-deny could not be installed"
    rm -rf "$root/target/tools"
fi
if have cargo-deny; then
    cargo deny --offline check bans licenses sources
else
    warn "cargo-deny is not installed: dependencies are not checked (INSTALL=1 make lint installs it)"
fi
step "shellcheck"
if ! have shellcheck && can_apt; then apt_install "shellcheck" shellcheck; fi
if have shellcheck; then
    shellcheck -x scripts/*.sh scripts/bench/*.sh .ci/run
else
    warn "shellcheck is not installed: scripts are not checked"
fi
