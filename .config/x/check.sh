# shellcheck shell=bash
# `./x check`: what a change must pass besides its tests. Sourced by ../../x.

check_fmt() { cargo fmt --all --check; }

check_clippy() { cargo clippy "${locked[@]}" --workspace --all-targets -- -D warnings; }

# The fuzz target takes the decoder's sources by path and is no member of the workspace: what it lacks shows only here.
check_fuzz() { cargo check "${locked[@]}" --manifest-path agent/fuzz/Cargo.toml --target-dir target/fuzz; }

check_doc() { RUSTDOCFLAGS="-D warnings" cargo doc "${locked[@]}" --workspace --no-deps; }

check_scripts() {
    want shellcheck has shellcheck
    install_missing
    # What these source is checked along with them (.shellcheckrc).
    shellcheck --check-sourced x .ci/run plugin-sdk/examples/*/build.sh tests/support/services/[!s]*.sh tests/support/services/services.sh
}

# Licences, bans and sources need only the lock file; advisories need RustSec's database from the net.
check_deny() {
    if ! has cargo-deny; then
        say "building cargo-deny, once (about 5 minutes)"
        cargo install --locked cargo-deny
    fi
    cargo deny --all-features check licenses bans sources
    if cargo deny fetch db >/dev/null 2>&1; then
        cargo deny --all-features check advisories
    else
        say "ADVISORIES NOT CHECKED: RustSec's database cannot be fetched from here"
    fi
}

# Grafana's schema comes as a package of types for TypeScript, kept below target/.
check_dashboards() {
    local work=$root/target/dashboards source=$root/.config/x/dashboards
    want npm has npm
    install_missing
    mkdir -p "$work"
    if ! cmp -s "$source/package-lock.json" "$work/package-lock.json" || [ ! -d "$work/node_modules" ]; then
        cp "$source/package.json" "$source/package-lock.json" "$work"
        npm ci --prefix "$work" --ignore-scripts --no-audit --no-fund --silent
    fi
    (cd "$work" && node "$source/check.mjs" "$root/docs/dashboards/database-migration-monitoring.json")
}

run_check() {
    local part failed=()
    [ $# -gt 0 ] || set -- fmt scripts clippy fuzz doc dashboards deny
    for part in "$@"; do
        declare -F "check_$part" >/dev/null || die "no part \"$part\"; there are: fmt scripts clippy fuzz doc dashboards deny page"
    done
    for part in "$@"; do
        say "check $part"
        # A shell of its own: `set -e` is off within a condition.
        (check_"$part") || failed+=("$part")
    done
    [ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}"
    say "passed: $*"
}
