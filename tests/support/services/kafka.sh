#!/usr/bin/env bash
# One Apache Kafka broker, KRaft, combined broker+controller, no replication. Beside the open listener three that speak TLS:
# SASL asks for a password (PLAIN and SCRAM), MTLS for a client's certificate, EXPIRED shows a certificate that is over.
# `kafka.sh user NAME PASSWORD` gives a running one a SCRAM user, or a user another password.
set -euo pipefail
. "$(dirname "$0")/service.sh"

dir=$(data_dir kafka)
classpath="$SVC_HOME/libs/*"
jvm=(-Xms128m "-Xmx${KAFKA_HEAP:-512m}" -XX:+UseSerialGC -Xshare:auto
    -Djava.awt.headless=true "-Dlog4j2.configurationFile=$svc_root/log4j2.properties")
[ -n "${KAFKA_FULL_JIT:-}" ] || jvm+=(-XX:TieredStopAtLevel=1)   # full JIT: for benchmarks

write_config() {
    cat >"$dir/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$KAFKA_CONTROLLER_PORT
listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT,CONTROLLER://127.0.0.1:$KAFKA_CONTROLLER_PORT,SASL://127.0.0.1:$KAFKA_SASL_PORT,MTLS://127.0.0.1:$KAFKA_MTLS_PORT,EXPIRED://127.0.0.1:$KAFKA_EXPIRED_PORT
advertised.listeners=PLAINTEXT://127.0.0.1:${KAFKA_ADVERTISED_PORT:-$KAFKA_PORT},SASL://localhost:$KAFKA_SASL_PORT,MTLS://localhost:$KAFKA_MTLS_PORT,EXPIRED://localhost:$KAFKA_EXPIRED_PORT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,MTLS:SSL,EXPIRED:SSL
ssl.keystore.type=PEM
ssl.truststore.type=PEM
ssl.truststore.location=$SVC_TLS/ca.pem
listener.name.sasl.ssl.keystore.location=$SVC_TLS/server.both.pem
listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_$KAFKA_USER="$KAFKA_PASSWORD";
listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.mtls.ssl.keystore.location=$SVC_TLS/server.both.pem
listener.name.mtls.ssl.client.auth=required
listener.name.expired.ssl.keystore.location=$SVC_TLS/expired.both.pem
log.dirs=$dir/logs
num.partitions=${KAFKA_PARTITIONS:-1}
auto.create.topics.enable=${KAFKA_AUTO_CREATE:-true}
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=2
background.threads=2
num.recovery.threads.per.data.dir=1
${KAFKA_EXTRA:-}
EOF
}

svc_start() {
    mkdir -p "$dir"
    "$svc_root/certificates.sh" "$SVC_TLS"
    write_config
    if [ ! -f "$dir/logs/meta.properties" ]; then
        java "${jvm[@]}" -cp "$classpath" kafka.tools.StorageTool format --ignore-formatted \
            --cluster-id "$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c1-22)" \
            --add-scram "SCRAM-SHA-256=[name=$KAFKA_USER,password=$KAFKA_PASSWORD]" \
            --add-scram "SCRAM-SHA-512=[name=$KAFKA_USER,password=$KAFKA_PASSWORD]" \
            --config "$dir/server.properties" >>"$(log_file kafka)" 2>&1 \
            || { tail -n 20 "$(log_file kafka)" >&2; die "formatting the storage failed"; }
    fi
    # The log is appended to across restarts: wait for a start line after the current end.
    local from=$(($(stat -c %s "$(log_file kafka)" 2>/dev/null || echo 0) + 1))
    start_bg kafka java "${jvm[@]}" -cp "$classpath" kafka.Kafka "$dir/server.properties"
    started() { tail -c "+$from" "$(log_file kafka)" | grep -q 'Kafka Server started'; }
    wait_for kafka 180 started
}

if [ "${1:-}" = user ]; then
    [ $# -eq 3 ] || die "usage: kafka.sh user NAME PASSWORD"
    require_pid kafka >/dev/null
    exec java "${jvm[@]}" -cp "$classpath" kafka.admin.ConfigCommand --bootstrap-server "127.0.0.1:$KAFKA_PORT" --alter \
        --entity-type users --entity-name "$2" --add-config "SCRAM-SHA-512=[password=$3]"
fi
svc_main kafka "$KAFKA_PORT" "$@"
