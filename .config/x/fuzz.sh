# shellcheck shell=bash
# `./x fuzz`: coverage-guided fuzzing of agent/fuzz; cargo-fuzz needs a nightly compiler. Sourced by ../../x.

run_fuzz() {
    local target=decode
    if [ $# -gt 0 ] && [[ $1 != -* ]]; then target=$1; shift; fi
    rustup run nightly rustc --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal --no-self-update
    has cargo-fuzz || cargo install --locked cargo-fuzz
    exec cargo +nightly fuzz run --fuzz-dir agent/fuzz "$target" -- "${@:--max_total_time=60}"
}
