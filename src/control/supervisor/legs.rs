//! Next-hop groups with more legs than the fast path spreads over: the operator hears of them, and of
//! their end. The kernel forwards by them meanwhile.

use super::Daemon;
use crate::shared::fib::Buckets;

impl Daemon {
    /// Says once that there are such groups, and once that there are none any more.
    pub(super) fn tell_legs(&mut self) {
        if !self.ready {
            return;
        }
        let warning = self.legs_warning();
        match &warning {
            Some(warning) if !self.told_legs => tracing::warn!("{warning}"),
            None if self.told_legs => {
                tracing::info!("no route or next-hop group has too many legs any more");
            }
            Some(_) | None => {}
        }
        self.told_legs = warning.is_some();
    }

    pub(super) fn legs_warning(&self) -> Option<String> {
        warning(self.resolver.oversized_groups())
    }
}

fn warning(groups: usize) -> Option<String> {
    let (what, have) = match groups {
        0 => return None,
        1 => ("1 set of next hops", "has"),
        n => (&*format!("{n} sets of next hops"), "have"),
    };
    Some(format!(
        "{what} {have} more than {} legs, the most that ixmapd spreads over: the kernel forwards by \
         routes with more, slower (`kernel_route`); give them fewer",
        Buckets::MAX_LEGS
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_named_while_something_is_beyond_it() {
        assert_eq!(warning(0), None);
        let one = warning(1).unwrap();
        let start = "1 set of next hops has more than 256 legs, the most";
        assert!(one.starts_with(start), "{one}");
        let two = warning(2).unwrap();
        assert!(two.starts_with("2 sets of next hops have more "), "{two}");
    }
}
