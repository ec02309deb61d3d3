#!/usr/bin/env bash
# MariaDB from the system's packages with a row based binary log, own data directory. Stands in for MySQL too: no MySQL
# server is packaged.
set -euo pipefail
. "$(dirname "$0")/service.sh"

# Debian keeps it where the PATH of plain users does not look.
PATH=$PATH:/usr/sbin
dir=$(data_dir mariadb)

as=()
[ "$(id -u)" != 0 ] || as=(--user=root)   # it refuses to be root unless it is told to

# Debezium's MySQL connector goes by the version. MariaDB may say it is a MySQL of 5.7: later ones have variables and
# statements that MariaDB has not.
says=()
[ -z "${MARIADB_SAYS:-}" ] || says=("--version=$MARIADB_SAYS")

write_init() {
    (umask 077; cat >"$dir/init.sql" <<EOF
SET sql_log_bin = 0;
CREATE USER IF NOT EXISTS '$MARIADB_USER'@'127.0.0.1' IDENTIFIED BY '$MARIADB_PASSWORD';
GRANT ALL ON *.* TO '$MARIADB_USER'@'127.0.0.1' WITH GRANT OPTION;
EOF
    )
}

svc_start() {
    command -v mariadbd >/dev/null || die "no MariaDB server; run ./x setup"
    # A temporary directory of its own: a server that starts removes what another has left in a shared one.
    mkdir -p "$dir/tmp"
    if [ ! -d "$dir/db/mysql" ]; then
        rm -rf "$dir/db"
        mariadb-install-db --no-defaults "${as[@]}" --datadir="$dir/db" --auth-root-authentication-method=normal \
            --skip-test-db --skip-name-resolve >>"$(log_file mariadb)" 2>&1 \
            || { tail -n 20 "$(log_file mariadb)" >&2; die "mariadb-install-db failed"; }
    fi
    write_init
    # The settings Debezium asks for, and what makes a small server of it. Durability is for tests: none.
    start_bg mariadb mariadbd --no-defaults "${as[@]}" --datadir="$dir/db" --tmpdir="$dir/tmp" --port="$MARIADB_PORT" \
        --bind-address=127.0.0.1 --socket="$dir/socket" --pid-file="$dir/server.pid" --init-file="$dir/init.sql" \
        --skip-name-resolve --server-id=1 --log-bin=mariadb-bin --binlog-format=ROW --binlog-row-image=FULL \
        --binlog-row-metadata=FULL --character-set-server=utf8mb4 --default-time-zone=+00:00 \
        --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=OFF \
        --innodb-flush-method=nosync --performance-schema=OFF --max-allowed-packet=64M "${says[@]}"
    # It listens only once the init file is done.
    wait_for mariadb 90 port_open "$MARIADB_PORT"
}

svc_main mariadb "$MARIADB_PORT" "$@"
