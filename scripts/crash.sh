#!/usr/bin/env bash
# The fault loops, a line each: CYCLES (50), SEED (1), SWAPS (10 for each cycle; in full 10,000),
# POWER_CYCLES (as CYCLES), CUTS (of the link and jumps of the clock, a fifteenth of CYCLES), PEERS=1 (mosquitto through the same loops, after them), LOOPS (some of those in integration/crash.rs, with commas between).
set -uo pipefail
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"
cd "$root" || exit 1
need_rust
need_cc
export CYCLES=${CYCLES:-50} SEED=${SEED:-1}
step "faults under load: $CYCLES cycles each, seed $SEED${LOOPS:+, $LOOPS}"
cargo test --quiet --locked --test crash || exit 1
if [ -n "${PEERS:-}" ]; then
    need_mosquitto
    step "the same of mosquitto, for comparison (docs/guarantees.md)"
    LOOPS=mosquitto-killed,mosquitto-power-cut,mosquitto-saving-killed,mosquitto-saving-power-cut \
        cargo test --quiet --locked --test crash
fi
