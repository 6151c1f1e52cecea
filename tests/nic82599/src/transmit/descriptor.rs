//! Transmit descriptors as drivers write them (datasheet 7.2.3.2).

/// A descriptor in memory.
pub(super) type Raw = [u8; 16];

/// CMD.DEXT: the type is in DTYP; without it, the descriptor is of the legacy layout.
const EXTENDED: u32 = 1 << 29;
const TYPE_SHIFT: u32 = 20;
const TYPE_CONTEXT: u32 = 2;
const TYPE_DATA: u32 = 3;

const LENGTH_MASK: u32 = 0xFFFF;
const END_OF_PACKET: u32 = 1 << 24;
const INSERT_FCS: u32 = 1 << 25;
const LEGACY_CHECKSUM: u32 = 1 << 26;
const REPORT: u32 = 1 << 27;
const INSERT_VLAN: u32 = 1 << 30;
const SEGMENT: u32 = 1 << 31;
/// Bits 26 and 28 of DCMD, 17:16, and MAC.ILSec, for LinkSec is fused off.
const ADVANCED_RESERVED: u32 = 1 << 28 | 1 << 26 | 0x7 << 16;
const LEGACY_RESERVED: u32 = 1 << 31 | 1 << 28;

const SLOT: u32 = 1 << 4;
const CHECK_CONTEXT: u32 = 1 << 7;
const SUM_NETWORK: u32 = 1 << 8;
const SUM_TRANSPORT: u32 = 1 << 9;
const PAYLOAD_SHIFT: u32 = 14;
/// STA, IDX above 1, POPTS 5:3, and POPTS.IPSEC, for IPsec is fused off.
const OPTIONS_RESERVED: u32 = 0xF << 10 | 0x6 << 4 | 0xF;
const LEGACY_OPTIONS_RESERVED: u32 = 0xFF;

/// What a completed descriptor holds: DD, and nothing else.
pub(super) const DONE: Raw = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Context,
    Data,
    Legacy,
    Unknown,
}

#[derive(Clone, Copy)]
pub(super) struct Descriptor {
    pub(super) address: u64,
    pub(super) command: u32,
    pub(super) options: u32,
}

impl From<&Raw> for Descriptor {
    fn from(raw: &Raw) -> Descriptor {
        let [a, b, c, d, e, f, g, h, rest @ ..] = *raw;
        let [i, j, k, l, m, n, o, p] = rest;
        Descriptor {
            address: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            command: u32::from_le_bytes([i, j, k, l]),
            options: u32::from_le_bytes([m, n, o, p]),
        }
    }
}

impl Descriptor {
    pub(super) fn kind(&self) -> Kind {
        match (self.command & EXTENDED, self.command >> TYPE_SHIFT & 0xF) {
            (0, _) => Kind::Legacy,
            (_, TYPE_DATA) => Kind::Data,
            (_, TYPE_CONTEXT) => Kind::Context,
            _ => Kind::Unknown,
        }
    }

    /// Whether it is the last of a packet.
    pub(super) fn ends_packet(&self) -> bool {
        matches!(self.kind(), Kind::Data | Kind::Legacy) && self.command & END_OF_PACKET != 0
    }

    /// Whether the driver wants to hear that it is done.
    pub(super) fn reports(&self) -> bool {
        matches!(self.kind(), Kind::Data | Kind::Legacy) && self.command & REPORT != 0
    }

    /// Bytes at the address.
    pub(super) fn length(&self) -> usize {
        (self.command & LENGTH_MASK) as usize
    }

    /// What is wrong with it as one of a packet's, whatever the packet asks for.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let reserved = match self.kind() {
            Kind::Legacy => LEGACY_RESERVED,
            _ => ADVANCED_RESERVED,
        };
        if self.command & reserved != 0 {
            Some("reserved bits set")
        } else if self.length() == 0 {
            Some("no data: the length is 0")
        } else {
            None
        }
    }

    /// The bits of the last word that must be zero in the first descriptor of a packet.
    pub(super) fn reserved_options(&self) -> bool {
        let reserved = match self.kind() {
            Kind::Legacy => LEGACY_OPTIONS_RESERVED,
            _ => OPTIONS_RESERVED,
        };
        self.options & reserved != 0
    }

    /// What the packet asks for, of which this is the first descriptor.
    pub(super) fn request(&self) -> Request {
        let advanced = self.kind() == Kind::Data;
        let option = |bit| advanced && self.options & bit != 0;
        let [sum_at, ..] = (self.command >> 16).to_le_bytes();
        let [_, sum_from, tag @ ..] = self.options.to_le_bytes();
        let legacy_sum = !advanced && self.command & LEGACY_CHECKSUM != 0;
        Request {
            insert_fcs: self.command & INSERT_FCS != 0,
            insert_vlan: self.command & INSERT_VLAN != 0,
            segment: advanced && self.command & SEGMENT != 0,
            check_context: option(CHECK_CONTEXT),
            sum_network: option(SUM_NETWORK),
            sum_transport: option(SUM_TRANSPORT),
            slot: usize::from(option(SLOT)),
            payload: advanced.then_some((self.options >> PAYLOAD_SHIFT) as usize),
            legacy_sum: legacy_sum.then_some((usize::from(sum_from), usize::from(sum_at))),
            legacy_tag: (!advanced).then_some(u16::from_le_bytes(tag)),
        }
    }
}

/// What a packet asks for: fields of its first descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) insert_fcs: bool,
    pub(super) insert_vlan: bool,
    pub(super) segment: bool,
    pub(super) check_context: bool,
    pub(super) sum_network: bool,
    pub(super) sum_transport: bool,
    /// Which context of the queue it refers to.
    pub(super) slot: usize,
    /// PAYLEN of advanced descriptors.
    pub(super) payload: Option<usize>,
    /// Where a legacy checksum begins, and where it goes.
    pub(super) legacy_sum: Option<(usize, usize)>,
    /// The VLAN tag of legacy descriptors; others take it from their context.
    pub(super) legacy_tag: Option<u16>,
}

impl Request {
    /// Whether the packet cannot be sent without its context.
    pub(super) fn needs_context(&self) -> bool {
        self.check_context
            || self.segment
            || self.sum_network
            || self.sum_transport
            || self.insert_vlan && self.legacy_tag.is_none()
    }

    /// Whether the device changes what is in the frame.
    pub(super) fn changes_frame(&self) -> bool {
        self.insert_vlan
            || self.segment
            || self.sum_network
            || self.sum_transport
            || self.legacy_sum.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(command: u32, options: u32) -> Descriptor {
        Descriptor {
            address: 0,
            command,
            options,
        }
    }

    #[test]
    fn the_type_is_in_dtyp_when_dext_is_set() {
        for (command, kind) in [
            (EXTENDED | 2 << 20, Kind::Context),
            (EXTENDED | 3 << 20, Kind::Data),
            (EXTENDED | 1 << 20, Kind::Unknown),
            (EXTENDED | 0xF << 20, Kind::Unknown),
            (3 << 20, Kind::Legacy),
        ] {
            assert_eq!(descriptor(command, 0).kind(), kind, "{command:#x}");
        }
    }

    #[test]
    fn fields_lie_where_linux_puts_them() {
        // IXGBE_ADVTXD_DTYP_DATA | DCMD_DEXT | DCMD_IFCS | DCMD_VLE | DCMD_TSE | TXD_CMD
        let command = 0x0030_0000 | 0x2000_0000 | 0x0200_0000 | 0x4000_0000 | 0x8000_0000;
        let last = descriptor(command | 0x0100_0000 | 0x0800_0000 | 1448, 0);
        assert!(last.ends_packet() && last.reports());
        assert_eq!((last.length(), last.fault()), (1448, None));
        let first = descriptor(command | 54, 0x3000 << 14 | 0x300 | 0x80 | 1 << 4);
        assert!(!first.ends_packet() && !first.reports() && !first.reserved_options());
        let expected = Request {
            insert_fcs: true,
            insert_vlan: true,
            segment: true,
            check_context: true,
            sum_network: true,
            sum_transport: true,
            slot: 1,
            payload: Some(0x3000),
            legacy_sum: None,
            legacy_tag: None,
        };
        assert_eq!(first.request(), expected);
    }

    #[test]
    fn a_context_neither_ends_a_packet_nor_reports() {
        let context = descriptor(EXTENDED | 2 << 20 | END_OF_PACKET | REPORT, 0);
        assert!(!context.ends_packet() && !context.reports());
    }
}
