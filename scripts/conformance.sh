#!/usr/bin/env bash
# Real, unmodified Azure SDK clients against localhub (hub:) and through edge-runtime (gateway:).
# SCENARIOS=file.py runs another file of the same interface in place of ours; ONLY=a,b and SKIP=a,b choose scenarios.
set -uo pipefail
# shellcheck source=scripts/sdk-world.sh
source "$(dirname "${BASH_SOURCE[0]}")/sdk-world.sh"

ours=(integration/conformance/sdk_scenarios{,_2,_3}.py)
[ -z "${SCENARIOS:-}" ] || ours=("$SCENARIOS")
gateway_only=output_to_input,output_order,output_without_route,input_,module_to_module,edge_environment
packages=(azure-iot-device==2.14.0 azure-iot-hub==2.7.0 six paho-mqtt==1.6.1 azure-storage-blob==12.31.1)
need_python "$root/target/venv" "${packages[@]}"
world conformance 127.0.0.12 127.0.0.11

# run NAME GATEWAY RESTART SKIP SCENARIOS
# shellcheck disable=SC2317 # called by twice
run() {
    local skip=$4 scenarios=$5
    [ -z "${SKIP:-}" ] || skip=${skip:+$skip,}$SKIP
    step "$1: the scenarios of ${scenarios#"$root"/}"
    "$root/target/venv/bin/python" "$scenarios" --gateway "$2" --ca "$trust" \
        --service-cs "$owner" --tap "https://$hub/telemetry" --edge-device "$edge_device" \
        --workload-uri "unix://$work/workload.sock" --c2d rest --settle 0.3 \
        --x509-cert "$work/x509.pem" --x509-key "$work/x509.key" --x509-thumb "$thumb" \
        --restart-cmd "$3" ${ONLY:+--only "$ONLY"} ${skip:+--skip "$skip"} >"$work/$1.out" 2>"$work/$1.err" </dev/null
    report "$1" $?
}

failed=0
for file in "${ours[@]}"; do
    twice run hub "$hub" "$(restarter localhub)" "$gateway_only" "$file" || failed=1
    twice run gateway "$edge" "$(restarter edge-runtime)" '' "$file" || failed=1
done
exit $failed
