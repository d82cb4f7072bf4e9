#!/usr/bin/env bash
# Benchmarks, each beside its peers in one run. A table on stdout, JSON in target/bench/, and at the
# end per target a line `ratio NAME VALUE target T ok|short`; status 1 if one is short. A line
# `stretch NAME VALUE target T reached|not` decides nothing.
# A benchmark is a function that calls `row` for its numbers and `at_least` or `at_most` for its targets,
# and a line of the `case` below. BENCH lists those to run, `all` is all; without it those of the table in
# docs/performance.md run, within 15 minutes and what is to be built. BENCH_QUICK=1: shorter, 3 minutes.
# BENCH_REPEAT (3) repetitions, in turn with the peers', of which the median counts; BENCH_PROFILE
# (release) of what is measured; BENCH_MESSAGES (1000000) that are stored. For the link's: BENCH_SEED (1),
# BENCH_SECONDS (120), BENCH_IDENTITIES (1000).
# shellcheck disable=SC2317 # what is called by a name that is put together
set -uo pipefail
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"
set +e
cd "$root" || exit 1
out=$root/target/bench
mkdir -p "$out"
rows=() ratios=() short=0
quick=${BENCH_QUICK:-}
repeat=${BENCH_REPEAT:-$([ -n "$quick" ] && echo 1 || echo 3)}

# row BENCHMARK VARIANT NAME=NUMBER...: a line of the table.
row() {
    rows+=("$*")
    note "$*"
}

# judge KIND NAME A B OPERATOR TARGET: A / B, to three digits, against the target; without an A it is short.
judge() {
    local value verdict
    if [ -z "$3" ] || [ -z "$4" ]; then
        short=1
        ratios+=("$1 $2 0 $6 short $5")
        return
    fi
    value=$(awk -v a="$3" -v b="$4" 'BEGIN { printf "%.3g", (b > 0 ? a / b : 9999) }' | awk '{ printf "%.10g", $1 }')
    verdict=$(awk -v v="$value" -v o="$5" -v t="$6" 'BEGIN { print ((o == "least" ? v >= t : v <= t) ? "ok" : "short") }')
    if [ "$1" = stretch ]; then
        verdict=$([ "$verdict" = ok ] && echo reached || echo not)
    elif [ "$verdict" = short ]; then
        short=1
    fi
    ratios+=("$1 $2 $value $6 $verdict $5")
}
at_least() { judge ratio "$1" "$2" "$3" least "$4"; }
at_most() { judge ratio "$1" "$2" "$3" most "$4"; }
stretch() { judge stretch "$1" "$2" "$3" least "$4"; }
ratio() { at_most "$@"; }

# number NAME LINE: the number behind NAME= in a line.
number() { sed -n "s/.*\b$1=\([0-9.]*\).*/\1/p" <<<"$2"; }

# median NUMBER...; spread NUMBER...: (largest - smallest) / median, in per cent.
median() { printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
spread() {
    printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { m = v[int((NR + 1) / 2)]; printf "%.0f", (m > 0 ? (v[NR] - v[1]) / m * 100 : 0) }'
}

# shellcheck source=scripts/bench/world.sh
source "$root/scripts/bench/world.sh"
# shellcheck source=scripts/bench/load.sh
source "$root/scripts/bench/load.sh"
# shellcheck source=scripts/bench/stored.sh
source "$root/scripts/bench/stored.sh"
# shellcheck source=scripts/bench/link-bytes.sh
source "$root/scripts/bench/link-bytes.sh"
# shellcheck source=scripts/bench/own.sh
source "$root/scripts/bench/own.sh"
# shellcheck source=scripts/bench/agent.sh
source "$root/scripts/bench/agent.sh"

trap stop_all EXIT
need_rust
need_cc
need curl curl
need flock util-linux
mkdir -p "$world"
exec 8>"$world/lock"
flock -n 8 || die "another run of this script uses $world" "wait for it"
: >"$world/load.log"
# Builds come later: what counts is who else is here.
busy=$(cut -d' ' -f1-3 /proc/loadavg)
note "load of the machine before: $busy"
names=${BENCH:-load pace idle stored disk link-bytes}
if [ "$names" = all ]; then names='load pace idle stored disk link-bytes refused local-topics routes agent'; fi
begin=$SECONDS
for name in $names; do
    case $name in
        load | pace | idle | stored | disk | link-bytes)
            need_mosquitto
            need openssl openssl
            build_programs
            "bench_${name//-/_}"
            stop_all
            ;;
        agent)
            build_edge
            bench_agent
            stop_all
            ;;
        refused) bench_refused ;;
        routes) bench_routes ;;
        local-topics) bench_local_topics ;;
        *) die "there is no benchmark $name" "BENCH='load pace idle stored disk link-bytes refused local-topics routes agent'" ;;
    esac
done
note "took $((SECONDS - begin)) s"

{
    printf '%s' "{\"date\":\"$(date -u +%FT%TZ)\",\"commit\":\"$(git rev-parse --short HEAD)\",\"rows\":["
    comma=
    for line in "${rows[@]}"; do
        read -r benchmark variant numbers <<<"$line"
        printf '%s{"benchmark":"%s","variant":"%s"' "$comma" "$benchmark" "$variant"
        for number in $numbers; do printf ',"%s":%s' "${number%%=*}" "${number#*=}" | sed 's/:$/:null/'; done
        printf '}'
        comma=,
    done
    printf '%s' '],"ratios":['
    comma=
    for line in "${ratios[@]}"; do
        read -r kind name value target verdict bound <<<"$line"
        printf '%s{"kind":"%s","name":"%s","value":%s,"target":%s,"at":"%s","verdict":"%s"}' "$comma" "$kind" "$name" "$value" "$target" "$bound" "$verdict"
        comma=,
    done
    echo ']}'
} >"$out/bench.json"

# The machine, in words.
machine() {
    local model
    model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
    echo "$(nproc) x ${model:-$(uname -m)}, $(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo) GiB, Linux $(uname -r), $(df --output=fstype "$out" | tail -n 1)"
}

{
    echo "# $(date -u +'%F %H:%M') UTC, commit $(git rev-parse --short HEAD), ${BENCH_PROFILE:-release} profile, ${quick:+quick, }medians of $repeat; $(machine); load before $busy; mosquitto $(mosquitto -h 2>/dev/null | sed -n 's/.*version \([0-9.]*\).*/\1/p' | head -n 1), rumqttd 0.20.0; \`BENCH='$names' make bench\`"
    for line in "${rows[@]}"; do
        read -r benchmark variant numbers <<<"$line"
        printf '%-10s %-28s' "$benchmark" "$variant"
        for number in $numbers; do printf ' %16s' "$number"; done
        echo
    done
    for line in "${ratios[@]}"; do
        read -r kind name value target verdict bound <<<"$line"
        echo "$kind $name $value target $target $verdict"
    done
} | tee "$out/bench.txt"
exit "$short"
