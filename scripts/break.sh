#!/usr/bin/env bash
# While run-local runs: breaks something, watches it come back, prints the conservation line.
#   WHAT=link|hub|runtime|module|disk scripts/break.sh
set -euo pipefail
# shellcheck source=scripts/screen.sh
source "$(dirname "${BASH_SOURCE[0]}")/screen.sh"

what=${WHAT:-${1:-}}
outage=${SECONDS_DOWN:-15}

# until_back WHAT SECONDS COMMAND...: how long it took, or that it did not come back.
until_back() {
    local what=$1 limit=$2 began
    began=$(date +%s%N)
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $((($(date +%s%N) - began) / 1000000000)) -lt "$limit" ] ||
            die "$what did not come back within $limit s" "edgectl status; edgectl list; logs are in target/run-local"
        sleep 0.1
    done
    note "$what is back after $((($(date +%s%N) - began) / 1000000)) ms"
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

break_link() {
    local rule=(OUTPUT -d "$hub_ip" -p tcp --dport "$mqtt_port" -j REJECT --reject-with tcp-reset)
    if [ "$(id -u)" = 0 ] && have iptables && iptables -I "${rule[@]}" 2>/dev/null; then
        # shellcheck disable=SC2064
        trap "iptables -D ${rule[*]} 2>/dev/null || true" EXIT
        step "cutting the link to $hub_ip:$mqtt_port for $outage s (iptables)"
        sleep "$outage"
        edgectl status || true
        iptables -D "${rule[@]}"
        trap - EXIT
    else
        outage=40 # silence is noticed after 30 s
        step "no iptables here: freezing the hub for $outage s instead (SIGSTOP)"
        local hub
        hub=$(pid_of hub)
        # shellcheck disable=SC2064
        trap "kill -CONT $hub 2>/dev/null || true" EXIT
        kill -STOP "$hub"
        sleep "$outage"
        kill -CONT "$hub"
        trap - EXIT
    fi
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

# Fills the file system of the edge's state; only if that is a small one of its own.
break_disk() {
    local state=$local_dir/edge free
    if [ "$(stat -c %d "$state")" = "$(stat -c %d "$local_dir")" ]; then
        die "the edge's state lies on the same file system as everything else: filling it would hurt more than run-local" \
            "start it on a small disk of its own: make run-local DISK=128M (as root), then make break WHAT=disk"
    fi
    free=$(df --output=avail -k "$state" | tail -n 1)
    step "filling the edge's disk ($((free / 1024)) MiB left) for $outage s"
    # shellcheck disable=SC2064
    trap "rm -f '$state/filler'" EXIT
    fallocate -l "${free}K" "$state/filler" 2>/dev/null || dd if=/dev/zero of="$state/filler" bs=1M 2>/dev/null || true
    sleep "$outage"
    edgectl status || true
    rm -f "$state/filler"
    trap - EXIT
}

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
