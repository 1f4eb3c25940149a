#!/usr/bin/env bash
# Builds the release and measures it: one table of figures, ratios and bounds on standard output, the same as JSON in target/bench.json.
# Takes some minutes once built. Exit code 0 = every bound is kept, 1 = one is missed, anything else = it could not be measured.
#
#   benches/run.sh               everything
#   benches/run.sh checks envoy  these sections alone: core, checks, wires, h2load, latency, scale, neighbours, overload, envoy
#   benches/run.sh allowed       the server under one kind of request, named by its reason, for a profiler to look at
#   benches/run.sh allowed A B   two builds of the server in turn under the same requests
#   benches/run.sh decide        `decide` alone, or with a name after it one candidate of it
#   benches/run.sh kubernetes    policies of a real API server
#
# The section `h2load` needs that program (Debian's nghttp2-client), `envoy` a real Envoy, `kubernetes` an API server and etcd: Envoy and the API
# server are installed or built once, as for the tests; etcd is Debian's etcd-server.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${RINGFENCE_TEST_CACHE:-$HOME/.cache/ringfence-tests}
if [[ ${1:-} == kubernetes ]]; then
    # shellcheck source=tests/install/go.sh
    . tests/install/go.sh
    install_kubernetes "$cache"
    exec cargo bench --quiet --locked --features real-proxies --bench kubernetes
fi

if [[ ${1:-} == decide ]]; then
    exec cargo bench --quiet --locked --package ringfence-core --bench decide -- "${@:2}"
fi
if [[ $# -eq 0 || " $* " == *" envoy "* ]]; then
    # shellcheck source=tests/install/envoy.sh
    . tests/install/envoy.sh
    install_envoy "$cache"
fi
cargo bench --quiet --locked --no-run --bench kit
program=$(cargo bench --locked --no-run --bench kit --message-format=json 2>/dev/null | sed -n 's/.*"name":"kit".*"executable":"\([^"]*\)".*/\1/p')
exec "$program" "$@"
