#!/bin/sh
# What a second worker adds: `--example forward` on one core, on another, and on both at once, in turns.
#   benches/cores.sh TABLE DESTINATIONS [ROUNDS [CORE CORE]]
set -eu
table=$1 destinations=$2 rounds=${3:-5} one=${4:-0} two=${5:-1}
forward=${CARGO_TARGET_DIR:-target}/release/examples/forward
mpps() {
    "$forward" --table "$table" --destinations "$destinations" --seconds 2 --cores "$1" |
        sed 's/^{"mpps":\([0-9.]*\).*/\1/'
}
median() {
    sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
lines=$(for _ in $(seq "$rounds"); do
    echo "$(mpps "$one") $(mpps "$two") $(mpps "$one,$two")"
done)
echo "$lines" | awk -v one="$one" -v two="$two" '{
    printf "core %s: %s  core %s: %s  both: %s Mpps  %.2f times one\n", one, $1, two, $2, $3, 2 * $3 / ($1 + $2)
}'
echo "median: $(echo "$lines" | awk '{ print 2 * $3 / ($1 + $2) }' | median) times one"
