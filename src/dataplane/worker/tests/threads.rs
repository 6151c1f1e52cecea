//! Real worker threads, over ports that are wired to the test and have no descriptor to sleep on.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::*;
use crate::dataplane::testing::V4;

/// Longer than any wait on a busy machine: what has not happened by then will not happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A port of a running worker, seen from the other end of the cable and of the TAP.
struct Peer {
    ends: Ends,
    cable_in: PacketSender,
    cable_out: PacketReceiver,
}

pub(super) struct Rig {
    commands: Sender<Command>,
    pub(super) bell: Arc<Bell>,
    pub(super) counters: Arc<WorkerCounters>,
    thread: JoinHandle<()>,
}

impl Rig {
    fn start(idle: Idle) -> Rig {
        let (arena, _) = Arena::new(FRAMES, 2048).unwrap();
        Rig::with_arena(idle, Arc::new(arena))
    }

    pub(super) fn with_arena(idle: Idle, arena: Arc<Arena>) -> Rig {
        let (commands, received) = channel();
        let (bell, counters) = (Arc::new(Bell::new().unwrap()), Arc::default());
        let setup = Setup {
            core: 0,
            idle,
            arena,
            world: Arc::new(ArcSwap::from_pointee(world())),
            commands: received,
            bell: Arc::clone(&bell),
            counters: Arc::clone(&counters),
            hits: Arc::default(),
        };
        Rig {
            commands,
            bell,
            counters,
            thread: start("worker".to_owned(), setup).unwrap(),
        }
    }

    pub(super) fn command(&self, command: Command) {
        self.commands.send(command).unwrap();
        self.bell.ring();
    }

    fn attach(&self, slot: usize) -> Peer {
        let (cable_in, arriving) = packet_ring(1 << 16);
        let (leaving, cable_out) = packet_ring(1 << 16);
        let queue = memory::Queue::wired(arriving, leaving);
        let (attachment, ends) = attachment(slot, queue, 1 << 16);
        self.command(Command::Attach(attachment));
        Peer {
            ends,
            cable_in,
            cable_out,
        }
    }

    fn detach(&self, slot: usize) {
        let (done, detached) = handover();
        self.command(Command::Detach(port(slot), done));
        let Taken::Thing(queue) = detached.take(PATIENCE) else {
            panic!("not detached");
        };
        self.command(Command::Reclaim(port(slot), queue.close()));
    }

    pub(super) fn stop(self) {
        self.command(Command::Stop);
        self.thread.join().unwrap();
    }
}

pub(super) fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "never {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn next(ring: &mut PacketReceiver) -> Vec<u8> {
    let mut buffer = vec![0; 2048];
    let len = until("a packet", || ring.pop(&mut buffer));
    buffer.truncate(len);
    buffer
}

fn works(idle: Idle) {
    let rig = Rig::start(idle);
    let (mut near, mut far) = (rig.attach(0), rig.attach(1));
    for round in 0..20u8 {
        let transit = V4 {
            ttl: 100 - round,
            ..v4([20, 0, 0, 1])
        };
        assert!(near.cable_in.push(&transit.frame()));
        let to_router = v4([10, 0, 0, 1]).frame();
        assert!(near.cable_in.push(&to_router));
        assert!(far.ends.injections.push(&[round; 60]));
        rig.bell.ring();
        let mut left = [next(&mut far.cable_out), next(&mut far.cable_out)];
        left.sort_by_key(Vec::len);
        assert_eq!(left[0], [round; 60], "the injection");
        assert_eq!(left[1][22], 99 - round, "the TTL of what was forwarded");
        assert_eq!(next(&mut near.ends.punts), to_router);
    }
    rig.detach(0);
    assert!(near.cable_in.push(&v4([20, 0, 0, 1]).frame()));
    // Port 1 still works, in a turn in which port 0 would have been polled as well.
    for round in 0..3 {
        assert!(far.ends.injections.push(&[round; 60]));
        rig.bell.ring();
        assert_eq!(next(&mut far.cable_out), [round; 60]);
    }
    let counters = Arc::clone(&rig.counters);
    rig.stop();
    let (received, sent) = (near.ends.counters.read(), far.ends.counters.read());
    assert_eq!((received.rx_packets, received.forwarded()), (40, 20));
    assert_eq!(received.punted[PuntReason::Local.index()], 20);
    assert_eq!(sent.tx_packets, 20 + 23);
    assert_eq!(counters.forwarded_ipv4.get(), 20);
    assert!(idle == Idle::Adaptive || counters.sleeps.get() == 0);
}

#[test]
fn a_polling_worker_forwards_punts_injects_and_obeys() {
    works(Idle::Poll);
}

#[test]
fn an_adaptive_worker_forwards_punts_injects_and_obeys() {
    works(Idle::Adaptive);
}

#[test]
fn a_sleeping_worker_hears_the_bell() {
    const ROUNDS: u8 = 60;
    let rig = Rig::start(Idle::Adaptive);
    let mut peer = rig.attach(1);
    let start = Instant::now();
    let mut slept = 0;
    for round in 0..ROUNDS {
        slept = until("asleep", || {
            Some(rig.counters.sleeps.get()).filter(|sleeps| *sleeps > slept)
        });
        assert!(peer.ends.injections.push(&[round; 60]));
        rig.bell.ring();
        assert_eq!(next(&mut peer.cable_out), [round; 60]);
    }
    // Woken by its heartbeat alone, the worker would have needed a second a round.
    assert!(start.elapsed() < Duration::from_secs(u64::from(ROUNDS) / 2));
    rig.stop();
}

#[test]
fn a_worker_ends_when_control_is_gone() {
    let Rig {
        commands,
        bell,
        thread,
        ..
    } = Rig::start(Idle::Adaptive);
    drop(commands);
    bell.ring();
    thread.join().unwrap();
}

#[test]
fn a_punt_rings_control_s_bell() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let mut bench = Bench::new();
    let bell = Arc::new(Bell::new().unwrap());
    let (punts, _punted) = packet_ring(1 << 12);
    bench.worker.attach(Box::new(Attachment::new(
        port(0),
        PortQueue::Memory(memory::Queue::new(8)),
        Arc::default(),
        punts,
        Arc::clone(&bell),
        None,
    )));
    let rang = |bell: &Bell| {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&at_once)).unwrap() == 1
    };
    bell.arm();
    bench.deliver(0, &v4([23, 0, 0, 1]).frame());
    bench.drain();
    assert!(!rang(&bell), "for a drop");
    bench.deliver(0, &v4([10, 0, 0, 1]).frame());
    bench.drain();
    assert!(rang(&bell));
}
