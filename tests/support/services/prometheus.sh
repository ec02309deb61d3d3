#!/usr/bin/env bash
# Prometheus, scraping PROMETHEUS_TARGETS (space-separated host:port, default: itself) every second.
# `prometheus.sh scrape HOST:PORT...` gives a running one new targets.
set -euo pipefail
. "$(dirname "$0")/service.sh"

dir=$(data_dir prometheus)
# fetch.sh unpacks Debian's package here where the system has none.
PATH=$PATH:$SVC_HOME/prometheus/usr/bin

write_config() { # HOST:PORT...
    local target list=""
    for target in "$@"; do list+="\"$target\", "; done
    cat >"$dir/prometheus.yml" <<YAML
global: {scrape_interval: 1s, evaluation_interval: 1s}
scrape_configs:
- job_name: whimbrel
  static_configs:
  - targets: [${list%, }]
YAML
}

svc_start() {
    command -v prometheus >/dev/null || die "no prometheus: run fetch.sh prometheus"
    mkdir -p "$dir"
    # shellcheck disable=SC2086  # a list of words
    write_config ${PROMETHEUS_TARGETS:-"127.0.0.1:$PROMETHEUS_PORT"}
    start_bg prometheus prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/tsdb" \
        --storage.tsdb.retention.time=1d --web.listen-address="127.0.0.1:$PROMETHEUS_PORT" --web.enable-lifecycle
    wait_for prometheus 90 curl -fsS -m 2 -o /dev/null "http://127.0.0.1:$PROMETHEUS_PORT/-/ready"
}

if [ "${1:-}" = scrape ]; then
    shift
    require_pid prometheus >/dev/null
    write_config "$@"
    curl -fsS -m 5 -X POST "http://127.0.0.1:$PROMETHEUS_PORT/-/reload"
    exit
fi
svc_main prometheus "$PROMETHEUS_PORT" "$@"
