# shellcheck shell=bash
# `./x test`, `./x chaos`, `./x soak`: cargo test against real servers of its own. Sourced by ../../x.
# Each run has its own data directory and free ports, so runs don't disturb each other
# or what `./x services up` started.

# Failpoints are compiled in for tests, and act only where a test arms them.
features=(--features whimbrel/failpoints)

# free_ports NAME...: export each NAME with a port nobody listens on, below the range the
# kernel hands out to clients.
free_ports() {
    local name port
    port=$((10000 + RANDOM % 20000))
    for name in "$@"; do
        while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
        export "$name=$port"
        port=$((port + 1))
    done
}

run_dir=
# start_services [SERVICE...]: all of them when none is named
start_services() {
    run_dir=$(mktemp -d "${TMPDIR:-/tmp}/whimbrel-test.XXXXXX")
    chmod 755 "$run_dir"   # as root, PostgreSQL runs as another user
    export SVC_DATA=$run_dir WHIMBREL_SERVICES=$services OTELCOL_OUT=$run_dir/otelcol/received.ndjson
    free_ports KAFKA_PORT KAFKA_CONTROLLER_PORT KAFKA_SASL_PORT KAFKA_MTLS_PORT KAFKA_EXPIRED_PORT PG_PORT MONGO_PORT \
        MARIADB_PORT CONNECT_PORT PROMETHEUS_PORT REGISTRY_PORT OTLP_GRPC_PORT OTLP_HTTP_PORT OTLP_TLS_GRPC_PORT OTLP_TLS_HTTP_PORT \
        OTELCOL_HEALTH_PORT ALERTMANAGER_PORT SMTP_PORT SMTP_TLS_PORT SMTP_PLAIN_PORT SMTP_EXPIRED_PORT
    trap stop_services EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    "$services/services.sh" start "$@" || { keep_logs; die "the services did not start"; }
    eval "$("$services/services.sh" env)"
}

# Runs on every way out: success, failure, Ctrl-C.
stop_services() {
    trap - EXIT
    trap '' INT TERM HUP   # a second Ctrl-C must not leave servers behind
    "$services/services.sh" wipe >/dev/null 2>&1 || true
    rm -rf "$run_dir"
}

keep_logs() {
    local log kept=$root/target/service-logs
    rm -rf "$kept"
    mkdir -p "$kept"
    for log in "$run_dir"/*/log; do cp "$log" "$kept/$(basename "$(dirname "$log")").log"; done
    say "the servers' logs are kept in target/service-logs"
}

# tested ARGS...: `cargo test ARGS`, its output also kept in target/test.log, then the sum of all test binaries
tested() {
    local log=$root/target/test.log status=0
    mkdir -p target
    cargo test "${locked[@]}" --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
    [ $status -eq 0 ] || [ -z "$run_dir" ] || keep_logs
    echo
    sed -n 's/^test \(.*\) \.\.\. FAILED$/failed: \1/p' "$log"
    awk '/^test result: / { passed += $4; failed += $6; ignored += $8 }
        END { printf "%d passed, %d failed, %d skipped\n", passed, failed, ignored; exit !(passed + failed) }' "$log" \
        || die "no test ran"
    return $status
}

build_tests() {
    setup build tests
    # Building everything at once gives all crates the same features, so nothing is built twice.
    cargo build "${locked[@]}" --workspace --bins --tests "${features[@]}"
    WHIMBREL_BIN=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/whimbrel
    export WHIMBREL_BIN
}

run_test() {
    if [ "${1:-}" = unit ]; then
        shift
        setup build
        # The whole workspace, so that the crates have the features they have in every other run and nothing is built twice.
        tested --workspace --lib --bins "${features[@]}" "$@"
        return
    fi
    build_tests
    start_services
    tested --workspace "${features[@]}" "$@"
}

# number OPTION VALUE: refuse anything but digits
number() { [[ ${2:-} =~ ^[0-9]+$ ]] || die "$1 needs a number, not \"${2:-}\""; }

# The long runs are ignored tests of the tests crate, told their length by the environment.
run_chaos() {
    local cycles=300 seed=$RANDOM migrations=50
    while [ $# -gt 0 ]; do
        number "$1" "${2:-}"
        case $1 in
            --cycles) cycles=$2 ;;
            --seed) seed=$2 ;;
            --migrations) migrations=$2 ;;
            *) die "usage: ./x chaos [--cycles N] [--migrations N] [--seed S]" ;;
        esac
        shift 2
    done
    export WHIMBREL_CHAOS_CYCLES=$cycles WHIMBREL_CHAOS_SEED=$seed
    export WHIMBREL_MIGRATION_KILLS=$migrations WHIMBREL_MIGRATION_RACES=$migrations
    say "chaos: $cycles cycles, migrations killed and doubled $migrations times on each database, seed $seed"
    build_tests
    start_services
    tested --workspace "${features[@]}" --test all chaos -- --include-ignored --nocapture
}

run_soak() {
    local minutes=30
    if [ $# -gt 0 ]; then
        [ "$1" = --minutes ] || die "usage: ./x soak [--minutes N]"
        number "$1" "${2:-}"
        minutes=$2
    fi
    export WHIMBREL_SOAK_SECONDS=$((minutes * 60))
    build_tests
    start_services
    tested --workspace "${features[@]}" --test all soak -- --include-ignored --nocapture
}
