//! Why a packet left the fast path: one vocabulary for counters, CLI, metrics and trace.
//!
//! Every received packet ends as exactly one of: forwarded, punted with a [`PuntReason`], or
//! dropped with a [`DropReason`]. A punt that its class's token bucket or its ring refuses becomes
//! a drop. What the kernel sent on a TAP and could not leave by the port ends with an
//! [`InjectDropReason`].

/// Declares a field-less enum whose variants have stable snake_case names and dense indices.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every variant, in index order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            /// How many there are: the length of a table indexed by [`Self::index`].
            pub const COUNT: usize = Self::ALL.len();

            /// The name in metrics labels, JSON and the CLI.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// A dense index below [`Self::COUNT`].
            pub fn index(self) -> usize {
                self as usize
            }
        }
    };
}

reasons! {
    /// Why a received packet was dropped.
    DropReason {
        /// Shorter than an Ethernet header.
        FrameTooShort = "frame_too_short",
        /// The destination MAC is a unicast address of someone else (promiscuous ports).
        OtherHost = "other_host",
        /// A unicast IP packet in a broadcast or multicast frame (RFC 1122 section 3.3.6).
        UnicastInGroupFrame = "unicast_in_group_frame",
        /// IPv4: truncated header, wrong version or header length (RFC 1812 section 5.2.2).
        Ipv4BadHeader = "ipv4_bad_header",
        /// IPv4: total length beyond the frame or below the header (RFC 1812 section 5.2.2).
        Ipv4BadLength = "ipv4_bad_length",
        /// IPv4: header checksum wrong (RFC 1812 section 5.2.2).
        Ipv4BadChecksum = "ipv4_bad_checksum",
        /// IPv6: truncated header or wrong version.
        Ipv6BadHeader = "ipv6_bad_header",
        /// IPv6: payload length beyond the frame.
        Ipv6BadLength = "ipv6_bad_length",
        /// A source that must not appear on a wire (RFC 1812 section 5.3.7, RFC 4291 section 2.5).
        MartianSource = "martian_source",
        /// A destination that must not appear on a wire.
        MartianDestination = "martian_destination",
        /// IPv4: the source is an address of this router.
        SourceIsOwn = "source_is_own",
        /// IPv6: a link-local source asks to be forwarded (RFC 4291 section 2.5.6).
        SourceLinkLocal = "source_link_local",
        /// The reverse path check (RFC 3704), as the kernel's rp_filter asks for it.
        ReversePath = "reverse_path",
        /// The best route is a blackhole.
        Blackhole = "blackhole",
        /// The kernel's forwarding sysctl of the receiving interface is off.
        ForwardingOff = "forwarding_off",
        /// The TAP of the receiving port is administratively down.
        PortDown = "port_down",
        /// The route leaves by a port that this worker does not have (being removed).
        EgressGone = "egress_gone",
        /// The transmit ring of the egress port was full.
        TxFull = "tx_full",
        /// Punt limit: ARP and neighbour discovery.
        LimitNeighbourDiscovery = "limit_neighbour_discovery",
        /// Punt limit: routing protocols.
        LimitRouting = "limit_routing",
        /// Punt limit: other traffic to the router itself.
        LimitLocal = "limit_local",
        /// Punt limit: TTL or hop limit exceeded.
        LimitTtl = "limit_ttl",
        /// Punt limit: larger than the egress MTU.
        LimitMtu = "limit_mtu",
        /// Punt limit: no route, unreachable, prohibited.
        LimitNoRoute = "limit_no_route",
        /// Punt limit: next hop not resolved.
        LimitNoNeighbour = "limit_no_neighbour",
        /// Punt limit: everything else.
        LimitOther = "limit_other",
        /// The ring to the TAP was full: the kernel reads slower than the worker punts.
        PuntRingFull = "punt_ring_full",
    }
}

reasons! {
    /// Why a received packet was handed to the kernel.
    PuntReason {
        /// ARP (EtherType 0x0806).
        Arp = "arp",
        /// ICMPv6 neighbour discovery (RFC 4861: types 133 to 137).
        NeighbourDiscovery = "neighbour_discovery",
        /// Routing and keepalive protocols for the router or its link: OSPF, IS-IS, BGP, BFD, VRRP ...
        Routing = "routing",
        /// To an address of the router (kernel table `local`: local, broadcast, anycast).
        Local = "local",
        /// To a link-local unicast address: belongs to the link that it came from.
        LinkLocal = "link_local",
        /// IP multicast or limited broadcast.
        Multicast = "multicast",
        /// TTL or hop limit at 1 or 0: the kernel answers time exceeded.
        Ttl = "ttl",
        /// Larger than the egress MTU: the kernel fragments or answers.
        Mtu = "mtu",
        /// No route: the kernel answers unreachable.
        NoRoute = "no_route",
        /// An `unreachable` route.
        Unreachable = "unreachable",
        /// A `prohibit` route.
        Prohibit = "prohibit",
        /// The next hop has no usable neighbour entry: the kernel queues and resolves.
        NoNeighbour = "no_neighbour",
        /// Leaves by the port it came from: the kernel may send a redirect.
        Redirect = "redirect",
        /// IPv4 options present.
        Ipv4Options = "ipv4_options",
        /// IPv6 hop-by-hop options present.
        HopByHop = "hop_by_hop",
        /// The route leaves by an interface that is no port: the kernel forwards.
        ForeignInterface = "foreign_interface",
        /// A route that only the kernel can follow (encapsulation, policy, source-specific).
        KernelRoute = "kernel_route",
        /// A VLAN tag for which the port has no subinterface in the fast path.
        Vlan = "vlan",
        /// An EtherType that ixmap does not forward: whoever listens on the TAP may want it.
        UnknownEthertype = "unknown_ethertype",
    }
}

reasons! {
    /// Why a frame that the kernel sent on a TAP did not leave by its port.
    InjectDropReason {
        /// No free packet buffer.
        NoBuffer = "no_buffer",
        /// The port's transmit ring was full.
        TxFull = "tx_full",
        /// Larger than a packet buffer.
        TooLong = "too_long",
    }
}

reasons! {
    /// What shares one token bucket, so that a flood of one kind cannot starve another.
    PuntClass {
        /// ARP and neighbour discovery.
        NeighbourDiscovery = "neighbour_discovery",
        /// Routing protocols.
        Routing = "routing",
        /// Other traffic to the router itself.
        Local = "local",
        /// TTL exceeded.
        Ttl = "ttl",
        /// Packet too big.
        Mtu = "mtu",
        /// No route and its kin.
        NoRoute = "no_route",
        /// Unresolved next hops; limited per next hop as well.
        NoNeighbour = "no_neighbour",
        /// The rest.
        Other = "other",
    }
}

impl PuntReason {
    /// The class whose token bucket this reason draws from.
    pub fn class(self) -> PuntClass {
        match self {
            PuntReason::Arp | PuntReason::NeighbourDiscovery => PuntClass::NeighbourDiscovery,
            PuntReason::Routing => PuntClass::Routing,
            PuntReason::Local | PuntReason::LinkLocal => PuntClass::Local,
            PuntReason::Ttl => PuntClass::Ttl,
            PuntReason::Mtu => PuntClass::Mtu,
            PuntReason::NoRoute | PuntReason::Unreachable | PuntReason::Prohibit => {
                PuntClass::NoRoute
            }
            PuntReason::NoNeighbour => PuntClass::NoNeighbour,
            PuntReason::Multicast
            | PuntReason::Redirect
            | PuntReason::Ipv4Options
            | PuntReason::HopByHop
            | PuntReason::ForeignInterface
            | PuntReason::KernelRoute
            | PuntReason::Vlan
            | PuntReason::UnknownEthertype => PuntClass::Other,
        }
    }
}

impl PuntClass {
    /// The drop that a packet becomes when the class's bucket is empty.
    pub fn limited(self) -> DropReason {
        match self {
            PuntClass::NeighbourDiscovery => DropReason::LimitNeighbourDiscovery,
            PuntClass::Routing => DropReason::LimitRouting,
            PuntClass::Local => DropReason::LimitLocal,
            PuntClass::Ttl => DropReason::LimitTtl,
            PuntClass::Mtu => DropReason::LimitMtu,
            PuntClass::NoRoute => DropReason::LimitNoRoute,
            PuntClass::NoNeighbour => DropReason::LimitNoNeighbour,
            PuntClass::Other => DropReason::LimitOther,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_indices_dense() {
        let drops: BTreeSet<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(drops.len(), DropReason::COUNT);
        let punts: BTreeSet<_> = PuntReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(punts.len(), PuntReason::COUNT);
        for (i, reason) in PuntReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), i);
        }
    }

    #[test]
    fn every_punt_class_has_a_drop_of_its_own() {
        let limited: BTreeSet<_> = PuntClass::ALL.iter().map(|c| c.limited()).collect();
        assert_eq!(limited.len(), PuntClass::COUNT);
    }
}
