#!/usr/bin/env bash
# shellcheck disable=SC2154,SC2034,SC2119,SC2120 # names are shared with scripts/bench.sh, which sources this
# Bytes between here and the hub: many clients through the gateway's one link, against a connection of
# each. Counted by a proxy on the way, TLS included, the headers of TCP and IP not.

# proxy NAME PORT: to the hub's PORT; counts in NAME.counts.
proxy() {
    rm -f "$world/$1.counts"
    start "$1" "$loader" proxy --listen "$proxy_at:$3" --to "$hub_at:$2" --counts "$world/$1.counts"
    await "$1" 5 test -f "$world/$1.counts"
}

# carried NAME...: bytes of both directions.
carried() {
    local name
    sleep 0.3 # the counts are written every 100 ms
    for name in "$@"; do cat "$world/$name.counts"; done | awk -F'[= ]' '{ sum += $2 + $4 } END { print sum + 0 }'
}

# A hub and an edge whose every byte to it goes through the proxies `link` and `rest`.
link_world() {
    stop_all
    rm -rf "$world/hub" "$world/edge"
    hub_start
    proxy link 8883 8883
    proxy rest 8443 8443
    proxy direct 8883 8884
    stop hub
    upstream_at=$proxy_at:8883 upstream_https_at=$proxy_at:8443 edge_make 100 "$to_hub"
    hub_devices direct 100
}

bench_link_bytes() {
    local count each=10 rate first second begin gateway direct
    step "bytes on the link: 1, 10, 100 clients, $each messages of 256 B of each"
    link_world
    row link-bytes start bytes="$(carried link rest)"
    for count in 1 10 100; do
        rate=$((count * 10)) # each sends one in 100 ms
        begin=$(carried link rest)
        load edge tls run --publishers "$count" --rate "$rate" --messages $((count * each)) >/dev/null
        await edge 60 is_drained
        gateway=$(($(carried link rest) - begin))
        begin=$(carried direct)
        LOAD_TO=$proxy_at:8884 PREFIX=direct load hub tls run --tls-name "$hub_at" --publishers "$count" --rate "$rate" \
            --messages $((count * each)) >/dev/null
        direct=$(($(carried direct) - begin))
        row link-bytes "$count-clients" gateway_bytes="$gateway" direct_bytes="$direct" \
            gateway_per_message="$((gateway / count / each))" direct_per_message="$((direct / count / each))"
        if [ "$count" = 100 ]; then first=$gateway second=$direct; fi
    done
    stretch link-bytes-direct-to-gateway-100 "$second" "$first" 1

    local stretch=120 ping=60
    if [ -n "$quick" ]; then stretch=20 ping=10; fi
    step "bytes on the link while 100 clients are idle for $stretch s; each pings its server every $ping s"
    load edge tls idle --connections 100 --ping $ping --seconds $((stretch + 10)) >"$world/idle-edge.txt" &
    first=$!
    LOAD_TO=$proxy_at:8884 PREFIX=direct load hub tls idle --tls-name "$hub_at" --connections 100 --ping $ping \
        --seconds $((stretch + 10)) >"$world/idle-hub.txt" &
    second=$!
    sleep 5
    gateway=$(carried link rest) direct=$(carried direct)
    sleep "$stretch"
    gateway=$(($(carried link rest) - gateway)) direct=$(($(carried direct) - direct))
    wait "$first" "$second"
    row link-bytes idle-100-clients stretch_s="$stretch" ping_s="$ping" gateway_per_hour="$((gateway * 3600 / stretch))" \
        direct_per_hour="$((direct * 3600 / stretch))"
    stretch idle-bytes-direct-to-gateway-100 "$direct" "$gateway" 1
}
