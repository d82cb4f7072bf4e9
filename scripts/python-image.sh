#!/usr/bin/env bash
# Builds edge-runtime/python-module:local from this machine's own Python, with no registry of images:
# interpreter, standard library, azure-iot-device, the shared libraries they need, `docker import`.
set -euo pipefail
# shellcheck source=scripts/docker.sh
source "$(dirname "${BASH_SOURCE[0]}")/docker.sh"
# shellcheck source=scripts/prereqs.sh
source "$(dirname "${BASH_SOURCE[0]}")/prereqs.sh"

image=edge-runtime/python-module:local
sdk=azure-iot-device==2.14.0
work=$root/target/images/python-module
files=$work/files
label=io.edge-runtime.content

# Everything that ldd names for these files, links resolved, the loader included.
shared_libraries() {
    ldd "$@" 2>/dev/null | grep -o '/[^ ]*' | grep -v ':$' | sort -u
}

need_python "$root/target/venv-image" pip
docker_ready
python=$("$root/target/venv-image/bin/python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
stdlib=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')

content=$({
    "$python" -VV
    echo "$sdk $python"
    cat "${BASH_SOURCE[0]}" "$root/examples/python-module/main.py"
} | sha256sum | cut -c1-32)
if [ "$(docker image inspect -f "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null || true)" = "$content" ]; then
    note "$image is up to date"
    exit 0
fi

step "gathering $version and $sdk"
rm -rf "$files"
mkdir -p "$files/usr/local/bin" "$files/usr/local/lib/$version" "$files/app" "$files/etc/ssl/certs" "$files/tmp"
chmod 1777 "$files/tmp"
cp "$python" "$files/usr/local/bin/$version"
ln -s "$version" "$files/usr/local/bin/python"
ln -s "$version" "$files/usr/local/bin/python3"
tar -C "$stdlib" --exclude=./site-packages --exclude=./dist-packages --exclude=./test --exclude=./idlelib \
    --exclude=./tkinter --exclude=./ensurepip --exclude=./turtledemo --exclude='./config-*' \
    --exclude=__pycache__ -c . | tar -C "$files/usr/local/lib/$version" -x
"$root/target/venv-image/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    --target "$files/usr/local/lib/$version/site-packages" "$sdk" >&2 ||
    die "pip could not install $sdk" "see that the Python package index can be reached, then run this again"
# A Debian python looks in dist-packages, others in site-packages: one name for both.
ln -sfn site-packages "$files/usr/local/lib/$version/dist-packages"
cp "$root/examples/python-module/main.py" "$files/app/"

mapfile -t objects < <(find "$files" -name '*.so*' -type f)
while read -r library; do
    mkdir -p "$files$(dirname "$library")"
    cp -L "$library" "$files$library"
done < <(shared_libraries "$python" "${objects[@]}")
echo 'hosts: files dns' >"$files/etc/nsswitch.conf"
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    cp -L /etc/ssl/certs/ca-certificates.crt "$files/etc/ssl/certs/"
fi

step "importing $image"
tar -C "$files" --owner=0 --group=0 -c . |
    docker import -c 'ENV PATH=/usr/local/bin' -c 'ENV PYTHONUNBUFFERED=1' -c 'ENV PYTHONDONTWRITEBYTECODE=1' \
        -c "LABEL $label=$content" -c 'CMD ["python", "/app/main.py"]' - "$image" >/dev/null
# Not `docker run`: attached to something this short it fails on Podman.
probe=$(docker create --network none "$image" python -c 'import azure.iot.device, ssl')
docker start "$probe" >/dev/null
ended=$(docker wait "$probe")
docker rm -f "$probe" >/dev/null
[ "$ended" = 0 ] ||
    die "the image was made, but the SDK does not load in it" "docker run --rm $image python -c 'import azure.iot.device'"
note "$image ($(($(docker image inspect -f '{{.Size}}' "$image") / 1048576)) MiB)"
