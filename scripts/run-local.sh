#!/usr/bin/env bash
# The main job on this machine: a hub, the edge runtime, two modules in containers, a leaf device.
#   scripts/run-local.sh            until Ctrl-C
#   FOR=60 scripts/run-local.sh     ends by itself; 0 if all modules ran and telemetry came through
#   DISK=128M scripts/run-local.sh  the edge's state on a small disk of its own (root; for break WHAT=disk)
# State stays under target/run-local for the next run; processes, containers and network do not.
# shellcheck disable=SC2317 # traps and callbacks
set -Eeuo pipefail
# shellcheck source=scripts/screen.sh
source "$(dirname "${BASH_SOURCE[0]}")/screen.sh"
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"

run_for=${FOR:-}
disk=${DISK:-}
mounted=''
keepers=()
made_network=''

# ---- before anything starts -------------------------------------------------------------------

only_one() {
    mkdir -p "$local_dir"
    exec 8>"$local_dir/lock"
    flock -n 8 || die "run-local is already running here (target/run-local/lock)" "stop it with Ctrl-C there, or look at it with edgectl"
    local name pid comm
    for name in keeper-hub keeper-edge keeper-leaf hub edge leaf; do # left by a run that was killed
        pid=$(pid_of "$name")
        comm=$({ tr '\0' ' ' <"/proc/${pid:-none}/cmdline"; } 2>/dev/null || true)
        case $comm in
        *"$root"*)
            note "stopping $name ($pid), left by an earlier run"
            kill -KILL "$pid" 2>/dev/null || true
            ;;
        esac
        rm -f "$local_dir/$name.pid"
    done
}

# The line of `ss` for whoever listens where ADDRESS:PORT would, a wildcard included.
listener_on() {
    ss -ltnpH "sport = :$2" 2>/dev/null |
        awk -v want="$1" '{ at = $4; sub(/:[0-9]+$/, "", at); sub(/%.*/, "", at)
            if (at == want || at == "0.0.0.0" || at == "*" || at == "[::]") { print; exit } }'
}

need_free() {
    local line
    line=$(listener_on "$1" "$2")
    [ -z "$line" ] || die "port $2 on $1 is taken by $(echo "$line" | grep -o 'users:.*' || echo 'another user'"'"'s program')" \
        "stop it, then run this again (the port is fixed: the Azure IoT SDKs know no other)"
}

choose_ports() {
    need_free "$hub_ip" "$mqtt_port"
    need_free "$edge_ip" "$mqtt_port"
    local lowest
    lowest=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)
    if [ "$(id -u)" != 0 ] && [ "$lowest" -gt 443 ]; then
        https_port=10443
        note "not root: HTTPS is on port $https_port instead of 443"
    fi
    need_free "$hub_ip" "$https_port"
    need_free "$edge_ip" "$https_port"
    while [ -n "$(listener_on 127.0.0.1 "$metrics_port")" ]; do
        metrics_port=$((metrics_port + 1))
    done
}

make_network() {
    if ! docker network inspect "$network" >/dev/null 2>&1; then
        docker network create --label "$network_label" "$network" >/dev/null
        note "made the Docker network $network"
    fi
    if [ "$(docker network inspect -f '{{index .Labels "io.edge-runtime.made-by"}}' "$network")" = run-local ]; then
        made_network=yes
    fi
    gateway_ip=$(docker network inspect -f '{{range .IPAM.Config}}{{.Gateway}} {{end}}' "$network" | tr ' ' '\n' | grep -m1 '\.' || true)
    [ -n "$gateway_ip" ] || die "the Docker network $network has no IPv4 gateway address" "docker network rm $network, then run this again"
    need_free "$gateway_ip" "$mqtt_port"
}

# A file system of its own for the edge's state, so that filling it hurts nothing else.
mount_disk() {
    local image=$local_dir/edge-disk.img
    [ "$(id -u)" = 0 ] || die "DISK=$disk needs root (it mounts a file system)" "run as root, or leave DISK away"
    have mkfs.ext4 || die "mkfs.ext4 is not installed" "install e2fsprogs"
    if [ ! -f "$image" ]; then
        rm -rf "$local_dir/edge" # it would lie hidden below the mount
        truncate -s "$disk" "$image"
        mkfs.ext4 -q -m 0 "$image" || die "could not make a file system of $disk" "try DISK=128M"
    fi
    mkdir -p "$local_dir/edge"
    mount -o loop "$image" "$local_dir/edge" || die "this machine has no loop mounts" "leave DISK away"
    mounted=yes
    rm -f "$local_dir/edge/filler"
    note "the edge's state lies on a disk of $disk"
}

# ---- settings and identities ------------------------------------------------------------------

write_settings() {
    cat >"$local_dir/hub.toml" <<TOML
hostname = "$hub_ip"
listen = ["$hub_ip:$mqtt_port"]
listen_https = ["$hub_ip:$https_port"]
state.path = "$local_dir/hub"
TOML
    cat >"$local_dir/edge.toml" <<TOML
[device]
connection_string_file = "$local_dir/edge.connection-string"
gateway_hostname = "$gateway_name"
[state]
path = "$local_dir/edge"
[hub]
listen = ["$edge_ip:$mqtt_port", "$gateway_ip:$mqtt_port"]
listen_https = ["$edge_ip:$https_port", "$gateway_ip:$https_port"]
[upstream]
address = "$hub_ip:$mqtt_port"
https_address = "$hub_ip:$https_port"
trusted_ca = "$local_dir/hub/ca.pem"
[agent]
docker = "$DOCKER_HOST"
network = "$network"
[metrics]
listen = "127.0.0.1:$metrics_port"
TOML
    printf 'https_port=%s\nmetrics_port=%s\n' "$https_port" "$metrics_port" >"$local_dir/ports"
}

# Sets the modules, as `az iot edge set-modules` would.
deploy() {
    edgectl deploy "$root/config/run-local.deployment.json" --device "$edge_device" --yes >&2
}

# ---- starting and stopping --------------------------------------------------------------------

# start NAME COMMAND...: under the restarter, in a process group of its own.
start() {
    local name=$1
    : >"$local_dir/$name.log"
    setsid "$root/scripts/keep.sh" "$name" "$local_dir" "${@:2}" 8>&- </dev/null >/dev/null 2>&1 &
    echo $! >"$local_dir/keeper-$name.pid"
    keepers+=("$name:$!")
}

# await NAME WHAT SECONDS COMMAND...: waits until the command succeeds, or says what failed.
await() {
    local name=$1 what=$2 seconds=$3 _
    shift 3
    for _ in $(seq $((seconds * 5))); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        if [ -f "$local_dir/keeper-$name.pid" ] && ! kill -0 "$(pid_of "keeper-$name")" 2>/dev/null; then break; fi
        sleep 0.2
    done
    tail -n 15 "$local_dir/$name.log" >&2
    die "$what did not happen within $seconds s" "read target/run-local/$name.log and events.log"
}

ready() { grep -qw ready "$local_dir/$1.log"; }

stop_all() {
    local status=$? one pid name _
    trap - EXIT
    trap '' INT TERM
    set +e
    step "stopping"
    for one in $(printf '%s\n' "${keepers[@]}" | tac); do # leaf, edge, hub
        name=${one%%:*} pid=${one##*:}
        kill -TERM "$pid" 2>/dev/null
        for _ in $(seq 150); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        if kill -0 "$pid" 2>/dev/null; then
            warn "$name did not stop in 15 s: killing it"
            kill -KILL -- "-$pid" 2>/dev/null
        fi
        rm -f "$local_dir/keeper-$name.pid" "$local_dir/$name.pid"
        if [ "$name" = edge ]; then
            # Containers outlive the runtime by design; this run's end takes them along.
            # shellcheck disable=SC2046
            docker rm -f $(our_containers) >/dev/null 2>&1
        fi
    done
    if [ -n "$made_network" ]; then
        docker network rm "$network" >/dev/null 2>&1 || warn "the network $network stays: something else uses it"
    fi
    note "nothing of this run is left but its state in target/run-local (make clean-local removes it)"
    if [ -n "$mounted" ]; then umount "$local_dir/edge" || umount -l "$local_dir/edge"; fi
    [ -z "${closing_lines:-}" ] || printf '%s\n' "$closing_lines"
    exit "$status"
}

# ---- the run ----------------------------------------------------------------------------------

main() {
    case $profile in release | debug) ;; *) die "BUILD=$profile is not known" "BUILD=release or BUILD=debug" ;; esac
    case $run_for in *[!0-9]*) die "FOR=$run_for is not a number of seconds" "make run-local FOR=60" ;; esac
    step "1/7 what must be on this machine"
    need_rust
    need_cc
    need ss iproute2
    need curl curl
    need openssl openssl
    only_one
    docker_ready
    note "containers: $DOCKER_HOST"
    choose_ports

    step "2/7 building edge-runtime, localhub, edgectl (the first time takes some minutes)"
    local options=(--locked --manifest-path "$root/Cargo.toml")
    if [ "$profile" = release ]; then options+=(--release); fi
    cargo build "${options[@]}" --bins >&2
    cargo build "${options[@]}" -p edge-module-client --example leaf >&2
    "$root/scripts/images.sh"

    trap stop_all EXIT
    trap 'warn "this script failed at line $LINENO: $BASH_COMMAND"' ERR
    trap 'exit 130' INT
    trap 'exit 143' TERM
    : >"$local_dir/events.log"
    step "3/7 the Docker network"
    if [ -n "$disk" ]; then mount_disk; fi
    make_network
    # shellcheck disable=SC2046
    docker rm -f $(our_containers) >/dev/null 2>&1 || true # of a run that was killed
    write_settings

    step "4/7 the local hub on $hub_ip"
    start hub "$bin_dir/localhub" --config "$local_dir/hub.toml"
    await hub "the hub's start" 30 ready hub
    make_device edge.connection-string "$edge_device" --edge
    make_device leaf.connection-string "$leaf_device" --parent "$edge_device"

    step "5/7 the edge runtime on $edge_ip and $gateway_ip"
    start edge "$bin_dir/edge-runtime" --config "$local_dir/edge.toml"
    await edge "the edge runtime's start" 60 ready edge

    step "6/7 deploying ${modules[*]}"
    telemetry_from_now
    deploy
    local module
    for module in "${modules[@]}"; do
        await edge "the start of $module" 120 module_runs "$module"
        note "$module runs"
    done

    step "7/7 the leaf device"
    start leaf "$bin_dir/examples/leaf" "$local_dir/leaf.connection-string" \
        "$local_dir/edge/certs/trust-bundle.pem" "$edge_ip:$mqtt_port"
    live "$run_for"
    judge
    exit "$verdict"
}

main
