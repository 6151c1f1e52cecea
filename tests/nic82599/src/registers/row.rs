//! One row of the register table, and how rows are written down.

/// The offset of a register in BAR0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reg(pub(crate) u32);

/// Registers of one kind at a stride.
#[derive(Clone, Copy)]
pub(crate) struct Array {
    pub(crate) base: u32,
    pub(crate) stride: u32,
    pub(crate) count: u32,
}

impl Array {
    pub(crate) const fn new(base: u32, stride: u32, count: u32) -> Array {
        Array {
            base,
            stride,
            count,
        }
    }

    /// Register `n`; an index past the end is taken modulo the count.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "less than the count, which is a u32"
    )]
    pub(crate) const fn at(self, n: usize) -> Reg {
        Reg(self.base + self.stride * (n % self.count as usize) as u32)
    }
}

/// A register of each of the 128 queues: those from 64 on lie elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct PerQueue {
    pub(crate) low: Array,
    pub(crate) high: Array,
}

impl PerQueue {
    pub(crate) const fn new(low: u32, high: u32) -> PerQueue {
        PerQueue {
            low: Array::new(low, 0x40, 64),
            high: Array::new(high, 0x40, 64),
        }
    }

    pub(crate) const fn at(self, queue: usize) -> Reg {
        if queue & 64 == 0 {
            self.low.at(queue)
        } else {
            self.high.at(queue - 64)
        }
    }
}

/// What a register does beyond keeping its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    None,
    Control,
    Status,
    SoftwarePins,
    I2c,
    EepromControl,
    EepromRead,
    EepromWrite,
    Semaphore,
    SoftwareFirmwareSync,
    Mdio,
    LinkControl,
    LinkStatus,
    Cause,
    CauseSet,
    CauseSetEx,
    MaskSet,
    MaskSetEx,
    MaskClear,
    MaskClearEx,
    AutoMask,
    AutoMaskEx,
    InterruptEnable,
    InterruptRoute,
    Throttle,
    FlowDirectorControl,
    FlowDirectorCommand,
    ReceiveEnable,
    TransmitEnable,
    RingBase,
    RingLength,
    RingHead,
    ReceiveTail,
    TransmitTail,
    ReceiveControl,
    TransmitControl,
}

/// A register, or an array of them.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The datasheet's chapter.
    pub(crate) section: &'static str,
    base: u32,
    stride: u32,
    pub(crate) count: u32,
    /// The index of the first, where an array lies in two places.
    first: u32,
    pub(crate) reset: u32,
    /// Bits that keep what is written.
    pub(crate) writable: u32,
    /// Bits that a written one clears.
    pub(crate) one_clears: u32,
    /// Bits that a read clears.
    pub(crate) read_clears: u32,
    /// Bits that a write must leave as they read.
    pub(crate) reserved: u32,
    /// The array that these offsets are other names of.
    pub(super) alias_of: Option<Array>,
    pub(crate) hook: Hook,
}

/// A single register; every bit is reserved until said otherwise.
pub(super) const fn reg(name: &'static str, at: Reg, section: &'static str) -> Row {
    array(name, Array::new(at.0, 4, 1), section)
}

/// An array of registers; every bit is reserved until said otherwise.
pub(super) const fn array(name: &'static str, at: Array, section: &'static str) -> Row {
    Row {
        name,
        section,
        base: at.base,
        stride: at.stride,
        count: at.count,
        first: 0,
        reset: 0,
        writable: 0,
        one_clears: 0,
        read_clears: 0,
        reserved: !0,
        alias_of: None,
        hook: Hook::None,
    }
}

/// Other offsets of an array's first registers.
pub(super) const fn alias(name: &'static str, at: Array, of: Array) -> Row {
    Row {
        alias_of: Some(of),
        ..array(name, at, "alias")
    }
}

impl Row {
    /// The value after a reset.
    pub(super) const fn reset(mut self, value: u32) -> Row {
        self.reset = value;
        self
    }

    /// Bits that keep what is written.
    pub(super) const fn rw(mut self, bits: u32) -> Row {
        self.writable |= bits;
        self.reserved &= !bits;
        self
    }

    /// Bits that may be written and do not stay: read-only, write-only or self-clearing.
    pub(super) const fn known(mut self, bits: u32) -> Row {
        self.reserved &= !bits;
        self
    }

    /// Bits that a written one clears.
    pub(super) const fn w1c(mut self, bits: u32) -> Row {
        self.one_clears |= bits;
        self.reserved &= !bits;
        self
    }

    /// The whole register is cleared by a read.
    pub(super) const fn rc(mut self) -> Row {
        self.read_clears = !0;
        self
    }

    /// The array's first index.
    pub(super) const fn first(mut self, index: u32) -> Row {
        self.first = index;
        self
    }

    pub(super) const fn hook(mut self, hook: Hook) -> Row {
        self.hook = hook;
        self
    }

    pub(crate) const fn is_single(&self) -> bool {
        self.count == 1 && self.first == 0
    }

    /// Where register `n` of the row is seen.
    pub(super) const fn offset_of(&self, n: u32) -> u32 {
        self.base + self.stride * n
    }

    /// The index of one of the row's registers.
    pub(crate) const fn index_of(&self, register: Reg) -> u32 {
        self.first + (register.0 - self.base) / self.stride
    }
}
