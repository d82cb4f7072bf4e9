#!/usr/bin/env bash
# An image out of this machine's own files, with no registry: an interpreter, the shared libraries it needs, a program.
#   source scripts/host-image.sh
#   is_imported IMAGE CONTENT              whether the image was made of the same content
#   add_libraries FILES BINARY...          into the folder FILES what these need to load
#   import_image IMAGE CONTENT FILES CHANGE...      each CHANGE as `docker import -c` takes it
#   probe_image IMAGE COMMAND...           whether the command succeeds in it
set -euo pipefail
# shellcheck source=scripts/docker.sh
source "$(dirname "${BASH_SOURCE[0]}")/docker.sh"
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"

content_label=io.edge-runtime.content

is_imported() {
    [ "$(docker image inspect -f "{{index .Config.Labels \"$content_label\"}}" "$1" 2>/dev/null || true)" = "$2" ]
}

# Everything that ldd names for these files, links resolved, the loader included; and what any program expects.
add_libraries() {
    local files=$1 library
    shift
    while read -r library; do
        mkdir -p "$files$(dirname "$library")"
        cp -L "$library" "$files$library"
    done < <(ldd "$@" 2>/dev/null | grep -o '/[^ ]*' | grep -v ':$' | sort -u)
    mkdir -p "$files/etc/ssl/certs" "$files/tmp"
    chmod 1777 "$files/tmp"
    echo 'hosts: files dns' >"$files/etc/nsswitch.conf"
    if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
        cp -L /etc/ssl/certs/ca-certificates.crt "$files/etc/ssl/certs/"
    fi
}

import_image() {
    local image=$1 content=$2 files=$3 change
    local changes=(-c "LABEL $content_label=$content")
    shift 3
    for change in "$@"; do changes+=(-c "$change"); done
    step "importing $image"
    tar -C "$files" --owner=0 --group=0 -c . | docker import "${changes[@]}" - "$image" >/dev/null
    note "$image ($(($(docker image inspect -f '{{.Size}}' "$image") / 1048576)) MiB)"
}

# Not `docker run`: attached to something this short it fails on Podman.
probe_image() {
    local image=$1 probe ended
    shift
    probe=$(docker create --network none "$image" "$@")
    docker start "$probe" >/dev/null
    ended=$(docker wait "$probe")
    docker rm -f "$probe" >/dev/null
    [ "$ended" = 0 ] || die "the image was made, but the SDK does not load in it" "docker run --rm $image $*"
}
