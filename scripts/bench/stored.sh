#!/usr/bin/env bash
# shellcheck disable=SC2154,SC2034,SC2119,SC2120 # names are shared with scripts/bench.sh, which sources this
# What lies in the queue while the hub is away: memory, disk, the start with it, and how fast it goes to
# the hub when that is back.

# Bytes that the queue takes of the disk, its reserve with them.
queue_on_disk() { du -s --block-size=1 "$world/edge/queue" | cut -f1; }

# memory OF: anonymous and shared memory of a process, and VmRSS, in MB, as numbers of a row.
memory() {
    awk '/^RssAnon:|^RssShmem:/ { own += $2 } /^VmRSS:/ { all = $2 } END { printf "own_mb=%.2f rss_mb=%.2f", own * 1.024e-3, all * 1.024e-3 }' \
        "/proc/${pids[$1]}/status"
}

# hub_last SINCE: the offset of the last of the hub's messages, the first of which has 1.
hub_last() {
    hub_call GET "/telemetry?since=$1&max=1000" | tr '{' '\n' | sed -n 's/.*"offset":\([0-9]*\),.*/\1/p' | tail -n 1
}

# store COUNT SIZE: with the hub away, all acknowledged.
store() {
    load edge plain run --publishers 50 --window 50 --size "$2" --messages "$1" --warm-up 0 --seconds 600
}

bench_stored() {
    local messages=${BENCH_MESSAGES:-$([ -n "$quick" ] && echo 100000 || echo 1000000)}
    local line begin end before stored last samples=$world/drain.txt
    step "$messages messages stored while the hub is away"
    edge_make 50 "$to_hub"
    load edge plain run --publishers 50 --messages 500 >/dev/null # all are known from now on
    await edge 60 is_drained
    stop hub
    before=$(queue_on_disk)
    line=$(store "$messages" 256)
    row stored at-256 messages="$messages" acked_per_s="$(number through_per_s "$line")" lost="$(number lost "$line")" \
        peak_mb="$(number peak_mb "$line")" disk_bytes_before="$before" disk_bytes="$(queue_on_disk)"
    # shellcheck disable=SC2046 # two numbers
    row stored memory $(memory edge)
    at_most memory-mb-stored "$(number peak_mb "$line")" 1 25

    step "the start with them"
    stop edge
    begin=$(now_ms)
    edge_start
    line=$(load edge plain run --publishers 1 --messages 1)
    end=$(now_ms)
    row stored start start_ms=$((end - begin)) "$(memory edge | tr ' ' '\n' | head -n 1)"
    at_most start-s-with-stored $((end - begin)) 1000 1

    step "to the hub"
    stored=$(queue_total stored)
    # From before the hub's own start: the first look may come when many are there already.
    echo "$(now_ms) $stored" >"$samples"
    hub_start
    begin=$SECONDS
    while :; do
        last=$(queue_total stored)
        echo "$(now_ms) $last" >>"$samples"
        if [ "$last" = 0 ] || [ $((SECONDS - begin)) -ge 120 ]; then break; fi
        sleep 0.05
    done
    # From the last moment at which all were there to the first at which none was.
    line=$(awk -v all="$stored" '$2 >= all { from = $1 } { to = $1; left = $2 } END {
        took = (to - from) / 1000; printf "took_s=%.2f left=%d per_s=%.0f", took, left, (took > 0 ? (all - left) / took : 0) }' "$samples")
    last=$(hub_last $((stored - 1)))
    [ "$last" = $((stored + 500)) ] || warn "the hub has $last messages, and not $((stored + 500))"
    # shellcheck disable=SC2086,SC2046 # numbers
    row stored drain at_hub="$last" messages="$stored" $line $(memory edge)
    at_least drain-per-s "$(number per_s "$line")" 1 50000
}

is_drained() { [ "$(queue_total stored)" = 0 ]; }

# Bytes of the disk for a byte of a body.
bench_disk() {
    local messages=${BENCH_MESSAGES:-$([ -n "$quick" ] && echo 50000 || echo 500000)} size before after line
    step "bytes of the disk for a stored byte"
    for size in 256 1024; do
        stop_all
        edge_make 50 "$to_sink"
        load edge plain run --publishers 50 --messages 500 >/dev/null
        before=$(queue_on_disk)
        line=$(store "$messages" "$size")
        after=$(queue_on_disk)
        row disk "at-$size" messages="$messages" bytes="$((messages * size))" disk_bytes_before="$before" \
            disk_bytes="$after" acked_per_s="$(number through_per_s "$line")"
        # What is there without them, the reserve, does not grow with them.
        at_most "disk-bytes-per-byte-$size" $((after - before)) $((messages * size)) 1.5
    done
}
