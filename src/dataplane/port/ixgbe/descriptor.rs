//! Advanced descriptors (datasheet 7.1.6, 7.2.3.2): 16 bytes, as two little-endian words of 64 bits.
//! What a device writes back lies in the second word of both kinds, so one load tells it whole.

/// A descriptor as software writes it: its first word, its second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Descriptor(pub(super) u64, pub(super) u64);

/// A free buffer for the device to fill.
pub(super) fn receive(buffer: u64) -> Descriptor {
    // The second word is the header buffer's address, which one-buffer descriptors have no use for;
    // zero also takes DD away.
    Descriptor(buffer, 0)
}

/// The second word of a receive descriptor, as the device wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Received(pub(super) u64);

impl Received {
    const DONE: u64 = 1 << 0;
    const END_OF_PACKET: u64 = 1 << 1;
    /// RXE: CRC, length and other errors of the MAC.
    const ERROR: u64 = 1 << 29;
    /// IPE: the IPv4 header's checksum is wrong.
    const IP_CHECKSUM: u64 = 1 << 31;

    /// DD: the device is done with the buffer.
    pub(super) fn is_done(self) -> bool {
        self.0 & Received::DONE != 0
    }

    /// DD and EOP, nothing wrong, and at least one byte but at most `size`: as nearly all are.
    #[inline(always)]
    pub(super) fn is_plain(self, size: u32) -> bool {
        let flags = Received::DONE | Received::END_OF_PACKET;
        let faults = Received::ERROR | Received::IP_CHECKSUM;
        let fits = u32::from(self.length()).wrapping_sub(1) < size;
        (self.0 & (flags | faults) == flags) & fits
    }

    /// EOP: the frame ends in this buffer.
    pub(super) fn ends_packet(self) -> bool {
        self.0 & Received::END_OF_PACKET != 0
    }

    pub(super) fn is_damaged(self) -> bool {
        self.0 & Received::ERROR != 0
    }

    pub(super) fn has_wrong_ip_checksum(self) -> bool {
        self.0 & Received::IP_CHECKSUM != 0
    }

    /// Bytes in the buffer.
    pub(super) fn length(self) -> u16 {
        let [.., low, high, _, _] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}

/// A whole frame of `length` bytes to send. With `report` the device writes back that it, and all
/// before it, are sent.
pub(super) fn transmit(buffer: u64, length: u16, report: bool) -> Descriptor {
    const DATA: u64 = 3 << 20;
    const END_OF_PACKET: u64 = 1 << 24;
    const INSERT_FCS: u64 = 1 << 25;
    const REPORT: u64 = 1 << 27;
    const EXTENDED: u64 = 1 << 29;
    const PAYLOAD_SHIFT: u32 = 32 + 14;
    let length = u64::from(length);
    let report = if report { REPORT } else { 0 };
    let command = DATA | END_OF_PACKET | INSERT_FCS | EXTENDED | report;
    Descriptor(buffer, length << PAYLOAD_SHIFT | command | length)
}

/// The second word of a transmit descriptor: DD of one that was to report.
pub(super) fn is_sent(word: u64) -> bool {
    word & 1 << 32 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_received_word_is_read_as_the_datasheet_lays_it_out() {
        // VLAN tag 0x2005, length 0x1234, IPE, RXE, EOP, DD.
        let word = Received(0x2005_1234_A000_0003);
        assert!(word.is_done() && word.ends_packet());
        assert!(word.is_damaged() && word.has_wrong_ip_checksum());
        assert_eq!(word.length(), 0x1234);
        let word = Received(0x5FFF_FFFC | 0xFFFF << 48);
        assert!(!word.is_done() && !word.ends_packet());
        assert!(!word.is_damaged() || word.0 & 1 << 29 != 0);
        assert_eq!(word.length(), 0);
        assert!(!Received(0).is_done());
    }

    #[test]
    fn a_frame_to_send_says_its_length_twice() {
        let Descriptor(buffer, word) = transmit(0x1_2345_6789, 60, false);
        assert_eq!(buffer, 0x1_2345_6789);
        assert_eq!(word, 60 << 46 | 0x2330_0000 | 60);
        let Descriptor(_, reporting) = transmit(0, 60, true);
        assert_eq!(reporting ^ word, 0x0800_0000);
        assert!(!is_sent(reporting) && is_sent(1 << 32));
    }
}
