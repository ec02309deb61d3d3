# shellcheck shell=bash
# `./x guests`: the examples in other languages, built from the registries of those languages and replayed in the agent.
# Sourced by ../../x.

. .config/x/test.sh   # tested, features

examples=plugin-sdk/examples

# Go as the collector's build finds it; the others have no such lore.
want_guest() {
    case $1 in
        go) want golang-go has go ;;
        javascript) want npm has npm ;;
        python) want python3-venv has_venv ;;
    esac
}

# run_guests [--bench] [LANGUAGE...]
run_guests() {
    local bench='' languages=() language out=$root/target/guests files=()
    while [ $# -gt 0 ]; do
        case $1 in
            --bench) bench=1 ;;
            *)
                [ -x "$examples/$1/build.sh" ] || die "no guest \"$1\"; there are: $(cd "$examples" && echo *)"
                languages+=("$1")
                ;;
        esac
        shift
    done
    if [ ${#languages[@]} -eq 0 ]; then
        for language in "$examples"/*/build.sh; do languages+=("$(basename "$(dirname "$language")")"); done
    fi
    for language in "${languages[@]}"; do want_guest "$language"; done
    setup build
    if [[ " ${languages[*]} " == *" go "* ]]; then
        SVC_HOME=${SVC_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/whimbrel/services}
        # shellcheck source=tests/support/services/otelcol/go.sh
        . "$services/otelcol/go.sh"
        find_go
        PATH=$(dirname "$GO"):$PATH
    fi
    # The selection the tests are built with, so that nothing is built twice.
    cargo build "${locked[@]}" --workspace --bins --tests "${features[@]}"
    rm -rf "$out"
    mkdir -p "$out"
    for language in "${languages[@]}"; do
        say "guest $language"
        PATH=$root/target/debug:$PATH "$examples/$language/build.sh" "$out/$language.wasm"
        target/debug/whimbrel plugin test "$out/$language.wasm" --case "$examples/replay" || die "$language does not pass the replay"
        files+=("$out/$language.wasm")
    done
    WHIMBREL_GUESTS=$out tested --workspace --lib --bins "${features[@]}" guests_in_other_languages -- --include-ignored --nocapture
    [ -z "$bench" ] || cargo bench "${locked[@]}" -p whimbrel --bench guests -- "${files[@]}"
}
