#!/usr/bin/env bash
# Do one thing to several services at once:
#   services.sh start|stop|kill|pause|resume|status|wipe [SERVICE...]
#   services.sh env          what a client needs to know, as lines to source
# No SERVICE means all of them; connect is started once kafka is ready.
set -euo pipefail
. "$(dirname "$0")/service.sh"

all=(kafka postgres mongo mariadb prometheus alertmanager smtp registry otelcol connect)

# each VERB SERVICE...: in parallel; fails if one of them failed
each() {
    local verb=$1 service pid failed=0 pids=()
    shift
    for service in "$@"; do
        "$svc_root/$service.sh" "$verb" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=$?; done
    return "$failed"
}

print_env() {
    local name
    for name in "${svc_settings[@]}"; do
        printf 'export %s=%q\n' "$name" "${!name}"
    done
    printf 'export WHIMBREL_SERVICES=%q\n' "$svc_root"
}

verb=${1:?usage: services.sh start|stop|kill|pause|resume|status|wipe|env [SERVICE...]}
shift
[ $# -gt 0 ] || set -- "${all[@]}"
for service in "$@"; do
    [[ " ${all[*]} " == *" $service "* ]] || die "no service \"$service\"; there are: ${all[*]}"
done

case $verb in
    env) print_env ;;
    start)
        first=() connect=()
        for service in "$@"; do
            if [ "$service" = connect ]; then connect=(connect); else first+=("$service"); fi
        done
        [ ${#first[@]} -eq 0 ] || each start "${first[@]}"
        [ ${#connect[@]} -eq 0 ] || each start connect
        ;;
    *) each "$verb" "$@" ;;
esac
