#!/usr/bin/env bash
# Keeps a program running, visibly:  keep.sh NAME DIRECTORY COMMAND...
# Output goes to DIRECTORY/NAME.log, the pid of the running one to DIRECTORY/NAME.pid, a line for each
# end and restart to DIRECTORY/events.log. Stops the program and itself on SIGTERM. A program that leaves
# with 78 (bad settings) is not started again.
set -uo pipefail
name=$1 directory=$2
shift 2
log=$directory/$name.log child='' stopping=''

stop() {
    stopping=yes
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}
trap stop TERM
trap '' INT # Ctrl-C reaches the whole terminal group: run-local stops us in its order

event() { printf '%s %s\n' "$(date +%T)" "$*" >>"$directory/events.log"; }

while [ -z "$stopping" ]; do
    "$@" >>"$log" 2>&1 </dev/null &
    child=$!
    echo "$child" >"$directory/$name.pid"
    # `wait` returns early when the trap ran: wait until the program is really gone.
    while :; do
        wait "$child"
        status=$?
        kill -0 "$child" 2>/dev/null || break
    done
    rm -f "$directory/$name.pid"
    [ -z "$stopping" ] || break
    if [ "$status" = 78 ]; then
        event "$name ended with 78 (settings): not started again; see $log"
        exit 78
    fi
    if [ "$status" -gt 128 ]; then
        why="was killed by signal $(kill -l "$status" 2>/dev/null || echo "$((status - 128))")"
    else
        why="ended with $status"
    fi
    event "$name $why: starting it again in 1 s"
    sleep 1 &
    wait $! # interruptible, unlike sleep itself
done
