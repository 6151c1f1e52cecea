#!/usr/bin/env bash
# TCP to and from the router's own address: ixmapd beside the kernel's own stack, over the same kind of veth
# pair, in turns. What is compared: docs/performance.md, "TCP to the router".
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=benches/common.sh
. "$(dirname "$0")/common.sh"

readonly USAGE="usage: benches/to-the-router.sh [--rounds N] [--seconds S] [--cases LIST] [--directions LIST]

  --rounds N         how often each is measured, in turn (default 5)
  --seconds S        of each measurement, after a first second that does not count (default 3)
  --cases LIST       of wire, xdp, default (default: all three, comma-separated)
  --directions LIST  of to, from (default: both)

Root, with iperf3, ethtool and jq; ixmapd is the release build (IXMAPD=PATH for another).
Exit 0: measured; 2: something is missing or failed."
# Namespaces of this run's own.
readonly HOST=ixbench$$h ROUTER=ixbench$$r
readonly ADDRESS=192.0.2.1

rounds=5 seconds=3 cases='wire xdp default' directions='to from'
ixmapd=${IXMAPD:-}
daemon=''

stop_daemon() {
    [[ $daemon ]] || return 0
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
    daemon=''
}

clean() {
    stop_daemon
    for namespace in "$HOST" "$ROUTER"; do
        ip netns pids "$namespace" 2>/dev/null | xargs -r kill 2>/dev/null || true
        ip netns del "$namespace" 2>/dev/null || true
    done
    [[ -z $work ]] || rm -rf "$work"
}

# What a NIC would put on its wire or find there: whole checksums, frames of at most the MTU.
wire() {
    ip netns exec "$HOST" ethtool -K h0 tx off tso off >/dev/null
    ip netns exec "$ROUTER" ethtool -K v0 tx off tso off >/dev/null
}

# What is left to the host's end while a native XDP program is on the router's.
xdp() {
    ip netns exec "$HOST" ethtool -K h0 tso off tx-udp-segmentation off >/dev/null
}

lay() { # CASE
    ip netns add "$HOST"
    ip netns add "$ROUTER"
    ip link add h0 netns "$HOST" type veth peer name v0 netns "$ROUTER"
    ip -n "$HOST" addr add 192.0.2.2/24 dev h0
    ip -n "$HOST" link set h0 up
    ip -n "$ROUTER" link set v0 up
    ip -n "$ROUTER" link set lo up
    [[ $1 == default ]] || "$1"
}

start_router() { # KIND
    local port=v0
    if [[ $1 == ixmap ]]; then
        port=p0
        ip netns exec "$ROUTER" "$ixmapd" --port p0=afxdp:v0 --socket "$work/ctl.sock" \
            --metrics off --log warn 2>"$work/ixmapd.log" &
        daemon=$!
        for _ in {1..100}; do
            kill -0 "$daemon" 2>/dev/null || fail "ixmapd has ended: $(<"$work/ixmapd.log")"
            [[ $(ip -n "$ROUTER" -br link show p0 2>/dev/null) == *LOWER_UP* ]] && break
            sleep 0.1
        done
    fi
    ip -n "$ROUTER" addr add "$ADDRESS/24" dev "$port"
    ip netns exec "$ROUTER" iperf3 -s -D -p 5201 >/dev/null
    for _ in {1..100}; do
        ip netns exec "$HOST" ping -q -c 1 -W 1 "$ADDRESS" >/dev/null && return
    done
    fail "the router does not answer: $(cat "$work/ixmapd.log")"
}

# Mbit/s as the receiver has them.
measure() { # KIND CASE DIRECTION
    local reverse=()
    [[ $3 == from ]] && reverse=(-R)
    lay "$2"
    start_router "$1"
    ip netns exec "$HOST" iperf3 -c "$ADDRESS" -p 5201 -O 1 -t "$seconds" -J "${reverse[@]}" >"$work/iperf.json" ||
        fail "iperf3: $(jq -r '.error // "failed"' "$work/iperf.json")"
    stop_daemon
    clean_namespaces
    jq -r '.end.sum_received.bits_per_second / 1e6 | floor' "$work/iperf.json"
}

clean_namespaces() {
    for namespace in "$HOST" "$ROUTER"; do
        ip netns pids "$namespace" | xargs -r kill 2>/dev/null || true
        ip netns del "$namespace"
    done
}

lines() { printf '%s\n' "$@"; }

median() { lines "$@" | spread %.0f | cut -d' ' -f1; }

options() {
    while (($#)); do
        case $1 in
        --rounds) rounds=$(number "$1" "${2-}") ;;
        --seconds) seconds=$(number "$1" "${2-}") ;;
        --cases) cases=$(list "$1" "${2-}" wire xdp default) ;;
        --directions) directions=$(list "$1" "${2-}" to from) ;;
        -h | --help) echo "$USAGE" && exit 0 ;;
        *) fail "unknown argument $1
$USAGE" ;;
        esac
        shift 2
    done
    ((rounds > 0 && seconds > 0)) || fail "no rounds or no seconds: there would be nothing to see"
}

# The words of a list, all of them known.
list() { # OPTION LIST KNOWN...
    local option=$1 word words
    IFS=, read -ra words <<<"$2"
    shift 2
    ((${#words[@]} > 0)) || fail "$option needs some of: $*"
    for word in "${words[@]}"; do
        [[ $word && " $* " == *" $word "* ]] || fail "$option: no ${word:-empty word} there, only: $*"
    done
    echo "${words[@]}"
}

check_tools() {
    ((EUID == 0)) || fail "run as root: it makes network namespaces and attaches XDP programs"
    need iperf3:iperf3 jq:jq ethtool:ethtool ip:iproute2 ping:iputils-ping
    none_missing
    [[ -n $ixmapd ]] || ixmapd=$(cd "$(dirname "$0")/.." && realpath -m "${CARGO_TARGET_DIR:-target}/release/ixmapd")
    [[ -x $ixmapd ]] || fail "no $ixmapd: cargo build --release"
}

main() {
    local case direction round ixmap kernel
    options "$@"
    check_tools
    trap clean EXIT
    trap 'exit 130' INT TERM HUP
    work=$(mktemp -d)
    printf '%-8s %-5s %22s %22s %6s\n' case way 'ixmap, Mbit/s' 'kernel, Mbit/s' ratio
    for case in $cases; do
        for direction in $directions; do
            ixmap=() kernel=()
            for ((round = 0; round < rounds; round++)); do
                ixmap+=("$(measure ixmap "$case" "$direction")")
                kernel+=("$(measure kernel "$case" "$direction")")
            done
            printf '%-8s %-5s %22s %22s %6s\n' "$case" "$direction" \
                "$(lines "${ixmap[@]}" | spread %.0f)" "$(lines "${kernel[@]}" | spread %.0f)" \
                "$(jq -n "$(median "${ixmap[@]}") / $(median "${kernel[@]}") * 100 | floor / 100")"
        done
    done
}

main "$@"
