//! The interrupt vectors: an eventfd for each MSI-X vector that the client has set up.
//! The MSI-X table itself is the client's affair: it masks, and keeps what is pending.

use crate::pci::MSIX_VECTORS;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ops::Range;
use std::os::fd::OwnedFd;

pub(super) struct Vectors {
    eventfds: Vec<Option<OwnedFd>>,
}

impl Vectors {
    pub(super) fn new() -> Vectors {
        Vectors {
            eventfds: (0..MSIX_VECTORS).map(|_| None).collect(),
        }
    }

    /// Sets the eventfds of a range of vectors, or takes them away when there are none. Says
    /// whether that could be done: the range must be ours and have one eventfd for each.
    pub(super) fn set(&mut self, range: Range<usize>, fds: Vec<OwnedFd>) -> bool {
        let given = fds.len();
        match self.eventfds.get_mut(range) {
            Some(vectors) if given == 0 => vectors.fill_with(|| None),
            Some(vectors) if given == vectors.len() => {
                vectors
                    .iter_mut()
                    .zip(fds)
                    .for_each(|(vector, fd)| *vector = Some(fd));
            }
            _ => return false,
        }
        true
    }

    pub(super) fn has(&self, range: &Range<usize>) -> bool {
        self.eventfds.get(range.clone()).is_some()
    }

    pub(super) fn clear(&mut self) {
        self.eventfds.fill_with(|| None);
    }

    pub(super) fn fire(&self, vector: usize) {
        if let Some(Some(fd)) = self.eventfds.get(vector) {
            // What the client gave may be anything: never wait for it.
            let mut ready = [PollFd::new(fd, PollFlags::OUT)];
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            if poll(&mut ready, Some(&now)).is_ok_and(|count| count > 0) {
                let _gone = rustix::io::write(fd, &1_u64.to_ne_bytes());
            }
        }
    }
}
