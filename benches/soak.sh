#!/usr/bin/env bash
# Builds the release and soaks it: checks of every kind while keys rotate, the folder is read again, and used tokens are counted.
# Exit code 0 = no wrong answer, memory flat within 5 % after the warm-up, no descriptor leaked; 1 = one of these is missed; 2 = none, but it was over
# before memory could be judged.
#
#   benches/soak.sh                       20,000,000 checks, a rotation each minute, a reload each ten seconds: some five minutes and more
#   benches/soak.sh CHECKS                as many as you say
#   benches/soak.sh CHECKS ROTATE RELOAD  the same with other intervals, in seconds
set -euo pipefail
cd "$(dirname "$0")/.."

exec cargo bench --quiet --locked --bench soak -- "$@"
