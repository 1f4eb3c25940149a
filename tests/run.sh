#!/usr/bin/env bash
# Runs everything that checks Ringfence, from a clean clone on a Debian-like machine with a Rust tool chain.
#
#   tests/run.sh           formatting, clippy, cargo-deny, every test, those with real proxies and control planes included, and the seeds of
#                          every fuzz target
#   tests/run.sh --long    the same, with minutes of traffic instead of seconds wherever a test keeps traffic running, a minute for each fuzz
#                          target, millions of checks in one go (benches/soak.sh), and every change that tests should see (tests/mutants.sh):
#                          some hours
#
# What the tests need is installed once: Debian packages with apt-get (through sudo when not root), the rest below
# ${RINGFENCE_TEST_CACHE:-$HOME/.cache/ringfence-tests}, by version. It ends with one line: `N passed, N failed`.
# `cargo test` alone runs what needs nothing but Rust. A whole cluster takes root, as it makes name spaces and containers.
set -uo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
readonly CARGO_DENY=0.20.2
readonly CACHE=${RINGFENCE_TEST_CACHE:-$HOME/.cache/ringfence-tests}
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
export RINGFENCE_TEST_TRAFFIC_SECONDS=3
FUZZ_SECONDS=0
IS_LONG=false

case "${1-}" in
  "") ;;
  --long) export RINGFENCE_TEST_TRAFFIC_SECONDS=120 FUZZ_SECONDS=60 IS_LONG=true ;;
  -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "tests/run.sh: unknown argument \`$1\`: there is --long and nothing else" >&2; exit 2 ;;
esac

# shellcheck source=tests/install/cargo.sh
. tests/install/cargo.sh
# shellcheck source=tests/install/envoy.sh
. tests/install/envoy.sh
# shellcheck source=tests/install/go.sh
. tests/install/go.sh

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
failed_stages=()

# stage NAME COMMAND...: runs it, shows how long it took, remembers a failure.
stage() {
  local name=$1 from=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if "$@"; then
    printf '== %s: ok (%d s)\n' "$name" $((SECONDS - from))
  else
    printf '== %s: FAILED (%d s)\n' "$name" $((SECONDS - from))
    failed_stages+=("$name")
    return 1
  fi
}

# Debian packages, only those whose command is missing.
install_packages() {
  local missing=() sudo=()
  PATH=$PATH:/usr/sbin
  command -v nginx >/dev/null || missing+=(nginx)
  command -v caddy >/dev/null || missing+=(caddy)
  command -v haproxy >/dev/null || missing+=(haproxy)
  command -v h2load >/dev/null || missing+=(nghttp2-client)
  command -v curl >/dev/null || missing+=(curl)
  command -v promtool >/dev/null || missing+=(prometheus)
  command -v ip >/dev/null || missing+=(iproute2)
  command -v nsenter >/dev/null || missing+=(util-linux)
  command -v faketime >/dev/null || missing+=(faketime)
  command -v cc >/dev/null || missing+=(gcc libc6-dev)
  command -v etcd >/dev/null || missing+=(etcd-server)
  command -v redis-server >/dev/null || missing+=(redis-server)
  # The languages of docs/signed-urls.md.
  command -v node >/dev/null || missing+=(nodejs)
  command -v javac >/dev/null || missing+=(default-jdk-headless)
  command -v mcs >/dev/null || missing+=(mono-mcs)
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  # The image, and a node that runs it.
  command -v musl-gcc >/dev/null || missing+=(musl-tools)
  [ -s /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
  command -v buildah >/dev/null || missing+=(buildah)
  command -v umoci >/dev/null || missing+=(umoci)
  command -v skopeo >/dev/null || missing+=(skopeo)
  command -v runc >/dev/null || missing+=(runc)
  [ -x /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
  command -v conntrack >/dev/null || missing+=(conntrack)
  command -v nft >/dev/null || missing+=(nftables)
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || { echo "missing: ${missing[*]}; there is no apt-get here, install what provides them" >&2; return 1; }
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "missing: ${missing[*]}; neither root nor sudo, install them first" >&2; return 1; }
    sudo=(sudo)
  fi
  echo "installing ${missing[*]}"
  "${sudo[@]}" apt-get update -q >"$work/apt" 2>&1 &&
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >>"$work/apt" 2>&1 ||
    { tail -n 20 "$work/apt" >&2; return 1; }
}

install_components() {
  local missing=()
  cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
  cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
  [ ${#missing[@]} -eq 0 ] || rustup component add "${missing[@]}" || return 1
  # The image has no C library of its own.
  local target
  target=$(uname -m)-unknown-linux-musl
  [ -e "$(rustc --print target-libdir --target "$target")/self-contained" ] || rustup target add "$target"
}

install_all() {
  mkdir -p -- "$CACHE" && install_components && install_packages && install_envoy "$CACHE" && install_cargo_tool cargo-deny "$CARGO_DENY" "$CACHE" && install_go_programs "$CACHE"
}

deny() {
  cargo deny --locked check -D warnings bans licenses sources || return 1
  echo "cargo-deny: advisories are not checked here, their database is a git repository that an offline machine cannot fetch"
}

# The image that the tests look into and run; deploy/build-image.sh without --quick makes the one to ship.
build_image() {
  export RINGFENCE_TEST_IMAGE=$work/image.tar
  deploy/build-image.sh --quick "$RINGFENCE_TEST_IMAGE"
}

run_tests() {
  cargo test --workspace --locked --no-fail-fast --features ringfence/real-proxies -- --skip node::a_whole_cluster 2>&1 | tee "$work/tests"
}

# By itself: pods that wait for their turn at the processor would be started again for being late.
run_cluster() {
  cargo test --locked --features ringfence/real-proxies --test e2e -- --nocapture node::a_whole_cluster 2>&1 | tee -a "$work/tests"
}

# summary: the sum over all test binaries. Fails when one failed, when none ran, or when one was left out.
summary() {
  awk -v stages="${#failed_stages[@]}" '
    /^test result: / { for (i = 2; i <= NF; i++) { if ($i == "passed;") p += $(i-1); if ($i == "failed;") f += $(i-1); if ($i == "ignored;") s += $(i-1) } }
    END {
      if (s > 0) printf "%d passed, %d failed, %d skipped\n", p, f, s; else printf "%d passed, %d failed\n", p, f
      exit (stages > 0 || f > 0 || s > 0 || p == 0)
    }' "$work/tests"
}

touch "$work/tests"
if stage "install what the tests need" install_all; then
  stage "formatting" cargo fmt --all --check
  stage "bans, licences, sources" deny
  stage "clippy" cargo clippy --workspace --locked --all-targets --features ringfence/real-proxies --quiet -- -D warnings
  stage "image" build_image
  stage "tests" run_tests
  stage "a whole cluster" run_cluster
  stage "fuzz targets" tests/fuzz.sh "$FUZZ_SECONDS"
  if $IS_LONG; then
    stage "soak" benches/soak.sh
    stage "mutants" tests/mutants.sh
  fi
fi
printf '\n'
[ ${#failed_stages[@]} -eq 0 ] || printf 'failed: %s\n' "$(IFS=,; echo "${failed_stages[*]}")"
printf 'took %d s\n' "$SECONDS"
summary
