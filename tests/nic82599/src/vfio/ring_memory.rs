//! The pages of ring registers as memory that the client maps into the guest: writes to them cost
//! the guest nothing, and [`crate::Nic::poll_rings`] finds what was written. The client sees one file in the
//! layout of the register BAR, of which it maps these pages only.

#![allow(unsafe_code, reason = "views pages shared with the guest as atomics")]

use crate::{BAR0_SIZE, RingPage, RingPages};
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::os::fd::OwnedFd;
use std::rc::Rc;

const PAGE: usize = 0x1000;
const RECEIVE_LOW: usize = 0x1000;
const TRANSMIT_LOW: usize = 0x6000;
const TRANSMIT_HIGH: usize = 0x7000;
const RECEIVE_HIGH: usize = 0xD000;

/// Offset and size of each part of the register BAR that may be mapped.
pub(super) const AREAS: [(usize, usize); 3] = [
    (RECEIVE_LOW, PAGE),
    (TRANSMIT_LOW, 2 * PAGE),
    (RECEIVE_HIGH, PAGE),
];

pub(super) struct RingMemory {
    file: Rc<OwnedFd>,
    map: MmapRaw,
}

impl RingMemory {
    pub(super) fn new() -> std::io::Result<RingMemory> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("nic82599-rings", flags)?;
        ftruncate(&file, u64::from(BAR0_SIZE))?;
        // A client that made it smaller would have us killed at the next poll.
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let map = MmapOptions::new().map_raw(&file)?;
        Ok(RingMemory {
            file: Rc::new(file),
            map,
        })
    }

    pub(super) fn file(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.file)
    }

    pub(super) fn pages(&self) -> RingPages<'_> {
        RingPages {
            receive_low: self.page(RECEIVE_LOW),
            transmit_low: self.page(TRANSMIT_LOW),
            transmit_high: self.page(TRANSMIT_HIGH),
            receive_high: self.page(RECEIVE_HIGH),
        }
    }

    fn page(&self, offset: usize) -> &RingPage {
        assert!(offset + PAGE <= self.map.len() && offset.is_multiple_of(PAGE));
        let page = self
            .map
            .as_mut_ptr()
            .wrapping_add(offset)
            .cast::<RingPage>();
        // SAFETY: a whole page inside the mapping, which lives as long as the borrow; nothing in
        // this process views it other than as atomics.
        unsafe { &*page }
    }
}

const _: () = assert!(size_of::<RingPage>() == PAGE);
