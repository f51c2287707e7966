#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The steps of setting up, called by the Makefile: ./setup.sh packages | environment | grc
set -euo pipefail
cd "$(dirname "$0")"

# GNU Radio's bindings are built for the system's Python, so the environment is made from that one.
PYTHON=${PYTHON:-/usr/bin/python3}
BUILD_PACKAGES=(gnuradio gnuradio-dev cmake g++ python3-venv python3-dev python3-libiio libuhd-dev
    soapysdr-module-uhd)
GRC_PACKAGES=(gir1.2-gtk-3.0)

missing() { # the packages of the arguments that are not installed
    local p
    for p in "$@"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || echo "$p"
    done
}

install_packages() {
    local wanted sudo=()
    mapfile -t wanted < <(missing "$@")
    ((${#wanted[@]})) || return 0
    if ((EUID != 0)); then
        if ! sudo -n true 2>/dev/null && ! { [[ -t 0 ]] && command -v sudo >/dev/null; }; then
            echo "These Debian packages are missing and cannot be installed without root or sudo:" >&2
            echo "    apt-get install --no-install-recommends ${wanted[*]}" >&2
            exit 1
        fi
        sudo=(sudo)
    fi
    echo "installing with apt: ${wanted[*]}"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >apt.log 2>&1 || {
        tail -n 20 apt.log >&2
        echo "apt-get failed (whole log: apt.log); mend that, then run make again" >&2
        exit 1
    }
    rm -f apt.log
}

packages() {
    if command -v apt-get >/dev/null; then
        install_packages "${BUILD_PACKAGES[@]}"
    elif ! "$PYTHON" -c 'from gnuradio import gr, blocks'; then
        echo "This is no Debian or Ubuntu: install GNU Radio 3.10 with its development files, cmake and Python's venv, then run make again" >&2
        exit 1
    fi
}

environment() {
    local pip=.venv/bin/pip
    echo "making .venv: PyTorch and the other packages, 1.6 GB on disk; some minutes"
    [[ -x .venv/bin/pip ]] || "$PYTHON" -m venv --system-site-packages .venv
    # PyTorch: the CPU build where there is no NVIDIA driver (a tenth of the size), if an index has it
    local torch
    torch=$(sed -n 's/^\(torch==[0-9.]*\).*/\1/p' requirements.txt)
    if ! command -v nvidia-smi >/dev/null && ! .venv/bin/python -c 'import torch' 2>/dev/null; then
        "$pip" install -q --no-deps "$torch+cpu" >/dev/null 2>&1 ||
            "$pip" install -q --no-deps --retries 1 "$torch" --index-url https://download.pytorch.org/whl/cpu >/dev/null 2>&1 ||
            echo "no CPU build of PyTorch found; taking the default build (several GB)"
    fi
    "$pip" install -q --disable-pip-version-check -r requirements.txt 2> >(grep -v '^WARNING: Location' >&2)
    "$pip" install -q --disable-pip-version-check --no-deps --no-build-isolation -e . 2> >(grep -v '^WARNING: Location' >&2)
}

case "${1:-}" in
    packages) packages ;;
    environment) environment ;;
    grc) install_packages "${GRC_PACKAGES[@]}" ;;
    *)
        echo "usage: $0 packages | environment | grc" >&2
        exit 2
        ;;
esac
