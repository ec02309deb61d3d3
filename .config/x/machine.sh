# shellcheck shell=bash
# What the machine must have, and how to get it. Sourced by ../../x.
# Presence is looked up each time (a fraction of a second), never remembered in a stamp file.

has() { command -v "$1" >/dev/null 2>&1; }

missing=()
# want PACKAGE TEST...: note Debian's PACKAGE as missing unless TEST succeeds
want() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

has_compiler() { echo '#include <stdio.h>' | "$1" -x "$2" -fsyntax-only -; }
has_certificates() { [ -s "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" ] || [ -s /etc/pki/tls/certs/ca-bundle.crt ]; }
has_java() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | { read -r major && [ "$major" -ge 17 ]; }; }
has_postgres() { [ -x "${PG_BIN:-$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}/postgres" ]; }
# The core package has the programs and no server that starts at boot.
has_mariadb() { PATH=$PATH:/usr/sbin command -v mariadbd && has mariadb-install-db; }
has_venv() { python3 -c 'import ensurepip, venv'; }
has_library() { ldconfig -p 2>/dev/null | grep -q "$1" || /sbin/ldconfig -p | grep -q "$1"; }
# Go only serves to build the collector, once.
has_go_or_collector() { has go || [ -x "${SVC_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/whimbrel/services}/otelcol" ]; }

# The compilers: librdkafka, SQLite and zstd are built from source.
want_build() {
    want gcc has_compiler cc c
    want g++ has_compiler c++ c++
    want make has make
    want cmake has cmake
    want pkg-config has pkg-config
    want libssl-dev pkg-config --exists openssl
    want zlib1g-dev pkg-config --exists zlib
    want curl has curl
    want ca-certificates has_certificates
}

# What the services in tests/support/services run on.
want_tests() {
    want default-jre-headless has_java
    want maven has mvn
    want postgresql has_postgres
    want mariadb-server-core has_mariadb
    want mariadb-client-core has my_print_defaults   # mariadb-install-db needs it and does not ask for it
    want python3-venv has_venv
    want openssl has openssl   # certificates of the services that speak TLS
    want golang-go has_go_or_collector
    want curl has curl
    want ca-certificates has_certificates
    want libcurl4 has_library libcurl.so.4   # mongod's
}

# setup PART...: bring the machine up to what the parts need: build, tests, or both. All packages
# are asked for at once, so that whoever must fetch an administrator does it once.
setup() {
    local part
    for part in "$@"; do "want_$part"; done
    install_missing
    for part in "$@"; do
        case $part in
            build) setup_rust ;;
            tests) "$services/fetch.sh" ;;
        esac
    done
}

can_install() { has apt-get && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; }

as_root() { # one shell line, as it would also be shown to the user
    if [ "$(id -u)" = 0 ]; then sh -c "$1" </dev/null; else sudo -n sh -c "$1" </dev/null; fi
}

# Install what `want` noted, or say how.
install_missing() {
    [ ${#missing[@]} -gt 0 ] || return 0
    local line packages
    # Asked for by two parts is still one package.
    packages=$(printf '%s\n' "${missing[@]}" | sort -u | tr '\n' ' ')
    packages=${packages% }
    has apt-get || die "missing, by Debian's package names: $packages; please install them"
    # --no-remove: never at the price of something that is already there.
    line="apt-get update -q; DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends --no-remove -o Dpkg::Options::=--force-confold $packages"
    if [[ " $packages " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        # Only the programs are wanted, not a server of the machine's own.
        line="mkdir -p /etc/postgresql-common; echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf; $line"
    fi
    if ! can_install; then
        {
            echo "x: missing: $packages"
            echo "x: no right to install them. Please run this as root, then repeat:"
            echo
            echo "$line"
            echo
        } >&2
        exit 1
    fi
    say "installing $packages"
    as_root "$line" || die "apt-get failed"
    missing=()
}

# The toolchain that rust-toolchain.toml names, through rustup.
setup_rust() {
    has rustup || install_rustup
    local channel
    channel=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    has_toolchain "$channel" && return
    say "installing Rust $channel"
    # Named, not left to the file: rustup before 1.28 cannot install from it, and installing on
    # the fly may be switched off (RUSTUP_AUTO_INSTALL=0).
    rustup toolchain install "$channel" --profile minimal --no-self-update \
        --component rustfmt --component clippy --target wasm32-unknown-unknown
    has_toolchain "$channel" || die "Rust $channel is not complete after the installation"
}

has_toolchain() {
    local sysroot
    sysroot=$(RUSTUP_AUTO_INSTALL=0 rustup run "$1" rustc --print sysroot 2>/dev/null) || return 1
    [ -x "$sysroot/bin/rustfmt" ] && [ -x "$sysroot/bin/cargo-clippy" ] && [ -d "$sysroot/lib/rustlib/wasm32-unknown-unknown" ]
}

# Debian 13 and later package rustup. Else rustup's own installer; and where only package mirrors
# can be reached, the installer as a Python package fetches it (that one honours RUSTUP_UPDATE_ROOT).
install_rustup() {
    if can_install && [ -n "$(apt-cache --quiet=2 show rustup 2>/dev/null)" ]; then
        missing=(rustup)
        install_missing
        return
    fi
    local dir init_args=(-y --no-modify-path --profile minimal --default-toolchain none)
    dir=$(mktemp -d)
    say "installing rustup for $(id -un)"
    if curl --proto '=https' --tlsv1.2 -sSf -m 120 -o "$dir/rustup-init.sh" https://sh.rustup.rs; then
        sh "$dir/rustup-init.sh" "${init_args[@]}" </dev/null
    else
        say "rustup's address cannot be reached; trying the Python package puccinialin"
        want python3-venv has_venv
        install_missing
        python3 -m venv "$dir/venv"
        "$dir/venv/bin/python" -m pip install -q puccinialin==0.1.14 </dev/null
        # Not from here: the toolchain file would rule the compiler it fetches along.
        (cd "$dir" && venv/bin/python -m puccinialin --location "$dir/rust" >/dev/null </dev/null)
        "$dir/rust/rustup-init/rustup-init" "${init_args[@]}" </dev/null
    fi
    rm -rf "$dir"
    hash -r
    has rustup || die "rustup was installed, but is not in ${CARGO_HOME:-$HOME/.cargo}/bin"
}
