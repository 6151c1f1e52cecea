//! Transmit (8.2.3.9, 8.2.3.10).

use super::Register;

pub(crate) const DMATXCTL: Register = Register(0x4A80);
pub(crate) const DMATXCTL_ENABLE: u32 = 1 << 0;
pub(crate) const RTTDCS: Register = Register(0x4900);
/// MTQC may change only while this is set.
pub(crate) const RTTDCS_ARBITER_DISABLE: u32 = 1 << 6;
pub(crate) const MTQC: Register = Register(0x8120);
/// Bytes that one DMA request may take; the most, without traffic classes.
pub(crate) const DTXMXSZRQ: Register = Register(0x8100);
pub(crate) const DTXMXSZRQ_MOST: u32 = 0xFFF;
/// Packet buffers of the eight traffic classes, in bytes, and their thresholds in KiB.
pub(crate) const TXPBSIZE: Register = Register(0xCC00);
pub(crate) const TXPBSIZE_ALL: u32 = 160 << 10;
pub(crate) const TXPBTHRESH: Register = Register(0x4950);
/// All of it less the longest frame: 160 - 10.
pub(crate) const TXPBTHRESH_ALL: u32 = 0x96;
