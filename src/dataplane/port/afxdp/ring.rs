//! The rings that an AF_XDP socket shares with the kernel: one type for all four of them.
//!
//! A ring is an array of a power-of-two size with a free-running producer index and a free-running
//! consumer index. We produce into the fill and transmit rings and consume the receive and
//! completion rings. The kernel's index is loaded with acquire, ours stored with release, once a
//! batch; in between both are cached. Whatever the kernel's index says, no more entries than the
//! ring has are ever seen as ready, and every access is masked into the array.

#![allow(unsafe_code, reason = "reads and writes memory shared with the kernel")]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::{MmapOptions, MmapRaw};

/// What lies in a ring: addresses (fill, completion) or descriptors (receive, transmit).
///
/// # Safety
/// Any bytes must be a value of the type.
pub(super) unsafe trait Entry: Copy {}
// SAFETY: any bytes are an integer.
unsafe impl Entry for u64 {}
// SAFETY: a struct of three integers without padding.
unsafe impl Entry for libc::xdp_desc {}

/// The mapping and the addresses within it, checked once.
struct Ring<T> {
    map: MmapRaw,
    producer: usize,
    consumer: usize,
    flags: usize,
    entries: usize,
    mask: u32,
    entry: PhantomData<T>,
}

impl<T: Entry> Ring<T> {
    /// Maps the ring of `size` entries that lies at `page_offset` of the socket. `offsets` come
    /// from the kernel; a layout that would leave the mapping is refused.
    fn map(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Ring<T>> {
        let place = |offset: u64| usize::try_from(offset).ok().filter(|at| at % 8 == 0);
        let bad = || io::Error::other("the kernel described an impossible AF_XDP ring");
        let entries = place(offsets.desc).ok_or_else(bad)?;
        let producer = place(offsets.producer).ok_or_else(bad)?;
        let consumer = place(offsets.consumer).ok_or_else(bad)?;
        let flags = usize::try_from(offsets.flags).map_err(|_| bad())?;
        let len = size_of::<T>()
            .checked_mul(size as usize)
            .and_then(|bytes| bytes.checked_add(entries))
            .ok_or_else(bad)?;
        let indices_fit = [producer, consumer, flags]
            .into_iter()
            .all(|at| at % 4 == 0 && at.checked_add(4).is_some_and(|end| end <= len));
        if !size.is_power_of_two() || !indices_fit {
            return Err(bad());
        }
        let map = MmapOptions::new()
            .offset(page_offset)
            .len(len)
            .populate()
            .map_raw(socket.as_raw_fd())?;
        Ok(Ring {
            map,
            producer,
            consumer,
            flags,
            entries,
            mask: size - 1,
            entry: PhantomData,
        })
    }

    fn size(&self) -> u32 {
        self.mask + 1
    }

    fn index(&self, at: usize) -> &AtomicU32 {
        // SAFETY: `at` is one of the three offsets that `map` found aligned and inside the mapping,
        // which lives as long as `self`; both sides only ever use it as an atomic.
        unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().add(at).cast()) }
    }

    fn entry(&self, index: u32) -> *mut T {
        let at = self.entries + (index & self.mask) as usize * size_of::<T>();
        // SAFETY: the masked index is below the size, so the entry lies inside the mapping, whose
        // length `map` computed from both.
        unsafe { self.map.as_mut_ptr().add(at).cast() }
    }
}

impl<T> fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({})", self.mask + 1)
    }
}

/// A ring that we fill: fill or transmit.
#[derive(Debug)]
pub(super) struct Producer<T> {
    ring: Ring<T>,
    /// Our index; entries before it are written, those before the shared one also submitted.
    next: u32,
    /// The kernel's index when last looked at.
    consumed: u32,
}

impl<T: Entry> Producer<T> {
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Producer<T>> {
        let ring = Ring::map(socket, page_offset, offsets, size)?;
        Ok(Producer {
            ring,
            next: 0,
            consumed: 0,
        })
    }

    /// How many of `wanted` entries can be pushed now.
    pub(super) fn room(&mut self, wanted: u32) -> u32 {
        if self.cached_room() < wanted {
            let shared = self.ring.index(self.ring.consumer);
            self.consumed = shared.load(Ordering::Acquire);
        }
        self.cached_room().min(wanted)
    }

    fn cached_room(&self) -> u32 {
        // A consumer index that ran past ours is nonsense: then the ring counts as full.
        let used = self.next.wrapping_sub(self.consumed);
        self.ring.size().saturating_sub(used)
    }

    /// Writes the next entry; the caller has asked for [`Self::room`]. Not seen by the kernel
    /// before [`Self::submit`].
    pub(super) fn push(&mut self, value: T) {
        // SAFETY: `entry` lies in the mapping and is aligned (`desc` is a multiple of 8); the
        // kernel does not read entries past the submitted index.
        unsafe { self.ring.entry(self.next).write_volatile(value) };
        self.next = self.next.wrapping_add(1);
    }

    /// Hands everything pushed to the kernel.
    pub(super) fn submit(&mut self) {
        let shared = self.ring.index(self.ring.producer);
        shared.store(self.next, Ordering::Release);
    }

    /// True when the kernel waits for a system call before it looks at the ring.
    pub(super) fn needs_wakeup(&self) -> bool {
        let flags = self.ring.index(self.ring.flags).load(Ordering::Relaxed);
        flags & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// A ring that the kernel fills: receive or completion.
#[derive(Debug)]
pub(super) struct Consumer<T> {
    ring: Ring<T>,
    /// Our index; entries before it are read, those before the shared one also released.
    next: u32,
    /// The kernel's index when last looked at.
    produced: u32,
}

impl<T: Entry> Consumer<T> {
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Consumer<T>> {
        let ring = Ring::map(socket, page_offset, offsets, size)?;
        Ok(Consumer {
            ring,
            next: 0,
            produced: 0,
        })
    }

    /// How many entries, up to `wanted`, can be taken now.
    pub(super) fn ready(&mut self, wanted: u32) -> u32 {
        if self.cached_ready() < wanted {
            let shared = self.ring.index(self.ring.producer);
            self.produced = shared.load(Ordering::Acquire);
        }
        self.cached_ready().min(wanted)
    }

    fn cached_ready(&self) -> u32 {
        self.produced.wrapping_sub(self.next).min(self.ring.size())
    }

    /// Reads the next entry; the caller knows by [`Self::ready`] that there is one.
    pub(super) fn take(&mut self) -> T {
        // SAFETY: `entry` lies in the mapping and is aligned; any bytes there are a `T`, so even an
        // entry that the kernel has not written is only a wrong value.
        let value = unsafe { self.ring.entry(self.next).read_volatile() };
        self.next = self.next.wrapping_add(1);
        value
    }

    /// Gives everything taken back to the kernel.
    pub(super) fn release(&mut self) {
        let shared = self.ring.index(self.ring.consumer);
        shared.store(self.next, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u32 = 8;
    const OFFSETS: libc::xdp_ring_offset = libc::xdp_ring_offset {
        producer: 0,
        consumer: 64,
        flags: 132,
        desc: 192,
    };

    /// A ring in plain memory, with the kernel's side played by the test.
    fn ring() -> Ring<u64> {
        let map = MmapRaw::from(MmapOptions::new().len(4096).map_anon().unwrap());
        Ring {
            map,
            producer: 0,
            consumer: 64,
            flags: 132,
            entries: 192,
            mask: SIZE - 1,
            entry: PhantomData,
        }
    }

    #[test]
    fn a_producer_fills_the_ring_and_no_more() {
        let mut tx = Producer {
            ring: ring(),
            next: u32::MAX - 2,
            consumed: u32::MAX - 2,
        };
        let consumer = |tx: &Producer<u64>, at: u32| {
            tx.ring.index(64).store(at, Ordering::Release);
        };
        consumer(&tx, u32::MAX - 2);
        assert_eq!(tx.room(100), SIZE);
        for value in 0..5 {
            tx.push(value);
        }
        assert_eq!(tx.ring.index(0).load(Ordering::Acquire), 0, "not submitted");
        tx.submit();
        assert_eq!(tx.ring.index(0).load(Ordering::Acquire), 2, "wrapped");
        assert_eq!(tx.room(100), 3);
        consumer(&tx, 1);
        assert_eq!(tx.room(100), 7);
        consumer(&tx, 77);
        assert_eq!(tx.room(100), 0, "an index past ours");
    }

    #[test]
    fn a_consumer_sees_what_was_produced_and_never_more_than_the_ring_holds() {
        let mut rx = Consumer {
            ring: ring(),
            next: u32::MAX,
            produced: u32::MAX,
        };
        let produce = |rx: &Consumer<u64>, at: u32| rx.ring.index(0).store(at, Ordering::Release);
        produce(&rx, u32::MAX);
        assert_eq!(rx.ready(64), 0);
        for index in [u32::MAX, 0, 1] {
            // SAFETY: the entry lies in the test's own mapping.
            unsafe { rx.ring.entry(index).write(u64::from(index)) };
        }
        produce(&rx, 2);
        assert_eq!(rx.ready(64), 3);
        assert_eq!(
            [rx.take(), rx.take(), rx.take()],
            [u64::from(u32::MAX), 0, 1]
        );
        assert_eq!(rx.ring.index(64).load(Ordering::Acquire), 0, "not released");
        rx.release();
        assert_eq!(rx.ring.index(64).load(Ordering::Acquire), 2);
        produce(&rx, 5000);
        assert_eq!(rx.ready(64), SIZE, "an index far ahead");
    }

    #[test]
    fn wakeups_are_what_the_kernel_says() {
        let tx = Producer {
            ring: ring(),
            next: 0,
            consumed: 0,
        };
        assert!(!tx.needs_wakeup());
        tx.ring.index(132).store(1, Ordering::Relaxed);
        assert!(tx.needs_wakeup());
    }

    #[test]
    fn a_layout_that_leaves_the_mapping_is_refused() {
        use std::os::fd::AsFd;
        let null = std::fs::File::open("/dev/null").unwrap();
        for bad in [
            libc::xdp_ring_offset {
                producer: 1 << 40,
                ..OFFSETS
            },
            libc::xdp_ring_offset {
                desc: 193,
                ..OFFSETS
            },
            libc::xdp_ring_offset {
                desc: u64::MAX - 7,
                ..OFFSETS
            },
        ] {
            let ring = Ring::<u64>::map(null.as_fd(), 0, &bad, SIZE);
            assert!(ring.unwrap_err().to_string().contains("impossible"));
        }
    }
}
