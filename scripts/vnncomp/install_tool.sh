#!/usr/bin/env bash
# install_tool.sh v1: once on a fresh machine with python3 (3.11 or newer, with venv) and a network for pip.
# Called by the organisers of VNN-COMP; see run_instance.sh for what happens to each instance.
set -euo pipefail

if [[ $# -lt 1 || $1 != v1 ]]; then
    echo "usage: install_tool.sh v1" >&2
    exit 1
fi

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
"${PYTHON:-python3}" -m venv "$root/.venv"
"$root/.venv/bin/pip" install --quiet --constraint "$root/constraints.txt" "$root[onnx,vnnlib]"
"$root/.venv/bin/certify" --version
