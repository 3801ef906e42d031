#!/usr/bin/env bash
# prepare_instance.sh v1 CATEGORY ONNX VNNLIB: before each instance. Nothing is converted or compiled ahead, so this only
# says whether the files are there.
set -euo pipefail

if [[ $# -lt 4 || $1 != v1 ]]; then
    echo "usage: prepare_instance.sh v1 CATEGORY ONNX VNNLIB" >&2
    exit 1
fi

for file in "$3" "$4"; do
    if [[ ! -r $file ]]; then
        echo "$file cannot be read" >&2
        exit 1
    fi
done
