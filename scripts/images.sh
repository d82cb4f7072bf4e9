#!/usr/bin/env bash
# Builds the sample modules' images from scratch, with no registry: static binaries, nothing else.
set -euo pipefail
# shellcheck source=scripts/docker.sh
source "$(dirname "${BASH_SOURCE[0]}")/docker.sh"
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"

modules=(temperature-sensor temperature-filter)
target=$(uname -m)-unknown-linux-gnu
label=io.edge-runtime.content

# Through docker build where that works; a client without its build plugin still imports.
make_image() {
    local module=$1 content=$2 context=$root/target/images/$1 image=edge-runtime/$1:local
    if docker build -q --label "$label=$content" -t "$image" "$context" >"$context.log" 2>&1 ||
        DOCKER_BUILDKIT=0 docker build -q --label "$label=$content" -t "$image" "$context" >>"$context.log" 2>&1; then
        return 0
    fi
    note "docker build does not work here (target/images/$module.log): importing instead"
    tar -C "$context" --owner=0 --group=0 -c "$module" |
        docker import -c "ENTRYPOINT [\"/$module\"]" -c "LABEL $label=$content" - "$image" >/dev/null
}

need_rust
need_cc
docker_ready
case $target in
x86_64-* | aarch64-*) ;;
*) die "no image recipe for $(uname -m)" "build modules/ for a target that Rust can link statically" ;;
esac
# gcc alone may lack the static C library (Debian has it in libc6-dev, Fedora in glibc-static).
if [ -z "$(find /usr/lib /usr/lib64 -name libc.a 2>/dev/null | head -n 1)" ]; then
    can_apt || die "the static C library (libc.a) is not installed" "install libc6-dev or glibc-static"
    apt_install "the static C library" libc6-dev
fi
step "building the sample modules as static binaries ($target)"
RUSTFLAGS='-C target-feature=+crt-static' CARGO_TARGET_DIR=$root/target \
    cargo build --locked --release --manifest-path "$root/Cargo.toml" --target "$target" "${modules[@]/#/-p}" >&2
for module in "${modules[@]}"; do
    context=$root/target/images/$module
    mkdir -p "$context"
    cp "$root/target/$target/release/$module" "$root/modules/$module/Dockerfile" "$context/"
    content=$(cat "$context/$module" "$context/Dockerfile" | sha256sum | cut -c1-32)
    image=edge-runtime/$module:local
    have_content=$(docker image inspect -f "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null || true)
    [ "$have_content" = "$content" ] || make_image "$module" "$content"
    size=$(docker image inspect -f '{{.Size}}' "$image")
    note "$image ($((size / 1024)) KiB)"
done
