//! The XDP program: which socket of its receive queue a frame goes to.
//!
//! Each queue has a socket for each [`Kind`] of frames, with a receive ring of its own: a flood of one kind
//! fills no ring of another. The kinds are those of the pipeline's reasons `arp`, `neighbour_discovery` and
//! `routing` (by the same lists), as far as a look at fixed places tells: no IP options where ports count,
//! no IPv6 extension headers but a fragment's. One VLAN tag is looked behind. All frames of a flow are of
//! one kind, so they stay in order (but for BGP that somebody fragments).
//!
//! Whether a frame is for this router the program does not ask: routes and addresses are the pipeline's.
//! So BGP in transit comes by the ring for routing as well, and who floods with frames that look like routing
//! fills it: then hellos are lost as they would be without it. TTLs would not tell them apart, as BGP between
//! routers that are not neighbours has any. Such a flood cannot keep the worker from frames of another kind
//! (each has a share of every burst), nor drown the kernel (the buckets come after).
//!
//! Without a socket the frame is dropped. None is ever passed to the kernel's stack: the kernel sees what it
//! is meant to see on the port's TAP.

use std::os::fd::RawFd;

use crate::shared::wire::ethernet::ethertype;
use crate::shared::wire::{protocol, routing};

#[cfg(test)]
pub(super) mod tests;

const BPF_FUNC_REDIRECT_MAP: i32 = 51;
const XDP_DROP: i32 = 1;
const PSEUDO_MAP_FD: u8 = 1;

const LD_IMM_DW: u8 = 0x18;
const LDX_W: u8 = 0x61;
const LDX_H: u8 = 0x69;
const LDX_B: u8 = 0x71;
const ADD_K: u8 = 0x07;
const MUL_K: u8 = 0x27;
const MOV_K: u8 = 0xb7;
const MOV_X: u8 = 0xbf;
/// 16 bits from or to network order.
const BE: u8 = 0xdc;
const JA: u8 = 0x05;
const JEQ_K: u8 = 0x15;
const JGT_K: u8 = 0x25;
const JGT_X: u8 = 0x2d;
const JSET_K: u8 = 0x45;
const JNE_K: u8 = 0x55;
const JLT_K: u8 = 0xa5;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// `struct xdp_md`
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const RX_QUEUE_INDEX: i16 = 16;

/// What a frame is to the receiving side, in the order of their sockets, in the map and elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Ordinary,
    /// ARP and IPv6 neighbour discovery.
    Neighbours,
    /// What keeps routes up ([`routing`]), and LLC: IS-IS.
    Routing,
}

impl Kind {
    /// How many there are.
    pub(super) const COUNT: u8 = 3;
}

/// The context, then the map.
const R1: u8 = 1;
/// The map's key.
const KEY: u8 = 2;
/// The frame, from four bytes on when it has a tag; then its ports.
const FRAME: u8 = 3;
/// Where the frame ends.
const END: u8 = 4;
/// The EtherType, then the IP protocol.
const TYPE: u8 = 5;
const SCRATCH: u8 = 0;

/// Where headers begin, in a frame without tag.
const IP: i16 = 14;
const UPPER_IPV4: i16 = IP + 20;
const UPPER_IPV6: i16 = IP + 40;
/// Bytes of two ports, and of a tag.
const PORTS: i16 = 4;
const TAG: i32 = 4;

/// One instruction of the BPF machine (linux/bpf.h, `struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Instruction {
    code: u8,
    /// Destination register in the low nibble, source in the high one.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

/// Where a jump leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Label {
    Untagged,
    Ipv4,
    Ipv6,
    PortsIpv4,
    PortsIpv6,
    Ports,
    Tcp,
    Icmpv6,
    Protocol,
    TcpDestination,
    UdpDestination,
    Neighbours,
    Routing,
    Ordinary,
}

/// Instructions, jumps forward by label.
#[derive(Default)]
struct Assembler {
    code: Vec<Instruction>,
    /// Jumps whose label is still to come.
    open: Vec<(usize, Label)>,
}

impl Assembler {
    fn push(&mut self, code: u8, dst: u8, src: u8, offset: i16, immediate: i32) {
        self.code.push(Instruction {
            code,
            registers: src << 4 | dst,
            offset,
            immediate,
        });
    }

    /// `dst = *(src + offset)`, as wide as `code` says.
    fn load(&mut self, code: u8, dst: u8, src: u8, offset: i16) {
        self.push(code, dst, src, offset, 0);
    }

    /// As [`Self::load`] of 16 bits in network order.
    fn load_be16(&mut self, dst: u8, src: u8, offset: i16) {
        self.load(LDX_H, dst, src, offset);
        self.push(BE, dst, 0, 0, 16);
    }

    /// `register OP= immediate`
    fn set(&mut self, code: u8, register: u8, immediate: i32) {
        self.push(code, register, 0, 0, immediate);
    }

    /// Jumps if `register OP immediate`.
    fn jump(&mut self, code: u8, register: u8, immediate: impl Into<i32>, to: Label) {
        self.open.push((self.code.len(), to));
        self.set(code, register, immediate.into());
    }

    /// What jumped to this label arrives here.
    fn here(&mut self, label: Label) {
        let here = self.code.len();
        self.open.retain(|&(from, to)| {
            if to == label {
                // The program is short. A jump to itself would be refused by the kernel.
                self.code[from].offset = i16::try_from(here - from - 1).unwrap_or(-1);
            }
            to != label
        });
    }

    /// Frames with fewer than `len` bytes are ordinary: nothing else is that short.
    fn require(&mut self, len: i16) {
        self.push(MOV_X, SCRATCH, FRAME, 0, 0);
        self.set(ADD_K, SCRATCH, len.into());
        self.open.push((self.code.len(), Label::Ordinary));
        self.push(JGT_X, SCRATCH, END, 0, 0);
    }

    /// Routing if the port in `register` is one of these, else `otherwise`.
    fn compare(&mut self, register: u8, ports: &[u16], otherwise: Label) {
        let least = ports.iter().min().copied().unwrap_or(0);
        let most = ports.iter().max().copied().unwrap_or(0);
        // Most of all ports are told by these two.
        self.jump(JGT_K, register, most, otherwise);
        self.jump(JLT_K, register, least, otherwise);
        for &port in ports {
            self.jump(JEQ_K, register, port, Label::Routing);
        }
        self.jump(JA, 0, 0, otherwise);
    }
}

/// The program that redirects by the map with this descriptor: each receive queue has a key for each kind.
pub(super) fn assemble(map: RawFd) -> Vec<Instruction> {
    let mut program = Assembler::default();
    program.load(LDX_W, KEY, R1, RX_QUEUE_INDEX);
    program.set(MUL_K, KEY, Kind::COUNT.into());
    program.load(LDX_W, FRAME, R1, DATA);
    program.load(LDX_W, END, R1, DATA_END);
    by_ethertype(&mut program);
    by_ipv4(&mut program);
    by_ipv6(&mut program);
    by_protocol(&mut program);
    by_ports(&mut program);
    program.here(Label::Routing);
    program.set(ADD_K, KEY, 1);
    program.here(Label::Neighbours);
    program.set(ADD_K, KEY, 1);
    program.here(Label::Ordinary);
    program.push(LD_IMM_DW, R1, PSEUDO_MAP_FD, 0, map);
    program.push(0, 0, 0, 0, 0);
    program.set(MOV_K, FRAME, XDP_DROP);
    program.set(CALL, 0, BPF_FUNC_REDIRECT_MAP);
    program.set(EXIT, 0, 0);
    program.code
}

fn by_ethertype(program: &mut Assembler) {
    const ETHERTYPE: i16 = 12;
    program.require(UPPER_IPV4 + PORTS);
    program.load_be16(TYPE, FRAME, ETHERTYPE);
    program.jump(JNE_K, TYPE, ethertype::VLAN, Label::Untagged);
    program.set(ADD_K, FRAME, TAG);
    program.require(UPPER_IPV4 + PORTS);
    program.load_be16(TYPE, FRAME, ETHERTYPE);
    program.here(Label::Untagged);
    program.jump(JEQ_K, TYPE, ethertype::IPV4, Label::Ipv4);
    program.jump(JEQ_K, TYPE, ethertype::IPV6, Label::Ipv6);
    program.jump(JEQ_K, TYPE, ethertype::ARP, Label::Neighbours);
    program.jump(JLT_K, TYPE, ethertype::MIN, Label::Routing);
    program.jump(JA, 0, 0, Label::Ordinary);
}

fn by_ipv4(program: &mut Assembler) {
    /// Version 4, five words of header.
    const PLAIN: i32 = 0x45;
    /// More fragments, or an offset; loaded as it lies.
    const FRAGMENT: u16 = 0x3fff_u16.to_be();
    program.here(Label::Ipv4);
    program.load(LDX_B, TYPE, FRAME, IP + 9);
    program.jump(JEQ_K, TYPE, protocol::UDP, Label::PortsIpv4);
    program.jump(JNE_K, TYPE, protocol::TCP, Label::Protocol);
    program.here(Label::PortsIpv4);
    program.load(LDX_B, SCRATCH, FRAME, IP);
    program.jump(JNE_K, SCRATCH, PLAIN, Label::Ordinary);
    program.load(LDX_H, SCRATCH, FRAME, IP + 6);
    program.jump(JSET_K, SCRATCH, FRAGMENT, Label::Ordinary);
    program.set(ADD_K, FRAME, UPPER_IPV4.into());
    program.jump(JA, 0, 0, Label::Ports);
}

fn by_ipv6(program: &mut Assembler) {
    program.here(Label::Ipv6);
    program.require(UPPER_IPV6 + PORTS);
    program.load(LDX_B, TYPE, FRAME, IP + 6);
    program.jump(JEQ_K, TYPE, protocol::UDP, Label::PortsIpv6);
    program.jump(JEQ_K, TYPE, protocol::TCP, Label::PortsIpv6);
    program.jump(JEQ_K, TYPE, protocol::ICMPV6, Label::Icmpv6);
    program.jump(JNE_K, TYPE, protocol::FRAGMENT, Label::Protocol);
    program.load(LDX_B, TYPE, FRAME, UPPER_IPV6);
    program.jump(JA, 0, 0, Label::Protocol);

    program.here(Label::Icmpv6);
    program.load(LDX_B, SCRATCH, FRAME, IP + 7);
    program.jump(JNE_K, SCRATCH, 255, Label::Ordinary);
    program.load(LDX_B, SCRATCH, FRAME, UPPER_IPV6);
    program.jump(JLT_K, SCRATCH, 133, Label::Ordinary);
    program.jump(JGT_K, SCRATCH, 137, Label::Ordinary);
    program.jump(JA, 0, 0, Label::Neighbours);

    program.here(Label::PortsIpv6);
    program.set(ADD_K, FRAME, UPPER_IPV6.into());
    program.jump(JA, 0, 0, Label::Ports);
}

fn by_protocol(program: &mut Assembler) {
    program.here(Label::Protocol);
    for protocol in routing::PROTOCOLS {
        program.jump(JEQ_K, TYPE, protocol, Label::Routing);
    }
    program.jump(JA, 0, 0, Label::Ordinary);
}

fn by_ports(program: &mut Assembler) {
    program.here(Label::Ports);
    program.load_be16(SCRATCH, FRAME, 0);
    program.load_be16(FRAME, FRAME, 2);
    program.jump(JEQ_K, TYPE, protocol::TCP, Label::Tcp);
    program.compare(SCRATCH, &routing::UDP_PORTS, Label::UdpDestination);
    program.here(Label::UdpDestination);
    program.compare(FRAME, &routing::UDP_PORTS, Label::Ordinary);
    program.here(Label::Tcp);
    program.compare(SCRATCH, &routing::TCP_PORTS, Label::TcpDestination);
    program.here(Label::TcpDestination);
    program.compare(FRAME, &routing::TCP_PORTS, Label::Ordinary);
}
