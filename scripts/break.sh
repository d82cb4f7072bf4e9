#!/usr/bin/env bash
# While run-local runs: breaks something, watches it come back, prints the conservation line.
#   WHAT=link|hub|runtime|module|disk scripts/break.sh
set -euo pipefail
# shellcheck source=scripts/screen.sh
source "$(dirname "${BASH_SOURCE[0]}")/screen.sh"

what=${WHAT:-${1:-}}
outage=${SECONDS_DOWN:-15}
frozen=''
rule=()

# until_back WHAT SECONDS COMMAND...: how long it took until it was so, or that it never was.
until_back() {
    local what=$1 limit=$2 began
    began=$(date +%s%N)
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $((($(date +%s%N) - began) / 1000000000)) -lt "$limit" ] ||
            die "waited $limit s in vain for $what" "edgectl status; edgectl list; logs are in target/run-local"
        sleep 0.1
    done
    note "$what: after $((($(date +%s%N) - began) / 1000000)) ms"
}

new_pid() {
    local now
    now=$(pid_of "$1")
    [ -n "$now" ] && [ "$now" != "$2" ]
}

# Nothing waits for the hub any more.
drained() {
    curl -s -m 5 "http://127.0.0.1:$metrics_port/metrics" |
        grep -qxF "edge_runtime_queue_messages{endpoint=\"\$upstream\"} 0"
}

telemetry_flows() {
    local before=$((filter_count + leaf_count))
    count_telemetry
    [ $((filter_count + leaf_count)) -gt "$before" ]
}

break_program() {
    local name=$1 old
    old=$(pid_of "$name")
    step "killing $2 ($old) with SIGKILL"
    kill -KILL "$old"
    until_back "$2 (the process)" 30 new_pid "$name" "$old"
}

# Keeps the edge from the hub until mend_link: refused by the firewall, or else the hub is frozen.
cut_link() {
    rule=(OUTPUT -d "$hub_ip" -p tcp --dport "$mqtt_port" -j REJECT --reject-with tcp-reset)
    if [ "$(id -u)" = 0 ] && have iptables && iptables -I "${rule[@]}" 2>/dev/null; then
        frozen=''
        note "the link to $hub_ip:$mqtt_port is cut (iptables)"
    else
        frozen=$(pid_of hub)
        note "no iptables here: the hub is frozen instead (SIGSTOP)"
        kill -STOP "$frozen"
    fi
    trap 'mend_link; rm -f "$local_dir/edge/filler"' EXIT
}

mend_link() {
    trap - EXIT
    if [ -n "$frozen" ]; then kill -CONT "$frozen" || true; else iptables -D "${rule[@]}" || true; fi
}

break_link() {
    step "cutting the link for a while"
    cut_link
    if [ -n "$frozen" ]; then outage=40; fi # silence is noticed after 30 s
    sleep "$outage"
    edgectl status || true
    mend_link
}

break_module() {
    local id
    for id in $(our_containers); do
        if docker inspect -f '{{join .Config.Env " "}} ' "$id" | grep -q 'IOTEDGE_MODULEID=temperature-sensor '; then
            step "killing the container of temperature-sensor ($id)"
            docker kill "$id" >/dev/null
            sleep 1
            edgectl list || true
            note "its restart policy waits 10 s before the first restart"
            until_back temperature-sensor 330 module_runs temperature-sensor
            return 0
        fi
    done
    die "temperature-sensor has no container" "edgectl why temperature-sensor"
}

# Fills the file system of the edge's state; only if that is a small one of its own. The link is cut,
# and a device sends much: otherwise the queue would do with the blocks that it has.
break_disk() {
    local state=$local_dir/edge free flood=local-flood
    if [ "$(stat -c %d "$state")" = "$(stat -c %d "$local_dir")" ]; then
        die "the edge's state lies on the same file system as everything else: filling it would hurt more than run-local" \
            "start it on a small disk of its own: make run-local DISK=128M (as root), then make break WHAT=disk"
    fi
    make_device flood.connection-string "$flood" --parent "$edge_device"
    free=$(df --output=avail -k "$state" | tail -n 1)
    step "filling the edge's disk ($((free / 1024)) MiB left), and its reserve, with the link cut"
    cut_link
    fallocate -l "${free}K" "$state/filler" 2>/dev/null || dd if=/dev/zero of="$state/filler" bs=64K 2>/dev/null || true
    timeout "$((outage + 15))" "$bin_dir/examples/leaf" "$local_dir/flood.connection-string" \
        "$state/certs/trust-bundle.pem" "$edge_ip:$mqtt_port" 5 1000000 100000 >"$local_dir/flood.log" 2>&1 &
    until_back "a queue that says that the disk is full" "$((outage + 15))" disk_is_full
    sleep "$outage"
    edgectl status || true
    note "$flood: $(grep acknowledged "$local_dir/flood.log" | tail -n 1); the rest waits for room"
    rm -f "$state/filler"
    mend_link
    until_back "room on the disk" 30 disk_has_room
}

disk_is_full() { edgectl status | grep 'the disk is full'; }
disk_has_room() { ! disk_is_full; }

if [ ! -f "$local_dir/ports" ] || [ -z "$(pid_of edge)" ]; then
    die "run-local does not run" "start it in another terminal: make run-local"
fi
# shellcheck disable=SC1091
source "$local_dir/ports"
DOCKER_HOST=$(sed -n 's/^docker = "\(.*\)"/\1/p' "$local_dir/edge.toml")
export DOCKER_HOST
telemetry_from_now

case $what in
link) break_link ;;
hub) break_program hub localhub ;;
runtime) break_program edge edge-runtime ;;
module) break_module ;;
disk) break_disk ;;
*) die "WHAT=${what:-nothing} is not known" "make break WHAT=link|hub|runtime|module|disk" ;;
esac
telemetry_from_now
until_back "telemetry at the hub" 120 telemetry_flows
until_back "an empty queue to the hub" 120 drained
edgectl list || true
edgectl status || true
conservation
