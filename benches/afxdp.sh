#!/usr/bin/env bash
# Measures ixmapd on AF_XDP ports beside the least forwarder that AF_XDP allows and beside the kernel's own
# forwarding, with one route and with half a million, in turns, in one run. Every router has a line of three
# network namespaces of its own, and all but the one that is measured are stopped.
# What is measured, and what is fair about it: benches/README.md.
set -euo pipefail
# shellcheck source=benches/common.sh
. "$(dirname "$0")/common.sh"

readonly USAGE="usage: benches/afxdp.sh [--rounds N] [--seconds N] [--core N] [--generator-core N] [--l3fwd FILE]

  --rounds N           how often each router is measured, in turns (default 7)
  --seconds N          how long each time (default 2)
  --core N             the core of the router (default: the last one)
  --generator-core N   the core of the generator (default: the first one)
  --l3fwd FILE         DPDK's example l3fwd, to be measured as well, with 2,500 hugepages

Exit 0: measured; 2: something is missing or failed."
readonly ROUTES=500000
# As many as traffic.h says.
readonly DESTINATIONS=65536
# For two of l3fwd at once, each with its tables and its frames.
readonly HUGEPAGES=2500

rounds=7 seconds=2 core=$(($(nproc --all) - 1)) generator_core=0 l3fwd=''
lines=() routers=()
declare -A pids=() destinations=()

options() {
    while (($#)); do
        case $1 in
        --rounds) rounds=$(number "$1" "${2-}") ;;
        --seconds) seconds=$(number "$1" "${2-}") ;;
        --core) core=$(number "$1" "${2-}") ;;
        --generator-core) generator_core=$(number "$1" "${2-}") ;;
        --l3fwd) l3fwd=$(realpath -e "${2-}") || fail "no file ${2-}" ;;
        -h | --help) echo "$USAGE" && exit 0 ;;
        *) fail "unknown argument $1
$USAGE" ;;
        esac
        shift 2
    done
    ((rounds > 0 && seconds > 0)) || fail "no rounds or no seconds: there would be nothing to see"
    ((core != generator_core)) || fail "the generator would share core $core with the router"
}

clean() {
    local pid line part
    for pid in "${pids[@]}"; do
        { kill -KILL "$pid" && wait "$pid"; } 2>/dev/null || true
    done
    for line in "${lines[@]}"; do
        for part in gen dut sink; do ip netns del "$(netns "$line" $part)" 2>/dev/null || true; done
    done
    give_hugepages_back
    [[ -z $work ]] || rm -rf "$work"
}

# Everything that is missing, with the packages that have it.
check_tools() {
    ((EUID == 0)) || fail "run as root: it makes network namespaces and loads BPF programs"
    need_cargo
    need cc:gcc clang:clang ethtool:ethtool xzcat:xz-utils ip:iproute2 chrt:util-linux shuf:coreutils
    [[ -e /usr/include/bpf/libbpf.h ]] || missing+=(libbpf-dev)
    [[ -e /usr/include/xdp/xsk.h ]] || missing+=(libxdp-dev)
    none_missing
}

build() {
    local peers=benches/peers/afxdp
    cargo build --quiet --release || fail "ixmapd does not build"
    ixmapd=$(realpath "${CARGO_TARGET_DIR:-target}/release/ixmapd")
    clang -O2 -g -target bpf "-I/usr/include/$(uname -m)-linux-gnu" -c $peers/traffic.bpf.c -o "$work/traffic.bpf.o" ||
        fail "traffic.bpf.c does not build"
    cc -O2 -o "$work/traffic" $peers/traffic.c -lbpf -lpthread || fail "traffic.c does not build"
    cc -O2 -o "$work/forwarder" $peers/forwarder.c -lxdp -lbpf || fail "forwarder.c does not build"
}

# A table of real prefixes, and addresses that they cover; and one prefix, with addresses of its own.
write_inputs() {
    xzcat tests/data/bart4.txt.xz | awk -v most=$ROUTES 'NR % 9 < 5 && n++ < most { print $1 }' >"$work/many.routes"
    shuf -n $DESTINATIONS --random-source="$work/many.routes" "$work/many.routes" |
        sed -E 's|/.*||; s|[0-9]+$|1|' >"$work/many.destinations"
    echo 198.18.0.0/15 >"$work/one.routes"
    awk -v n=$DESTINATIONS -v x=42 'BEGIN { for (i = 0; i < n; i++) {
        x = 16807 * x % 2147483647; printf "198.%d.%d.%d\n", 18 + x % 2, int(x / 2) % 256, int(x / 512) % 256 } }' \
        >"$work/one.destinations"
}

netns() { echo "ixb$$-$1-$2"; } # LINE PART
within() { ip netns exec "$(netns "$1" "$2")" "${@:3}"; }

# g0 (gen) -- d0 (dut) d1 -- s0 (sink), whole frames only: nobody finishes a checksum or a segment later.
lay_line() { # LINE
    local line=$1 part gen dut sink one
    gen=$(netns "$line" gen) dut=$(netns "$line" dut) sink=$(netns "$line" sink)
    lines+=("$line")
    for part in "$gen" "$dut" "$sink"; do ip netns add "$part"; done
    ip link add g0 netns "$gen" address 02:00:00:00:00:01 type veth peer name d0 netns "$dut" address 02:00:00:00:00:02
    ip link add d1 netns "$dut" address 02:00:00:00:00:03 type veth peer name s0 netns "$sink" address 02:00:00:00:00:04
    for one in gen:g0 dut:d0 dut:d1 sink:s0; do
        within "$line" "${one%:*}" sysctl -qw "net.ipv6.conf.${one#*:}.disable_ipv6=1"
        within "$line" "${one%:*}" ethtool -K "${one#*:}" rx off tx off sg off tso off gso off >/dev/null
        ip -n "$(netns "$line" "${one%:*}")" link set "${one#*:}" up
    done
    # Redirected frames reach a device without a program of its own only when it receives by NAPI.
    within "$line" dut ethtool -K d0 gro on
    within "$line" dut sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
}

# Addresses, neighbours and routes, as any router has them.
configure() { # LINE DEVICE DEVICE TABLE
    local dut
    dut=$(netns "$1" dut)
    ip -n "$dut" -batch - <<EOF
address add 10.0.1.2/24 dev $2
address add 10.0.2.2/24 dev $3
link set $2 up
link set $3 up
neighbour replace 10.0.1.1 lladdr 02:00:00:00:00:01 nud permanent dev $2
neighbour replace 10.0.2.1 lladdr 02:00:00:00:00:04 nud permanent dev $3
EOF
    sed "s|.*|route add & via 10.0.2.1 dev $3|" "$work/$4.routes" | ip -n "$dut" -batch -
}

# Starts a router on the core, in real time.
start() { # LINE COMMAND...
    local line=$1
    shift
    # Not by a function, or the job would be a shell that waits for it.
    ip netns exec "$(netns "$line" dut)" "$@" >"$work/$line.log" 2>&1 &
    pids[$line]=$!
    sleep 1
    kill -0 "${pids[$line]}" 2>/dev/null || fail "$line did not start: $(tail -n 3 "$work/$line.log")"
}

# The threads of a router that run on its core. In turns: should two routers ever run at once, the one must not
# keep the other from a lock of the kernel's that the first one's end waits for.
prioritise() { # LINE PATTERN
    local task
    for task in /proc/"${pids[$1]}"/task/*; do
        # shellcheck disable=SC2053 # a pattern
        [[ $(<"$task/comm") != $2 ]] || chrt -r -p 50 "${task##*/}"
    done
}

start_ixmapd() { # LINE TABLE
    lay_line "$1"
    cat >"$work/$1.toml" <<EOF
[daemon]
socket = "$work/$1.sock"
metrics = "off"
[workers]
cores = [$core]
idle = "poll"
[[port]]
name = "p0"
driver = "afxdp"
device = "d0"
[[port]]
name = "p1"
driver = "afxdp"
device = "d1"
EOF
    start "$1" "$ixmapd" -c "$work/$1.toml"
    configure "$1" p0 p1 "$2"
    sleep 3
    prioritise "$1" 'ixmap-core*'
}

start_bare() { # LINE
    lay_line "$1"
    start "$1" taskset -c "$core" "$work/forwarder" d0 d1
    prioritise "$1" forwarder
}

start_l3fwd() { # LINE TABLE
    lay_line "$1"
    sed 's|.*|R& 1|' "$work/$2.routes" >"$work/$1.rules"
    echo "Rfd00:99::/32 1" >"$work/$1.rules6"
    start "$1" "$l3fwd" -l "$core" --in-memory --no-pci --no-telemetry --vdev net_af_xdp0,iface=d0 \
        --vdev net_af_xdp1,iface=d1 -- -P -p 3 --config="(0,0,$core),(1,0,$core)" --parse-ptype --lookup=fib \
        --rule_ipv4="$work/$1.rules" --rule_ipv6="$work/$1.rules6" \
        --eth-dest=0,02:00:00:00:00:01 --eth-dest=1,02:00:00:00:00:04
    sleep 4
    prioritise "$1" '*'
}

start_all() {
    local table
    for table in one many; do
        lay_line "kernel-$table" && configure "kernel-$table" d0 d1 $table
        start_ixmapd "ixmapd-$table" $table
        routers+=("kernel-$table" "ixmapd-$table")
        [[ -z $l3fwd ]] || { start_l3fwd "l3fwd-$table" $table && routers+=("l3fwd-$table"); }
        halt
        destinations[kernel-$table]=$table destinations[ixmapd-$table]=$table destinations[l3fwd-$table]=$table
    done
    start_bare bare
    destinations[bare]=one
    routers=(bare "${routers[@]}")
    halt
}

halt() {
    local pid
    for pid in "${pids[@]}"; do kill -STOP "$pid"; done
}

measure() { # LINE
    local line=$1 file=$work/${destinations[$1]}.destinations result
    [[ -z ${pids[$line]-} ]] || kill -CONT "${pids[$line]}" || fail "$line ended: $(tail -n 3 "$work/$line.log")"
    result=$("$work/traffic" -o "$work/traffic.bpf.o" -s "$seconds" -g "$generator_core" -c "$core" \
        "$(netns "$line" gen)" g0 "$(netns "$line" sink)" s0 "$file") || fail "$line was not measured"
    [[ -z ${pids[$line]-} ]] || kill -STOP "${pids[$line]}"
    echo "$line $result" >>"$work/results"
}

rates() { # LINE
    awk -v line="$1" '$1 == line { print $5 / 1e6 }' "$work/results"
}

median() { rates "$1" | spread %.6f | cut -d' ' -f1; } # LINE

divided() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else printf "-" }'; }

report() {
    local line bare kernel value
    bare=$(median bare)
    printf '\n%s, %s rounds of %s s, %s\n' "$(machine "$core")" "$rounds" "$seconds" "$(date +%F)"
    printf '%-16s %-26s %-12s %s\n' "" "Mpps, median (least-most)" "to bare" "to the kernel"
    for line in "${routers[@]}"; do
        kernel=0
        [[ $line == bare ]] || kernel=$(median "kernel-${line#*-}")
        value=$(median "$line")
        printf '%-16s %-26s %-12s %s\n' "$line" "$(rates "$line" | spread)" "$(divided "$value" "$bare")" \
            "$(divided "$value" "$kernel")"
    done
    awk '$7 > $5 / 100 { n++ } END { if (n) print n " measurements saw other packets, too: see the namespaces" }' "$work/results"
}

main() {
    local round line
    options "$@"
    cd "$(dirname "$0")/.."
    check_tools
    trap clean EXIT
    trap 'exit 130' INT TERM HUP
    work=$(mktemp -d)
    [[ -z $l3fwd ]] || reserve_hugepages $HUGEPAGES
    echo "building" >&2
    build
    write_inputs
    echo "laying the lines" >&2
    start_all
    # Above the polling routers, or this shell would not be scheduled.
    chrt -f -p 60 $$
    for ((round = 1; round <= rounds; round++)); do
        echo "round $round of $rounds" >&2
        for line in "${routers[@]}"; do measure "$line"; done
    done
    report
}

main "$@"
