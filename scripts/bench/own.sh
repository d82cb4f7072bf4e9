#!/usr/bin/env bash
# shellcheck disable=SC2154,SC2034,SC2119,SC2120 # names are shared with scripts/bench.sh, which sources this
# Benchmarks of edge-runtime beside itself: one refused identity, a flood of local topics, route tables.

# What one refused identity costs the others: end to end, the link cut every 5 s, same cuts and seed.
bench_refused() {
    step "building for the link (release, with the faults)"
    cargo test --quiet --locked --release --features faults --no-run --test link >&2 ||
        die "the link test does not build"
    local variant said line
    for variant in without with; do
        step "the link under cuts, $variant a refused identity (${BENCH_SECONDS:-120} s and what is owed)"
        said=$(LINK_REFUSED=$([ "$variant" = with ] && echo 1 || echo 0) LINK_SEED=${BENCH_SEED:-1} \
            LINK_IDENTITIES=${BENCH_IDENTITIES:-1000} LINK_SECONDS=${BENCH_SECONDS:-120} LINK_CUT_SECONDS=5 \
            cargo test --quiet --locked --release --features faults --test link -- --nocapture 2>&1) || {
            tail -n 40 <<<"$said" >&2
            die "the run $variant a refused identity failed" "see above; alone: scripts/link.sh"
        }
        line=$(grep '^delays of the others' <<<"$said")
        note "$(grep '^link identities=' <<<"$said")"
        row refused "$variant" n="$(number n "$line")" p50_ms="$(number p50_ms "$line")" \
            p99_ms="$(number p99_ms "$line")" max_ms="$(number max_ms "$line")"
        local "p99_$variant"
        printf -v "p99_$variant" %s "$(number p99_ms "$line")"
    done
    # shellcheck disable=SC2154 # set by printf above
    ratio refused-identity-p99 "$p99_with" "$p99_without" 2
}

# What a flood on local topics costs IoT Hub's messages beside it: both go over one thread, so they
# may wait for a turn of the flood, and for a core; three times as long, and no longer.
bench_local_topics() {
    step "IoT Hub's messages without and with a flood on local topics (release, with the faults)"
    local said line variant
    said=$(cargo test --quiet --locked --release --features faults --test local_topics -- \
        --ignored --exact beside::iot_hub_beside_a_flood --nocapture 2>&1) || {
        tail -n 40 <<<"$said" >&2
        die "the run failed" "see above"
    }
    for variant in without with; do
        line=$(grep "^iot-hub flood=$variant " <<<"$said")
        row local-topics "$variant" n="$(number n "$line")" \
            ack_p50_ms="$(number ack_p50_ms "$line")" ack_p99_ms="$(number ack_p99_ms "$line")" \
            e2e_p50_ms="$(number e2e_p50_ms "$line")" e2e_p99_ms="$(number e2e_p99_ms "$line")"
        local "ack_$variant" "e2e_$variant"
        printf -v "ack_$variant" %s "$(number ack_p99_ms "$line")"
        printf -v "e2e_$variant" %s "$(number e2e_p99_ms "$line")"
    done
    line=$(grep '^flood ' <<<"$said")
    row local-topics flood published_per_s="$(number published_per_s "$line")" \
        received_per_s="$(number received_per_s "$line")"
    # shellcheck disable=SC2154 # set by printf above
    {
        ratio local-topics-ack-p99 "$ack_with" "$ack_without" 3
        ratio local-topics-e2e-p99 "$e2e_with" "$e2e_without" 3
    }
}

# What a message costs at a route table: nanoseconds by number of routes.
bench_routes() {
    step "what a message costs at a route table"
    local said line group='' first last
    said=$(cargo bench --quiet --locked --bench routes 2>&1) || {
        tail -n 20 <<<"$said" >&2
        die "the benchmark of routes does not run" "alone: cargo bench --bench routes"
    }
    # The median of each line, in nanoseconds.
    while read -r line; do
        case $line in
            [a-z]*) group=$line ;;
            *)
                row "$group" "${line% *}" ns="${line#* }"
                case "$group ${line% *}" in
                    "other_source 1") first=${line#* } ;;
                    "other_source 1000") last=${line#* } ;;
                esac
                ;;
        esac
    done < <(awk -F'│' '
        { sub(/^[│├╰─ ]*/, "") }
        /^[a-z_]+ / { split($1, name, " "); print name[1] }
        /^[0-9]+ / {
            split($1, count, " ")
            split($3, median, " ")
            scale = median[2] == "ns" ? 1 : median[2] == "ms" ? 1000000 : 1000
            printf "%s %.1f\n", count[1], median[1] * scale
        }' <<<"$said")
    ratio route-of-another-source-ns "$(awk -v a="$last" -v b="$first" 'BEGIN { print a - b }')" 999 20
}
