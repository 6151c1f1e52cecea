//! The semaphores between drivers and firmware (datasheet 10.5.4): SWSM and SW_FW_SYNC.
//! The firmware of this device never holds one.

use crate::registers::{SW_FW_SYNC, SWSM};
use crate::state::State;
use crate::violation::Why;

/// SWSM.SMBI: taken by the read that finds it clear.
const SMBI: u32 = 1;
/// SWSM.SWESMBI: taken by writing it, guards SW_FW_SYNC.
const SWESMBI: u32 = 1 << 1;

impl State {
    /// Reads SWSM, which sets SMBI for the next reader.
    pub(crate) fn take_semaphore(&mut self) -> u32 {
        let found = self.regs[SWSM];
        self.regs[SWSM] |= SMBI;
        found
    }

    /// SW_FW_SYNC may change only under SWSM.SWESMBI.
    pub(crate) fn judge_sync(&mut self, old: u32, value: u32) {
        if old != value && self.regs[SWSM] & SWESMBI == 0 {
            let why = "written without holding SWSM.SWESMBI";
            self.violate(SW_FW_SYNC, value, Why::Protocol(why));
        }
    }

    pub(crate) fn semaphores(&self) -> [u32; 2] {
        [self.regs[SWSM], self.regs[SW_FW_SYNC]]
    }

    pub(crate) fn restore_semaphores(&mut self, [swsm, sync]: [u32; 2]) {
        self.regs[SWSM] = swsm;
        self.regs[SW_FW_SYNC] = sync;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registers::{CTRL, CTRL_RST};
    use crate::testing::Bench;

    /// What a driver does: SMBI by reading, SWESMBI by writing and reading back, then the bits.
    fn lock(bench: &mut Bench, bits: u32) {
        assert_eq!(bench.read(SWSM) & SMBI, 0, "free");
        let held = bench.read(SWSM);
        bench.write(SWSM, held | SWESMBI);
        assert_eq!(bench.read(SWSM), SMBI | SWESMBI);
        bench.write(SW_FW_SYNC, bits);
        bench.write(SWSM, 0);
    }

    #[test]
    fn the_first_reader_takes_smbi_until_it_writes_zero() {
        let mut bench = Bench::new();
        assert_eq!([bench.read(SWSM), bench.read(SWSM)], [0, SMBI]);
        bench.write(SWSM, 0);
        assert_eq!(bench.read(SWSM), 0);
        bench.assert_clean();
    }

    #[test]
    fn sw_fw_sync_under_the_semaphore_is_allowed_and_outlives_a_software_reset() {
        let mut bench = Bench::new();
        lock(&mut bench, 0x9);
        bench.write(CTRL, CTRL_RST);
        assert_eq!(bench.read(SW_FW_SYNC), 0x9);
        bench.assert_clean();
        bench.nic.reset();
        assert_eq!(
            bench.read(SW_FW_SYNC),
            0,
            "a function reset frees everything"
        );
    }

    #[test]
    fn sw_fw_sync_without_the_semaphore_is_a_violation() {
        let mut bench = Bench::new();
        bench.write(SW_FW_SYNC, 1);
        bench.assert_violation(
            "SW_FW_SYNC",
            Why::Protocol("written without holding SWSM.SWESMBI"),
        );
    }
}
