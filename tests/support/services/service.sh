# shellcheck shell=bash
# The life of one service: ports, directories, start, readiness, stop. Source it, don't run it.
# It owns the pid and log files under SVC_DATA; what a service is and when it is ready
# stands in that service's own script.
#
#   SVC_HOME  what fetch.sh downloaded: read-only afterwards, shared by all clones
#   SVC_DATA  data, logs and pid files of one set of running services
#
# Sets run side by side: give each its own SVC_DATA and its own ports.

# shellcheck disable=SC2034  # for the scripts that source this
svc_root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# $HOME may be unset (cron, a container without a passwd entry): fail with a sentence, not "unbound variable".
: "${SVC_HOME:=${XDG_CACHE_HOME:-${HOME:?set HOME or SVC_HOME}/.cache}/whimbrel/services}"
: "${SVC_DATA:=${TMPDIR:-/tmp}/whimbrel-services-$(id -u)}"
export SVC_HOME SVC_DATA

: "${KAFKA_PORT:=19092}"
: "${KAFKA_CONTROLLER_PORT:=19093}"
: "${KAFKA_SASL_PORT:=19094}" "${KAFKA_MTLS_PORT:=19095}" "${KAFKA_EXPIRED_PORT:=19096}"
: "${KAFKA_USER:=whimbrel}" "${KAFKA_PASSWORD:=canary-kafka-password}"
: "${PG_PORT:=15432}" "${PG_USER:=postgres}" "${PG_PASSWORD:=postgres}"
: "${MONGO_PORT:=17017}" "${MONGO_REPLSET:=rs0}"
: "${MARIADB_PORT:=13306}" "${MARIADB_USER:=whimbrel}" "${MARIADB_PASSWORD:=whimbrel}"
: "${CONNECT_PORT:=18083}"
: "${PROMETHEUS_PORT:=19090}"
: "${REGISTRY_PORT:=15000}"
: "${ALERTMANAGER_PORT:=19097}" "${ALERTMANAGER_VERSION:=0.28.1}"
: "${SMTP_PORT:=11025}" "${SMTP_TLS_PORT:=11465}" "${SMTP_PLAIN_PORT:=11026}" "${SMTP_EXPIRED_PORT:=11027}"
: "${SMTP_USER:=whimbrel}" "${SMTP_PASSWORD:=canary-smtp-password}"
: "${OTLP_GRPC_PORT:=14317}"
: "${OTLP_HTTP_PORT:=14318}"
: "${OTLP_TLS_GRPC_PORT:=14319}" "${OTLP_TLS_HTTP_PORT:=14320}"
: "${OTELCOL_HEALTH_PORT:=14133}"
: "${OTELCOL_OUT:=$SVC_DATA/otelcol/received.ndjson}"
: "${CLIENT_KEY_PASSWORD:=canary-key-password}"
SVC_TLS=$SVC_DATA/tls
# What clients need to know of it all: service.sh exports it, `services.sh env` prints it.
svc_settings=(SVC_HOME SVC_DATA SVC_TLS KAFKA_PORT KAFKA_CONTROLLER_PORT KAFKA_SASL_PORT KAFKA_MTLS_PORT KAFKA_EXPIRED_PORT
    KAFKA_USER KAFKA_PASSWORD PG_PORT PG_USER PG_PASSWORD MONGO_PORT MONGO_REPLSET MARIADB_PORT MARIADB_USER MARIADB_PASSWORD
    CONNECT_PORT PROMETHEUS_PORT REGISTRY_PORT OTLP_GRPC_PORT OTLP_HTTP_PORT OTLP_TLS_GRPC_PORT OTLP_TLS_HTTP_PORT OTELCOL_HEALTH_PORT OTELCOL_OUT CLIENT_KEY_PASSWORD
    ALERTMANAGER_PORT SMTP_PORT SMTP_TLS_PORT SMTP_PLAIN_PORT SMTP_EXPIRED_PORT SMTP_USER SMTP_PASSWORD)
export "${svc_settings[@]}"

die() { echo "${0##*/}: $*" >&2; exit 1; }
say() { echo "${0##*/}: $*"; }

data_dir() { echo "$SVC_DATA/$1"; }
pid_file() { echo "$SVC_DATA/$1/pid"; }
log_file() { echo "$SVC_DATA/$1/log"; }

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# SVC_DATA defaults to a guessable name under /tmp: somebody else's directory is not to be trusted.
make_data_root() {
    mkdir -p "$SVC_DATA"
    [ -O "$SVC_DATA" ] || die "$SVC_DATA belongs to somebody else; set SVC_DATA"
}

# A pid file counts only while that pid is still the process we started: the file
# also holds the process's start time, so a reused pid is not mistaken for ours.
proc_start() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

is_zombie() { [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1)" = Z ]; }

running_pid() { # name -> prints pid, fails if not running
    local pid start
    read -r pid start 2>/dev/null <"$(pid_file "$1")" || return 1
    [ -n "$start" ] && [ "$(proc_start "$pid")" = "$start" ] || return 1
    ! is_zombie "$pid" || return 1
    echo "$pid"
}

# family PID: the pid and all its descendants. A crash or a hang of PostgreSQL is one of all
# its processes: back ends that outlive the postmaster would go on committing.
family() {
    local child
    echo "$1"
    # shellcheck disable=SC2013  # words are meant: the kernel puts all children on one line
    for child in $(cat "/proc/$1"/task/*/children 2>/dev/null); do family "$child"; done
}

signal_family() { # signal pid
    local pid
    for pid in $(family "$2"); do kill "-$1" "$pid" 2>/dev/null || true; done
}

# start_bg NAME CMD...: start detached, own session, log and pid file in the data dir
start_bg() {
    local name=$1; shift
    mkdir -p "$(data_dir "$name")"
    setsid "$@" >>"$(log_file "$name")" 2>&1 </dev/null 9>&- &   # 9: the lock is not for the service
    echo "$! $(proc_start $!)" >"$(pid_file "$name")"
}

# wait_for NAME SECONDS CHECK...: poll CHECK until it succeeds, give up if the process dies
wait_for() {
    local name=$1 limit=$2; shift 2
    local end=$((SECONDS + limit))
    until "$@" >/dev/null 2>&1; do
        if ! running_pid "$name" >/dev/null; then
            tail -n 20 "$(log_file "$name")" >&2
            die "$name died while starting, log: $(log_file "$name")"
        fi
        if [ $SECONDS -ge $end ]; then
            tail -n 20 "$(log_file "$name")" >&2
            die "$name not ready after ${limit}s, log: $(log_file "$name")"
        fi
        sleep 0.1
    done
}

# stop_bg NAME [SIGNAL] [SECONDS]: signal, wait, then KILL. Returns when the whole family is gone:
# until then ports are taken and PostgreSQL refuses to start again.
stop_bg() {
    local name=$1 signal=${2:-TERM} limit=${3:-30} pid member members
    if ! pid=$(running_pid "$name"); then
        rm -f "$(pid_file "$name")"
        say "$name is not running"
        return
    fi
    members=$(family "$pid")
    if [ "$signal" = KILL ]; then
        signal_family KILL "$pid"
    else
        kill "-$signal" "$pid"
        signal_family CONT "$pid"   # a paused process gets its signal only then
    fi
    for member in $members; do wait_gone "$member" "$limit"; done
    rm -f "$(pid_file "$name")"
    say "$name stopped"
}

# A zombie counts as gone after two seconds: where nobody reaps orphans it stays for ever.
wait_gone() { # pid seconds
    local start kill_at=$((SECONDS + $2)) zombie_at=$((SECONDS + 2))
    start=$(proc_start "$1") || return 0   # gone already
    while [ -n "$start" ] && [ "$(proc_start "$1")" = "$start" ]; do
        if [ $SECONDS -ge $zombie_at ] && is_zombie "$1"; then return; fi
        if [ $SECONDS -ge $kill_at ]; then kill -KILL "$1" 2>/dev/null || true; fi
        sleep 0.05
    done
}

status_bg() { # name port
    local pid
    if pid=$(running_pid "$1"); then
        echo "$1 running pid=$pid port=$2 rss_mib=$(($(awk '/VmRSS/{print $2}' "/proc/$pid/status") / 1024))"
    else
        echo "$1 stopped"
        return 3
    fi
}

require_pid() { running_pid "$1" || die "$1 is not running"; }

# The usual verbs. A script defines svc_start and calls: svc_main NAME PORT "$@"
svc_main() {
    local name=$1 port=$2 verb=${3:-} t0
    shift $(($# < 3 ? $# : 3))
    case $verb in
        start | stop | restart | kill | wipe)   # one at a time: parallel test runs may all call start
            make_data_root
            exec 9>"$SVC_DATA/$name.lock"
            flock -w 300 9 || die "somebody else holds $SVC_DATA/$name.lock"
            ;;
    esac
    case $verb in
        start)
            if running_pid "$name" >/dev/null; then say "$name already running"; return; fi
            port_open "$port" && die "port $port is taken by another process"
            t0=$EPOCHREALTIME
            svc_start "$@"
            say "$name ready on 127.0.0.1:$port after $(awk -v a="$t0" -v b="$EPOCHREALTIME" 'BEGIN{printf "%.1f", b-a}')s"
            ;;
        stop) stop_bg "$name" "${STOP_SIGNAL:-TERM}" ;;
        restart) stop_bg "$name" "${STOP_SIGNAL:-TERM}"; svc_main "$name" "$port" start "$@" ;;
        kill) stop_bg "$name" KILL ;;      # a crash
        pause) signal_family STOP "$(require_pid "$name")" ;;   # a hang
        resume) signal_family CONT "$(require_pid "$name")" ;;
        status) status_bg "$name" "$port" ;;
        wipe) stop_bg "$name" KILL; rm -rf "$(data_dir "$name")" ;;
        logs) tail -n "${1:-50}" "$(log_file "$name")" ;;
        *) die "usage: ${0##*/} start|stop|restart|kill|pause|resume|status|wipe|logs" ;;
    esac
}
