//! Counters: one writer each (the worker that owns the set), any number of readers.
//!
//! A [`PortCounters`] belongs to one (worker, port) pair and a [`WorkerCounters`] to one worker;
//! each set starts on a cache line of its own, so that no worker writes a line that another one
//! writes. Control adds the sets up when asked.

use std::sync::atomic::{AtomicU64, Ordering};

use super::reason::{DropReason, InjectDropReason, PuntReason};

/// A monotonic count with one writer.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds without a locked instruction: correct because each counter has one writer.
    pub fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }

    /// The current value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker counts on one port. `rx` is by receiving port, and so are `forwarded`, `punted`
/// and `dropped`: rx_packets = forwarded + punted + dropped once traffic rests.
#[derive(Debug)]
#[repr(align(128))]
pub struct PortCounters {
    pub rx_packets: Counter,
    pub rx_bytes: Counter,
    pub tx_packets: Counter,
    pub tx_bytes: Counter,
    pub forwarded_ipv4: Counter,
    pub forwarded_ipv6: Counter,
    punted: [Counter; PuntReason::COUNT],
    dropped: [Counter; DropReason::COUNT],
    inject_dropped: [Counter; InjectDropReason::COUNT],
}

impl Default for PortCounters {
    fn default() -> Self {
        PortCounters {
            rx_packets: Counter::default(),
            rx_bytes: Counter::default(),
            tx_packets: Counter::default(),
            tx_bytes: Counter::default(),
            forwarded_ipv4: Counter::default(),
            forwarded_ipv6: Counter::default(),
            punted: std::array::from_fn(|_| Counter::default()),
            dropped: std::array::from_fn(|_| Counter::default()),
            inject_dropped: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl PortCounters {
    pub fn punted(&self, reason: PuntReason) -> &Counter {
        &self.punted[reason.index()]
    }

    pub fn dropped(&self, reason: DropReason) -> &Counter {
        &self.dropped[reason.index()]
    }

    pub fn inject_dropped(&self, reason: InjectDropReason) -> &Counter {
        &self.inject_dropped[reason.index()]
    }

    /// A copy of every value, for adding up.
    pub fn read(&self) -> PortTotals {
        let values = |counters: &[Counter]| counters.iter().map(Counter::get).collect();
        PortTotals {
            rx_packets: self.rx_packets.get(),
            rx_bytes: self.rx_bytes.get(),
            tx_packets: self.tx_packets.get(),
            tx_bytes: self.tx_bytes.get(),
            forwarded_ipv4: self.forwarded_ipv4.get(),
            forwarded_ipv6: self.forwarded_ipv6.get(),
            punted: values(&self.punted),
            dropped: values(&self.dropped),
            inject_dropped: values(&self.inject_dropped),
        }
    }
}

/// Plain values of a [`PortCounters`], or a sum of several. The vectors are indexed by the reasons'
/// `index()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortTotals {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub forwarded_ipv4: u64,
    pub forwarded_ipv6: u64,
    pub punted: Vec<u64>,
    pub dropped: Vec<u64>,
    pub inject_dropped: Vec<u64>,
}

impl Default for PortTotals {
    fn default() -> Self {
        PortCounters::default().read()
    }
}

impl PortTotals {
    /// Adds another set, value by value.
    pub fn add(&mut self, other: &PortTotals) {
        self.rx_packets += other.rx_packets;
        self.rx_bytes += other.rx_bytes;
        self.tx_packets += other.tx_packets;
        self.tx_bytes += other.tx_bytes;
        self.forwarded_ipv4 += other.forwarded_ipv4;
        self.forwarded_ipv6 += other.forwarded_ipv6;
        let sum = |to: &mut [u64], from: &[u64]| to.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        sum(&mut self.punted, &other.punted);
        sum(&mut self.dropped, &other.dropped);
        sum(&mut self.inject_dropped, &other.inject_dropped);
    }

    pub fn forwarded(&self) -> u64 {
        self.forwarded_ipv4 + self.forwarded_ipv6
    }

    pub fn punted_total(&self) -> u64 {
        self.punted.iter().sum()
    }

    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

/// What one worker counts about itself, over all its ports and their lifetimes.
#[derive(Default, Debug)]
#[repr(align(128))]
pub struct WorkerCounters {
    pub forwarded_ipv4: Counter,
    pub forwarded_ipv6: Counter,
    /// Nanoseconds spent on polls that found work.
    pub busy_ns: Counter,
    /// Nanoseconds since the worker started, as of its last look at the clock.
    pub total_ns: Counter,
    /// Turns of the poll loop: a worker that stands still is stuck or asleep.
    pub turns: Counter,
    /// Times the worker went to sleep (idle = "adaptive").
    pub sleeps: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_by_reason() {
        let counters = PortCounters::default();
        counters.rx_packets.add(3);
        counters.punted(PuntReason::Ttl).add(1);
        counters.dropped(DropReason::Blackhole).add(2);
        let mut sum = counters.read();
        sum.add(&counters.read());
        assert_eq!(sum.rx_packets, 6);
        assert_eq!(sum.punted[PuntReason::Ttl.index()], 2);
        assert_eq!((sum.punted_total(), sum.dropped_total()), (2, 4));
    }

    #[test]
    fn counter_sets_never_share_a_cache_line() {
        assert_eq!(std::mem::align_of::<PortCounters>(), 128);
        assert_eq!(std::mem::align_of::<WorkerCounters>(), 128);
    }
}
