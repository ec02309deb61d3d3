# shellcheck shell=bash
# find_go: set GO to a Go that can build the collector. Sourced by fetch.sh.

# What the collector's modules ask for. A Go of 1.21 or later fetches a newer one by itself.
go_wanted=1.25.5

go_minor() { "$1" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p'; }

find_go() {
    local found minor arch module dir
    GO=$SVC_HOME/go/bin/go
    [ ! -x "$GO" ] || return 0
    found=$(command -v go || true)
    [ -n "$found" ] || die "go is missing; run ./x setup"
    minor=$(go_minor "$found")
    if [ "${minor:-0}" -ge 21 ]; then GO=$found; return; fi
    # Debian 12 has Go 1.19, which cannot switch toolchains, but can fetch one as the module it is.
    arch=$("$found" env GOARCH)
    module=golang.org/toolchain@v0.0.1-go$go_wanted.linux-$arch
    say "fetching Go $go_wanted (Go 1.$minor is too old for the collector)"
    # Outside any module; the checksum database knows these modules, so the download is verified.
    dir=$(cd / && "$found" mod download -json "$module" </dev/null | sed -n 's/^\s*"Dir": "\(.*\)",*$/\1/p')
    [ -n "$dir" ] || die "cannot fetch $module"
    rm -rf "$SVC_HOME/go.part" "$SVC_HOME/go"
    cp -r "$dir" "$SVC_HOME/go.part"
    # A module's files are all read-only and not executable.
    chmod -R u+w "$SVC_HOME/go.part"
    chmod +x "$SVC_HOME"/go.part/bin/* "$SVC_HOME"/go.part/pkg/tool/*/*
    mv "$SVC_HOME/go.part" "$SVC_HOME/go"
}
