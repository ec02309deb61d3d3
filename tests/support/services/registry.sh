#!/usr/bin/env bash
# An OCI registry (CNCF Distribution), plain and open; with REGISTRY_TLS=on only over TLS and with the login
# whimbrel, canary-registry-password (a hash of it stands below).
set -euo pipefail
. "$(dirname "$0")/service.sh"

dir=$(data_dir registry)
# fetch.sh unpacks Debian's package here where the system has none.
PATH=$PATH:$SVC_HOME/registry/usr/bin

write_config() {
    cat >"$dir/config.yml" <<YAML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $dir/blobs}
http:
  addr: 127.0.0.1:$REGISTRY_PORT
YAML
    [ "${REGISTRY_TLS:-off}" = on ] || return 0
    "$svc_root/certificates.sh" "$SVC_TLS"
    # bcrypt of canary-registry-password
    # shellcheck disable=SC2016
    echo 'whimbrel:$2b$05$abcdefghijklmnopqrstuuFqj9r0gzLJx5.wQXjqr5awOiZGCazOq' >"$dir/htpasswd"
    cat >>"$dir/config.yml" <<YAML
  tls: {certificate: $SVC_TLS/server.pem, key: $SVC_TLS/server.key}
auth:
  htpasswd: {realm: whimbrel, path: $dir/htpasswd}
YAML
}

svc_start() {
    command -v docker-registry >/dev/null || die "no docker-registry: run fetch.sh registry"
    mkdir -p "$dir"
    write_config
    # Its traces would go to a collector that is not there.
    OTEL_TRACES_EXPORTER=none start_bg registry docker-registry serve "$dir/config.yml"
    wait_for registry 30 port_open "$REGISTRY_PORT"
}

svc_main registry "$REGISTRY_PORT" "$@"
