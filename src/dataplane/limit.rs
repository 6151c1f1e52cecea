//! Token buckets: how much of each kind the kernel behind the TAPs is asked to take.
//!
//! Limits are per worker and port, so that a flood on one port leaves the others their share.

use std::time::Duration;

use super::mem::Apart;
use crate::shared::reason::{PuntClass, PuntReason};

/// Slots of the per-next-hop limiter; next hops that hash alike share one.
const NEXT_HOPS: usize = 1024;

/// A rate with a burst, in whole tokens. Time is the worker's own clock, monotonic.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    rate: u32,
    burst: u32,
    /// Tokens in billionths, so that short intervals are not rounded away.
    level: u64,
    last: Duration,
}

const NANO: u64 = 1_000_000_000;

impl TokenBucket {
    /// A full bucket of `burst` tokens that fills at `rate` tokens a second.
    pub fn new(rate: u32, burst: u32) -> TokenBucket {
        TokenBucket {
            rate,
            burst,
            level: u64::from(burst) * NANO,
            last: Duration::ZERO,
        }
    }

    /// Puts back what was not used, as far as there is room for it.
    fn give_back(&mut self, billionths: u64) {
        let most = u64::from(self.burst) * NANO;
        self.level = self.level.saturating_add(billionths).min(most);
    }

    /// Takes one token if there is one.
    pub fn take(&mut self, now: Duration) -> bool {
        let elapsed = now.saturating_sub(self.last);
        self.last = self.last.max(now);
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let gained = nanos.saturating_mul(u64::from(self.rate));
        self.level = self
            .level
            .saturating_add(gained)
            .min(u64::from(self.burst) * NANO);
        match self.level.checked_sub(NANO) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }
}

/// The buckets of one port on one worker.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct PuntLimits {
    classes: [TokenBucket; PuntClass::COUNT],
    next_hops: Apart<TokenBucket>,
    redirects: TokenBucket,
}

impl Default for PuntLimits {
    fn default() -> Self {
        PuntLimits {
            classes: std::array::from_fn(|i| class_bucket(PuntClass::ALL[i])),
            // The kernel queues about a hundred small packets a next hop while it resolves.
            next_hops: Apart::new(TokenBucket::new(100, 100), NEXT_HOPS),
            // The kernel itself sends few redirects a host; the rest goes the fast way.
            redirects: TokenBucket::new(100, 100),
        }
    }
}

/// Tokens of which a frame that was joined with others on its way to the kernel gets all but one back.
const JOINED_SHARE: u64 = 8;

/// Packets a second and burst of a class: what the kernel digests through one TAP with room to
/// spare, and no more of the cheap-to-forge kinds than its own ICMP limits let it answer.
fn class_bucket(class: PuntClass) -> TokenBucket {
    match class {
        PuntClass::NeighbourDiscovery => TokenBucket::new(10_000, 2_000),
        PuntClass::Routing => TokenBucket::new(50_000, 10_000),
        PuntClass::Local => TokenBucket::new(200_000, 20_000),
        PuntClass::Ttl => TokenBucket::new(2_000, 500),
        PuntClass::Mtu => TokenBucket::new(50_000, 5_000),
        PuntClass::NoRoute => TokenBucket::new(2_000, 500),
        PuntClass::NoNeighbour => TokenBucket::new(10_000, 2_000),
        PuntClass::Other => TokenBucket::new(50_000, 5_000),
    }
}

impl PuntLimits {
    /// Whether a packet may go to the kernel. `next_hop` is any hash of the unresolved address.
    pub fn admit(&mut self, reason: PuntReason, next_hop: u32, now: Duration) -> bool {
        let class = reason.class();
        if class == PuntClass::NoNeighbour {
            let slot = next_hop as usize % NEXT_HOPS;
            if !self.next_hops[slot].take(now) {
                return false;
            }
        }
        self.classes[class.index()].take(now)
    }

    /// What each next hop has left.
    #[cfg(test)]
    pub(super) fn next_hops(&self) -> &[TokenBucket] {
        &self.next_hops
    }

    /// So many frames that had been admitted, segments of TCP to the router, were joined with others.
    /// The kernel took them as part of one frame, so they cost an eighth of one each.
    pub fn give_back(&mut self, joined: u32) {
        let tokens = u64::from(joined) * NANO / JOINED_SHARE * (JOINED_SHARE - 1);
        self.classes[PuntClass::Local.index()].give_back(tokens);
    }

    /// Whether a packet that turns back on its port is shown to the kernel (which forwards it and
    /// sends a redirect) or just forwarded.
    pub fn admit_redirect(&mut self, now: Duration) -> bool {
        self.redirects.take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let mut bucket = TokenBucket::new(10, 5);
        let start = Duration::from_secs(100);
        assert_eq!((0..20).filter(|_| bucket.take(start)).count(), 5);
        let later = start + Duration::from_millis(300);
        assert_eq!((0..20).filter(|_| bucket.take(later)).count(), 3);
    }

    #[test]
    fn one_class_cannot_use_up_another() {
        let mut limits = PuntLimits::default();
        let now = Duration::from_secs(1);
        while limits.admit(PuntReason::Local, 0, now) {}
        assert!(limits.admit(PuntReason::Routing, 0, now));
    }

    #[test]
    fn frames_that_were_joined_cost_an_eighth() {
        let mut limits = PuntLimits::default();
        let now = Duration::from_secs(1);
        let admitted = |limits: &mut PuntLimits| {
            let admitted =
                std::iter::from_fn(|| limits.admit(PuntReason::Local, 0, now).then_some(()));
            u32::try_from(admitted.count()).unwrap()
        };
        let burst = admitted(&mut limits);
        limits.give_back(8000);
        assert_eq!(admitted(&mut limits), 7000);
        limits.give_back(u32::MAX);
        assert_eq!(admitted(&mut limits), burst, "never more than the burst");
        assert!(limits.admit(PuntReason::Routing, 0, now), "another class");
    }

    #[test]
    fn one_dead_next_hop_cannot_use_up_the_class() {
        let mut limits = PuntLimits::default();
        let now = Duration::from_secs(1);
        while limits.admit(PuntReason::NoNeighbour, 1, now) {}
        assert!(limits.admit(PuntReason::NoNeighbour, 2, now));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_plus_rate_times_time(
            rate in 1u32..1000, burst in 1u32..100,
            steps in proptest::collection::vec(0u64..50_000_000, 1..200),
        ) {
            let mut bucket = TokenBucket::new(rate, burst);
            let (mut now, mut passed) = (Duration::ZERO, 0u32);
            for step in steps {
                now += Duration::from_nanos(step);
                passed += u32::from(bucket.take(now));
            }
            let most = f64::from(burst) + f64::from(rate) * now.as_secs_f64();
            prop_assert!(f64::from(passed) <= most + 1e-6);
        }
    }
}
