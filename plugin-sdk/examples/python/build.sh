#!/usr/bin/env bash
# Builds the plugin: python/build.sh OUT.wasm. Needs Python 3.10 or later with venv, and `whimbrel` in PATH.
set -euo pipefail
out=$(realpath -m "${1:?usage: build.sh OUT.wasm}")
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
# Nothing but mask.py may lie in the path: all of it goes into the component.
mkdir -p "$work/app" "$work/wit/deps"
cp mask.py "$work/app"
cp world.wit "$work/wit"
cp -r ../../../wit "$work/wit/deps/whimbrel"
(
    cd "$work/app"
    "$work/venv/bin/componentize-py" --quiet --wit-path "$work/wit" --world masking \
        componentize mask --stub-wasi --output "$work/mask.component.wasm"
)
whimbrel plugin embed "$work/mask.component.wasm" --manifest manifest.json --output "$out"
