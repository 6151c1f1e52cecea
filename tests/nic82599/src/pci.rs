//! The configuration space of the function: what a bus scan finds (82599 datasheet chapter 9).
//!
//! A byte image, a mask of the bits that keep what is written and a mask of those that a one
//! clears. What a write sets off (a function-level reset) is told to the caller. The capabilities
//! are those of the 82599 but MSI, INTA and VPD: drivers that matter use MSI-X.

/// The size of the configuration space of a PCI Express function.
pub const CONFIG_SIZE: usize = 4096;

/// The size of the MSI-X BAR: the table at its start, the pending bits at [`PBA_OFFSET`].
pub const MSIX_BAR_SIZE: u32 = 0x4000;

/// Where BAR 4 has the pending-bit array.
pub const PBA_OFFSET: u32 = 0x2000;

/// The vectors of the MSI-X table.
pub const MSIX_VECTORS: u16 = 64;

const INTEL: u16 = 0x8086;

const COMMAND: usize = 0x04;
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_BUS_MASTER: u16 = 1 << 2;
const BAR0: usize = 0x10;
const BAR4: usize = 0x20;

const POWER_MANAGEMENT: usize = 0x40;
const MSIX: usize = 0x70;
const PCIE: usize = 0xA0;
const DEVICE_CONTROL: usize = PCIE + 0x08;
const INITIATE_FLR: u16 = 1 << 15;

const AER: usize = 0x100;
const SERIAL_NUMBER: usize = 0x140;

/// What a write to the configuration space set off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigEvent {
    Nothing,
    /// A function-level reset was asked for.
    FunctionReset,
}

/// The configuration space, 4 KiB.
pub struct ConfigSpace {
    bytes: Box<[u8; CONFIG_SIZE]>,
    writable: Box<[u8; CONFIG_SIZE]>,
    /// Bits that a written one clears.
    clears: Box<[u8; CONFIG_SIZE]>,
    device: u16,
    mac: [u8; 6],
}

impl ConfigSpace {
    /// `registers` is the size of BAR 0 in bytes, a power of two.
    pub fn new(device: u16, mac: [u8; 6], registers: u32) -> ConfigSpace {
        let zero = || Box::new([0; CONFIG_SIZE]);
        let mut config = ConfigSpace {
            bytes: zero(),
            writable: zero(),
            clears: zero(),
            device,
            mac,
        };
        config.header(registers);
        config.power_management();
        config.msix();
        config.express();
        config.extended();
        config
    }

    /// Reads `bytes.len()` bytes; beyond the end a bus reads ones.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = self
                .bytes
                .get(offset.saturating_add(index))
                .copied()
                .unwrap_or(0xFF);
        }
    }

    /// Writes what is writable.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> ConfigEvent {
        for (index, &byte) in bytes.iter().enumerate() {
            let at = offset.saturating_add(index);
            if at >= CONFIG_SIZE {
                break;
            }
            let kept = self.bytes[at] & !self.writable[at];
            self.bytes[at] = (kept | byte & self.writable[at]) & !(byte & self.clears[at]);
        }
        let control = self.word(DEVICE_CONTROL);
        if control & INITIATE_FLR == 0 {
            return ConfigEvent::Nothing;
        }
        // The bit reads as zero.
        self.set_word(DEVICE_CONTROL, control & !INITIATE_FLR);
        ConfigEvent::FunctionReset
    }

    /// Whether the function may start transfers: without that, neither DMA nor MSI-X leave it.
    pub fn is_bus_master(&self) -> bool {
        self.word(COMMAND) & COMMAND_BUS_MASTER != 0
    }

    /// Back to the values of a reset.
    pub fn reset(&mut self) {
        let size = !self.long_mask(BAR0) + 1;
        *self = ConfigSpace::new(self.device, self.mac, size);
    }

    fn header(&mut self, registers: u32) {
        self.set_word(0x00, INTEL);
        self.set_word(0x02, self.device);
        self.keep_word(COMMAND, COMMAND_MEMORY | COMMAND_BUS_MASTER | 0x0540);
        self.set_word(0x06, 1 << 4); // status: there is a capability list
        self.clear_word(0x06, 0xF900);
        self.set_long(0x08, 0x0200_0001); // Ethernet controller, revision 1
        self.keep_byte(0x0C); // cache line size
        self.bar(BAR0, registers);
        self.bar(BAR4, MSIX_BAR_SIZE);
        self.set_word(0x2C, INTEL);
        self.set_word(0x2E, 0x0003); // X520-DA2
        self.bytes[0x34] = 0x40; // POWER_MANAGEMENT is the first capability
        self.keep_byte(0x3C); // interrupt line
    }

    /// A 64-bit, prefetchable memory BAR.
    fn bar(&mut self, at: usize, size: u32) {
        self.set_long(at, 0xC);
        self.keep_long(at, !(size - 1));
        self.keep_long(at + 4, u32::MAX);
    }

    /// 9.3.3: version 3, no PME support claimed; D0 and D3hot.
    fn power_management(&mut self) {
        self.capability(POWER_MANAGEMENT, 0x01, MSIX);
        self.set_word(POWER_MANAGEMENT + 2, 0x0023);
        self.set_word(POWER_MANAGEMENT + 4, 1 << 3); // no soft reset on leaving D3hot
        self.keep_word(POWER_MANAGEMENT + 4, 0x0003);
    }

    /// 9.3.8: table and pending bits in BAR 4.
    fn msix(&mut self) {
        self.capability(MSIX, 0x11, PCIE);
        self.set_word(MSIX + 2, MSIX_VECTORS - 1);
        self.keep_word(MSIX + 2, 0xC000); // enable, function mask
        self.set_long(MSIX + 4, 4);
        self.set_long(MSIX + 8, PBA_OFFSET | 4);
    }

    /// 9.3.10: an endpoint with function-level reset, eight lanes at 5 GT/s.
    fn express(&mut self) {
        self.capability(PCIE, 0x10, 0);
        self.set_word(PCIE + 2, 0x0002); // version 2, endpoint
        self.set_long(PCIE + 4, 0x1000_8CC2); // FLR, payload 512, role-based errors
        self.set_word(DEVICE_CONTROL, 0x2810);
        self.keep_word(DEVICE_CONTROL, 0xFFFF);
        self.clear_word(PCIE + 0x0A, 0x000F);
        self.set_long(PCIE + 0x0C, 0x0000_0482); // link: 5 GT/s, x8, L0s
        self.keep_word(PCIE + 0x10, 0x01C3);
        self.set_word(PCIE + 0x12, 0x0082); // it runs at 5 GT/s, x8
        self.set_long(PCIE + 0x24, 0x001F); // completion timeout ranges and disable
        self.keep_word(PCIE + 0x28, 0x001F);
        self.set_word(PCIE + 0x30, 0x0002); // target speed
        self.keep_word(PCIE + 0x30, 0x000F);
    }

    /// 9.4: advanced error reporting and the serial number made of the MAC address.
    fn extended(&mut self) {
        self.set_long(AER, u32::from(0x0001_u16) | 1 << 16 | 0x140 << 20);
        self.clear_long(AER + 0x04, 0x003F_F030);
        self.keep_long(AER + 0x08, 0x003F_F030);
        self.set_long(AER + 0x0C, 0x0006_2030);
        self.keep_long(AER + 0x0C, 0x003F_F030);
        self.clear_long(AER + 0x10, 0x0000_31C1);
        self.set_long(AER + 0x14, 0x0000_2000);
        self.keep_long(AER + 0x14, 0x0000_31C1);
        self.set_long(SERIAL_NUMBER, u32::from(0x0003_u16) | 1 << 16);
        let [a, b, c, d, e, f] = self.mac;
        self.set_long(SERIAL_NUMBER + 4, u32::from_be_bytes([0xFF, d, e, f]));
        self.set_long(SERIAL_NUMBER + 8, u32::from_be_bytes([a, b, c, 0xFF]));
    }

    fn capability(&mut self, at: usize, id: u8, next: usize) {
        self.bytes[at] = id;
        self.bytes[at + 1] = u8::try_from(next).unwrap_or_default();
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn long_mask(&self, at: usize) -> u32 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|index| self.writable[at + index]);
        u32::from_le_bytes([a, b, c, d])
    }

    fn set_word(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn set_long(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn keep_byte(&mut self, at: usize) {
        self.writable[at] = u8::MAX;
    }

    fn keep_word(&mut self, at: usize, mask: u16) {
        self.writable[at..at + 2].copy_from_slice(&mask.to_le_bytes());
    }

    fn keep_long(&mut self, at: usize, mask: u32) {
        self.writable[at..at + 4].copy_from_slice(&mask.to_le_bytes());
    }

    fn clear_word(&mut self, at: usize, mask: u16) {
        self.clears[at..at + 2].copy_from_slice(&mask.to_le_bytes());
    }

    fn clear_long(&mut self, at: usize, mask: u32) {
        self.clears[at..at + 4].copy_from_slice(&mask.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x02, 0, 0, 0x12, 0x34, 0x56];

    fn config() -> ConfigSpace {
        ConfigSpace::new(0x10FB, MAC, 0x2_0000)
    }

    fn long(config: &ConfigSpace, at: usize) -> u32 {
        let mut bytes = [0; 4];
        config.read(at, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn a_scan_finds_an_82599_and_its_capabilities() {
        let config = config();
        assert_eq!(long(&config, 0x00), 0x10FB_8086);
        assert_eq!(long(&config, 0x08) >> 8, 0x02_0000);
        let mut found = Vec::new();
        let mut at = usize::from(config.bytes[0x34]);
        while at != 0 {
            found.push((config.bytes[at], at));
            at = usize::from(config.bytes[at + 1]);
        }
        assert_eq!(found, [(0x01, 0x40), (0x11, 0x70), (0x10, 0xA0)]);
        assert_eq!(long(&config, 0x100), 0x1401_0001);
        assert_eq!(long(&config, 0x140), 0x0001_0003);
        assert_eq!(long(&config, 0x148), 0x0200_00FF);
    }

    #[test]
    fn bars_answer_sizing() {
        let mut config = config();
        config.write(BAR0, &[0xFF; 8]);
        config.write(BAR4, &[0xFF; 8]);
        assert_eq!(long(&config, BAR0), 0xFFFE_000C);
        assert_eq!(long(&config, BAR0 + 4), 0xFFFF_FFFF);
        assert_eq!(long(&config, BAR4), 0xFFFF_C00C);
        config.write(0x18, &[0xFF; 8]);
        assert_eq!(long(&config, 0x18), 0);
    }

    #[test]
    fn identity_is_read_only_and_bus_mastering_is_not() {
        let mut config = config();
        config.write(0, &[0; 4]);
        assert_eq!(long(&config, 0), 0x10FB_8086);
        assert!(!config.is_bus_master());
        config.write(COMMAND, &[0x06, 0]);
        assert!(config.is_bus_master());
    }

    #[test]
    fn a_function_level_reset_is_told_once_and_takes_the_settings_back() {
        let mut config = config();
        config.write(COMMAND, &[0x06, 0]);
        let control = DEVICE_CONTROL + 1;
        assert_eq!(config.write(control, &[0xA8]), ConfigEvent::FunctionReset);
        assert_eq!(config.write(control, &[0x28]), ConfigEvent::Nothing);
        config.reset();
        assert!(!config.is_bus_master());
        assert_eq!(config.long_mask(BAR0), 0xFFFE_0000);
    }

    #[test]
    fn accesses_past_the_end_read_ones_and_write_nothing() {
        let mut config = config();
        let mut bytes = [0; 4];
        config.read(CONFIG_SIZE - 2, &mut bytes);
        assert_eq!(bytes, [0, 0, 0xFF, 0xFF]);
        assert_eq!(config.write(usize::MAX, &[1, 2]), ConfigEvent::Nothing);
    }
}
