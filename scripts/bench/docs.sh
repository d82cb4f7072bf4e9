#!/usr/bin/env bash
# Puts the last run of scripts/bench.sh (target/bench/bench.txt) into docs/performance.md, between the
# lines `<!-- bench: begin -->` and `<!-- bench: end -->`. `scripts/bench/docs.sh -` prints it only.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
text=$root/target/bench/bench.txt page=$root/docs/performance.md
[ -f "$text" ] || die "there is no target/bench/bench.txt" "make bench"

# Rows with the same names are one table; then what is asked for.
tables() {
    head -n 1 "$text" | sed 's/^# //'
    awk '
        /^#/ { next }
        $1 == "ratio" || $1 == "stretch" {
            if (!judged++) print "\n| | asked for | is | |\n|---|---|---|---|"
            printf "| `%s`%s | %s | %s | %s |\n", $2, ($1 == "stretch" ? " (stretch)" : ""), $5, $3, $6
            next
        }
        {
            head = "| " $1 " |"; line = "|---|"; cells = "| " $2 " |"
            for (i = 3; i <= NF; i++) {
                split($i, part, "=")
                head = head " " part[1] " |"; line = line "---|"; cells = cells " " part[2] " |"
            }
            gsub(/_/, " ", head)
            if (head != last) print "\n" head "\n" line
            last = head
            print cells
        }' "$text"
}

if [ "${1:-}" = - ]; then
    tables
    exit
fi
grep -q '^<!-- bench: begin -->$' "$page" || die "$page has no line <!-- bench: begin -->"
new=$(mktemp)
{
    sed '/^<!-- bench: begin -->$/q' "$page"
    tables
    sed -n '/^<!-- bench: end -->$/,$p' "$page"
} >"$new"
cat "$new" >"$page"
rm -f "$new"
note "docs/performance.md has the run of $(head -n 1 "$text" | sed 's/^# //')"
