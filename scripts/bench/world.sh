#!/usr/bin/env bash
# shellcheck disable=SC2154,SC2034,SC2119,SC2120 # names are shared with scripts/bench.sh, which sources this
# What is measured: localhub with edge-runtime below it, mosquitto, rumqttd, each on a loopback address
# of its own, with its state below target/bench/world. Sourced by scripts/bench.sh.
world=$root/target/bench/world
bin=$root/target/${BENCH_PROFILE:-release}
loader=$root/target/release/edge-load
edge_at=127.30.0.1 hub_at=127.30.0.2 mosquitto_at=127.30.0.3 rumqttd_at=127.30.0.4 proxy_at=127.30.0.5
key='YSBrZXkgZm9yIGFsbCBvZiB0aGUgY3Jvd2QsIDMyIGI='
filter='devices/+/messages/events/'
declare -A pids=()

build_edge() {
    step "building edge-runtime, localhub, edgectl (${BENCH_PROFILE:-release})"
    cargo build --quiet --locked --profile "${BENCH_PROFILE:-release}" --bins >&2 || die "edge-runtime does not build"
}

build_programs() {
    build_edge
    step "building edge-load and rumqttd"
    # One after the other, so that no feature of one gets into the other.
    cargo build --quiet --locked --profile bench -p edge-load >&2 || die "edge-load does not build"
    cargo build --quiet --locked --profile bench -p peer-rumqttd --features tls >&2 || die "peer-rumqttd does not build"
}

# start NAME COMMAND...: in the background, its output in NAME.log.
start() {
    local name=$1
    shift
    : >"$world/$name.log" # now: nobody is to find what an earlier one said
    "$@" >"$world/$name.log" 2>&1 </dev/null 8>&- &
    pids[$name]=$!
}

# stop NAME [SIGNAL]: and waits until it has ended.
stop() {
    [ -n "${pids[$1]:-}" ] || return 0
    kill "-${2:-TERM}" "${pids[$1]}" 2>/dev/null
    wait "${pids[$1]}" 2>/dev/null
    unset "pids[$1]"
}

stop_all() {
    local name
    for name in "${!pids[@]}"; do stop "$name" KILL; done
}

# await NAME SECONDS COMMAND...: until the command succeeds.
await() {
    local name=$1 until=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$until" ] || ! kill -0 "${pids[$name]}" 2>/dev/null; then
            tail -n 20 "$world/$name.log" >&2
            die "$name did not get as far as: $*" "read $world/$name.log"
        fi
        sleep 0.05
    done
}

is_ready() { grep -qw ready "$world/$1.log"; }
answers() { exec 3<>"/dev/tcp/$1/1883" && exec 3>&-; }
# milliseconds of a clock that goes on.
now_ms() { awk '{ printf "%d\n", $1 * 1000 }' /proc/uptime; }

# ---- localhub and edge-runtime ----------------------------------------------------------------

hub_start() {
    mkdir -p "$world"
    LOCALHUB__HOSTNAME=$hub_at LOCALHUB__STATE__PATH=$world/hub LOCALHUB__LISTEN=$hub_at:8883 \
        LOCALHUB__LISTEN_HTTPS=$hub_at:8443 LOCALHUB__LISTEN_PLAIN=$hub_at:1883 \
        start hub "$bin/localhub"
    await hub 60 is_ready hub
    export EDGECTL_HUB=$world/hub/iothubowner.connection-string EDGECTL_CA=$world/hub/ca.pem
    export EDGECTL_SOCKET=$world/edge/mgmt.sock
}

# hub_call METHOD PATH [BODY]
hub_call() {
    local body=()
    [ $# -lt 3 ] || body=(-H 'Content-Type: application/json' --data-binary "$3")
    curl -sS --fail-with-body --cacert "$world/hub/ca.pem" -H "Authorization: $("$bin/edgectl" hub token)" \
        -X "$1" "${body[@]}" "https://$hub_at:8443$2"
}

# hub_devices PREFIX COUNT [SCOPE]: PREFIX-0000, …, all with one key; below the edge with its scope.
hub_devices() {
    local first body
    for ((first = 0; first < $2; first += 100)); do
        body=$(awk -v prefix="$1" -v first="$first" -v all="$2" -v key="$key" -v scope="${3:-}" 'BEGIN {
            if (scope != "") scope = ",\"deviceScope\":\"" scope "\""
            for (n = first; n < first + 100 && n < all; n++) {
                printf "%s{\"id\":\"%s-%04d\",\"importMode\":\"create\",\"status\":\"enabled\"%s,", comma, prefix, n, scope
                printf "\"authentication\":{\"type\":\"sas\",\"symmetricKey\":{\"primaryKey\":\"%s\",\"secondaryKey\":\"%s\"}}}", key, key
                comma = ","
            }
        }')
        hub_call POST /devices "[$body]" | grep -q '"isSuccessful":true' || die "devices $1-$first… could not be made"
    done
}

# The routes of the edge, JSON.
hub_routes() {
    hub_call POST /devices/edge/applyConfigurationContent "{\"modulesContent\":{\"\$edgeHub\":{\"properties.desired\":{\"schemaVersion\":\"1.1\",\"routes\":$1,\"storeAndForwardConfiguration\":{\"timeToLiveSecs\":86400}}}}}" >/dev/null ||
        die "the routes could not be set"
}
to_sink='{"sink":"FROM /messages/* INTO BrokeredEndpoint(\"/modules/sink/inputs/in\")"}'
# shellcheck disable=SC2016 # the hub's own name
to_hub='{"up":"FROM /messages/* INTO $upstream"}'

# edge_make DEVICES ROUTES: a hub and an edge that know so many devices `load-…`, and the module sink.
edge_make() {
    stop edge KILL
    stop hub KILL
    rm -rf "$world/hub" "$world/edge"
    hub_start
    "$bin/edgectl" hub device create edge --edge >"$world/edge.connection-string" || die "no edge device"
    scope=$(hub_call GET /devices/edge | sed -n 's/.*"deviceScope":"\([^"]*\)".*/\1/p')
    hub_devices load "$1" "$scope"
    hub_call PUT /devices/edge/modules/sink "{\"deviceId\":\"edge\",\"moduleId\":\"sink\",\"authentication\":{\"type\":\"sas\",\"symmetricKey\":{\"primaryKey\":\"$key\",\"secondaryKey\":\"$key\"}}}" >/dev/null
    hub_routes "$2"
    edge_start
}

# edge_start [NAME=VALUE...]: with further settings.
edge_start() {
    start edge env EDGE_RUNTIME__DEVICE__CONNECTION_STRING_FILE="$world/edge.connection-string" \
        EDGE_RUNTIME__DEVICE__GATEWAY_HOSTNAME=$edge_at EDGE_RUNTIME__STATE__PATH="$world/edge" \
        EDGE_RUNTIME__HUB__LISTEN=$edge_at:8883 EDGE_RUNTIME__HUB__LISTEN_HTTPS=$edge_at:8443 \
        EDGE_RUNTIME__HUB__LISTEN_PLAIN=$edge_at:1883 \
        EDGE_RUNTIME__UPSTREAM__ADDRESS="${upstream_at:-$hub_at:8883}" \
        EDGE_RUNTIME__UPSTREAM__HTTPS_ADDRESS="${upstream_https_at:-$hub_at:8443}" EDGE_RUNTIME__UPSTREAM__TRUSTED_CA="$world/hub/ca.pem" \
        EDGE_RUNTIME__METRICS__LISTEN=$edge_at:9600 EDGE_RUNTIME__AGENT__DOCKER="unix://$world/no-docker.sock" \
        "$@" "$bin/edge-runtime"
    await edge 60 is_ready edge
}

# The sum of a figure of the status, as `stored` over routes.
queue_total() {
    "$bin/edgectl" status --output json | tr ',{}' '\n' | sed -n "s/^ *\"$1\": *\([0-9]*\)\$/\1/p" | awk '{ sum += $1 } END { print sum + 0 }'
}

# ---- the peers --------------------------------------------------------------------------------

# A certificate for both peers, by the program that Debian's mosquitto is built with.
peer_certificate() {
    [ -f "$world/peer.pem" ] && return 0
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=peer \
        -addext "subjectAltName=IP:$mosquitto_at,IP:$rumqttd_at" -addext basicConstraints=critical,CA:FALSE \
        -keyout "$world/peer.key" -out "$world/peer.pem" 2>"$world/openssl.log" || die "openssl made no certificate" "read $world/openssl.log"
}

# mosquitto_start [LINE...]: persistence on, nothing dropped; further lines of its configuration.
mosquitto_start() {
    mkdir -p "$world/mosquitto"
    peer_certificate
    {
        printf '%s\n' "listener 1883 $mosquitto_at" "listener 8883 $mosquitto_at" \
            "certfile $world/peer.pem" "keyfile $world/peer.key" 'allow_anonymous true' 'user root' \
            'persistence true' "persistence_location $world/mosquitto/" 'max_inflight_messages 1000' \
            'max_queued_messages 0' 'set_tcp_nodelay true' 'log_type error' 'log_type warning'
        printf '%s\n' "$@"
    } >"$world/mosquitto.conf"
    start mosquitto mosquitto -c "$world/mosquitto.conf"
    await mosquitto 10 answers "$mosquitto_at"
}

rumqttd_start() {
    peer_certificate
    start rumqttd "$root/target/release/peer-rumqttd" $rumqttd_at:1883 $rumqttd_at:8883 "$world/peer.pem" "$world/peer.key"
    await rumqttd 10 answers $rumqttd_at
}

# load BROKER plain|tls ARGUMENT...: the line of edge-load; with the subscriber of that broker if
# SUBSCRIBE is set, by another way to it with LOAD_TO, as other devices with PREFIX.
load() {
    local broker=$1 how=$2 at ca port=1883
    shift 2
    case $broker in
        edge) at=$edge_at ca=$world/edge/certs/device-ca.pem ;;
        mosquitto) at=$mosquitto_at ca=$world/peer.pem ;;
        rumqttd) at=$rumqttd_at ca=$world/peer.pem ;;
        hub) at=$hub_at ca=$world/hub/ca.pem ;;
    esac
    local arguments=()
    if [ "$how" = tls ]; then
        port=8883
        arguments+=(--tls-ca "$ca")
    fi
    case $broker in edge | hub) arguments+=(--hub "$hub_at" --key "$key") ;; esac
    if [ -n "${SUBSCRIBE:-}" ]; then
        case $broker in
            edge) arguments+=(--subscriber edge/sink --filter 'devices/edge/modules/sink/#') ;;
            *) arguments+=(--subscriber load-sink --filter "$filter") ;;
        esac
    fi
    [ -z "${PREFIX:-}" ] || arguments+=(--prefix "$PREFIX")
    arguments+=(--pid "${pids[$broker]}")
    "$loader" "$1" --to "${LOAD_TO:-$at:$port}" "${arguments[@]}" "${@:2}" 2>>"$world/load.log" ||
        warn "$broker ($how): $* failed: $(tail -n 1 "$world/load.log")"
}
