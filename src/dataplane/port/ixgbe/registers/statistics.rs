//! Statistics (8.2.3.23): each is cleared by its read.

use super::Register;

/// What was lost or damaged before a descriptor had it, by the names that operators see.
pub(crate) const LOSSES: [(&str, Register); 10] = [
    // No room in the packet buffer: the queues do not keep up.
    ("rx_missed", Register(0x3FA0)),
    // No descriptor in the queue (counter 0 is all queues').
    ("rx_no_buffer", Register(0x1430)),
    ("rx_crc", Register(0x4000)),
    ("rx_illegal", Register(0x4004)),
    ("rx_errors", Register(0x4008)),
    ("rx_length", Register(0x4040)),
    ("rx_undersize", Register(0x40A4)),
    ("rx_fragments", Register(0x40A8)),
    ("rx_oversize", Register(0x40AC)),
    ("rx_jabber", Register(0x40B0)),
];
