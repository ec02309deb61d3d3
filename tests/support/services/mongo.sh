#!/usr/bin/env bash
# mongod as a one-node replica set (transactions and change streams need one).
set -euo pipefail
. "$(dirname "$0")/service.sh"

dir=$(data_dir mongo)
: "${MONGOD:=$SVC_HOME/mongod}"

svc_start() {
    [ -x "$MONGOD" ] || die "no $MONGOD: run fetch.sh mongo"
    mkdir -p "$dir/db"
    start_bg mongo "$MONGOD" --dbpath "$dir/db" --port "$MONGO_PORT" --bind_ip 127.0.0.1 \
        --unixSocketPrefix "$dir" --replSet "$MONGO_REPLSET" --oplogSize 512 \
        --wiredTigerCacheSizeGB "${MONGO_CACHE_GB:-0.5}" \
        --setParameter diagnosticDataCollectionEnabled=false
    wait_for mongo 90 port_open "$MONGO_PORT"
    "$SVC_HOME/venv/bin/python" "$svc_root/mongo_initiate.py" "$MONGO_PORT" "$MONGO_REPLSET"
}

svc_main mongo "$MONGO_PORT" "$@"
