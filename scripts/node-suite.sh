#!/usr/bin/env bash
# The Node SDKs as npm has them (azure-iot-device, azure-iot-device-mqtt, azure-iothub) against localhub (hub:)
# and through edge-runtime (gateway:). ONLY=a,b and SKIP=a,b choose scenarios by parts of their names.
set -uo pipefail
# shellcheck source=scripts/sdk-world.sh
source "$(dirname "${BASH_SOURCE[0]}")/sdk-world.sh"

need_node "$root/target/node" "$root/integration/node"
world node-suite 127.0.0.14 127.0.0.13

# run NAME GATEWAY RESTART
# shellcheck disable=SC2317 # called by twice
run() {
    step "$1: the scenarios of integration/node"
    NODE_PATH=$root/target/node/node_modules NODE_EXTRA_CA_CERTS=$trust \
        node integration/node/main.js --gateway "$2" --ca "$trust" --owner "$owner" \
        --edge-device "$edge_device" --workload-uri "unix://$work/workload.sock" \
        --x509 "$work/x509" --x509-thumb "$thumb" --restart "$3" \
        ${ONLY:+--only "$ONLY"} ${SKIP:+--skip "$SKIP"} >"$work/$1.out" 2>"$work/$1.err" </dev/null
    report "$1" $?
}

failed=0
twice run hub "$hub" "$(restarter localhub)" || failed=1
twice run gateway "$edge" "$(restarter edge-runtime)" || failed=1
exit $failed
