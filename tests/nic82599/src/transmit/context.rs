//! Context descriptors: what the offloads of later packets need to know (datasheet 7.2.3.2.3).

use super::descriptor::Descriptor;

const COMMAND_RESERVED: u32 = 0xDF0F_0000;
/// TUCMD: IPv4; 12:11 say what is above it; IPsec and FCoE are not modelled.
const IPV4: u32 = 1 << 10;
const TRANSPORT_SHIFT: u32 = 11;
const UNSUPPORTED: u32 = 0x7 << 13;
/// Bits 7:0 but IDX, and bit 7 above it: IDX is 0 or 1.
const OPTIONS_RESERVED: u32 = 0xEF;
const SLOT: u32 = 1 << 4;

/// L4T.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
    Sctp,
    Reserved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// The tag to insert.
    pub(super) vlan: u16,
    /// Where the IP header begins, and how long it is.
    pub(super) mac_length: usize,
    pub(super) ip_length: usize,
    pub(super) ipv4: bool,
    pub(super) transport: Transport,
    /// For segmentation.
    pub(super) transport_length: usize,
    pub(super) segment_size: usize,
}

impl From<Descriptor> for Context {
    fn from(descriptor: Descriptor) -> Context {
        let [low, high, vlan @ .., _, _, _, _] = descriptor.address.to_le_bytes();
        let lengths = u16::from_le_bytes([low, high]);
        let [_, transport_length, segment_size @ ..] = descriptor.options.to_le_bytes();
        Context {
            vlan: u16::from_le_bytes(vlan),
            mac_length: usize::from(lengths >> 9),
            ip_length: usize::from(lengths & 0x1FF),
            ipv4: descriptor.command & IPV4 != 0,
            transport: match descriptor.command >> TRANSPORT_SHIFT & 3 {
                0 => Transport::Udp,
                1 => Transport::Tcp,
                2 => Transport::Sctp,
                _ => Transport::Reserved,
            },
            transport_length: usize::from(transport_length),
            segment_size: usize::from(u16::from_le_bytes(segment_size)),
        }
    }
}

impl Context {
    /// Which of a queue's contexts it becomes.
    pub(super) fn slot(descriptor: &Descriptor) -> usize {
        usize::from(descriptor.options & SLOT != 0)
    }

    /// What is wrong with the descriptor, whatever packets make of it.
    pub(super) fn fault(descriptor: &Descriptor) -> Option<&'static str> {
        let reserved =
            descriptor.command & COMMAND_RESERVED | descriptor.options & OPTIONS_RESERVED;
        if reserved != 0 || descriptor.address >> 48 != 0 {
            Some("reserved bits set in a context")
        } else if descriptor.command & UNSUPPORTED != 0 {
            Some("IPsec or FCoE, which the device does not have")
        } else {
            None
        }
    }

    /// Where the transport header begins.
    pub(super) fn transport_at(&self) -> usize {
        self.mac_length + self.ip_length
    }

    /// Whether the frame is as long as MACLEN and IPLEN say, and has the IP version said.
    pub(super) fn fits(&self, frame: &[u8]) -> Result<(), &'static str> {
        let (version, least) = if self.ipv4 { (4, 20) } else { (6, 40) };
        if self.mac_length < 14 {
            return Err("MACLEN of less than 14");
        }
        if self.ip_length < least {
            return Err("IPLEN of less than an IP header");
        }
        if frame.len() < self.transport_at() {
            return Err("MACLEN and IPLEN longer than the packet");
        }
        if frame[self.mac_length] >> 4 != version {
            return Err("IP version other than the context's");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_linux_puts_them() {
        // vlan_macip_lens, type_tucmd_mlhl, mss_l4len_idx
        let descriptor = Descriptor {
            address: 0x2005 << 16 | 18 << 9 | 40,
            command: 0x2020_0000 | 0x400 | 0x800,
            options: 1448 << 16 | 32 << 8 | 1 << 4,
        };
        let expected = Context {
            vlan: 0x2005,
            mac_length: 18,
            ip_length: 40,
            ipv4: true,
            transport: Transport::Tcp,
            transport_length: 32,
            segment_size: 1448,
        };
        assert_eq!(Context::from(descriptor), expected);
        assert_eq!(Context::slot(&descriptor), 1);
        assert_eq!(Context::fault(&descriptor), None);
    }
}
