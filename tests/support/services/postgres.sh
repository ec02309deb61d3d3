#!/usr/bin/env bash
# PostgreSQL from the system's packages with logical replication on, own cluster in the data dir.
# initdb and postgres refuse to run as root: as root they run as the user `postgres`.
# With PG_TLS=on it takes only TLS and a password over TCP. `postgres.sh certificate NAME` then gives the running server
# another certificate of SVC_TLS: server or expired.
set -euo pipefail
. "$(dirname "$0")/service.sh"

# Debian keeps the server's programs off the PATH, one directory a version: take the newest.
: "${PG_BIN:=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}"
dir=$(data_dir postgres)

as_owner=()
[ "$(id -u)" != 0 ] || as_owner=(setpriv --reuid=postgres --regid=postgres --init-groups)

# show_certificate NAME: the server reads its key only if the key is its own
show_certificate() {
    cp "$SVC_TLS/$1.pem" "$dir/shown.pem"
    cp "$SVC_TLS/$1.key" "$dir/shown.key"
    chmod 600 "$dir/shown.key"
    [ "$(id -u)" != 0 ] || chown postgres:postgres "$dir"/shown.*
}

demand_tls() {
    "$svc_root/certificates.sh" "$SVC_TLS"
    show_certificate server
    tls=(-c ssl=on -c "ssl_cert_file=$dir/shown.pem" -c "ssl_key_file=$dir/shown.key")
    printf '%s\n' "local all all trust" "hostssl all all 127.0.0.1/32 scram-sha-256" >"$dir/pgdata/pg_hba.conf"
}

svc_start() {
    local tls=()
    [ -x "$PG_BIN/postgres" ] || die "no PostgreSQL server in $PG_BIN; run ./x setup, or set PG_BIN"
    mkdir -p "$dir"
    if [ "$(id -u)" = 0 ]; then
        chown postgres:postgres "$dir"
        "${as_owner[@]}" test -x "$dir" || die "the user postgres cannot enter $dir: its parents must be passable (chmod 755)"
    fi
    if [ ! -f "$dir/pgdata/PG_VERSION" ]; then
        rm -rf "$dir/pgdata"
        (umask 077; echo "$PG_PASSWORD" | "${as_owner[@]}" tee "$dir/pw" >/dev/null)
        "${as_owner[@]}" "$PG_BIN/initdb" -D "$dir/pgdata" -U "$PG_USER" -E UTF8 --locale=C.UTF-8 --no-sync \
            --auth-local=trust --auth-host=scram-sha-256 --pwfile="$dir/pw" >>"$(log_file postgres)" 2>&1 \
            || { tail -n 20 "$(log_file postgres)" >&2; die "initdb failed"; }
    fi
    [ "${PG_TLS:-off}" = off ] || demand_tls
    # fsync=off is for tests: set PG_FSYNC=on for benchmarks that should mean something.
    start_bg postgres "${as_owner[@]}" "$PG_BIN/postgres" -D "$dir/pgdata" -p "$PG_PORT" \
        -c listen_addresses=127.0.0.1 -c "unix_socket_directories=$dir" \
        -c wal_level=logical -c max_wal_senders=20 -c max_replication_slots=20 -c max_connections=200 \
        -c "fsync=${PG_FSYNC:-off}" -c shared_buffers=256MB -c max_wal_size=4GB \
        -c wal_sender_timeout=0 -c timezone=UTC "${tls[@]}"
    wait_for postgres 90 "$PG_BIN/pg_isready" -q -h 127.0.0.1 -p "$PG_PORT"
}

if [ "${1:-}" = certificate ]; then
    require_pid postgres >/dev/null
    show_certificate "${2:?which certificate?}"
    kill -HUP "$(running_pid postgres)"
    exit
fi
# Fast shutdown: TERM would wait for every client, among them Debezium.
STOP_SIGNAL=INT svc_main postgres "$PG_PORT" "$@"
