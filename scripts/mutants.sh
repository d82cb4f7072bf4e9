#!/usr/bin/env bash
# Builds that are broken on purpose: each must be caught by a fault loop, or the loops prove nothing.
# src/mutant.rs names them. CYCLES (6), SEED (1).
set -uo pipefail
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"
cd "$root" || exit 1
set +e # loops that fail are what is wanted
need_rust
need_cc
export CYCLES=${CYCLES:-6} SEED=${SEED:-1}
failed=0

# The programs with the faults in them go beside the others, never in their place.
step "building with the faults"
# The same build as that of scripts/faults.sh.
cargo test --quiet --locked --features faults --no-run --test link >&2 || die "the faulty build failed"
mkdir -p target/mutants
cp target/debug/localhub target/debug/edge-runtime target/mutants/
cargo test --quiet --locked --no-run --test crash >&2 || die "the fault loops do not build"

# mutant NAME LOOP SIGN: that loop must end with that sign; failing otherwise is not a catch. Which moment a kill
# meets is chance: what a few cycles do not show, five times as many must.
mutant() {
    local said cycles
    for cycles in "$CYCLES" $((CYCLES * 5)); do
        said=$(EDGE_MUTANT=$1 LOOPS=$2 EDGE_BIN_DIR=$root/target/mutants CYCLES=$cycles POWER_CYCLES=$cycles \
            cargo test --quiet --locked --test crash 2>&1)
        if grep -qE "^$2 " <<<"$said" && grep -qE "$3" <<<"$said"; then
            echo "$1: caught: $(grep -E "^$2 " <<<"$said")"
            return
        fi
        [ "$1" != none ] || break
    done
    echo "$1: NOT CAUGHT by $2"
    tail -n 20 <<<"$said"
    failed=1
}

lost='lost=[1-9]'
mutant none edge-killed "$lost" >/dev/null
[ "$failed" = 1 ] || die "the loop fails without a mutant, too" "see what scripts/crash.sh says"
failed=0
mutant ack-before-commit edge-killed "$lost"
mutant delete-before-ack hub-killed "$lost"
mutant high-water-dedupe hub-killed "$lost"
mutant ack-before-commit power-cut "$lost"
mutant nosync power-cut "$lost|account=BROKEN"
mutant stale-routes routes-swapped 'took [1-9][0-9]* messages after'
exit "$failed"
