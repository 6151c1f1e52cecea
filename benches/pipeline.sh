#!/usr/bin/env bash
# Measures ixmap's pipeline, a whole worker between two ports in memory, beside a plain forwarding loop on DPDK's
# API, in turns: on the real tables and on made-up ones, whose prefixes share less.
# What is measured, and what is fair about it: benches/README.md, "The pipeline".
set -euo pipefail
# shellcheck source=benches/common.sh
. "$(dirname "$0")/common.sh"

readonly USAGE="usage: benches/pipeline.sh [--rounds N] [--core N] [--seconds N] [--width N]

  --rounds N    how often both are measured, in turn (default 3)
  --core N      the core to measure on (default: the last one)
  --seconds N   how long each time, 1 to 50 (default 1)
  --width N     bytes of an entry of DPDK's IPv4 table, 2 or 4 (default 2, with which it is quicker)

Exit 0: measured, all answers alike; 1: answers differ; 2: something is missing or failed."
readonly STREAMS=(uniform-prefix zipf)
readonly TABLES=(real4 real6 made-up4 made-up6)
declare -rA MADE_UP=([4]=1000000 [6]=200000)
# Everywhere, and besides on the real tables with the first of the streams: what fits the L1 and L2 caches, and what
# none but a large L3 has.
readonly FRAMES=16384
readonly OTHER_FRAMES=(256 262144)
# rte_fib6 with 400,000 tbl8s takes 270, and 262,144 mbufs 60; ixmap's as many frames 256.
readonly HUGEPAGES=512

rounds=3 seconds=1 width=2
core=$(($(nproc --all) - 1))

options() {
    while (($#)); do
        case $1 in
        --rounds) rounds=$(number "$1" "${2-}") ;;
        --core) core=$(number "$1" "${2-}") ;;
        --seconds) seconds=$(number "$1" "${2-}") ;;
        --width) width=$(number "$1" "${2-}") ;;
        -h | --help) echo "$USAGE" && exit 0 ;;
        *) fail "unknown argument $1
$USAGE" ;;
        esac
        shift 2
    done
    ((rounds > 0)) || fail "--rounds 0: there would be nothing to see"
    ((seconds >= 1 && seconds <= 50)) || fail "--seconds $seconds: 1 to 50"
    ((width == 2 || width == 4)) || fail "--width $width: 2 or 4"
}

build() {
    local target=${CARGO_TARGET_DIR:-target}
    cargo build --quiet --release --example fib --example forward || fail "ixmap does not build"
    cargo build --quiet --release --package ixmap-tables --example made-up || fail "made-up does not build"
    fib=$target/release/examples/fib
    forward=$target/release/examples/forward
    made_up=$target/release/examples/made-up
    rte=$work/rte_fib
    build_rte_fib "$rte"
}

family() { echo "${1: -1}"; } # TABLE
table() { echo "$work/$1"; }  # TABLE
stream() { echo "$work/$1-$2"; } # TABLE STREAM

write_inputs() {
    local v t s
    for v in 4 6; do
        xzcat "tests/data/bart$v.txt.xz" >"$(table "real$v")"
        "$made_up" "$v" "${MADE_UP[$v]}" >"$(table "made-up$v")"
    done
    for t in "${TABLES[@]}"; do
        for s in "${STREAMS[@]}"; do
            "$fib" "$(table "$t")" --stream "$s" --write-stream "$(stream "$t" "$s")" </dev/null
        done
    done
}

# DPDK's side: rte_fib on a table and one of its streams.
run_rte() { # TABLE STREAM OPTION...
    local entry=4
    [[ $(family "$1") == 6 ]] || entry=$width
    "${pinned[@]}" "$rte" --core "$core" --lookup avx512 --width "$entry" "${@:3}" "$(table "$1")" "$(stream "$1" "$2")"
}

compare_answers() {
    local t s
    for t in "${TABLES[@]}"; do
        for s in "${STREAMS[@]}"; do
            "$fib" "$(table "$t")" <"$(stream "$t" "$s")" >"$work/ixmap"
            run_rte "$t" "$s" --print >"$work/rte"
            same "$t $s" DPDK "$work/rte" "$work/ixmap"
        done
    done
}

# What is measured, a line each: table, stream, frames.
rows() {
    local t s n
    for t in "${TABLES[@]}"; do
        for s in "${STREAMS[@]}"; do
            echo "$t $s $FRAMES"
        done
    done
    for t in real4 real6; do
        for n in "${OTHER_FRAMES[@]}"; do
            echo "$t ${STREAMS[0]} $n"
        done
    done
}

# Nanoseconds a packet of both. DPDK's rounds are of 50 ms.
measure() { # TABLE STREAM FRAMES
    local json
    json=$("${pinned[@]}" "$forward" --table "$(table "$1")" --destinations "$(stream "$1" "$2")" --frames "$3" \
        --seconds "$seconds") || fail "--example forward failed"
    note "$1 $2/$3 ixmap $(field ns_per_packet <<<"$json")"
    json=$(run_rte "$1" "$2" --rounds $((20 * seconds)) --mbufs "$3") || fail "rte_fib failed"
    note "$1 $2/$3 dpdk $(field ns_per_mbuf <<<"$json")"
}

measure_round() {
    local t s n
    while read -r t s n; do measure "$t" "$s" "$n" </dev/null; done < <(rows)
}

mpps() { # TABLE WHAT PROGRAM
    values "$@" | awk '{ print 1e3 / $1 }' | spread %.1f
}

row() { printf '%-38s %-20s %-20s %s\n' "$@"; }

report() {
    local t s n
    printf '\n%s, DPDK %s, entries of %s B (IPv6: 4), load before %s, %s rounds of %s s, %s\n' "$(machine "$core")" \
        "$(pkg-config --modversion libdpdk)" "$width" "$load" "$rounds" "$seconds" "$(date +%F)"
    printf 'Millions of packets a second, median (least-most).\n'
    row "" ixmap "DPDK's loop" "times as quick"
    while read -r t s n; do
        row "IPv$(family "$t") ${t%?}, $s, $n" "$(mpps "$t" "$s/$n" ixmap)" "$(mpps "$t" "$s/$n" dpdk)" \
            "$(ratio "$t" "$s/$n" ixmap)"
    done < <(rows)
}

main() {
    options "$@"
    prepare_beside_rte_fib $HUGEPAGES "$core"
    measure_rounds "$rounds"
    report
    exit_on_differences
}

main "$@"
