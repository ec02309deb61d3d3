#!/usr/bin/env bash
# An OpenTelemetry Collector: OTLP in (gRPC and HTTP), every signal to the debug log and, as JSON
# lines, to the file OTELCOL_OUT; also over TLS with a client's certificate. fetch.sh builds it.
set -euo pipefail
. "$(dirname "$0")/service.sh"

svc_start() {
    [ -x "$SVC_HOME/otelcol" ] || die "no $SVC_HOME/otelcol: run fetch.sh otelcol"
    mkdir -p "$(dirname "$OTELCOL_OUT")"
    "$svc_root/certificates.sh" "$SVC_TLS"
    start_bg otelcol "$SVC_HOME/otelcol" --config "$svc_root/otelcol/config.yaml"
    wait_for otelcol 90 curl -fsS -m 2 -o /dev/null "http://127.0.0.1:$OTELCOL_HEALTH_PORT/"
}

svc_main otelcol "$OTLP_GRPC_PORT" "$@"
