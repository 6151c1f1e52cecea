//! Which frames are taken in: by length, destination address and VLAN (datasheet 7.1.1).

use crate::packet::{Headers, VLAN_TAG};
use crate::registers::{
    FCTRL, HLREG0, HLREG0_JUMBOEN, MAXFRS, MCSTCTRL, MTA, RAH, RAH_VALID, RAL, ROC, RUC, VFTA,
    VLNCTRL,
};
use crate::state::State;

/// Frames come without their FCS.
const FCS: usize = 4;
/// The shortest frame, and the longest without jumbo frames, with FCS and without VLAN tag.
const SHORTEST: usize = 64;
const LONGEST: usize = 1518;

const FCTRL_MPE: u32 = 1 << 8;
const FCTRL_UPE: u32 = 1 << 9;
const FCTRL_BAM: u32 = 1 << 10;
const MCSTCTRL_MO: u32 = 0x3;
const MCSTCTRL_MFE: u32 = 1 << 2;
const VLNCTRL_CFI: u32 = 1 << 28;
const VLNCTRL_CFIEN: u32 = 1 << 29;
const VLNCTRL_VFE: u32 = 1 << 30;
/// The canonical form indicator in a VLAN tag.
const TAG_CFI: u16 = 1 << 12;

/// RAL and RAH of a filter that lets an address in.
pub(crate) fn filter_words(&[a, b, c, d, e, f]: &[u8; 6]) -> (u32, u32) {
    let low = u32::from_le_bytes([a, b, c, d]);
    (low, RAH_VALID | u32::from_le_bytes([e, f, 0, 0]))
}

impl State {
    /// Whether a frame is of a length that is allowed and passes the filters.
    pub(super) fn is_taken(&mut self, frame: &[u8], headers: &Headers) -> bool {
        let length = frame.len() + FCS;
        let longest = self.longest() + headers.vlan.map_or(0, |_| VLAN_TAG);
        if length < SHORTEST {
            self.count(RUC);
        } else if length > longest {
            self.count(ROC);
        }
        (SHORTEST..=longest).contains(&length)
            && frame
                .first_chunk()
                .is_some_and(|address| self.passes_address(address))
            && headers.vlan.is_none_or(|tag| self.passes_vlan(tag))
    }

    /// The longest frame, with its FCS and without a VLAN tag.
    fn longest(&self) -> usize {
        if self.regs[HLREG0] & HLREG0_JUMBOEN == 0 {
            return LONGEST;
        }
        (self.regs[MAXFRS] >> 16) as usize
    }

    fn passes_address(&self, address: &[u8; 6]) -> bool {
        let control = self.regs[FCTRL];
        let inexact = match address {
            [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF] => control & FCTRL_BAM != 0,
            [first, ..] if first & 1 == 0 => control & FCTRL_UPE != 0,
            _ => control & FCTRL_MPE != 0 || self.is_in_multicast_table(address),
        };
        inexact || self.is_own(address)
    }

    /// RAL and RAH.
    fn is_own(&self, address: &[u8; 6]) -> bool {
        let (low, high) = filter_words(address);
        (0..RAL.count as usize).any(|n| {
            self.regs[RAL.at(n)] == low && self.regs[RAH.at(n)] & (RAH_VALID | 0xFFFF) == high
        })
    }

    /// MTA, by twelve bits of the address that MCSTCTRL.MO chooses.
    fn is_in_multicast_table(&self, &[.., e, f]: &[u8; 6]) -> bool {
        let control = self.regs[MCSTCTRL];
        let shift = match control & MCSTCTRL_MO {
            0 => 4,
            1 => 3,
            2 => 2,
            _ => 0,
        };
        let index = (u16::from_le_bytes([e, f]) >> shift) & 0xFFF;
        control & MCSTCTRL_MFE != 0 && bit(self.regs[MTA.at(usize::from(index >> 5))], index)
    }

    fn passes_vlan(&self, tag: u16) -> bool {
        let control = self.regs[VLNCTRL];
        let cfi = (tag & TAG_CFI != 0) == (control & VLNCTRL_CFI != 0);
        let id = tag & 0xFFF;
        (control & VLNCTRL_VFE == 0 || bit(self.regs[VFTA.at(usize::from(id >> 5))], id))
            && (control & VLNCTRL_CFIEN == 0 || cfi)
    }
}

/// The bit of a table's word that the low five bits of an index choose.
fn bit(word: u32, index: u16) -> bool {
    word >> (index & 0x1F) & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::super::testing::Receiver;
    use super::*;
    use crate::registers::{BPRC, GPRC, MPRC, RXCTRL, SECRXCTRL, SECRXCTRL_RX_DIS, TPR};
    use crate::testing::MAC;

    const MULTICAST: [u8; 6] = [0x01, 0x00, 0x5E, 0x12, 0xA7, 0xC3];
    const OTHER: [u8; 6] = [0x02, 0, 0, 0, 0, 9];

    /// A frame to an address, with its FCS of this length.
    fn frame(address: [u8; 6], length: usize) -> Vec<u8> {
        let mut frame = vec![0; length - FCS];
        frame[..6].copy_from_slice(&address);
        frame
    }

    fn tagged(tag: u16) -> Vec<u8> {
        let mut frame = frame(MAC, 68);
        frame[12..14].copy_from_slice(&[0x81, 0x00]);
        frame[14..16].copy_from_slice(&tag.to_be_bytes());
        frame
    }

    /// Whether the device takes a frame in.
    fn takes(receiver: &mut Receiver, frame: &[u8]) -> bool {
        receiver.wire(frame);
        receiver.bench.read(GPRC) == 1
    }

    #[test]
    fn only_the_own_address_passes_without_further_filters() {
        let mut receiver = Receiver::new();
        assert!(takes(&mut receiver, &frame(MAC, 64)));
        for address in [OTHER, MULTICAST, [0xFF; 6]] {
            assert!(!takes(&mut receiver, &frame(address, 64)));
        }
        assert_eq!(receiver.bench.read(TPR), 4, "seen, all of them");
    }

    #[test]
    fn each_address_filter_counts_while_it_is_valid() {
        for n in [1, 127] {
            for address in [OTHER, MULTICAST] {
                let mut receiver = Receiver::new();
                let [a, b, c, d, e, f] = address;
                let low = u32::from_le_bytes([a, b, c, d]);
                let high = u32::from_le_bytes([e, f, 0, 0]);
                receiver.bench.write(RAL.at(n), low);
                receiver.bench.write(RAH.at(n), high);
                assert!(!takes(&mut receiver, &frame(address, 64)));
                receiver.bench.write(RAH.at(n), high | RAH_VALID);
                assert!(takes(&mut receiver, &frame(address, 64)));
                receiver.bench.assert_clean();
            }
        }
    }

    #[test]
    fn promiscuous_modes_take_their_kind_of_address() {
        for (bit, passing) in [
            (FCTRL_UPE, [true, false, false]),
            (FCTRL_MPE, [false, true, false]),
            (FCTRL_BAM, [false, false, true]),
        ] {
            let mut receiver = Receiver::new();
            receiver.bench.write(FCTRL, bit);
            let taken =
                [OTHER, MULTICAST, [0xFF; 6]].map(|to| takes(&mut receiver, &frame(to, 64)));
            assert_eq!(taken, passing, "{bit:#x}");
        }
    }

    #[test]
    fn the_multicast_table_is_found_by_the_bits_that_mo_chooses() {
        let whole = u64::from_le_bytes([0x01, 0x00, 0x5E, 0x12, 0xA7, 0xC3, 0, 0]);
        for (offset, lowest) in [(0, 36), (1, 35), (2, 34), (3, 32)] {
            let vector = usize::try_from(whole >> lowest & 0xFFF).unwrap();
            let mut receiver = Receiver::new();
            receiver
                .bench
                .write(MTA.at(vector / 32), 1 << (vector % 32));
            receiver.bench.write(MCSTCTRL, offset);
            assert!(!takes(&mut receiver, &frame(MULTICAST, 64)), "not enabled");
            receiver.bench.write(MCSTCTRL, offset | MCSTCTRL_MFE);
            assert!(takes(&mut receiver, &frame(MULTICAST, 64)), "{offset}");
            assert_eq!(receiver.bench.read(MPRC), 1);
            receiver.bench.write(MCSTCTRL, (offset ^ 1) | MCSTCTRL_MFE);
            assert!(!takes(&mut receiver, &frame(MULTICAST, 64)), "{offset}");
        }
    }

    #[test]
    fn vlans_are_filtered_by_their_table_when_asked() {
        let mut receiver = Receiver::new();
        assert!(takes(&mut receiver, &tagged(0x0ABC)));
        receiver.bench.write(VLNCTRL, 0x8100 | VLNCTRL_VFE);
        assert!(!takes(&mut receiver, &tagged(0x0ABC)));
        receiver.bench.write(VFTA.at(0xABC / 32), 1 << (0xABC % 32));
        assert!(takes(&mut receiver, &tagged(0xEABC)));
        assert!(!takes(&mut receiver, &tagged(0x0ABD)));
        assert!(takes(&mut receiver, &frame(MAC, 64)), "without a tag");
    }

    #[test]
    fn the_canonical_form_indicator_is_filtered_when_asked() {
        let mut receiver = Receiver::new();
        receiver.bench.write(VLNCTRL, 0x8100 | VLNCTRL_CFIEN);
        assert!(takes(&mut receiver, &tagged(0x0005)));
        assert!(!takes(&mut receiver, &tagged(0x1005)));
    }

    #[test]
    fn runts_and_oversized_frames_are_counted_and_dropped() {
        let mut receiver = Receiver::new();
        for (length, taken) in [(63, false), (64, true), (1518, true), (1519, false)] {
            assert_eq!(takes(&mut receiver, &frame(MAC, length)), taken, "{length}");
        }
        assert!(!takes(&mut receiver, &[]));
        assert_eq!([receiver.bench.read(RUC), receiver.bench.read(ROC)], [2, 1]);
    }

    #[test]
    fn jumbo_frames_are_taken_up_to_maxfrs() {
        let mut receiver = Receiver::new();
        receiver.bench.write(MAXFRS, 9018 << 16);
        assert!(!takes(&mut receiver, &frame(MAC, 9018)), "no JUMBOEN");
        let control = receiver.bench.read(HLREG0);
        receiver.bench.write(HLREG0, control | HLREG0_JUMBOEN);
        assert!(takes(&mut receiver, &frame(MAC, 9018)));
        assert!(!takes(&mut receiver, &frame(MAC, 9019)));
        let mut tagged = tagged(5);
        tagged.resize(9022 - FCS, 0);
        assert!(takes(&mut receiver, &tagged), "a tag does not count");
    }

    #[test]
    fn nothing_is_seen_while_reception_is_off() {
        let mut receiver = Receiver::new();
        receiver.bench.write(SECRXCTRL, SECRXCTRL_RX_DIS);
        assert!(!takes(&mut receiver, &frame(MAC, 64)));
        receiver.bench.write(SECRXCTRL, 0);
        receiver.bench.write(RXCTRL, 0);
        assert!(!takes(&mut receiver, &frame(MAC, 64)));
        assert_eq!(receiver.bench.read(TPR), 0);
        receiver.bench.assert_clean();
    }

    #[test]
    fn broadcasts_count_apart() {
        let mut receiver = Receiver::new();
        receiver.bench.write(FCTRL, FCTRL_BAM);
        assert!(takes(&mut receiver, &frame([0xFF; 6], 64)));
        assert_eq!(receiver.bench.read(BPRC), 1);
    }
}
