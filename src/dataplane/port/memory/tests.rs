//! Both sides of the port, by frames that bear numbers.

use std::ops::Range;

use super::*;
use crate::dataplane::testing::{filled, pool};

const FRAMES: u32 = 256;

/// Frames with these numbers, in lists of at most `most`.
fn ring(pool: &mut Pool, numbers: Range<u8>, most: usize) -> Ring {
    let numbers: Vec<u8> = numbers.collect();
    let list = |numbers: &[u8]| numbers.iter().map(|n| filled(pool, &[*n; 60])).collect();
    numbers.chunks(most).map(list).collect()
}

/// The numbers of frames, which go back to the pool.
fn numbers(pool: &mut Pool, frames: impl IntoIterator<Item = Frame>) -> Vec<u8> {
    let number = |frame| {
        let number = pool.bytes(&frame)[0];
        pool.give(frame);
        number
    };
    frames.into_iter().map(number).collect()
}

fn received(queue: &mut Queue, pool: &mut Pool) -> Vec<u8> {
    let mut burst = Burst::new();
    queue.receive(pool, &mut burst);
    numbers(pool, burst)
}

fn sent(queue: &mut Queue, pool: &mut Pool) -> Vec<u8> {
    let mut ring = Ring::new();
    queue.sent(&mut ring);
    assert!(ring.iter().all(|list| !list.is_empty()), "an empty list");
    numbers(pool, ring.into_iter().flatten())
}

fn transmit(queue: &mut Queue, pool: &mut Pool, numbers: Range<u8>) -> Vec<u8> {
    let mut list: Burst = numbers.map(|n| filled(pool, &[n; 60])).collect();
    queue.transmit(pool, &mut list);
    self::numbers(pool, list)
}

fn count_up(numbers: Range<u8>) -> Vec<u8> {
    numbers.collect()
}

#[test]
fn rings_that_arrive_are_received_whole_and_in_order() {
    let (mut pool, mut queue) = (pool(FRAMES), Queue::new(0));
    queue.deliver(filled(&mut pool, &[0; 60]));
    for mut frames in [ring(&mut pool, 1..101, 30), ring(&mut pool, 101..150, 64)] {
        queue.arrive(&mut frames);
        assert!(frames.is_empty(), "handed over");
    }
    queue.deliver(filled(&mut pool, &[150; 60]));
    // Bursts are filled from as many lists as it takes.
    assert_eq!(received(&mut queue, &mut pool), count_up(0..64));
    assert_eq!(received(&mut queue, &mut pool), count_up(64..128));
    assert_eq!(received(&mut queue, &mut pool), count_up(128..151));
    assert_eq!(received(&mut queue, &mut pool), count_up(0..0));
    assert_eq!(pool.available(), FRAMES as usize);
}

#[test]
fn a_burst_that_has_frames_is_filled_up_behind_them() {
    let (mut pool, mut queue) = (pool(FRAMES), Queue::new(0));
    queue.arrive(&mut ring(&mut pool, 10..110, 64));
    let mut burst: Burst = ring(&mut pool, 0..10, 64).into_iter().flatten().collect();
    queue.receive(&mut pool, &mut burst);
    assert_eq!(numbers(&mut pool, burst), count_up(0..64));
    assert_eq!(received(&mut queue, &mut pool), count_up(64..110));
    assert_eq!(pool.available(), FRAMES as usize);
}

#[test]
fn a_port_with_a_burst_of_its_own_returns_no_more_at_once() {
    let (mut pool, mut queue) = (pool(FRAMES), Queue::new(0).with_burst(20));
    queue.arrive(&mut ring(&mut pool, 0..50, 15));
    for numbers in [0..20, 20..40, 40..50, 0..0] {
        assert_eq!(received(&mut queue, &mut pool), count_up(numbers));
    }
    // What the burst has counts.
    queue.arrive(&mut ring(&mut pool, 15..40, 64));
    let mut burst: Burst = ring(&mut pool, 0..15, 64).into_iter().flatten().collect();
    queue.receive(&mut pool, &mut burst);
    assert_eq!(numbers(&mut pool, burst), count_up(0..20));
    assert_eq!(received(&mut queue, &mut pool), count_up(20..40));
    assert_eq!(pool.available(), FRAMES as usize);
}

#[test]
fn what_finds_no_room_stays_and_there_is_room_again_once_all_is_taken() {
    let (mut pool, mut queue) = (pool(FRAMES), Queue::new(100));
    assert_eq!(transmit(&mut queue, &mut pool, 0..64), count_up(0..0));
    assert_eq!(transmit(&mut queue, &mut pool, 64..128), count_up(100..128));
    assert_eq!(transmit(&mut queue, &mut pool, 0..1), count_up(0..1));
    assert_eq!(sent(&mut queue, &mut pool), count_up(0..100));
    assert_eq!(sent(&mut queue, &mut pool), count_up(0..0));
    assert_eq!(transmit(&mut queue, &mut pool, 0..64), count_up(0..0));
    assert_eq!(transmit(&mut queue, &mut pool, 64..128), count_up(100..128));
    assert_eq!(sent(&mut queue, &mut pool), count_up(0..100));
    assert_eq!(pool.available(), FRAMES as usize);
}

#[test]
fn what_was_sent_is_taken_in_order_one_by_one_or_behind_what_a_ring_has() {
    let (mut pool, mut queue) = (pool(FRAMES), Queue::new(100));
    transmit(&mut queue, &mut pool, 10..40);
    transmit(&mut queue, &mut pool, 40..90);
    let oldest = queue.collect();
    assert_eq!(numbers(&mut pool, oldest), count_up(10..11));
    let mut taken = ring(&mut pool, 0..10, 4);
    queue.sent(&mut taken);
    let right: Vec<u8> = (0..10).chain(11..90).collect();
    assert_eq!(numbers(&mut pool, taken.into_iter().flatten()), right);
    assert!(queue.collect().is_none());
    assert_eq!(pool.available(), FRAMES as usize);
}

#[test]
fn a_port_that_is_retired_gives_all_its_frames_back() {
    let (mut pool, mut queue) = (pool(FRAMES), Queue::new(100));
    queue.arrive(&mut ring(&mut pool, 0..100, 30));
    transmit(&mut queue, &mut pool, 0..64);
    assert_eq!(pool.available(), FRAMES as usize - 164);
    queue.retire(&mut pool);
    assert_eq!(pool.available(), FRAMES as usize);
}
