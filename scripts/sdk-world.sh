#!/usr/bin/env bash
# shellcheck disable=SC2034 # the variables are for the scripts that source this
# A hub and a gateway on addresses of their own, for the suites of real SDK clients: conformance.sh, node-suite.sh.
#   world NAME HUB-ADDRESS EDGE-ADDRESS: builds, starts both, stops them at the end
# It sets: work (a folder), owner (the hub's connection string), edge_device, trust (the CAs), thumb (of $work/x509.pem).
set -uo pipefail
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"
cd "$root" || exit 1

# start NAME: starts it anew and waits until it says that it is ready.
start() {
    local name=$1 pid
    if [ -f "$work/$name.pid" ]; then
        pid=$(cat "$work/$name.pid")
        kill "$pid" 2>/dev/null
        while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    fi
    : >"$work/$name.now"
    # shellcheck disable=SC1090
    (set -a && source "$work/$name.env" && exec setsid "$bin/$name" >>"$work/$name.now" 2>&1 </dev/null) &
    echo $! >"$work/$name.pid"
    for _ in $(seq 300); do
        if grep -aq ' ready ' "$work/$name.now"; then
            cat "$work/$name.now" >>"$work/$name.log"
            return 0
        fi
        kill -0 "$(cat "$work/$name.pid")" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$work/$name.now" >&2
    die "$name did not become ready" "read $work/$name.now"
}

# shellcheck disable=SC2317 # called by the trap
stop_all() {
    for name in edge-runtime localhub; do
        [ -f "$work/$name.pid" ] && kill "$(cat "$work/$name.pid")" 2>/dev/null
    done
    return 0
}

# restarter NAME: a command that restarts it and returns after `ready`.
restarter() {
    local file=$work/restart-$1.sh
    {
        declare -p work bin root
        declare -f start die
        echo "start $1"
    } >"$file"
    echo "bash $file"
}

world() {
    local name=$1 device
    hub=$2 edge=$3 work=$root/target/$1 bin=$root/target/debug edge_device=$1-edge
    need_rust
    need_cc
    need openssl openssl
    need flock util-linux
    step "building localhub, edge-runtime and edgectl"
    cargo build --locked --quiet --bins || die "the programs do not build" "cargo build --bins"
    rm -rf "$work"
    mkdir -p "$work"
    trap stop_all EXIT
    mkdir "$work/client-ca" # the authority of devices; scenarios sign with its key
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=authority of devices" \
        -keyout "$work/client-ca.key" -out "$work/client-ca/root.pem" 2>/dev/null
    cat >"$work/localhub.env" <<EOF
LOCALHUB__CLIENT_CA=$work/client-ca
LOCALHUB__HOSTNAME=$hub
LOCALHUB__STATE__PATH=$work/hub
LOCALHUB__LISTEN=$hub:8883
LOCALHUB__LISTEN_HTTPS=$hub:443
EOF
    step "localhub on $hub"
    start localhub
    owner=$(cat "$work/hub/iothubowner.connection-string")
    device=$(EDGECTL_HUB=$owner EDGECTL_CA=$work/hub/ca.pem "$bin/edgectl" hub device create "$edge_device" --edge) ||
        die "the edge device could not be made" "read $work/localhub.log"
    cat >"$work/edge-runtime.env" <<EOF
EDGE_RUNTIME__DEVICE__CONNECTION_STRING='$device'
EDGE_RUNTIME__DEVICE__GATEWAY_HOSTNAME=$edge
EDGE_RUNTIME__STATE__PATH=$work/edge
EDGE_RUNTIME__HUB__LISTEN=$edge:8883
EDGE_RUNTIME__HUB__LISTEN_HTTPS=$edge:443
EDGE_RUNTIME__HUB__CLIENT_CA=$work/client-ca
EDGE_RUNTIME__METRICS__LISTEN=$edge:9600
EDGE_RUNTIME__UPSTREAM__TRUSTED_CA=$work/hub/ca.pem
EDGE_RUNTIME__AGENT__NETWORK=edge-runtime-$name
EDGE_RUNTIME__AGENT__WORKLOAD_DEVELOPMENT_SOCKET=$work/workload.sock
EOF
    step "edge-runtime on $edge"
    start edge-runtime
    trust=$work/edge/certs/trust-bundle.pem
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=$name" \
        -keyout "$work/x509.key" -out "$work/x509.pem" 2>/dev/null
    thumb=$(openssl x509 -in "$work/x509.pem" -noout -fingerprint -sha1 | sed 's/.*=//; s/://g')
}

# report NAME CODE: what a suite printed to $work/NAME.out, its last line under its name; the errors when it failed.
report() {
    head -n -1 "$work/$1.out"
    echo "$1:"
    tail -n 1 "$work/$1.out"
    [ "$2" = 0 ] || tail -n 20 "$work/$1.err" >&2
    return "$2"
}

# twice run NAME ...: a run; with TRIES=2, as `make test` has it, what failed in it once more. The SDKs have
# races of their own that a busy machine meets; what fails twice has failed.
twice() {
    "$@" && return 0
    [ "${TRIES:-1}" -gt 1 ] || return 1
    local failed
    failed=$(sed -n 's/^FAIL  *\([A-Za-z0-9_]*\).*/\1/p' "$work/$2.out" | paste -sd, -)
    [ -n "$failed" ] || return 1 # it did not come to its end
    step "$2: what failed, once more: $failed"
    ONLY=$failed TRIES=1 "$@"
}
