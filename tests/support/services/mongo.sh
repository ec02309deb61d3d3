#!/usr/bin/env bash
# mongod as a one-node replica set (transactions and change streams need one).
# With MONGO_TLS=on it takes only TLS, and knows the user MONGO_USER with MONGO_PASSWORD.
set -euo pipefail
. "$(dirname "$0")/service.sh"

dir=$(data_dir mongo)
: "${MONGOD:=$SVC_HOME/mongod}"

: "${MONGO_USER:=whimbrel}" "${MONGO_PASSWORD:=canary-mongo-password}"
export MONGO_TLS MONGO_USER MONGO_PASSWORD

demand_tls() {
    "$svc_root/certificates.sh" "$SVC_TLS"
    # Members of a replica set that checks passwords know each other by a shared key.
    (umask 077; openssl rand -base64 24 >"$dir/member.key")
    tls=(--tlsMode requireTLS --tlsCertificateKeyFile "$SVC_TLS/server.both.pem" --tlsCAFile "$SVC_TLS/ca.pem"
        --tlsAllowConnectionsWithoutCertificates --keyFile "$dir/member.key")
}

svc_start() {
    local tls=()
    [ -x "$MONGOD" ] || die "no $MONGOD: run fetch.sh mongo"
    mkdir -p "$dir/db"
    [ "${MONGO_TLS:=off}" = off ] || demand_tls
    start_bg mongo "$MONGOD" --dbpath "$dir/db" --port "$MONGO_PORT" --bind_ip 127.0.0.1 \
        --unixSocketPrefix "$dir" --replSet "$MONGO_REPLSET" --oplogSize 512 \
        --wiredTigerCacheSizeGB "${MONGO_CACHE_GB:-0.5}" \
        --setParameter diagnosticDataCollectionEnabled=false "${tls[@]}"
    wait_for mongo 90 port_open "$MONGO_PORT"
    "$SVC_HOME/venv/bin/python" "$svc_root/mongo_initiate.py" "$MONGO_PORT" "$MONGO_REPLSET"
}

svc_main mongo "$MONGO_PORT" "$@"
