//! Receive: filters, RSS, DMA (8.2.3.7, 8.2.3.8, 8.2.3.12).

use super::Register;

pub(crate) const FCTRL: Register = Register(0x5080);
/// All multicast, all unicast, broadcast.
pub(crate) const FCTRL_MULTICAST: u32 = 1 << 8;
pub(crate) const FCTRL_UNICAST: u32 = 1 << 9;
pub(crate) const FCTRL_BROADCAST: u32 = 1 << 10;

pub(crate) const VLNCTRL: Register = Register(0x5088);
pub(crate) const VLNCTRL_FILTER: u32 = 1 << 30;

pub(crate) const RXCSUM: Register = Register(0x5000);
/// Descriptors carry the RSS hash instead of a fragment's checksum.
pub(crate) const RXCSUM_HASH: u32 = 1 << 13;

/// The station's own address: its first four bytes, its last two with AV.
pub(crate) const RAL0: Register = Register(0xA200);
pub(crate) const RAH0: Register = Register(0xA204);
pub(crate) const RAH_VALID: u32 = 1 << 31;

/// The other stations' addresses, and tables that a reset leaves as they were: of multicast, unicast
/// and VLAN hashes, and of pools.
pub(crate) const FILTERS: [(Register, u32); 5] = [
    (Register(0xA208), 254),
    (Register(0x5200), 128),
    (Register(0xF400), 128),
    (Register(0xA000), 128),
    (Register(0xA600), 256),
];

pub(crate) const MRQC: Register = Register(0xEC80);
/// RSS, by the ports of TCP and UDP and the addresses of the rest, in both families.
pub(crate) const MRQC_RSS_5_TUPLE: u32 = 1 | 0x00F3 << 16;
/// The hash's key, ten registers.
pub(crate) const RSSRK: Register = Register(0xEB80);
pub(crate) const RSSRK_WORDS: u32 = 10;
/// The queue of each of 128 hash values, four to a register.
pub(crate) const RETA: Register = Register(0xEB00);
pub(crate) const RETA_WORDS: u32 = 32;

pub(crate) const RXCTRL: Register = Register(0x3000);
pub(crate) const RXCTRL_ENABLE: u32 = 1 << 0;

pub(crate) const RDRXCTL: Register = Register(0x2F00);
pub(crate) const RDRXCTL_CRC_STRIP: u32 = 1 << 1;
pub(crate) const RDRXCTL_DMA_INIT_DONE: u32 = 1 << 3;
/// RSCFRSTSIZE, which is to be 0.
pub(crate) const RDRXCTL_RSC_SIZE: u32 = 0x1F << 17;
/// RSCACKC and FCOE_WRFIX, which are to be set.
pub(crate) const RDRXCTL_MUST: u32 = 3 << 25;

/// Packet buffers of the eight traffic classes, in bytes.
pub(crate) const RXPBSIZE: Register = Register(0x3C00);
/// All of it: 512 KiB.
pub(crate) const RXPBSIZE_ALL: u32 = 512 << 10;

pub(crate) const SECRXCTRL: Register = Register(0x8D00);
pub(crate) const SECRXCTRL_DISABLE: u32 = 1 << 1;
pub(crate) const SECRXSTAT: Register = Register(0x8D04);
pub(crate) const SECRXSTAT_READY: u32 = 1 << 0;
