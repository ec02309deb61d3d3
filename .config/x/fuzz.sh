# shellcheck shell=bash
# `./x fuzz`: coverage-guided fuzzing of agent/fuzz; cargo-fuzz needs a nightly compiler. Sourced by ../../x.

run_fuzz() {
    local target=decode found
    if [ $# -gt 0 ] && [[ $1 != -* ]]; then target=$1; shift; fi
    [ $# -gt 0 ] || set -- -max_total_time=60
    [ -f "agent/fuzz/fuzz_targets/$target.rs" ] || die "no fuzz target \"$target\""
    RUSTUP_AUTO_INSTALL=0 rustup run nightly rustc --version >/dev/null 2>&1 \
        || rustup toolchain install nightly --profile minimal --no-self-update
    has cargo-fuzz || cargo install --locked cargo-fuzz
    # New inputs go to the first directory; the second, the committed corpus, is only read.
    found=$root/target/fuzz-corpus/$target
    mkdir -p "$found"
    exec cargo +nightly fuzz run --fuzz-dir agent/fuzz "$target" "$found" "agent/fuzz/corpus/$target" -- \
        -dict=agent/fuzz/dictionary "$@"
}
