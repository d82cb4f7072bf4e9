#!/usr/bin/env bash
# shellcheck disable=SC2154,SC2034,SC2119,SC2120 # names are shared with scripts/bench.sh, which sources this
# EdgeAgent beside a shell script: the same containers by 50 `docker run` at a time, in the same run.
# Times end with the engine's own word on the start of the last container (`docker events`).
bench_image=edge-runtime-bench/pause:1
bench_network=edge-runtime-bench

# One static program that does nothing, without a registry.
pause_image() {
    docker image inspect "$bench_image" >/dev/null 2>&1 && return 0
    local folder
    folder=$(mktemp -d)
    printf '#include <signal.h>\n#include <unistd.h>\nstatic void end(int s){(void)s;_exit(0);}\nint main(void){signal(SIGTERM,end);for(;;)pause();}\n' >"$folder/p.c"
    cc -static -O1 -o "$folder/p" "$folder/p.c" || die "no program for the image" "install a C compiler"
    tar -cf "$folder/p.tar" -C "$folder" p
    docker import -c 'ENTRYPOINT ["/p"]' "$folder/p.tar" "$bench_image" >/dev/null || die "the image could not be made"
    rm -rf "$folder"
}

# until_running COUNT: so many of them, no less and, for 0, none that has ended either.
until_running() {
    local all=() until=$((SECONDS + 120))
    [ "$1" -gt 0 ] || all=(-a)
    while :; do
        running=$(docker ps -q "${all[@]}" --filter "network=$bench_network" | wc -l)
        [ "$running" -eq "$1" ] && return 0
        [ "$SECONDS" -lt "$until" ] || die "$running of $1 containers run" "read $world/edge.log and $world/load.log"
        sleep 0.1
    done
}
bench_clear() {
    local ids
    ids=$(docker ps -aq --filter "network=$bench_network")
    # shellcheck disable=SC2086 # one word each
    [ -z "$ids" ] || docker rm -f $ids >/dev/null
}

# last_start SINCE: milliseconds from then (nanoseconds) to the start of the last container.
last_start() {
    local last
    last=$(docker events --since "$(awk -v t="$1" 'BEGIN { printf "%.9f", t / 1e9 }')" --until "$(date +%s.%N)" \
        --filter type=container --filter event=start --filter "image=$bench_image" --format '{{.TimeNano}}' | sort -n | tail -n 1)
    [ -n "$last" ] && echo $(((last - $1) / 1000000))
}

# by_shell COUNT: milliseconds.
by_shell() {
    local since number
    since=$(date +%s%N)
    for ((number = 0; number < $1; number++)); do
        docker run -d --name "bench-shell-$number" --network "$bench_network" --log-opt max-size=10m --log-opt max-file=3 \
            -v "$world/edge:/run/edge-runtime/workload" -e IOTEDGE_MODULEID="m$number" "$bench_image" >/dev/null 2>>"$world/load.log" &
    done
    until_running "$1"
    last_start "$since"
    bench_clear
}

# bench_deploy COUNT: COUNT modules of the image.
bench_deploy() {
    local modules
    modules=$(awk -v n="$1" -v image="$bench_image" 'BEGIN {
        for (i = 0; i < n; i++) printf "%s\"bench-%d\":{\"type\":\"docker\",\"status\":\"running\",\"restartPolicy\":\"always\",\"imagePullPolicy\":\"never\",\"settings\":{\"image\":\"%s\"}}", (i ? "," : ""), i, image
    }')
    hub_call POST /devices/edge/applyConfigurationContent "{\"modulesContent\":{\"\$edgeAgent\":{\"properties.desired\":{\"schemaVersion\":\"1.1\",\"runtime\":{\"type\":\"docker\"},\"systemModules\":{},\"modules\":{$modules}}}}}" >/dev/null ||
        die "the deployment could not be set"
}

# by_agent COUNT: milliseconds from before the change of the twin; then nothing runs again.
by_agent() {
    local since
    since=$(date +%s%N)
    bench_deploy "$1"
    until_running "$1"
    last_start "$since"
    [ -n "${KEEP:-}" ] && return 0
    bench_deploy 0
    until_running 0
}

cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

bench_agent() {
    local number seconds before ticks
    local shell_1=() agent_1=() shell_50=() agent_50=()
    pause_image
    docker network create "$bench_network" >/dev/null 2>&1 || true
    bench_clear
    step "modules beside docker run"
    edge_make 0 "$to_hub"
    stop edge
    edge_start EDGE_RUNTIME__DEVICE__GATEWAY_HOSTNAME=bench.test EDGE_RUNTIME__AGENT__DOCKER="${DOCKER_HOST:-unix:///var/run/docker.sock}" EDGE_RUNTIME__AGENT__NETWORK="$bench_network"
    by_agent 1 >/dev/null # whatever is to be warm is warm
    by_shell 1 >/dev/null
    for ((number = 0; number < 5; number++)); do
        shell_1+=("$(by_shell 1)")
        agent_1+=("$(by_agent 1)")
    done
    for ((number = 0; number < repeat; number++)); do
        shell_50+=("$(by_shell 50)")
        agent_50+=("$(by_agent 50)")
    done
    row agent 1-module shell_ms="$(median "${shell_1[@]}")" agent_ms="$(median "${agent_1[@]}")" spread_percent="$(spread "${agent_1[@]}")"
    row agent 50-modules shell_ms="$(median "${shell_50[@]}")" agent_ms="$(median "${agent_50[@]}")" spread_percent="$(spread "${agent_50[@]}")"
    KEEP=1 by_agent 50 >/dev/null
    seconds=${quick:+20}
    seconds=${seconds:-60}
    sleep 15 # until all is reported
    before=$(cpu_ticks "${pids[edge]}")
    sleep "$seconds"
    ticks=$(($(cpu_ticks "${pids[edge]}") - before))
    row agent idle-with-50 cpu_percent="$(awk -v t="$ticks" -v h="$(getconf CLK_TCK)" -v s="$seconds" 'BEGIN { printf "%.3f", t / h / s * 100 }')"
    at_most agent-50-modules-to-docker-run "$(median "${agent_50[@]}")" "$(median "${shell_50[@]}")" 1.2
    at_most agent-overhead-of-one-module-ms "$(awk -v a="$(median "${agent_1[@]}")" -v b="$(median "${shell_1[@]}")" 'BEGIN { d = a - b; print (d > 0 ? d : 0) }')" 1 100
    at_most agent-idle-cpu-percent "$(awk -v t="$ticks" -v h="$(getconf CLK_TCK)" -v s="$seconds" 'BEGIN { print t / h / s * 100 }')" 1 0.5
    stop edge
    bench_clear
    docker network rm "$bench_network" >/dev/null 2>&1 || true
}
