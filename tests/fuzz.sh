#!/usr/bin/env bash
# Builds the fuzz targets (fuzz/) and hands each of them its seeds; with a number, lets each search on from there for so many seconds.
#
#   tests/fuzz.sh                 every target, seeds only
#   tests/fuzz.sh 60              every target for a minute, as many at a time as there are cores
#   tests/fuzz.sh 600 token       one target for ten minutes
#
# What a target finds is written to fuzz/artifacts/TARGET, with the command that shows it again. Inputs that led somewhere new are kept beside
# the build, below ${RINGFENCE_TEST_CACHE:-$HOME/.cache/ringfence-tests}, and are where the next search begins.
set -uo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
readonly CARGO_FUZZ=0.13.2
readonly CACHE=${RINGFENCE_TEST_CACHE:-$HOME/.cache/ringfence-tests}
readonly BUILD=$CACHE/fuzz-$CARGO_FUZZ
readonly SECONDS_EACH=${1:-0}
shift $(($# > 0 ? 1 : 0))

case $SECONDS_EACH in
  -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *[!0-9]*) echo "tests/fuzz.sh: \`$SECONDS_EACH\` is no number of seconds" >&2; exit 2 ;;
esac

# shellcheck source=tests/install/cargo.sh
. tests/install/cargo.sh
install_cargo_tool cargo-fuzz "$CARGO_FUZZ" "$CACHE" || exit 1

# The targets are built with the very versions that the service is.
cp Cargo.lock fuzz/Cargo.lock || exit 1
# No sanitizer: there is no unsafe code of ours, and the stable compiler does without. Nor `cfg(fuzzing)`: libraries leave checks out under it.
cargo fuzz build --sanitizer none --no-cfg-fuzzing --codegen-units 16 --target-dir "$BUILD" 2>"$BUILD.log" || { tail -n 40 "$BUILD.log" >&2; exit 1; }
triple=$(rustc -vV | sed -n 's/^host: //p')
export PROGRAMS=$BUILD/$triple/release CORPUS=$CACHE/fuzz-corpus SECONDS_EACH WORK
WORK=$(mktemp -d)
trap 'rm -rf -- "$WORK"' EXIT

# search TARGET: its seeds, and what comes of them.
search() {
  local target=$1 limit=(-runs=0) folders=("$WORK/$1")
  mkdir -p -- "$WORK/$target" "$CORPUS/$target" "fuzz/artifacts/$target"
  if [ "$SECONDS_EACH" -gt 0 ]; then
    limit=(-max_total_time="$SECONDS_EACH")
    folders=("$CORPUS/$target" "$WORK/$target")
  fi
  RINGFENCE_FUZZ_SEEDS=$WORK/$target "$PROGRAMS/$target" "${limit[@]}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="fuzz/artifacts/$target/" "${folders[@]}" >"$WORK/$target.log" 2>&1
  local code=$?
  if [ $code -ne 0 ]; then
    grep -a -v '^#\|^stat::\|^INFO' "$WORK/$target.log" | head -n 60
    echo "fuzz target $target: FAILED; show it again with $PROGRAMS/$target FILE"
    return 1
  fi
  awk -v target="$target" '/^#/ { for (i = 2; i < NF; i++) if ($i == "cov:") cov = $(i+1) } /number_of_executed_units/ { runs = $2 }
    END { printf "%-16s %9d inputs, %d edges\n", target, runs, cov }' "$WORK/$target.log"
}
export -f search

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
[ ${#targets[@]} -gt 0 ] || { echo "there are no fuzz targets" >&2; exit 1; }
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'search {}'
