#!/usr/bin/env bash
# Builds the plugin: javascript/build.sh OUT.wasm. Needs Node 18 or later with npm, and `whimbrel` in PATH.
set -euo pipefail
out=$(realpath -m "${1:?usage: build.sh OUT.wasm}")
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp package.json package-lock.json mask.js "$work"
mkdir -p "$work/wit/deps"
cp world.wit "$work/wit"
cp -r ../../../wit "$work/wit/deps/whimbrel"
npm ci --prefix "$work" --ignore-scripts --no-audit --no-fund --silent
# The features are what would import WASI.
"$work/node_modules/.bin/componentize-js" "$work/mask.js" --wit "$work/wit" --world-name masking \
    --disable stdio random clocks http fetch-event --out "$work/mask.component.wasm"
whimbrel plugin embed "$work/mask.component.wasm" --manifest manifest.json --output "$out"
