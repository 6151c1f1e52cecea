//! A host of the lab and its subnet: addresses from the documentation ranges (RFC 5737, RFC 3849).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;

use crate::error::Result;
use crate::namespace::Namespace;
use crate::tap::Tap;

/// The two families that every behaviour is tested in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub const BOTH: [Family; 2] = [Family::Ipv4, Family::Ipv6];

    /// The switch that `ip`, `ping` and their kin take: `-4` or `-6`.
    pub fn flag(self) -> &'static str {
        match self {
            Family::Ipv4 => "-4",
            Family::Ipv6 => "-6",
        }
    }

    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        }
    }

    /// The length of a host route's prefix.
    pub fn host_prefix(self) -> u8 {
        match self {
            Family::Ipv4 => 32,
            Family::Ipv6 => 128,
        }
    }
}

/// A host with one link, `eth0`, to a port of the router, which is its default gateway.
/// It dereferences to its namespace.
pub struct Host {
    namespace: Namespace,
    index: u8,
}

impl Deref for Host {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Host {
    /// Its link, for whole frames.
    pub fn tap(&self) -> Result<Tap> {
        Tap::open(&self.namespace, "eth0")
    }

    /// Host `index` (0 for A, 1 for B ...) behind port `p<index>`; not yet wired.
    pub(crate) fn new(lab: &str, index: u8) -> Result<Host> {
        let letter = char::from(b'a' + index);
        let namespace = Namespace::new(format!("{lab}-{letter}"))?;
        Ok(Host { namespace, index })
    }

    /// Gives `eth0` its MAC, addresses and default routes.
    pub(crate) fn configure(&self) -> Result<()> {
        let mut lines = vec![
            format!("link set eth0 address {}", self.mac_text()),
            "link set eth0 up".to_owned(),
        ];
        for family in Family::BOTH {
            let (address, length) = (self.address(family), prefix_length(family));
            let gateway = self.gateway(family);
            lines.push(format!("addr add {address}/{length} dev eth0"));
            lines.push(format!("route add default via {gateway} dev eth0"));
        }
        self.ip_batch(&lines)
    }

    /// The `addr add` lines of the router's side of this subnet.
    pub(crate) fn gateway_addresses(&self) -> Vec<String> {
        let port = self.port();
        let lines = Family::BOTH.map(|family| {
            let (gateway, length) = (self.gateway(family), prefix_length(family));
            format!("addr add {gateway}/{length} dev {port}")
        });
        lines.to_vec()
    }

    /// The router's interface on this subnet: the veth's end of the kernel router, ixmapd's TAP.
    pub fn port(&self) -> String {
        format!("p{}", self.index)
    }

    /// The netdev behind the port when ixmapd is the router.
    pub fn device(&self) -> String {
        format!("v{}", self.index)
    }

    pub fn address(&self, family: Family) -> IpAddr {
        self.neighbour(family, 2)
    }

    /// The router's address on this subnet.
    pub fn gateway(&self, family: Family) -> IpAddr {
        self.neighbour(family, 1)
    }

    /// Any address on this subnet, by its last byte; 1 and 2 are taken.
    pub fn neighbour(&self, family: Family, last: u8) -> IpAddr {
        match family {
            Family::Ipv4 => {
                let [x, y, z] =
                    [[192, 0, 2], [198, 51, 100], [203, 0, 113]][usize::from(self.index)];
                Ipv4Addr::new(x, y, z, last).into()
            }
            Family::Ipv6 => {
                let subnet = u16::from(self.index) + 0xa;
                Ipv6Addr::new(0x2001, 0xdb8, subnet, 0, 0, 0, 0, u16::from(last)).into()
            }
        }
    }

    pub fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, self.index + 0xa, 2]
    }

    /// The MAC of the router's port on this subnet.
    pub fn gateway_mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, self.index + 0xa, 1]
    }

    pub fn mac_text(&self) -> String {
        mac_text(self.mac())
    }

    pub fn gateway_mac_text(&self) -> String {
        mac_text(self.gateway_mac())
    }

    /// The link-local address of the router's port: the MAC as a modified EUI-64 (RFC 4291).
    pub fn gateway_link_local(&self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.gateway_mac().map(u16::from);
        let words = [(a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f];
        Ipv6Addr::new(0xfe80, 0, 0, 0, words[0], words[1], words[2], words[3])
    }
}

fn prefix_length(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 24,
        Family::Ipv6 => 64,
    }
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
