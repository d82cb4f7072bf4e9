#!/usr/bin/env bash
# Tests that need the test-only faults (feature `faults`), on one build that has them: scripts/mutants.sh
# uses it too. What is in target/debug afterwards has no faults in it.
set -uo pipefail
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"
cd "$root" || exit 1
set +e # what failed is told at the end
need_rust
need_cc
cargo test --locked --no-fail-fast --features faults --test supervision --test link -- --test-threads=1 --nocapture
status=$?
cargo build --quiet --locked --bins || die "the programs cannot be built"
exit "$status"
