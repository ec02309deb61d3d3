#!/usr/bin/env bash
# PostgreSQL from the system's packages with logical replication on, own cluster in the data dir.
# initdb and postgres refuse to run as root: as root they run as the user `postgres`.
set -euo pipefail
. "$(dirname "$0")/service.sh"

# Debian keeps the server's programs off the PATH, one directory a version: take the newest.
: "${PG_BIN:=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}"
dir=$(data_dir postgres)

as_owner=()
[ "$(id -u)" != 0 ] || as_owner=(setpriv --reuid=postgres --regid=postgres --init-groups)

svc_start() {
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
    # fsync=off is for tests: set PG_FSYNC=on for benchmarks that should mean something.
    start_bg postgres "${as_owner[@]}" "$PG_BIN/postgres" -D "$dir/pgdata" -p "$PG_PORT" \
        -c listen_addresses=127.0.0.1 -c "unix_socket_directories=$dir" \
        -c wal_level=logical -c max_wal_senders=20 -c max_replication_slots=20 -c max_connections=200 \
        -c "fsync=${PG_FSYNC:-off}" -c shared_buffers=256MB -c max_wal_size=4GB \
        -c wal_sender_timeout=0 -c timezone=UTC
    wait_for postgres 90 "$PG_BIN/pg_isready" -q -h 127.0.0.1 -p "$PG_PORT"
}

# Fast shutdown: TERM would wait for every client, among them Debezium.
STOP_SIGNAL=INT svc_main postgres "$PG_PORT" "$@"
