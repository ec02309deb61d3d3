#!/usr/bin/env bash
# Builds the plugin: go/build.sh OUT.wasm. Needs Go 1.24 or later and `whimbrel` in PATH.
set -euo pipefail
out=$(realpath -m "${1:?usage: build.sh OUT.wasm}")
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go test ./...
# c-shared: a module that is initialised and then called, not a program that runs once.
GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags='-s -w' -o "$work/mask.core.wasm" .
whimbrel plugin embed "$work/mask.core.wasm" --manifest manifest.json --output "$out"
