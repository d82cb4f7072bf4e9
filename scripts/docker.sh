#!/usr/bin/env bash
# Finds a container engine that answers, or makes one answer.
#   source scripts/docker.sh; docker_ready     afterwards `docker` works and DOCKER_HOST is set
#   scripts/docker.sh [status|stop]            the same as a command; stop ends a dockerd that we started
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

docker_dir=$root/target/docker

# Does an engine answer at this address? The Docker API's /_ping; Podman serves it too.
engine_answers() {
    case $1 in
    unix://*)
        [ -S "${1#unix://}" ] || return 1
        if have curl; then
            [ "$(curl -s -m 5 --unix-socket "${1#unix://}" http://d/_ping 2>/dev/null)" = OK ]
        else
            DOCKER_HOST=$1 timeout 10 docker version >/dev/null 2>&1
        fi
        ;;
    ?*) have docker && DOCKER_HOST=$1 timeout 10 docker version >/dev/null 2>&1 ;;
    *) return 1 ;;
    esac
}

# Every place where an engine may be, the most explicit one first.
engine_candidates() {
    [ -z "${DOCKER_HOST:-}" ] || echo "$DOCKER_HOST"
    if have docker; then
        docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || true
    fi
    local runtime=${XDG_RUNTIME_DIR:-/run/user/$(id -u)} socket
    for socket in /var/run/docker.sock "$runtime/docker.sock" "$HOME/.docker/run/docker.sock" \
        "$runtime/podman/podman.sock" /run/podman/podman.sock; do
        echo "unix://$socket"
    done
}

find_engine() {
    local address
    while read -r address; do
        if engine_answers "$address"; then
            echo "$address"
            return 0
        fi
    done < <(engine_candidates | awk '!seen[$0]++')
    return 1
}

# A pid file that outlived its dockerd (killed, or the machine restarted) keeps a new one from starting.
clear_stale_pid() {
    local file=$1 pid
    [ -f "$file" ] || return 0
    pid=$(cat "$file" 2>/dev/null || true)
    if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ]; then return 0; fi
    note "removing $file: its process ${pid:-?} is gone"
    rm -f "$file"
}

# Starts the Docker daemon: by systemd where that runs, else detached, with pid and log under target/.
start_dockerd() {
    if [ -d /run/systemd/system ] && have systemctl; then
        step "starting Docker (systemctl start docker)"
        systemctl start docker || note "systemctl could not start it: starting dockerd directly"
        if await_engine 20; then return 0; fi
    fi
    mkdir -p "$docker_dir"
    clear_stale_pid /var/run/docker.pid dockerd
    clear_stale_pid /var/run/docker/containerd/containerd.pid containerd
    if [ ! -e /sys/fs/cgroup/cgroup.controllers ] && [ ! -d /sys/fs/cgroup/devices ]; then
        mount_cgroups
    fi
    step "starting dockerd in the background"
    note "log: ${docker_dir#"$root"/}/dockerd.log; it keeps running; stop it with: scripts/docker.sh stop"
    # Its own session, no descriptor of ours, so that it outlives this terminal and holds no lock.
    setsid nohup dockerd >>"$docker_dir/dockerd.log" 2>&1 </dev/null 9>&- &
    echo $! >"$docker_dir/dockerd.pid"
    disown
    if await_engine 60; then return 0; fi
    grep -E 'level=(error|fatal)|^failed|^Error' "$docker_dir/dockerd.log" | tail -n 5 >&2 || true
    die "dockerd does not answer after 60 s" "read $docker_dir/dockerd.log"
}

# Minimal machines without an init system have no cgroup hierarchy mounted.
mount_cgroups() {
    note "mounting the cgroup file system: nothing on this machine did"
    mount -t cgroup2 cgroup2 /sys/fs/cgroup || warn "could not mount cgroup2 on /sys/fs/cgroup"
}

await_engine() {
    local _
    for _ in $(seq $(($1 * 2))); do
        if engine_answers unix:///var/run/docker.sock; then return 0; fi
        sleep 0.5
    done
    return 1
}

# Makes an engine answer and exports DOCKER_HOST; on failure says what to do and ends the script.
docker_ready() {
    local address
    mkdir -p "$root/target"
    exec 9>/tmp/edge-runtime-docker.lock
    flock -w 300 9 || die "another script has been preparing Docker for 5 minutes" "see /tmp/edge-runtime-docker.lock"
    if ! address=$(find_engine); then
        if [ -n "${DOCKER_HOST:-}" ]; then
            warn "no engine answers at DOCKER_HOST=$DOCKER_HOST: looking elsewhere"
            unset DOCKER_HOST
        fi
        [ "$(uname -s)" = Linux ] || die "no container engine answers" "start Docker Desktop or Podman, then run this again"
        if ! have dockerd && [ ! -x /usr/sbin/dockerd ]; then
            can_apt || die "no container engine answers and none can be installed from here" \
                "install Docker Engine or Podman with its socket and start it (on Debian or Ubuntu as root this script does it), or set DOCKER_HOST"
            apt_install "Docker Engine: the modules run in containers" docker.io iptables ca-certificates
        fi
        [ "$(id -u)" = 0 ] || die "Docker is installed but does not answer, and only root may start it" \
            "sudo systemctl start docker (or: sudo scripts/docker.sh), and see that you are in the group docker"
        PATH=$PATH:/usr/sbin:/sbin start_dockerd
        address=unix:///var/run/docker.sock
    fi
    exec 9>&-
    export DOCKER_HOST=$address
    if ! have docker; then
        can_apt || die "an engine answers at $address but there is no docker command" "install the package docker.io or docker-cli"
        if apt-cache show docker-cli >/dev/null 2>&1; then
            apt_install "the docker command" docker-cli
        else
            apt_install "the docker command" docker.io
        fi
    fi
}

docker_stop() {
    local pid
    pid=$(cat "$docker_dir/dockerd.pid" 2>/dev/null || true)
    if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
        kill "$pid"
        while [ -d "/proc/$pid" ]; do sleep 0.2; done
        note "dockerd ($pid) stopped"
    else
        note "no dockerd of ours runs"
    fi
    rm -f "$docker_dir/dockerd.pid"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    case ${1:-start} in
    start) docker_ready && docker version --format 'engine {{.Server.Version}} (API {{.Server.APIVersion}})' >&2 && echo "$DOCKER_HOST" ;;
    status) find_engine || die "no container engine answers" "scripts/docker.sh" ;;
    stop) docker_stop ;;
    *) die "unknown word: $1" "use start, status or stop" ;;
    esac
fi
