//! Ethernet addresses.

use std::fmt;

/// A 48-bit Ethernet address in wire order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);

    /// Reads an address from a netlink or ioctl attribute; `None` unless it is six bytes long.
    pub fn from_slice(bytes: &[u8]) -> Option<MacAddr> {
        bytes.try_into().ok().map(MacAddr)
    }

    /// True for multicast and broadcast: the group bit, IEEE 802.3 section 3.2.3.
    pub fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_the_kernel_prints_it() {
        let mac = MacAddr::from_slice(&[2, 0, 0, 0xab, 0, 0x0f]).unwrap();
        assert_eq!(mac.to_string(), "02:00:00:ab:00:0f");
        assert!(!mac.is_group());
        assert!(MacAddr::BROADCAST.is_group());
        assert_eq!(MacAddr::from_slice(&[1, 2, 3]), None);
    }
}
