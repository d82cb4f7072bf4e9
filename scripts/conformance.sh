#!/usr/bin/env bash
# Real, unmodified Azure SDK clients against localhub (hub:) and through edge-runtime (gateway:).
# SCENARIOS=file.py runs another file of the same interface in place of ours; ONLY=a,b and SKIP=a,b choose scenarios.
set -uo pipefail
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"
cd "$root" || exit 1
need_rust
need_cc
need openssl openssl
need flock util-linux

ours=(integration/conformance/sdk_scenarios.py integration/conformance/sdk_scenarios_2.py)
[ -z "${SCENARIOS:-}" ] || ours=("$SCENARIOS")
gateway_only=output_to_input,output_order,output_without_route,input_,module_to_module,edge_environment
hub=127.0.0.12 edge=127.0.0.11 work=$root/target/conformance
packages=(azure-iot-device==2.14.0 azure-iot-hub==2.7.0 six paho-mqtt==1.6.1)
need_python "$root/target/venv" "${packages[@]}"

step "building localhub, edge-runtime and edgectl"
cargo build --locked --quiet --bins || die "the programs do not build" "cargo build --bins"
bin=$root/target/debug
rm -rf "$work"
mkdir -p "$work"

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

trap stop_all EXIT
cat >"$work/localhub.env" <<EOF
LOCALHUB__HOSTNAME=$hub
LOCALHUB__STATE__PATH=$work/hub
LOCALHUB__LISTEN=$hub:8883
LOCALHUB__LISTEN_HTTPS=$hub:443
EOF
step "localhub on $hub"
start localhub
owner=$(cat "$work/hub/iothubowner.connection-string")
export EDGECTL_HUB=$owner EDGECTL_CA=$work/hub/ca.pem
device=$("$bin/edgectl" hub device create conf-edge --edge) || die "the edge device could not be made" "read $work/localhub.log"
cat >"$work/edge-runtime.env" <<EOF
EDGE_RUNTIME__DEVICE__CONNECTION_STRING='$device'
EDGE_RUNTIME__DEVICE__GATEWAY_HOSTNAME=$edge
EDGE_RUNTIME__STATE__PATH=$work/edge
EDGE_RUNTIME__HUB__LISTEN=$edge:8883
EDGE_RUNTIME__HUB__LISTEN_HTTPS=$edge:443
EDGE_RUNTIME__METRICS__LISTEN=$edge:9600
EDGE_RUNTIME__UPSTREAM__TRUSTED_CA=$work/hub/ca.pem
EDGE_RUNTIME__AGENT__NETWORK=edge-runtime-conformance
EDGE_RUNTIME__AGENT__WORKLOAD_DEVELOPMENT_SOCKET=$work/workload.sock
EOF
step "edge-runtime on $edge"
start edge-runtime

openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=conformance \
    -keyout "$work/x509.key" -out "$work/x509.pem" 2>/dev/null
thumb=$(openssl x509 -in "$work/x509.pem" -noout -fingerprint -sha1 | sed 's/.*=//; s/://g')

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

# run NAME GATEWAY RESTART SKIP SCENARIOS
run() {
    local skip=$4 scenarios=$5
    [ -z "${SKIP:-}" ] || skip=${skip:+$skip,}$SKIP
    step "$1: the scenarios of ${scenarios#"$root"/}"
    "$root/target/venv/bin/python" "$scenarios" --gateway "$2" --ca "$work/edge/certs/trust-bundle.pem" \
        --service-cs "$owner" --tap "https://$hub/telemetry" --edge-device conf-edge \
        --workload-uri "unix://$work/workload.sock" --c2d rest --settle 0.3 \
        --x509-cert "$work/x509.pem" --x509-key "$work/x509.key" --x509-thumb "$thumb" \
        --restart-cmd "$3" ${ONLY:+--only "$ONLY"} ${skip:+--skip "$skip"} >"$work/$1.out" 2>"$work/$1.err" </dev/null
    local code=$?
    head -n -1 "$work/$1.out"
    echo "$1:"
    tail -n 1 "$work/$1.out"
    [ $code = 0 ] || tail -n 20 "$work/$1.err" >&2
    return $code
}

failed=0
for file in "${ours[@]}"; do
    run hub "$hub" "$(restarter localhub)" "$gateway_only" "$file" || failed=1
    run gateway "$edge" "$(restarter edge-runtime)" '' "$file" || failed=1
done
exit $failed
