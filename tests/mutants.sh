#!/usr/bin/env bash
# Changes what decides (core/src/decide), one thing at a time, and expects a test of the core to fail: at least 95 of 100 changes must be seen.
#
#   tests/mutants.sh                              all of it (an hour and a half on two cores with RINGFENCE_TEST_JOBS=2)
#   tests/mutants.sh core/src/decide/path.rs      some files
#
# What no test sees is listed at the end and in target/mutants.out/missed.txt.
set -uo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
readonly CARGO_MUTANTS=27.1.0
readonly CACHE=${RINGFENCE_TEST_CACHE:-$HOME/.cache/ringfence-tests}
readonly OUT=${RINGFENCE_TEST_MUTANTS:-target}
readonly LEAST=95

case ${1-} in -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;; esac

# shellcheck source=tests/install/cargo.sh
. tests/install/cargo.sh
install_cargo_tool cargo-mutants "$CARGO_MUTANTS" "$CACHE" || exit 1

files=()
for file in "${@:-core/src/decide/**}"; do files+=(--file "$file"); done
rm -rf -- "$OUT/mutants.out"
mkdir -p -- "$OUT"

# A change that never comes to an end, or wants all memory, is one that was seen. Nothing of this waits, so that processor time tells it, however
# busy the machine is.
ulimit -t 120 -v 6000000

# change TESTS...: every change that was not seen yet, under these tests. No debug information, and fewer random tries: each change is a build.
change() {
  CARGO_PROFILE_DEV_DEBUG=0 PROPTEST_CASES=${PROPTEST_CASES:-96} cargo mutants --package ringfence-core --jobs "${RINGFENCE_TEST_JOBS:-1}" --timeout 900 --no-shuffle \
    --colors never --iterate --output "$OUT" "${files[@]}" $(printf -- '--cargo-test-arg=%s ' "$@")
  # 2: some were missed, 3: some took too long, which is a failure that was seen.
  case $? in 0 | 2 | 3) ;; *) exit 1 ;; esac
}
count() { wc -l <"$OUT/mutants.out/$1.txt"; }
# The core's own tests see most of them, and the table cases, which take longer to build, what is left.
change --lib
seen=$(count caught)
change --test cases
seen=$((seen + $(count caught) + $(count timeout)))
missed=$(count missed)
[ $((seen + missed)) -gt 0 ] || { echo "there was nothing to change" >&2; exit 1; }
cat -- "$OUT/mutants.out/missed.txt"
awk -v seen="$seen" -v missed="$missed" -v least="$LEAST" 'BEGIN {
  share = 100 * seen / (seen + missed)
  printf "%d of %d changes were seen (%.1f %%; at least %d %% are wanted)\n", seen, seen + missed, share, least
  exit share < least
}'
