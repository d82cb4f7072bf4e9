#!/usr/bin/env bash
# Builds edge-runtime/python-module:local from this machine's own Python, with no registry of images:
# interpreter, standard library, azure-iot-device, the shared libraries they need.
set -euo pipefail
# shellcheck source=scripts/host-image.sh
source "$(dirname "${BASH_SOURCE[0]}")/host-image.sh"

image=edge-runtime/python-module:local
sdk=azure-iot-device==2.14.0
files=$root/target/images/python-module/files

need_python "$root/target/venv-image" pip
docker_ready
python=$("$root/target/venv-image/bin/python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
stdlib=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')

content=$({
    "$python" -VV
    echo "$sdk $python"
    cat "$root"/scripts/{host,python}-image.sh "$root/examples/python-module/main.py"
} | sha256sum | cut -c1-32)
if is_imported "$image" "$content" && [ -d "$files" ]; then
    note "$image is up to date"
    exit 0
fi

step "gathering $version and $sdk"
rm -rf "$files"
mkdir -p "$files/usr/local/bin" "$files/usr/local/lib/$version" "$files/app"
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
add_libraries "$files" "$python" "${objects[@]}"
import_image "$image" "$content" "$files" 'ENV PATH=/usr/local/bin' 'ENV PYTHONUNBUFFERED=1' \
    'ENV PYTHONDONTWRITEBYTECODE=1' 'CMD ["python", "/app/main.py"]'
probe_image "$image" python -c 'import azure.iot.device, ssl'
