#!/usr/bin/env bash
# A Kafka Connect worker with Debezium and the MongoDB connectors.
# CONNECT_MODE=distributed (default; connectors by REST) or standalone (connectors by
# REST too, and by the JSON/properties files given after `start`; offsets in a file).
set -euo pipefail
. "$(dirname "$0")/service.sh"

: "${CONNECT_MODE:=distributed}"
dir=$(data_dir connect)
jvm=(-Xms128m "-Xmx${CONNECT_HEAP:-768m}" -XX:+UseSerialGC -Djava.awt.headless=true
    "-Dlog4j2.configurationFile=$svc_root/log4j2.properties")
[ -n "${CONNECT_FULL_JIT:-}" ] || jvm+=(-XX:TieredStopAtLevel=1)   # full JIT: for benchmarks

write_config() {
    cat >"$dir/worker.properties" <<EOF
bootstrap.servers=127.0.0.1:$KAFKA_PORT
listeners=http://127.0.0.1:$CONNECT_PORT
plugin.path=$SVC_HOME/plugins
plugin.discovery=${CONNECT_PLUGIN_DISCOVERY:-service_load}
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter.schemas.enable=false
offset.flush.interval.ms=1000
EOF
    case $CONNECT_MODE in
        distributed) cat >>"$dir/worker.properties" <<EOF
group.id=connect
config.storage.topic=connect-configs
config.storage.replication.factor=1
offset.storage.topic=connect-offsets
offset.storage.replication.factor=1
offset.storage.partitions=1
status.storage.topic=connect-status
status.storage.replication.factor=1
status.storage.partitions=1
scheduled.rebalance.max.delay.ms=0
EOF
            ;;
        standalone) echo "offset.storage.file.filename=$dir/offsets" >>"$dir/worker.properties" ;;
        *) die "CONNECT_MODE is distributed or standalone" ;;
    esac
}

svc_start() {
    mkdir -p "$dir"
    write_config
    local main=org.apache.kafka.connect.cli.ConnectDistributed
    [ "$CONNECT_MODE" = distributed ] || main=org.apache.kafka.connect.cli.ConnectStandalone
    start_bg connect java "${jvm[@]}" -cp "$SVC_HOME/libs/*" "$main" "$dir/worker.properties" "$@"
    # /connectors answers only once the worker has joined its group and read its topics.
    wait_for connect 180 curl -fsS -m 2 -o /dev/null "http://127.0.0.1:$CONNECT_PORT/connectors"
}

svc_main connect "$CONNECT_PORT" "$@"
