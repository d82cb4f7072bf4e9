#!/usr/bin/env bash
# The fuzz targets with libFuzzer, on stable and without a sanitizer: our code has no `unsafe`.
# RUNS (1000000) inputs for each TARGET (codec reader topic bag log_in route_text route_eval), and SECONDS_EACH (900) at
# most; from fuzz/corpus, what is found new stays in target/fuzz. A finding is kept there too, and fails.
set -euo pipefail
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"
cd "$root/fuzz"
need_rust
need_cc
have c++ || need c++ g++
host=$(rustc -vV | sed -n 's/^host: //p')
out=$root/target/fuzz
mkdir -p "$out"
step "building the fuzz targets"
# As cargo-fuzz does. With --target build scripts are not instrumented.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares" \
    cargo build --quiet --release --target "$host" --target-dir "$out/build"
for target in ${TARGET:-codec reader topic bag log_in route_text route_eval}; do
    step "fuzz $target: ${RUNS:-1000000} inputs"
    mkdir -p "$out/$target"
    "$out/build/$host/release/$target" -runs="${RUNS:-1000000}" -max_total_time="${SECONDS_EACH:-900}" -max_len="${MAX_LEN:-4096}" \
        -artifact_prefix="$out/$target-" -print_final_stats=1 "$out/$target" "corpus/$target" 2>&1 |
        grep -E 'Done|stat::|panicked|ERROR|artifact' >&2
done
