# shellcheck shell=bash
# `./x services`: the real servers on their default ports. Sourced by ../../x.

run_services() {
    local action=${1:-status}
    shift $(($# > 0))
    case $action in
        up)
            setup tests
            "$services/services.sh" start "$@"
            local env_file
            # The scripts know the defaults; the file makes them known to others.
            env_file=$("$services/services.sh" env | sed -n 's/^export SVC_DATA=//p')/env
            "$services/services.sh" env >"$env_file"
            say "addresses as environment variables: . $env_file"
            ;;
        down) "$services/services.sh" stop "$@" ;;
        status | wipe | env) "$services/services.sh" "$action" "$@" ;;
        *) die "usage: ./x services up|down|wipe|status|env [SERVICE...]" ;;
    esac
}
