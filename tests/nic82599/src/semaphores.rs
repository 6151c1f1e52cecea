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
