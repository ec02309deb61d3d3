#!/usr/bin/env bash
# Alertmanager with the configuration ALERTMANAGER_CONFIG; without one it keeps alerts and tells nobody, which
# GET /api/v2/alerts shows.
set -euo pipefail
. "$(dirname "$0")/service.sh"

dir=$(data_dir alertmanager)
program=$SVC_HOME/alertmanager-$ALERTMANAGER_VERSION

svc_start() {
    [ -x "$program" ] || die "no Alertmanager: run fetch.sh alertmanager"
    mkdir -p "$dir"
    if [ -n "${ALERTMANAGER_CONFIG:-}" ]; then
        cp "$ALERTMANAGER_CONFIG" "$dir/alertmanager.yml"
    else
        echo '{route: {receiver: nobody}, receivers: [{name: nobody}]}' >"$dir/alertmanager.yml"
    fi
    # No cluster: it would listen on all interfaces.
    start_bg alertmanager "$program" --config.file="$dir/alertmanager.yml" --storage.path="$dir/data" \
        --web.listen-address="127.0.0.1:$ALERTMANAGER_PORT" --cluster.listen-address=
    wait_for alertmanager 60 curl -fsS -m 2 -o /dev/null "http://127.0.0.1:$ALERTMANAGER_PORT/-/ready"
}

svc_main alertmanager "$ALERTMANAGER_PORT" "$@"
