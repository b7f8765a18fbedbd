#!/usr/bin/env bash
# Make .venv from the pinned requirements; install missing system packages or say exactly which.
# usage: envs/setup.sh VENV_DIR
set -euo pipefail
venv=${1:?usage: envs/setup.sh VENV_DIR}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}

if ! command -v "$python" >/dev/null; then
    echo "setup: $python not found; install Python 3.11 or newer, or name one: make PYTHON=python3.12 …" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup: Python 3.11 or newer is needed, $python is $("$python" -V); name another: make PYTHON=python3.12 …" >&2
    exit 1
fi

if command -v dpkg-query >/dev/null; then
    missing=()
    for package in $(grep -v '^#' "$here/apt.txt"); do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    # A Python of one's own (pyenv, conda) brings venv with it.
    "$python" -c 'import ensurepip' 2>/dev/null && missing=("${missing[@]/#python3-venv/}")
    read -ra missing <<<"${missing[*]:-}"
    if ((${#missing[@]})); then
        if [ "$(id -u)" = 0 ]; then sudo=(); else sudo=(sudo -n); fi
        echo "setup: installing system packages: ${missing[*]}"
        if ! { "${sudo[@]}" apt-get update -q && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } >/dev/null; then
            echo "setup: could not install them; run this, then the same command again:" >&2
            echo "    sudo apt-get install -y ${missing[*]}" >&2
            exit 1
        fi
    fi
fi

mkdir -p "$venv"
free=$(df -Pk "$venv/." | awk 'NR == 2 { print $4 }')
if ! compgen -G "$venv/lib/python*/site-packages/torch" >/dev/null && ((free < 3000000)); then
    echo "setup: $((free / 1000)) MB are free on the disk of $venv, and 3000 are needed; free some, then the same command again" >&2
    exit 1
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "setup: installing the pinned requirements into $venv (about 2.5 GB without CUDA)"
# torch first and alone: its pin decides between a CPU and a CUDA build where both are on offer.
"$venv/bin/python" -m pip install -q --disable-pip-version-check "$(grep -i '^torch==' "$here/requirements.txt")"
"$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$here/requirements.txt"
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e "$here/.."
echo "setup: compiling the kernels (half a minute)"
if ! "$venv/bin/python" "$here/compile_kernels.py"; then
    echo "setup: they are compiled at their first use instead; see above" >&2
fi
