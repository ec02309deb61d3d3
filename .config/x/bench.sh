# shellcheck shell=bash
# `./x bench`: the benches, with real servers of their own where a bench needs them. Sourced by ../../x.

. .config/x/test.sh   # start_services

run_bench() {
    if [ $# -eq 0 ]; then
        local name
        for name in anomaly decode plugin_call neighbour mongodb postgres migrate observe pipeline; do
            say "bench $name"
            (run_one "$name")   # a subshell: its servers stop when it ends
        done
        return
    fi
    run_one "$@"
}

# run_one NAME ARGS...: ARGS go to the bench
run_one() {
    local name=$1 package=whimbrel needs=()
    shift
    case $name in
        neighbour)
            # A test rather than a bench: it measures with the very guests of the hostile suite.
            setup build
            cargo test "${locked[@]}" --release -p whimbrel --lib -- \
                --ignored --nocapture --exact transform::tests::hostile::neighbour::what_all_sins_together_cost_their_neighbour
            return
            ;;
        decode | plugin_call) ;;
        anomaly)
            # Labelled series of the Numenta Anomaly Benchmark; their licence lies beside them.
            if [ $# -eq 0 ]; then
                rm -rf target/nab
                mkdir -p target/nab
                tar -xzf tests/fixtures/nab/data.tar.gz -C target/nab
                set -- "$root/target/nab" "$root/tests/fixtures/nab/labels.json"
            fi
            ;;
        mongodb) needs=(mongo) ;;
        migrate | observe)
            # The program too: its memory is measured, and what it costs to be observed by it.
            package=whimbrel-migrate
            [ "$name" = observe ] || needs=(mongo)
            setup build
            cargo build "${locked[@]}" --release -p whimbrel
            export WHIMBREL_BIN=$root/target/release/whimbrel
            ;;
        postgres) needs=(postgres) ;;
        pipeline) needs=(kafka mongo postgres) ;;
        peers)
            name=pipeline needs=(kafka mongo connect)
            set -- peers "$@"
            ;;
        *) die "no bench \"$name\"; there are: anomaly decode plugin_call neighbour mongodb postgres migrate observe pipeline peers" ;;
    esac
    setup build
    # Built first, so that no compiler runs beside what is measured.
    cargo bench "${locked[@]}" -p "$package" --bench "$name" --no-run
    if [ ${#needs[@]} -gt 0 ]; then
        setup tests
        export PG_FSYNC=on KAFKA_FULL_JIT=1 CONNECT_FULL_JIT=1 MONGO_CACHE_GB=1
        start_services "${needs[@]}"
    fi
    cargo bench "${locked[@]}" -p "$package" --bench "$name" -- "$@"
}
