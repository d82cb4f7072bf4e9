#!/usr/bin/env bash
# Many TLS clients at one edge-runtime: how fast they come in, what each costs, and that a message
# of each arrives, once; with release builds. The small form is part of `make test`.
# CLIENTS (5000).
set -euo pipefail
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"
cd "$root"
need_rust
need_cc
export LOAD_CLIENTS=${CLIENTS:-5000}
step "$LOAD_CLIENTS clients over TLS"
cargo test --quiet --locked --release --test load many_clients -- --nocapture
