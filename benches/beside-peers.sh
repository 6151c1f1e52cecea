#!/usr/bin/env bash
# Measures ixmap's FIB beside its peers on the real tables, in one run: DPDK's rte_fib interleaved with
# it, also with more next hops than the tables have, then the crates treebitmap, prefix-trie and poptrie
# once each. All programs are given the same streams, and all must give the same answers, before and after
# the replayed updates.
# What is measured, and what is fair about it: benches/README.md.
set -euo pipefail
# shellcheck source=benches/common.sh
. "$(dirname "$0")/common.sh"

readonly USAGE="usage: benches/beside-peers.sh [--rounds N] [--core N] [--poptrie-limit SECONDS]

  --rounds N                how often ixmap and DPDK are measured, in turn (default 5)
  --core N                  the core to measure on (default: the last one)
  --poptrie-limit SECONDS   give up building poptrie after so long (default 60; IPv4 takes minutes)

Exit 0: measured, all answers alike; 1: answers differ; 2: something is missing or failed."
readonly STREAMS=(uniform-address uniform-prefix zipf sequential)
readonly COMMITS=(1 256)
# Packets in flight: frames of 2 KiB that hold the cache lines of 64 KiB, 1 MiB and 16 MiB of packets.
readonly FRAMES=(1024 16384 262144)
# Random next hops in place of a table's own; DPDK's 2-byte entries end at 32,767.
readonly NEXT_HOPS=(4096 32000)
# What packets and random next hops are measured with.
readonly FEW_STREAMS=(uniform-prefix zipf)
readonly CRATES=(treebitmap prefix-trie poptrie)
# What rte_fib6 takes for 400,000 tbl8s, and its RIB.
readonly HUGEPAGES=768

rounds=5
core=$(($(nproc --all) - 1))
poptrie_limit=60

options() {
    while (($#)); do
        case $1 in
        --rounds) rounds=$(number "$1" "${2-}") ;;
        --core) core=$(number "$1" "${2-}") ;;
        --poptrie-limit) poptrie_limit=$(number "$1" "${2-}") ;;
        -h | --help) echo "$USAGE" && exit 0 ;;
        *) fail "unknown argument $1
$USAGE" ;;
        esac
        shift 2
    done
    ((rounds > 0)) || fail "--rounds 0: there would be nothing to see"
}

# ixmap as it ships: it chooses its instructions at run time. The crates cannot, and get this CPU's.
build() {
    local target=${CARGO_TARGET_DIR:-target}
    cargo build --quiet --release --example fib || fail "ixmap does not build"
    RUSTFLAGS="-C target-cpu=native" cargo build --quiet --release --package ixmap-fib-peers \
        --target-dir "$target/native" || fail "the crates do not build"
    fib=$target/release/examples/fib
    crates=$target/native/release/ixmap-fib-peers
    rte=$work/rte_fib
    build_rte_fib "$rte"
}

# Of a family, or of a family with random next hops: 4, or 4-4096.
table() { echo "$work/table$1"; }
updates() { echo "$work/updates$1"; }
stream() { echo "$work/v$1-$2"; }
routes() { wc -l <"$(table "$1")"; }

# A table with random ids below N in place of its own: Lehmer's generator, of which every awk makes the
# same ones.
random_ids() { # N < TABLE
    awk -v n="$1" -v x=42 '{ x = 16807 * x % 2147483647; print $1, int(x / 2147483647 * n) }'
}

write_inputs() {
    local v s n
    for v in 4 6; do
        xzcat "tests/data/bart$v.txt.xz" >"$(table $v)"
        xzcat "tests/data/upd$v-ris2016.txt.xz" >"$(updates $v)"
        for s in "${STREAMS[@]}"; do
            "$fib" "$(table $v)" --stream "$s" --write-stream "$(stream $v "$s")"
        done
        for n in "${NEXT_HOPS[@]}"; do
            random_ids "$n" <"$(table $v)" >"$(table "$v-$n")"
        done
    done
}

# A stream's answers of ixmap and DPDK; ixmap's stay in a file.
compare_on() { # TABLE STREAM
    local addresses
    addresses=$(stream "${1%-*}" "$2")
    "$fib" "$(table "$1")" <"$addresses" >"$work/ixmap"
    "$rte" --core "$core" --print "$(table "$1")" "$addresses" >"$work/rte"
    same "IPv$1 $2" DPDK "$work/rte" "$work/ixmap"
}

# Every stream's answers of ixmap and DPDK; the crates' follow with their measurements.
compare_answers() {
    local v s n all
    for v in 4 6; do
        for all in before after; do
            : >"$work/answers$v-$all"
        done
        for s in "${STREAMS[@]}"; do
            compare_on $v "$s"
            cat "$work/ixmap" >>"$work/answers$v-before"
            "$fib" "$(table $v)" --updates "$(updates $v)" <"$(stream $v "$s")" | tail -n +2 >"$work/ixmap"
            "$rte" --core "$core" --print --updates "$(updates $v)" "$(table $v)" "$(stream $v "$s")" |
                tail -n +2 >"$work/rte"
            same "IPv$v $s after the updates" DPDK "$work/rte" "$work/ixmap"
            cat "$work/ixmap" >>"$work/answers$v-after"
        done
        for n in "${NEXT_HOPS[@]}"; do
            compare_on "$v-$n" uniform-prefix
        done
    done
}

# One round of lookups: ixmap and DPDK in turn.
measure_lookups() { # TABLE STREAM...
    local t=$1 s json
    shift
    for s; do
        json=$("${pinned[@]}" "$fib" "$(table "$t")" --bench --stream "$s")
        note "$t $s ixmap $(field ns_per_lookup <<<"$json")"
        note "$t build ixmap $(field build_seconds <<<"$json")"
        echo "$json" >"$work/ixmap$t.json"
        json=$("${pinned[@]}" "$rte" --core "$core" --lookup avx512 "$(table "$t")" "$(stream "${t%-*}" "$s")")
        note "$t $s dpdk $(field ns_per_lookup <<<"$json")"
        note "$t build dpdk $(field build_seconds <<<"$json")"
        echo "$json" >"$work/rte$t.json"
    done
}

measure_round() {
    local v n
    for v in 4 6; do
        measure_lookups $v "${STREAMS[@]}"
        for n in "${NEXT_HOPS[@]}"; do
            measure_lookups "$v-$n" "${FEW_STREAMS[@]}"
        done
    done
    measure_updates
    measure_packets
}

# One round of updates. DPDK's are in force one by one, as ixmap's are with a commit after each.
measure_updates() {
    local v n json
    for v in 4 6; do
        for n in "${COMMITS[@]}"; do
            json=$("${pinned[@]}" "$fib" "$(table $v)" --updates "$(updates $v)" --commit-every "$n" </dev/null)
            note "$v mean ixmap/$n $(field ns_per_op_mean <<<"$json")"
            note "$v p99 ixmap/$n $(field ns_per_op_p99 <<<"$json")"
        done
        json=$("${pinned[@]}" "$rte" --core "$core" --rounds 1 --updates "$(updates $v)" "$(table $v)" \
            "$(stream $v zipf)" | sed 1q)
        note "$v mean dpdk $(field ns_per_op_mean <<<"$json")"
        note "$v p99 dpdk $(field ns_per_op_p99 <<<"$json")"
    done
}

# One round of packets: frame to lookup to frame, and the same without the lookup.
measure_packets() {
    local v s n json
    for v in 4 6; do
        for s in "${FEW_STREAMS[@]}"; do
            for n in "${FRAMES[@]}"; do
                json=$("${pinned[@]}" "$fib" "$(table $v)" --bench --rounds 3 --stream "$s" --frames "$n")
                note "$v $s/$n ixmap $(field ns_per_packet <<<"$json")"
                note "$v $s/$n/bare ixmap $(field ns_per_packet_without_lookup <<<"$json")"
                json=$("${pinned[@]}" "$rte" --core "$core" --lookup avx512 --rounds 3 --frames "$n" \
                    "$(table $v)" "$(stream $v "$s")")
                note "$v $s/$n dpdk $(field ns_per_packet <<<"$json")"
                note "$v $s/$n/bare dpdk $(field ns_per_packet_without_lookup <<<"$json")"
            done
        done
    done
}

# The crates, once each: a build for the lookups and the answers, one more for the updates.
measure_crates() {
    local v crate status streams s i
    for v in 4 6; do
        streams=()
        for s in "${STREAMS[@]}"; do streams+=("$(stream $v "$s")"); done
        for crate in "${CRATES[@]}"; do
            local run=("${pinned[@]}" "$crates" --answers "$work/crate" --build-limit "$poptrie_limit" "$crate" "$(table $v)")
            status=0
            "${run[@]}" "${streams[@]}" >"$work/lines" || status=$?
            ((status != 3)) || continue # not built in time, as it has said
            ((status == 0)) || fail "$crate failed"
            same "IPv$v" "$crate" "$work/crate" "$work/answers$v-before"
            for i in "${!STREAMS[@]}"; do
                note "$v ${STREAMS[i]} $crate $(sed -n "$((i + 1))p" "$work/lines" | field ns_per_lookup)"
            done
            note "$v build $crate $(sed 1q "$work/lines" | field build_seconds)"
            "${run[@]}" --rounds 1 --updates "$(updates $v)" "${streams[@]}" >"$work/lines" || fail "$crate failed"
            same "IPv$v after the updates" "$crate" "$work/crate" "$work/answers$v-after"
            note "$v mean $crate $(sed 1q "$work/lines" | field ns_per_op_mean)"
            note "$v p99 $crate $(sed 1q "$work/lines" | field ns_per_op_p99)"
        done
    done
}

row() { printf '%-22s %-22s %-22s %-20s %-12s %-12s %s\n' "$@"; }

report_family() { # FAMILY
    local v=$1 s n crate cells rte_name
    rte_name=$([[ $v == 4 ]] && echo "rte_fib 2 B" || echo "rte_fib6 4 B")
    printf '\nIPv%s, %s routes. Median (least-most); crates once. ixmap: %s, hot %s B, heap %s B; DPDK: %s B resident.\n' \
        "$v" "$(routes "$v")" "$(field path <"$work/ixmap$v.json")" "$(field hot_bytes <"$work/ixmap$v.json")" \
        "$(field heap_bytes <"$work/ixmap$v.json")" "$(field rss_bytes <"$work/rte$v.json")"
    row "" ixmap "$rte_name avx512" "times as quick" "${CRATES[@]}"
    for s in "${STREAMS[@]}" build; do
        cells=()
        for crate in "${CRATES[@]}"; do cells+=("$(values "$v" "$s" "$crate" | spread)"); done
        row "$([[ $s == build ]] && echo "load, s" || echo "$s, ns")" "$(values "$v" "$s" ixmap | spread)" \
            "$(values "$v" "$s" dpdk | spread)" "$(ratio "$v" "$s" ixmap)" "${cells[@]}"
    done
    for n in "${COMMITS[@]}"; do
        for s in mean p99; do
            cells=()
            for crate in "${CRATES[@]}"; do cells+=("$(values "$v" $s "$crate" | spread %.0f)"); done
            row "update $s, ns (/$n)" "$(values "$v" $s "ixmap/$n" | spread %.0f)" \
                "$(values "$v" $s dpdk | spread %.0f)" "$(ratio "$v" $s "ixmap/$n")" "${cells[@]}"
        done
    done
}

next_hops_row() { printf '%-34s %-22s %-22s %-22s %s\n' "$@"; }

report_next_hops() {
    local v t s n
    printf '\nNanoseconds a lookup with random next hops in place of the 256 that the tables have.\n'
    next_hops_row "" ixmap DPDK "times as quick" "ixmap hot, B"
    for v in 4 6; do
        for s in "${FEW_STREAMS[@]}"; do
            for n in "" "${NEXT_HOPS[@]}"; do
                t=$v${n:+-$n}
                next_hops_row "IPv$v $s, ${n:-as it is}" "$(values "$t" "$s" ixmap | spread)" \
                    "$(values "$t" "$s" dpdk | spread)" "$(ratio "$t" "$s" ixmap)" \
                    "$(field hot_bytes <"$work/ixmap$t.json")"
            done
        done
    done
}

packet_row() { printf '%-34s %-22s %-22s %-22s %-22s %s\n' "$@"; }

report_packets() {
    local v s n
    printf '\nNanoseconds a packet, from frame to lookup to frame.\n'
    packet_row "" ixmap "without lookup" DPDK "without lookup" "times as quick"
    for v in 4 6; do
        for s in "${FEW_STREAMS[@]}"; do
            for n in "${FRAMES[@]}"; do
                packet_row "IPv$v $s, $n frames" \
                    "$(values $v "$s/$n" ixmap | spread)" "$(values $v "$s/$n/bare" ixmap | spread)" \
                    "$(values $v "$s/$n" dpdk | spread)" "$(values $v "$s/$n/bare" dpdk | spread)" \
                    "$(ratio $v "$s/$n" ixmap)"
            done
        done
    done
}

report() {
    local v
    printf '\n%s, DPDK %s, load before %s, %s rounds, %s\n' \
        "$(machine "$core")" "$(pkg-config --modversion libdpdk)" "$load" "$rounds" "$(date +%F)"
    for v in 4 6; do report_family $v; done
    report_next_hops
    report_packets
    echo
    echo "(/N): ixmap commits after each N updates; the others know no commits."
}

main() {
    options "$@"
    prepare_beside_rte_fib $HUGEPAGES "$core"
    measure_rounds "$rounds"
    echo "measuring crates" >&2
    measure_crates
    report
    exit_on_differences
    echo "All programs gave the same answers on every stream, before and after the updates."
}

main "$@"
