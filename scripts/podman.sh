#!/usr/bin/env bash
# The tests of the agent against Podman in Docker's place: its own service, with images and containers of its own.
#   scripts/podman.sh [TEST...]
set -euo pipefail
# shellcheck source=scripts/docker.sh
source "$(dirname "${BASH_SOURCE[0]}")/docker.sh"
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"

[ "$(id -u)" = 0 ] || die "this needs root" "sudo make podman"
need_rust
need_cc
need podman podman
need_only docker-registry docker-registry "a registry of images on this machine"
need docker docker.io
# Short: a path of a socket holds 108 characters.
place=$(mktemp -d /tmp/podman.XXXXXX)
log=$root/target/podman.log

stop() {
    kill "$service" 2>/dev/null || true
    wait "$service" 2>/dev/null || true
    podman --root "$place/root" --runroot "$place/run" rm --all --force --time 0 >>"$log" 2>&1 || true
    umount "$place/root/overlay" 2>/dev/null || true
    rm -rf "$place"
}

# Docker speaks to 127.0.0.0/8 without TLS; Podman must be told.
for last in 1 2 3 4 5 6 7 8; do
    printf '[[registry]]\nlocation = "127.44.0.%s"\ninsecure = true\n' "$last"
done >"$place/registries.conf"
# Podman asks for a million of each, which not every machine allows.
printf '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n' >"$place/containers.conf"
step "starting podman system service ($(podman --version))"
CONTAINERS_CONF=$place/containers.conf CONTAINERS_REGISTRIES_CONF=$place/registries.conf \
    podman --root "$place/root" --runroot "$place/run" system service --time=0 "unix://$place/podman.sock" >"$log" 2>&1 &
service=$!
trap stop EXIT
for _ in $(seq 50); do
    if engine_answers "unix://$place/podman.sock"; then break; fi
    sleep 0.2
done
engine_answers "unix://$place/podman.sock" || die "podman does not answer" "read $log"
DOCKER_HOST=unix://$place/podman.sock cargo test --locked --test agent_docker -- "$@"
