#!/usr/bin/env bash
# All tests, one kind after the other; goes on after a failure and fails at the end.
set -uo pipefail
# shellcheck source=scripts/docker.sh
source "$(dirname "${BASH_SOURCE[0]}")/docker.sh"
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"
cd "$root" || exit 1
failed=()

# kind NAME COMMAND...: one kind of tests.
kind() {
    local name=$1 began=$SECONDS
    shift
    step "$name"
    if "$@"; then note "$name: passed in $((SECONDS - began)) s"; else failed+=("$name"); fi
}

make_images() { scripts/images.sh && scripts/python-image.sh && scripts/node-image.sh; }

need_rust
need_cc
need ss iproute2
need_only docker-registry docker-registry "a registry of images on this machine"
docker_ready
kind "images of the modules that the tests deploy" make_images
# The fault loops come later, with more cycles.
kind "unit, actor and integration tests" env CYCLES=0 cargo test --locked --workspace --no-fail-fast
# Kinds that have a script of their own.
# Of the fault loops a small number: `make crash CYCLES=N` runs more.
export POWER_CYCLES=8 DAMAGE_CYCLES=15
export TRIES=2 # of a scenario of the SDKs: see scripts/sdk-world.sh
for script in podman conformance node-suite cases crash faults mutants; do
    case $script in
        # A part: containers, their logs, an update, restarts by policy; `make podman` runs all.
        podman) kind podman scripts/podman.sh a_container_lives modules_of_a_deployment updates:: ;;
        crash) kind crash env CYCLES="${CYCLES:-25}" scripts/crash.sh ;;
        *) kind "$script" "scripts/$script.sh" ;;
    esac
done
if [ ${#failed[@]} -gt 0 ]; then die "these failed: $(printf '%s; ' "${failed[@]}")"; fi
