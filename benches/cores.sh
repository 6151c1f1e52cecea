#!/usr/bin/env bash
# What a second worker adds: `--example forward` on one core, on another, and on both at once, in turns.
set -euo pipefail
# shellcheck source=benches/common.sh
. "$(dirname "$0")/common.sh"

readonly USAGE="usage: benches/cores.sh TABLE DESTINATIONS [ROUNDS [CORE CORE]]

  TABLE, DESTINATIONS  as --example forward has them
  ROUNDS               how often, in turns (default 5), for two seconds each
  CORE CORE            the two cores (default 0 and 1)

Exit 0: measured; 2: something is missing or failed."
[[ ${1-} != -h && ${1-} != --help ]] || { echo "$USAGE" && exit 0; }
(($# == 2 || $# == 3 || $# == 5)) || fail "$USAGE"
table=$(realpath -qe "$1") || fail "no file $1"
destinations=$(realpath -qe "$2") || fail "no file $2"
rounds=$(number ROUNDS "${3:-5}") one=$(number CORE "${4:-0}") two=$(number CORE "${5:-1}")
((rounds > 0)) || fail "no rounds: there would be nothing to see"
cd "$(dirname "$0")/.."
cargo build --quiet --release --example forward || fail "ixmap does not build"
forward=${CARGO_TARGET_DIR:-target}/release/examples/forward

mpps() { # CORES
    local json
    json=$("$forward" --table "$table" --destinations "$destinations" --seconds 2 --cores "$1") || exit 2
    json=${json#'{"mpps":'} # the sum comes first
    echo "${json%%,*}"
}

lines=()
for ((round = 1; round <= rounds; round++)); do
    a=$(mpps "$one")
    b=$(mpps "$two")
    both=$(mpps "$one,$two")
    ratio=$(awk -v a="$a" -v b="$b" -v both="$both" 'BEGIN { printf "%.2f", 2 * both / (a + b) }')
    echo "core $one: $a  core $two: $b  both: $both Mpps  $ratio times one"
    lines+=("$ratio")
done
echo "median: $(printf '%s\n' "${lines[@]}" | spread | cut -d' ' -f1) times one"
