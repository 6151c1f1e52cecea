//! A real worker asleep on a port that interrupts: an 82599 whose registers are plain memory.

use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use super::card::card;
use super::threads::{Rig, until};
use super::*;
use crate::dataplane::port::ixgbe::Vector;

const VECTOR: u16 = 3;
/// EIMS_EX and EIMC_EX of the first 32 vectors.
const MASK_SET: u32 = 0xAA0;
const MASK_CLEAR: u32 = 0xAB0;

#[test]
fn a_sleeping_worker_has_the_card_wake_it() {
    const ROUNDS: u32 = 40;
    let event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let (arena, bar, attachment) = card(Some(Vector {
        number: VECTOR,
        event: event.try_clone().unwrap(),
    }));
    let rig = Rig::with_arena(Idle::Adaptive, arena);
    rig.command(Command::Attach(attachment));
    let written = |register| {
        until("written", || {
            Some(bar.read(register)).filter(|value| *value != 0)
        })
    };
    let start = Instant::now();
    for _ in 0..ROUNDS {
        assert_eq!(written(MASK_SET), 1 << VECTOR, "armed");
        bar.write(MASK_SET, 0);
        bar.write(MASK_CLEAR, 0);
        rustix::io::write(&event, &1u64.to_ne_bytes()).unwrap();
        assert_eq!(written(MASK_CLEAR), 1 << VECTOR, "woken and disarmed");
    }
    // Woken by its heartbeat alone, the worker would have needed a second a round.
    assert!(start.elapsed() < Duration::from_secs(u64::from(ROUNDS) / 2));
    rig.stop();
}
