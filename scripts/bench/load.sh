#!/usr/bin/env bash
# shellcheck disable=SC2154,SC2034,SC2119,SC2120 # names are shared with scripts/bench.sh, which sources this
# edge-runtime beside mosquitto (persistence on) and rumqttd (in memory): messages per second, latencies,
# processor time, idle connections. Each message of each broker goes to one subscriber.

peers='edge mosquitto rumqttd'

# all_start: the three, with nothing of earlier runs.
all_start() {
    stop_all
    rm -rf "$world/mosquitto"
    edge_make "${1:-50}" "$to_sink"
    mosquitto_start
    rumqttd_start
}

# Who still has messages on the way after a run begins anew: they would disturb the next run.
fresh() {
    [ "$(number owed "$2")" = 0 ] && [ "$(number lost "$2")" = 0 ] && return 0
    note "$1 begins anew: $(number owed "$2") messages were on their way after the limit, $(number lost "$2") lost"
    stop "$1" KILL
    case $1 in
        edge)
            stop hub KILL
            edge_make 50 "$to_sink"
            ;;
        mosquitto)
            rm -rf "$world/mosquitto"
            mosquitto_start
            ;;
        rumqttd) rumqttd_start ;;
    esac
}

# measure VARIANT HOW ARGUMENT...: each broker in turn, `repeat` times; medians as numbers of a row,
# and for the targets in medians[BROKER NAME].
declare -A medians=()
measure() {
    local variant=$1 how=$2 broker line name round numbers
    shift 2
    local -A lines=()
    for ((round = 0; round < repeat; round++)); do
        for broker in $peers; do
            line=$(SUBSCRIBE=1 load "$broker" "$how" run "$@" --limit "$limit")
            lines[$broker]+="$line"$'\n'
            fresh "$broker" "$line"
        done
    done
    for broker in $peers; do
        numbers=()
        for name in $shown; do
            local values=()
            mapfile -t values < <(sed -n "s/.*\b$name=\([0-9.]*\).*/\1/p" <<<"${lines[$broker]}")
            medians["$broker $name"]=$(median "${values[@]}")
            numbers+=("$name=${medians["$broker $name"]}")
            if [ "$name" = "$spread_of" ]; then numbers+=("spread_percent=$(spread "${values[@]}")"); fi
        done
        row "$measured" "$broker-$variant" "${numbers[@]}"
    done
}

# Messages per second, as many as the windows allow.
bench_load() {
    local sizes='256 1024' hows='plain tls' seconds=1.5 size how pair publishers window variant
    local measured=load limit=20 spread_of=through_per_s
    local shown='through_per_s acked_per_s received_per_s cpu_us_per_message peak_mb owed lost'
    [ -z "$quick" ] || sizes=256
    step "messages per second: edge-runtime, mosquitto with persistence on, rumqttd in memory"
    for how in $hows; do
        for size in $sizes; do
            for pair in '1 100' '50 50'; do
                read -r publishers window <<<"$pair"
                variant=$publishers-$how-$size
                all_start
                measure "$variant" "$how" --publishers "$publishers" --window "$window" --size "$size" \
                    --warm-up 0.5 --seconds "$seconds"
                local edge=${medians[edge through_per_s]} mosquitto=${medians[mosquitto through_per_s]}
                case $variant in
                    50-plain-256)
                        at_least 50-publishers-to-mosquitto "$edge" "$mosquitto" 5
                        stretch 50-publishers-to-mosquitto "$edge" "$mosquitto" 10
                        stretch 50-publishers-to-rumqttd "$edge" "${medians[rumqttd through_per_s]}" 1
                        stretch 50-publishers-acked-to-mosquitto "${medians[edge acked_per_s]}" "${medians[mosquitto acked_per_s]}" 10
                        stretch 50-publishers-acked-to-rumqttd "${medians[edge acked_per_s]}" "${medians[rumqttd acked_per_s]}" 1
                        ;;
                    1-plain-256) at_least 1-publisher-to-mosquitto "$edge" "$mosquitto" 2.5 ;;
                    50-tls-256) at_least 50-publishers-tls-to-mosquitto "$edge" "$mosquitto" 2 ;;
                    1-tls-256) at_least 1-publisher-tls-to-mosquitto "$edge" "$mosquitto" 2 ;;
                esac
            done
        done
    done
}

# Latencies and processor time at a given pace.
bench_pace() {
    local measured=pace limit=10 spread_of=ack_p99_ms pair publishers rate line cost
    local shown='ack_p50_ms ack_p99_ms e2e_p50_ms e2e_p99_ms cpu_percent received_per_s owed lost'
    step "latencies and processor time at 2,000 and 10,000 messages per second"
    all_start
    for pair in '1 2000' '50 10000'; do
        read -r publishers rate <<<"$pair"
        measure "$publishers-at-$rate" plain --publishers "$publishers" --window 100 --rate "$rate" \
            --warm-up 0.5 --seconds "$([ -n "$quick" ] && echo 2 || echo 4)"
    done
    line=$("$loader" sync --folder "$world" --count "$([ -n "$quick" ] && echo 300 || echo 2000)")
    row pace fdatasync-4-KiB fdatasync_p50_ms="$(number fdatasync_p50_ms "$line")" \
        fdatasync_p99_ms="$(number fdatasync_p99_ms "$line")"
    # The target is for a disk on which an fdatasync takes 0.1 ms: what it takes here counts.
    cost=$(awk -v cost="$(number fdatasync_p50_ms "$line")" 'BEGIN { cost *= 10; print (cost < 1 ? 1 : cost) }')
    at_most ack-p99-ms-at-10000 "${medians[edge ack_p99_ms]}" "$cost" 2
    at_most cpu-percent-at-10000 "${medians[edge cpu_percent]}" 1 35
}

# Memory of connections that do nothing; each broker is started anew before.
bench_idle() {
    local counts='1000 5000' count broker how line
    step "idle connections"
    [ -z "$quick" ] || counts=1000
    all_start "${counts##* }"
    for how in plain tls; do
        for count in $counts; do
            for broker in $peers; do
                # It lets 22 in a second: that would be four minutes.
                if [ "$broker-$how-$count" = rumqttd-tls-5000 ]; then continue; fi
                stop "$broker"
                "${broker}_start"
                line=$(load "$broker" "$how" idle --connections "$count" --seconds 2)
                row idle "$broker-$count-$how" before_mb="$(number before_mb "$line")" own_mb="$(number own_mb "$line")" \
                    rss_mb="$(number rss_mb "$line")" kib_each="$(number kib_each "$line")" \
                    idle_cpu_percent="$(number idle_cpu_percent "$line")" per_s="$(number per_s "$line")"
                [ "$broker" = edge ] || continue
                case $count-$how in
                    1000-plain) at_most memory-mb-idle "$(number before_mb "$line")" 1 15 ;;
                    5000-plain) at_most memory-mb-5000-idle "$(number own_mb "$line")" 1 20 ;;
                esac
            done
        done
    done
}
