//! Ports that were taken away and still have packets on their way out. The worker's other ports don't wait
//! for these.

use std::time::Duration;

use super::{Attachment, Giver, Worker};
use crate::dataplane::port::PortQueue;
use crate::shared::port::PortId;

/// How long a port has for what is on its way out: a full ring of the longest frames takes 6 ms at 10 Gb/s. A
/// card that sends nothing for 4,096 looks is not waited for as long.
pub(super) const PATIENCE: Duration = Duration::from_millis(10);

/// A port that is only looked after until its last packet is out.
#[derive(Debug)]
pub(super) struct Leaving {
    attachment: Box<Attachment>,
    to: Giver<PortQueue>,
    since: Duration,
}

impl Leaving {
    pub(super) fn port(&self) -> PortId {
        self.attachment.port
    }
}

impl Worker {
    /// Takes a port out of the loop. Its queue goes to whoever waits for it once nothing is on its way out.
    pub(super) fn leave(&mut self, port: PortId, to: Giver<PortQueue>) {
        // Should two ask for one port, the second is told that nothing comes.
        if let Some(attachment) = self.detach(port) {
            let since = self.clock.now();
            self.leaving.push(Leaving {
                attachment,
                to,
                since,
            });
            self.see_off();
        }
    }

    /// Looks after the ports that leave.
    pub(super) fn see_off(&mut self) {
        for at in (0..self.leaving.len()).rev() {
            let leaving = &mut self.leaving[at];
            let waited = self.clock.now().saturating_sub(leaving.since);
            if !leaving.attachment.queue.tend(&mut self.pool) || waited > PATIENCE {
                self.let_go(at);
            }
        }
    }

    /// Has a port gone that may be leaving still.
    pub(super) fn end_leave(&mut self, port: PortId) {
        let is_it = |leaving: &Leaving| leaving.port() == port;
        if let Some(at) = self.leaving.iter().position(is_it) {
            self.let_go(at);
        }
    }

    fn let_go(&mut self, at: usize) {
        let Leaving { attachment, to, .. } = self.leaving.swap_remove(at);
        // Nobody waits any more? Then it is closed here after all, and the other ports wait for that.
        if let Some(queue) = to.give(attachment.queue) {
            self.take_back(attachment.port, queue.close());
        }
    }
}
