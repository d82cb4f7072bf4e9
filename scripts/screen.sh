#!/usr/bin/env bash
# The live screen of run-local, and its verdict at the end. Sourced by run-local.sh.
set -euo pipefail
# shellcheck source=scripts/local-env.sh
source "$(dirname "${BASH_SOURCE[0]}")/local-env.sh"

telemetry_next=0
filter_count=0
leaf_count=0
started_at=$SECONDS
events_shown=0
declare -A module_ran=()

# A service token of the hub's owner, for curl.
owner_token() {
    local host key resource expiry signature
    host=$(owner | sed -n 's/.*HostName=\([^;]*\).*/\1/p')
    key=$(owner | sed -n 's/.*SharedAccessKey=\([^;]*\).*/\1/p' | base64 -d | od -An -v -tx1 | tr -d ' \n')
    resource=${host//:/%3A}
    expiry=$(($(date +%s) + 3600))
    signature=$(printf '%s\n%s' "$resource" "$expiry" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)
    signature=${signature//+/%2B}
    signature=${signature//\//%2F}
    echo "SharedAccessSignature sr=$resource&sig=${signature//=/%3D}&se=$expiry&skn=iothubowner"
}

# GET from the hub's REST endpoint.
hub_get() {
    curl -sf -m 10 --cacert "$local_dir/hub/ca.pem" -H "Authorization: $(owner_token)" "https://$hub_ip:$https_port$1"
}

# make_device FILE ID FLAG...: creates the device if it is new, writes its connection string.
make_device() {
    local file=$local_dir/$1 id=$2 key
    shift 2
    if ! hub_get "/devices/$id" >/dev/null; then
        edgectl hub device create "$id" "$@" >/dev/null || die "could not create the device $id" "read $local_dir/hub.log"
        note "created the device $id"
    fi
    key=$(hub_get "/devices/$id" | json_field primaryKey) || true
    [ -n "$key" ] || die "the hub shows no key of $id" "make clean-local, then run this again"
    (umask 077 && echo "HostName=$hub_ip;DeviceId=$id;SharedAccessKey=$key" >"$file")
}

# From here on telemetry counts for this run. Waits for the hub.
telemetry_from_now() {
    local _
    for _ in $(seq 150); do
        telemetry_next=$(hub_get "/telemetry?since=9223372036854775807&max=1" | json_field next) || true
        if [ -n "$telemetry_next" ]; then return 0; fi
        sleep 0.2
    done
    die "the hub does not answer at https://$hub_ip:$https_port" "read target/run-local/hub.log"
}

occurrences() { { grep -o "$1" <<<"$2" || true; } | wc -l; }

# Counts what reached the hub since the last call, by sender.
count_telemetry() {
    local page next
    while page=$(hub_get "/telemetry?since=$telemetry_next&max=500" 2>/dev/null); do
        filter_count=$((filter_count + $(occurrences '"moduleId" *: *"temperature-filter"' "$page")))
        leaf_count=$((leaf_count + $(occurrences "\"deviceId\" *: *\"$leaf_device\"" "$page")))
        next=$(json_field next <<<"$page") || true
        if [ -z "$next" ] || [ "$next" = "$telemetry_next" ]; then return 0; fi
        telemetry_next=$next
    done
}

leaf_sent() {
    local sent
    sent=$(sed -n 's/^acknowledged \([0-9]*\).*/\1/p' "$local_dir/leaf.log" 2>/dev/null | tail -n 1) || true
    echo "${sent:-0}"
}

note_modules() {
    local module
    for module in "${modules[@]}"; do
        if module_runs "$module"; then module_ran[$module]=yes; fi
    done
}

# Restarts and the like, each shown once.
show_events() {
    local total
    total=$(wc -l <"$local_dir/events.log")
    if [ "$total" -gt "$events_shown" ]; then
        tail -n "+$((events_shown + 1))" "$local_dir/events.log" | sed 's/^/!   /'
        events_shown=$total
    fi
}

screen() {
    local span=$((SECONDS - started_at))
    [ "$span" -gt 0 ] || span=1
    if [ -t 1 ]; then
        printf '\033[H\033[2J'
        events_shown=0 # the whole list is drawn anew
    fi
    echo "edge-runtime run-local, $(date +%T), ${span} s${run_for:+ of $run_for}"
    echo
    edgectl list 2>&1 || true
    echo
    edgectl status 2>&1 || true
    echo
    echo "at the hub   through the filter: $filter_count ($((filter_count * 60 / span))/min)   leaf device: $leaf_count of at least $(leaf_sent) acknowledged"
    show_events
}

copy_lines() {
    local hub_text=$local_dir/hub/iothubowner.connection-string # edgectl takes the file, too
    cat <<EOT

Copy into a second terminal:
  export EDGECTL_CA=$local_dir/hub/ca.pem EDGECTL_SOCKET=$local_dir/edge/mgmt.sock EDGECTL_HUB=$hub_text
  export SSL_CERT_FILE=$local_dir/edge/certs/trust-bundle.pem     # what devices trust
  echo "\$(cat $local_dir/leaf.connection-string);GatewayHostName=$edge_ip"     # the leaf device, through the gateway
  $bin_dir/edgectl hub twin set $edge_device temperature-filter threshold=30
  make break WHAT=link     # or hub, runtime, module, disk (with DISK=128M)
EOT
}

# Draws until the time is up, or for ever.
live() {
    local every=10 next=0
    if [ -t 1 ]; then every=2; fi
    started_at=$SECONDS
    copy_lines
    while [ -z "$1" ] || [ $((SECONDS - started_at)) -lt "$1" ]; do
        sleep 1
        count_telemetry
        note_modules
        if [ "$SECONDS" -ge "$next" ]; then
            screen
            if [ -t 1 ]; then copy_lines; fi
            next=$((SECONDS + every))
        fi
    done
    count_telemetry
    note_modules
}

# The last lines, and the verdict: every module ran and telemetry came through the filter.
judge() {
    local module line _
    # shellcheck disable=SC2034 # for run-local
    verdict=0
    edgectl list || true
    closing_lines=''
    for module in "${modules[@]}"; do
        if [ -n "${module_ran[$module]:-}" ]; then
            closing_lines+="module $module: ran"$'\n'
        else
            closing_lines+="module $module: NEVER RAN"$'\n'
            verdict=1
        fi
    done
    closing_lines+="leaf device $leaf_device: at least $(leaf_sent) acknowledged, $leaf_count at the hub"$'\n'
    closing_lines+="telemetry at the hub: $filter_count through the filter, $leaf_count from the leaf device"$'\n'
    if [ "$filter_count" = 0 ]; then
        closing_lines+="telemetry: NOTHING came through the filter"$'\n'
        # shellcheck disable=SC2034 # for run-local
        verdict=1
    fi
    for _ in 1 2 3 4 5; do # the edge may be starting again just now
        line=$(conservation)
        case $line in *"no figures"*) sleep 2 ;; *) break ;; esac
    done
    closing_lines+="$line"
}
