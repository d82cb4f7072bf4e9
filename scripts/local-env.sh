#!/usr/bin/env bash
# shellcheck disable=SC2034 # the variables are for the scripts that source this
# What run-local and break share: names, places, how to ask the running programs.
set -euo pipefail
# shellcheck source=scripts/docker.sh
source "$(dirname "${BASH_SOURCE[0]}")/docker.sh"

edge_device=local-edge
leaf_device=local-leaf
modules=(temperature-sensor temperature-filter)
network=edge-runtime
network_label=io.edge-runtime.made-by=run-local
gateway_name=edge-runtime.local

local_dir=$root/target/run-local
# BUILD=debug: quicker to build, for work on the programs themselves.
profile=${BUILD:-release}
bin_dir=$root/target/$profile
hub_ip=127.0.0.2
edge_ip=127.0.0.1
mqtt_port=8883
https_port=443
metrics_port=9600

# The hub owner's connection string, with the port where that is not 443.
owner() { cat "$local_dir/hub/iothubowner.connection-string"; }

# The operator's command line, set for the running pair.
edgectl() {
    EDGECTL_SOCKET=$local_dir/edge/mgmt.sock \
        EDGECTL_HUB=$(owner) \
        EDGECTL_CA=$local_dir/hub/ca.pem \
        timeout 30 "$bin_dir/edgectl" "$@"
}

pid_of() { cat "$local_dir/$1.pid" 2>/dev/null || true; }

# One field of a JSON text on stdin: json_field NAME (the first one of that name; strings and numbers).
json_field() {
    grep -o "\"$1\"[[:space:]]*:[[:space:]]*\(\"[^\"]*\"\|[-0-9.]*\)" | head -n 1 |
        sed 's/^"[^"]*"[[:space:]]*:[[:space:]]*//; s/^"//; s/"$//'
}

# The account of all messages, as the edge itself counts: every (message, route) is stored or has ended
# in one named way; and every message was taken by a route or was unrouted.
conservation() {
    { curl -s -m 5 "http://127.0.0.1:$metrics_port/metrics" 2>/dev/null || true; } | awk '
        /^edge_runtime_messages_received_total /  { received = $NF }
        /^edge_runtime_messages_unrouted_total /  { unrouted = $NF }
        /^edge_runtime_route_received_total[{]/   { taken += $NF }
        /^edge_runtime_route_stored_messages[{]/  { stored += $NF }
        /^edge_runtime_route_ended_total[{]/ {
            match($0, /end="[^"]*"/)
            end = substr($0, RSTART + 5, RLENGTH - 6)
            if (!(end in ends)) order[++kinds] = end
            ends[end] += $NF
            all += $NF
        }
        END {
            if (received == "") { print "conservation: the edge tells no figures now"; exit }
            line = sprintf("conservation: %d messages in, %d unrouted; by routes %d = %d stored", received, unrouted, taken, stored)
            for (i = 1; i <= kinds; i++) if (ends[order[i]] > 0 || order[i] == "delivered") line = line sprintf(" + %d %s", ends[order[i]], order[i])
            missing = taken - stored - all
            print line (missing == 0 ? ": whole" : sprintf(": NOT WHOLE, %d missing", missing))
        }'
}

# The modules' containers of this edge, running or not. Never anybody else's.
our_containers() {
    local id
    for id in $(docker ps -aq --filter label=io.edge-runtime.instance 2>/dev/null); do
        if docker inspect -f '{{join .Config.Env "\n"}}' "$id" 2>/dev/null | grep -qx "IOTEDGE_DEVICEID=$edge_device"; then
            echo "$id"
        fi
    done
}

# Is a module's container up?
module_runs() {
    local id
    for id in $(our_containers); do
        if docker inspect -f '{{.State.Running}} {{join .Config.Env " "}} ' "$id" 2>/dev/null |
            grep -q "^true .*IOTEDGE_MODULEID=$1 "; then
            return 0
        fi
    done
    return 1
}
