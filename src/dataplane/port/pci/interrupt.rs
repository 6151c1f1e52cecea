//! An interrupt of a PCI function as this process hears it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use super::affinity::Affinity;

/// An MSI-X vector with its eventfd. Dropping it puts back where the interrupt went before.
#[derive(Debug)]
pub struct Interrupt {
    event: OwnedFd,
    irq: Option<u32>,
    affinity: Option<(Affinity, usize)>,
}

impl Interrupt {
    pub(super) fn new(event: OwnedFd, irq: Option<u32>) -> Interrupt {
        Interrupt {
            event,
            irq,
            affinity: None,
        }
    }

    /// A non-blocking eventfd.
    pub(super) fn event() -> io::Result<OwnedFd> {
        Ok(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?)
    }

    /// Another descriptor of the same event.
    pub fn another(&self) -> io::Result<OwnedFd> {
        self.event.try_clone()
    }

    /// Swallows what has been signalled; true when anything was.
    pub fn clear(&self) -> bool {
        rustix::io::read(&self.event, &mut [0; 8]).is_ok()
    }

    /// Its number in /proc/irq, where known.
    pub fn irq(&self) -> Option<u32> {
        self.irq
    }

    /// The core that it was steered to.
    pub fn core(&self) -> Option<usize> {
        self.affinity.as_ref().map(|(_, core)| *core)
    }

    /// The core that it goes to now, whoever sent it there; `None` when that is several, or not known.
    pub fn goes_to(&self) -> Option<usize> {
        let list = format!("/proc/irq/{}/effective_affinity_list", self.irq?);
        std::fs::read_to_string(list).ok()?.trim().parse().ok()
    }

    /// Has the kernel deliver it to a core from now on.
    pub fn steer(&mut self, core: usize) -> io::Result<()> {
        let irq = self.irq.ok_or(io::ErrorKind::NotFound)?;
        // What was before is put back first, so that it is what is remembered.
        self.affinity = None;
        self.affinity = Some((Affinity::steer(irq, core)?, core));
        Ok(())
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
