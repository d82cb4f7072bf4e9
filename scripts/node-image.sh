#!/usr/bin/env bash
# Builds edge-runtime/node-module:local from this machine's own Node, with no registry of images: the node binary,
# the packages that examples/node-module/package-lock.json names (from npm), the shared libraries they need.
set -euo pipefail
# shellcheck source=scripts/host-image.sh
source "$(dirname "${BASH_SOURCE[0]}")/host-image.sh"

image=edge-runtime/node-module:local
example=$root/examples/node-module
files=$root/target/images/node-module/files
packages=$root/target/images/node-module/packages

need_node "$packages" "$example"
docker_ready
node=$(node -p 'require("fs").realpathSync(process.execPath)')

content=$({
    node --version
    echo "$node"
    cat "$root"/scripts/{host,node}-image.sh "$example/main.js" "$example/package-lock.json"
} | sha256sum | cut -c1-32)
if is_imported "$image" "$content"; then
    note "$image is up to date"
    exit 0
fi

step "gathering node $(node --version) and $(find "$packages/node_modules" -name package.json -path '*/node_modules/*' | wc -l) packages"
rm -rf "$files"
mkdir -p "$files/usr/local/bin" "$files/app"
cp "$node" "$files/usr/local/bin/node"
cp "$example/main.js" "$example/package.json" "$files/app/"
# What a program never loads: types, maps, tests, documents.
tar -C "$packages" --exclude='*.d.ts' --exclude='*.map' --exclude='*.md' --exclude=test --exclude=samples \
    -c node_modules | tar -C "$files/app" -x
mapfile -t objects < <(find "$files/app" -name '*.node' -type f)
add_libraries "$files" "$node" "${objects[@]}"
import_image "$image" "$content" "$files" 'ENV PATH=/usr/local/bin' 'WORKDIR /app' 'CMD ["node", "main.js"]'
probe_image "$image" node -e 'require("azure-iot-device-mqtt"); require("azure-iot-device")'
