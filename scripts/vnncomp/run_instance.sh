#!/usr/bin/env bash
# run_instance.sh v1 CATEGORY ONNX VNNLIB RESULTS TIMEOUT: decide one instance within TIMEOUT seconds.
#
# RESULTS gets what `certify verify` answers: sat, unsat, unknown, timeout or error, and after sat the witness. There are
# no settings by category or instance. The exit code is 0 once RESULTS is written, because a driver takes any other for a
# crash; why an answer is error is on standard error. CERTIFY names another installation.
set -euo pipefail

if [[ $# -lt 6 || $1 != v1 ]]; then
    echo "usage: run_instance.sh v1 CATEGORY ONNX VNNLIB RESULTS TIMEOUT" >&2
    exit 1
fi

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
certify=${CERTIFY:-$root/.venv/bin/certify}
onnx=$3 vnnlib=$4 results=$5 timeout=$6

"$certify" verify --timeout "$timeout" -- "$onnx" "$vnnlib" > "$results" || true
if [[ ! -s $results ]]; then # it was killed before it could answer
    echo error > "$results"
fi
