# shellcheck shell=bash
# `./x check page`: the status page in a headless browser; `./x page-vendor`: the chart library it carries. Sourced by ../../x.

browser=$root/tests/support/browser
vendor=$root/agent/src/export/page/vendor

# The browser that the machine has or the distribution packages, and the library that drives it, in a place of its own.
setup_browser() {
    local venv=${XDG_CACHE_HOME:-$HOME/.cache}/whimbrel/browser/venv
    want chromium has chromium
    want fonts-dejavu-core has_font
    want python3-venv has_venv
    install_missing
    if ! cmp -s "$browser/requirements.txt" "$venv/requirements.txt"; then
        say "installing what drives the browser, once"
        python3 -m venv --clear "$venv"
        "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$browser/requirements.txt" </dev/null
        cp "$browser/requirements.txt" "$venv/requirements.txt"
    fi
    WHIMBREL_BROWSER=$(command -v chromium)
    export WHIMBREL_BROWSER WHIMBREL_BROWSER_PYTHON=$venv/bin/python WHIMBREL_BROWSER_SCRIPT=$browser/page.py
}

has_font() { [ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ]; }

check_page() {
    setup_browser
    cargo test "${locked[@]}" --workspace --features whimbrel/failpoints --test all -- --ignored --exact --nocapture \
        observability::page::browser::fifty_pipelines_in_a_browser
}

# run_page_vendor [VERSION]: the package as npm has it, against the checksums here
run_page_vendor() {
    local version dir
    version=${1:-$(sed -n 's/.*| \([0-9.]*\) | MIT |$/\1/p' "$vendor/README.md")}
    want npm has npm
    install_missing
    dir=$(mktemp -d)
    (cd "$dir" && npm pack --silent "uplot@$version" >/dev/null && tar -xzf "uplot-$version.tgz")
    cp "$dir/package/dist/uPlot.iife.min.js" "$dir/package/dist/uPlot.min.css" "$vendor/"
    cp "$dir/package/LICENSE" "$vendor/uPlot.LICENSE"
    rm -rf "$dir"
    if [ $# -eq 0 ]; then
        (cd "$vendor" && sha256sum --check --strict SHA256SUMS) || die "the package is not what it was; look at the difference (git diff)"
    else
        (cd "$vendor" && sha256sum uPlot.LICENSE uPlot.iife.min.js uPlot.min.css >SHA256SUMS)
        sed -i "s/| [0-9.]* | MIT |\$/| $version | MIT |/" "$vendor/README.md"
        say "uPlot $version is here; mend the version in agent/src/export/page/tests.rs, run ./x test unit export::page and ./x check page"
    fi
}
