//! The bench of the driver's tests: a modelled 82599 ([`nic82599`]) that reaches the memory of
//! [`Region`]s by addresses that the bench makes up, and a wire that remembers.
//!
//! [`Model`] is [`Registers`] over it. Handles share one device; the test and the driver are on one
//! thread. Each access of a register lets a microsecond pass for the device, and may be the one at
//! which it is torn out, or find a register that lies.

#![allow(unsafe_code, reason = "plays the device's DMA to memory of regions")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nic82599::{DmaFault, DmaFaultKind, Host, Nic, Settings, Variant};
use rustix::event::{EventfdFlags, eventfd};

use super::LastResort;
use super::registers::{Register, Registers};
use crate::dataplane::mem::{DmaMap, HUGE_PAGE, Region};

/// The MAC address in the modelled EEPROM.
pub(super) const MAC: [u8; 6] = [0x02, 0x82, 0x59, 0x90, 0x00, 0x01];

/// A device, as one of its drivers has it.
#[derive(Clone)]
pub(super) struct Model(Rc<RefCell<(Nic, Wall)>>);

/// What the device is plugged into.
#[derive(Default)]
pub(super) struct Wall {
    now: Duration,
    mappings: Vec<Mapping>,
    /// Frames that the device put on the wire.
    sent: Vec<Vec<u8>>,
    /// Vectors that the device raised.
    raised: Vec<u16>,
    /// Eventfds that the kernel would signal, by vector.
    events: BTreeMap<u16, OwnedFd>,
    /// DMA does not get through.
    stuck: bool,
    /// Bus mastering is off: DMA is dropped.
    isolated: Arc<AtomicBool>,
    /// Hardware queues stay as they are when they are asked to start or stop.
    jammed: bool,
    /// Accesses of memory that the device has tried.
    dma: u64,
    /// The registers accessed so far, and at how many of them the card is torn out.
    accesses: Vec<u32>,
    torn_out_at: Option<usize>,
    lies: BTreeMap<u32, Lie>,
    corruption: Option<(Range<u64>, Vec<u8>)>,
}

/// Bits of a register that read as set and as clear, for so many reads.
#[derive(Clone, Copy, Default)]
struct Lie {
    set: u32,
    clear: u32,
    left: usize,
}

/// A piece of a region, contiguous for the device.
struct Mapping {
    address: u64,
    region: Arc<Region>,
    start: usize,
}

impl Model {
    /// A device just powered up: the link is down and comes up within a few milliseconds.
    pub(super) fn new() -> Model {
        let settings = Settings {
            mac: MAC,
            variant: Variant::I82599,
        };
        Model(Rc::new(RefCell::new((Nic::new(settings), Wall::default()))))
    }

    /// Acts on the device with its wall.
    fn with<T>(&self, act: impl FnOnce(&mut Nic, &mut Wall) -> T) -> T {
        let (nic, wall) = &mut *self.0.borrow_mut();
        act(nic, wall)
    }

    /// Lets time pass.
    pub(super) fn pass(&self, time: Duration) {
        self.with(|nic, wall| {
            wall.now += time;
            let now = wall.now;
            nic.tick(wall, now);
        });
    }

    /// Maps a region for the device: pieces of 2 MiB, neither in order nor next to each other.
    pub(super) fn map_dma(&self, region: &Arc<Region>) -> DmaMap {
        self.with(|_, wall| {
            let pieces = region.len() / HUGE_PAGE;
            let first = wall.mappings.len();
            let address = |n: usize| ((first + pieces - n) * 3 * HUGE_PAGE) as u64 + (1 << 40);
            for n in 0..pieces {
                wall.mappings.push(Mapping {
                    address: address(n),
                    region: Arc::clone(region),
                    start: n * HUGE_PAGE,
                });
            }
            let segments = (0..pieces).map(|n| (address(n), HUGE_PAGE as u64));
            DmaMap::new(segments, region.len()).unwrap()
        })
    }

    /// The eventfd of a vector, as a driver waits for it.
    pub(super) fn event(&self, vector: u16) -> OwnedFd {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
        let ours = event.try_clone().unwrap();
        self.with(|_, wall| wall.events.insert(vector, ours));
        event
    }

    /// A frame arrives from the wire; the device takes what is at least 60 bytes.
    pub(super) fn deliver(&self, frame: &[u8]) {
        self.with(|nic, wall| nic.receive(wall, frame));
    }

    /// Frames put on the wire since the last call.
    pub(super) fn sent(&self) -> Vec<Vec<u8>> {
        self.with(|_, wall| std::mem::take(&mut wall.sent))
    }

    /// Vectors raised since the last call.
    pub(super) fn raised(&self) -> Vec<u16> {
        self.with(|_, wall| std::mem::take(&mut wall.raised))
    }

    /// Accesses of memory that the device has tried so far.
    pub(super) fn dma(&self) -> u64 {
        self.with(|_, wall| wall.dma)
    }

    /// Plugs the cable, or pulls it.
    pub(super) fn set_link(&self, up: bool) {
        self.with(|nic, wall| nic.set_link(wall, up));
    }

    /// Surprise removal: reads are all ones from now on.
    pub(super) fn remove(&self) {
        self.with(|nic, wall| wall.tear_out(nic));
    }

    /// The same at the `access`th access of a register, which is lost already.
    pub(super) fn remove_at(&self, access: usize) {
        self.with(|_, wall| wall.torn_out_at = Some(access));
    }

    /// The registers that were accessed so far, in order.
    pub(super) fn accesses(&self) -> Vec<u32> {
        self.with(|_, wall| wall.accesses.clone())
    }

    /// From now on these bits of a register read as set, and these as clear.
    pub(super) fn lie(&self, register: u32, set: u32, clear: u32) {
        self.lie_for(usize::MAX, register, set, clear);
    }

    /// The same, for so many reads.
    pub(super) fn lie_for(&self, left: usize, register: u32, set: u32, clear: u32) {
        let lie = Lie { set, clear, left };
        self.with(|_, wall| wall.lies.insert(register, lie));
    }

    /// Whether a lie about a register is still to be told.
    pub(super) fn lies_about(&self, register: u32) -> bool {
        self.with(|_, wall| wall.lies.get(&register).is_some_and(|lie| lie.left > 0))
    }

    /// No register lies any more.
    pub(super) fn be_honest(&self) {
        self.with(|_, wall| wall.lies.clear());
    }

    /// While set, DMA does not get through.
    pub(super) fn set_stuck(&self, stuck: bool) {
        self.with(|_, wall| wall.stuck = stuck);
    }

    /// Has the device look at a transmit ring again after DMA was stuck.
    pub(super) fn pull_the_tail(&self, queue: u32) {
        let tail = Register(0x6018 + 0x40 * queue);
        self.write(tail, self.read(tail));
    }

    /// Hardware queues no longer start or stop.
    pub(super) fn jam(&self) {
        self.with(|_, wall| wall.jammed = true);
    }

    /// Turns bus mastering off.
    pub(super) fn last_resort(&self) -> LastResort {
        let isolated = self.with(|_, wall| Arc::clone(&wall.isolated));
        LastResort::new(move || isolated.store(true, Ordering::Relaxed))
    }

    pub(super) fn is_isolated(&self) -> bool {
        self.with(|_, wall| wall.isolated.load(Ordering::Relaxed))
    }

    /// The device's next write that touches `range` (its addresses) arrives with `flips` exclusive
    /// or'ed onto the range's bytes.
    pub(super) fn corrupt_next_write(&self, range: Range<u64>, flips: &[u8]) {
        self.with(|_, wall| wall.corruption = Some((range, flips.to_vec())));
    }

    /// What the driver did that the datasheet does not allow.
    pub(super) fn violations(&self) -> Vec<String> {
        self.with(|nic, _| nic.violations().iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    pub(super) fn assert_clean(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

impl Registers for Model {
    fn read(&self, register: Register) -> u32 {
        let value = self.with(|nic, wall| {
            wall.count_access(nic, register);
            let lie = wall.tell(register);
            nic.read(wall, register.0) & !lie.clear | lie.set
        });
        self.pass(Duration::from_micros(1));
        value
    }

    fn write(&self, register: Register, value: u32) {
        let is_switch =
            register.0 & 0x3F == 0x28 && matches!(register.0 >> 12, 0x1 | 0x6 | 0x7 | 0xD);
        self.with(|nic, wall| {
            wall.count_access(nic, register);
            if !(wall.jammed && is_switch) {
                nic.write(wall, register.0, value);
            }
        });
        self.pass(Duration::from_micros(1));
    }
}

impl Wall {
    fn count_access(&mut self, nic: &mut Nic, register: Register) {
        self.accesses.push(register.0);
        if self.torn_out_at == Some(self.accesses.len()) {
            self.tear_out(nic);
        }
    }

    /// The lie to be told about a register, at this read.
    fn tell(&mut self, register: Register) -> Lie {
        match self.lies.get_mut(&register.0) {
            Some(lie) if lie.left > 0 => {
                lie.left -= 1;
                *lie
            }
            _ => Lie::default(),
        }
    }

    fn tear_out(&mut self, nic: &mut Nic) {
        self.lies.clear();
        nic.remove();
    }

    /// Calls `each` with the pieces of memory at `address`: where, and which bytes of the access.
    fn pieces(
        &self,
        address: u64,
        len: usize,
        mut each: impl FnMut(*mut u8, Range<usize>),
    ) -> Result<(), DmaFault> {
        let fault = |why| DmaFault { address, len, why };
        if self.stuck || self.isolated.load(Ordering::Relaxed) {
            return Err(fault(DmaFaultKind::Stuck));
        }
        let mut done = 0;
        while done < len {
            let next = address.wrapping_add(done as u64);
            let within = |mapping: &&Mapping| {
                (mapping.address..mapping.address + HUGE_PAGE as u64).contains(&next)
            };
            let mapping = self.mappings.iter().find(within);
            let mapping = mapping.ok_or(fault(DmaFaultKind::Unmapped))?;
            let at = usize::try_from(next - mapping.address).unwrap();
            let piece = (len - done).min(HUGE_PAGE - at);
            assert!(mapping.start + at + piece <= mapping.region.len());
            // SAFETY: just checked to lie within the region, which the mapping keeps.
            each(
                unsafe { mapping.region.base().add(mapping.start + at) },
                done..done + piece,
            );
            done += piece;
        }
        Ok(())
    }
}

impl Host for Wall {
    fn dma_read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), DmaFault> {
        self.dma += 1;
        self.pieces(address, bytes.len(), |memory, at| {
            let bytes = &mut bytes[at];
            // SAFETY: `pieces` gives as many bytes of a region as `at` has. Test and driver are on
            // this thread and hold no reference to a frame's bytes while the device acts.
            unsafe { memory.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        })
    }

    fn dma_write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DmaFault> {
        self.dma += 1;
        let mut bytes = bytes.to_vec();
        let end = address + bytes.len() as u64;
        let hit = |(range, _): &mut (Range<u64>, _)| range.start < end && address < range.end;
        if let Some((range, flips)) = self.corruption.take_if(hit) {
            for (place, flip) in range.zip(flips) {
                let byte = place
                    .checked_sub(address)
                    .and_then(|at| usize::try_from(at).ok());
                if let Some(byte) = byte.and_then(|at| bytes.get_mut(at)) {
                    *byte ^= flip;
                }
            }
        }
        self.pieces(address, bytes.len(), |memory, at| {
            let bytes = &bytes[at];
            // SAFETY: as in `dma_read`.
            unsafe { memory.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        })
    }

    fn interrupt(&mut self, vector: u16) {
        self.raised.push(vector);
        if let Some(event) = self.events.get(&vector) {
            rustix::io::write(event, &1u64.to_ne_bytes()).unwrap();
        }
    }

    fn transmit(&mut self, frame: &[u8]) {
        self.sent.push(frame.to_vec());
    }
}
