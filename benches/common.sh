# shellcheck shell=bash
# What the scripts here share; each has its own USAGE. Those that measure keep their files in $work.

readonly HUGEPAGES_FILE=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
work='' missing=() pinned=() hugepages_before='' differences=0 load=''

warn() {
    local script=${0##*/}
    echo "${script%.sh}: $*" >&2
}

fail() {
    warn "$@"
    exit 2
}

number() { # OPTION VALUE
    [[ ${2-} =~ ^[0-9]{1,6}$ ]] || fail "$1 needs a number
$USAGE"
    echo "$((10#$2))"
}

# Each of these that is missing, by the package that has it, for `none_missing` to tell.
need() { # COMMAND:PACKAGE...
    local tool
    for tool; do
        command -v "${tool%%:*}" >/dev/null || missing+=("${tool#*:}")
    done
}

none_missing() {
    ((${#missing[@]} == 0)) || fail "missing: try apt-get install ${missing[*]}"
}

need_cargo() {
    command -v cargo >/dev/null || fail "missing: a Rust toolchain, see https://rustup.rs"
}

# All that measuring beside rte_fib takes.
check_rte_fib() {
    need_cargo
    need cc:gcc pkg-config:pkg-config xzcat:xz-utils taskset:util-linux
    pkg-config --exists libdpdk 2>/dev/null || missing+=(libdpdk-dev)
    none_missing
    grep -qw avx512f /proc/cpuinfo || fail "this CPU has no AVX-512, which DPDK is measured with"
}

build_rte_fib() { # FILE
    # shellcheck disable=SC2046 # flags are words
    cc -O3 -march=native -o "$1" benches/peers/*.c $(pkg-config --cflags --libs libdpdk) ||
        fail "rte_fib does not build"
}

# So many free hugepages of 2 MiB, until they are given back.
reserve_hugepages() { # NUMBER
    local free=${HUGEPAGES_FILE%/*}/free_hugepages before
    [[ -r $free ]] || fail "this kernel has no hugepages of 2 MiB, which DPDK is measured with"
    (($(<"$free") < $1)) || return 0
    [[ -w $HUGEPAGES_FILE ]] || fail "too few hugepages: run as root, or sysctl -w vm.nr_hugepages=$1"
    before=$(<"$HUGEPAGES_FILE")
    hugepages_before=$before
    echo $((before - $(<"$free") + $1)) >"$HUGEPAGES_FILE"
    (($(<"$free") >= $1)) || fail "no room for $1 hugepages ($((2 * $1)) MiB): free some memory"
}

give_hugepages_back() {
    [[ -z $hugepages_before ]] || echo "$hugepages_before" >"$HUGEPAGES_FILE"
}

# `"${pinned[@]}"` runs a program on the core, above everything else there when that is allowed.
choose_pinning() { # CORE
    taskset -c "$1" true || fail "cannot run on core $1"
    pinned=(taskset -c "$1")
    if chrt -f 50 true 2>/dev/null; then
        pinned=(chrt -f 50 "${pinned[@]}")
    else
        warn "not allowed to run in real time: other programs may disturb this"
    fi
}

# Where a run was made, for the head of its report.
machine() { # CORE
    printf '%s, core %s, Linux %s' "$(sed -nE 's/^model name[^:]*: //p' /proc/cpuinfo | sed 1q)" "$1" "$(uname -r)"
}

# Two files of answers, of which ixmap's are the second.
same() { # WHAT PROGRAM ANSWERS EXPECTED
    if cmp -s "$3" "$4"; then
        return
    fi
    warn "$1: $2 answers otherwise than ixmap: $(cmp "$3" "$4" 2>&1)"
    differences=$((differences + 1))
}

# The value of a key in a line of JSON.
field() { # KEY < JSON
    sed -nE "s/.*\"$1\":\"?([^,\"}]*).*/\1/p"
}

# Remembers a measurement: family or table, what, program, value.
note() { echo "$*" >>"$work/results"; }

values() { # TABLE WHAT PROGRAM
    awk -v key="$1 $2 $3" '$1 " " $2 " " $3 == key { print $4 }' "$work/results"
}

# `median (least-most)` of numbers, or `-` of none.
spread() {
    sort -g | awk -v format="${1:-%.2f}" '{ v[NR] = $1 } END {
        if (NR == 0) { print "-"; exit }
        m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
        if (NR == 1) printf format "\n", m
        else printf format " (" format "-" format ")\n", m, v[1], v[NR] }'
}

# How many times as quick as DPDK, from the two measurements of each round.
ratio() { # TABLE WHAT PROGRAM
    paste <(values "$1" "$2" dpdk) <(values "$1" "$2" "$3") | awk '{ print $1 / $2 }' | spread %.2f
}

# What all scripts beside rte_fib do, with the functions that each has of its own: `build`, `write_inputs`,
# `compare_answers`, `measure_round`.
prepare_beside_rte_fib() { # HUGEPAGES CORE
    cd "$(dirname "$0")/.." || return
    check_rte_fib
    trap clean_beside_rte_fib EXIT
    trap 'exit 130' INT TERM HUP
    work=$(mktemp -d)
    reserve_hugepages "$1"
    choose_pinning "$2"
    echo "building" >&2
    build
    # shellcheck disable=SC2034 # for reports
    load=$(cut -d' ' -f1-3 /proc/loadavg)
    write_inputs
    echo "comparing the answers of all programs" >&2
    compare_answers
}

clean_beside_rte_fib() {
    give_hugepages_back
    [[ -z $work ]] || rm -rf "$work"
}

measure_rounds() { # NUMBER
    local round
    for ((round = 1; round <= $1; round++)); do
        echo "measuring beside DPDK: round $round of $1" >&2
        measure_round
    done
}

exit_on_differences() {
    ((differences > 0)) || return 0
    warn "$differences differences in answers: see above"
    exit 1
}
