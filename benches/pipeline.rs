//! What a packet costs at each stage of the burst pipeline, on the Internet's tables, and what it
//! costs a worker when bursts are mixed. `cargo bench --bench pipeline`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

#[path = "pipeline/internet.rs"]
mod internet;
#[path = "../examples/common/packet.rs"]
mod packet;
#[path = "../examples/common/world.rs"]
mod world;

use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use foldhash::quality::FixedState;
use ixmap::dataplane::bell::Bell;
use ixmap::dataplane::forward::{Arrival, Pipeline, Verdicts};
use ixmap::dataplane::limit::PuntLimits;
use ixmap::dataplane::mem::{Arena, Pool};
use ixmap::dataplane::port::{BURST, Burst, PortQueue, memory};
use ixmap::dataplane::ring::{MAX_PACKET, PacketReceiver, packet_ring};
use ixmap::dataplane::worker::{Attachment, Worker, Worlds};
use ixmap::shared::fib::{Fib, GroupId, World};
use ixmap::shared::hits::Hits;
use ixmap::shared::port::PortId;
use ixmap::shared::wire::checksum;
use ixmap_tables::SEED;

use crate::internet::Internet;
use crate::packet::{Family, LENGTH, Packet};

/// Packets of a pass, each in a frame of its own.
const FRAMES: usize = 16_384;
const FRAME_SIZE: u32 = 2048;
/// What waits for the kernel, at most: as ixmapd has it.
const PUNT_RING: usize = 2 * 1024 * 1024;
/// The router's own address.
const LOCAL: [u8; 4] = [192, 0, 2, 1];
/// Percent of a mixed burst that are not plain IPv4.
const IPV6: [u64; 6] = [0, 12, 25, 50, 75, 100];
const PUNTED: [u64; 7] = [0, 1, 5, 10, 25, 50, 100];

fn all(criterion: &mut Criterion) {
    let internet = Internet::load();
    ports(criterion, &internet);
    family(criterion, "ipv4", &internet, &internet.ipv4, |world| {
        &world.ipv4
    });
    family(criterion, "ipv6", &internet, &internet.ipv6, |world| {
        &world.ipv6
    });
    mixed(criterion, &internet);
    multipath(criterion, &internet);
    several_ports(criterion, &internet);
}

fn packets<A: Family + Copy>(destinations: &[A]) -> Vec<Packet> {
    destinations.iter().map(|to| to.packet()).collect()
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group
}

/// Criterion's iterations are packets, so that it shows the time of one. It asks for any number of
/// them: whole passes are timed, without what comes before each.
fn measure<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    subject: &mut T,
    before: impl Fn(&mut T),
    pass: impl Fn(&mut T),
) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|packets| {
            let passes = packets.div_ceil(FRAMES as u64);
            let mut elapsed = Duration::ZERO;
            for _ in 0..passes {
                before(subject);
                let start = Instant::now();
                pass(subject);
                elapsed += start.elapsed();
            }
            elapsed.mul_f64(packets as f64 / (passes * FRAMES as u64) as f64)
        });
    });
}

fn pool() -> Pool {
    let frames = u32::try_from(FRAMES).unwrap();
    Pool::new(Arc::new(Arena::new(frames, FRAME_SIZE).unwrap().0)).unwrap()
}

/// The queue of a port in memory.
fn memory(queue: &mut PortQueue) -> &mut memory::Queue {
    match queue {
        PortQueue::Memory(queue) => queue,
        _ => unreachable!("ports are in memory"),
    }
}

/// Fresh frames with these packets, in bursts.
fn bursts(pool: &mut Pool, packets: &[Packet]) -> Vec<Burst> {
    let burst = |packets: &[Packet]| {
        let frames = packets.iter().map(|packet| {
            let mut frame = pool.take().unwrap();
            pool.fill(&mut frame, &packet[..LENGTH]);
            frame
        });
        frames.collect()
    };
    packets.chunks(BURST).map(burst).collect()
}

/// What a port in memory costs, and opening packets: the same for both families.
fn ports(criterion: &mut Criterion, internet: &Internet) {
    let packets = packets(&internet.ipv4);
    let mut group = group(criterion, "port");
    let mut pool = pool();
    let [mut near, far] = [FRAMES; 2].map(|room| PortQueue::Memory(memory::Queue::new(room)));
    let mut ring = memory::Ring::from(bursts(&mut pool, &packets));
    memory(&mut near).arrive(&mut ring);
    let mut both = (near, far, pool, Burst::new(), ring);
    measure(
        &mut group,
        "receive-transmit",
        &mut both,
        |(near, far, .., ring)| {
            memory(far).sent(ring);
            memory(near).arrive(ring);
        },
        |(near, far, pool, burst, _)| {
            loop {
                near.receive(pool, burst);
                if burst.is_empty() {
                    break;
                }
                far.transmit(pool, burst);
            }
        },
    );
    let (near, far, pool, ..) = &mut both;
    near.retire(pool);
    far.retire(pool);
    measure(
        &mut group,
        "open",
        &mut Bursts::new(internet, &packets),
        |_| {},
        |Bursts { pool, bursts, .. }| {
            for burst in bursts {
                black_box(pool.packets::<BURST>(burst));
            }
        },
    );
}

/// The stages that know one family from the other, on plain packets.
fn family<A: Family>(
    criterion: &mut Criterion,
    name: &str,
    internet: &Internet,
    destinations: &[A],
    fib: impl Fn(&World) -> &Fib<A>,
) {
    let packets = packets(destinations);
    let mut group = group(criterion, &format!("{name}/burst"));
    let fib = fib(&internet.world);
    measure(
        &mut group,
        "lookup",
        &mut [GroupId::NO_ROUTE; BURST],
        |_| {},
        |groups| {
            for burst in destinations.chunks(BURST) {
                fib.lookup_burst(black_box(burst), &mut groups[..burst.len()]);
                black_box(&mut *groups);
            }
        },
    );
    measure(
        &mut group,
        "pipeline",
        &mut Bursts::new(internet, &packets),
        |bursts| bursts.fill(&packets),
        |bursts| {
            black_box(bursts.run(internet));
        },
    );
    let mut router = Router::new(internet, &packets, FRAMES);
    measure(&mut group, "worker", &mut router, Router::fill, Router::run);
}

/// Bursts that go through the pipeline again and again, and whatever a worker lends to it.
struct Bursts {
    pool: Pool,
    bursts: Vec<Burst>,
    pipeline: Pipeline,
    limits: PuntLimits,
    hits: Hits,
    verdicts: Verdicts,
}

impl Bursts {
    /// All `packets` are forwarded, or these are not what is to be measured.
    fn new(internet: &Internet, packets: &[Packet]) -> Bursts {
        let mut pool = pool();
        let mut new = Bursts {
            bursts: bursts(&mut pool, packets),
            pool,
            pipeline: Pipeline::default(),
            limits: PuntLimits::default(),
            hits: Hits::default(),
            verdicts: Verdicts::default(),
        };
        assert_eq!(new.run(internet), packets.len() as u64);
        new
    }

    /// Writes the packets anew.
    fn fill(&mut self, packets: &[Packet]) {
        for (frame, packet) in self.bursts.iter_mut().flatten().zip(packets) {
            self.pool.fill(frame, &packet[..LENGTH]);
        }
    }

    /// As a worker does it: the next burst comes nearer meanwhile. How many packets are forwarded.
    fn run(&mut self, internet: &Internet) -> u64 {
        let mut forwarded = 0;
        let mut rest = &mut self.bursts[..];
        let mut fetched = false;
        while let Some((burst, ahead)) = rest.split_first_mut() {
            let arrival = Arrival {
                world: &internet.world,
                ingress: internet.ingress,
                limits: &mut self.limits,
                hits: &self.hits,
                now: Duration::ZERO,
                fetched,
                ahead: ahead.first().map_or(&[], |next| next),
            };
            let by_family = self
                .pipeline
                .run(arrival, &self.pool, burst, &mut self.verdicts);
            forwarded += by_family.ipv4 + by_family.ipv6;
            (rest, fetched) = (ahead, true);
        }
        forwarded
    }
}

impl Drop for Bursts {
    /// A pool whose frames are all back gives up its memory.
    fn drop(&mut self) {
        for frame in self.bursts.drain(..).flatten() {
            self.pool.give(frame);
        }
    }
}

/// A worker between ports in memory.
struct Router<'a> {
    worker: Worker,
    worlds: Worlds,
    ingress: PortId,
    egress: Vec<PortId>,
    punted: PacketReceiver,
    scratch: Box<[u8]>,
    packets: &'a [Packet],
}

impl<'a> Router<'a> {
    /// So many of `packets` are forwarded, or these are not what is to be measured.
    fn new(internet: &Internet, packets: &'a [Packet], forwarded: usize) -> Router<'a> {
        let mut worker = Worker::new(pool(), Arc::default(), Arc::default());
        let mut attach = |port| {
            let queue = PortQueue::Memory(memory::Queue::new(FRAMES));
            let (punts, punted) = packet_ring(PUNT_RING);
            let bell = Arc::new(Bell::new().unwrap());
            let attachment = Attachment::new(port, queue, Arc::default(), punts, bell, None);
            worker.attach(Box::new(attachment));
            punted
        };
        let punted = attach(internet.ingress);
        for port in &internet.egress {
            attach(*port);
        }
        let published = Arc::new(ArcSwap::new(Arc::clone(&internet.world)));
        let mut router = Router {
            worker,
            worlds: Cache::new(published),
            ingress: internet.ingress,
            egress: internet.egress.clone(),
            punted,
            scratch: vec![0; MAX_PACKET].into_boxed_slice(),
            packets,
        };
        router.fill();
        router.run();
        assert_eq!(router.collect(), forwarded);
        router
    }

    /// Takes whatever has left; how many packets have by other ports than the first.
    fn collect(&mut self) -> usize {
        while self.punted.pop(&mut self.scratch).is_some() {}
        let mut count = 0;
        for port in &self.egress {
            let (queue, pool) = self.worker.queue(*port).unwrap();
            let mut sent = memory::Ring::new();
            memory(queue).sent(&mut sent);
            let sent = sent.into_iter().flatten();
            count += sent.map(|frame| pool.give(frame)).count();
        }
        count
    }

    /// Lets the packets arrive.
    fn fill(&mut self) {
        self.collect();
        let (queue, pool) = self.worker.queue(self.ingress).unwrap();
        memory(queue).arrive(&mut bursts(pool, self.packets).into());
    }

    fn run(&mut self) {
        while self.worker.turn(&mut self.worlds) {}
    }
}

impl Drop for Router<'_> {
    /// As that of [`Bursts`].
    fn drop(&mut self) {
        self.collect();
    }
}

/// A worker's time by what is among plain IPv4 packets, and how much of it.
fn mixed(criterion: &mut Criterion, internet: &Internet) {
    let plain = packets(&internet.ipv4);
    let local = vec![u32::from_be_bytes(LOCAL).packet(); FRAMES];
    let options: Vec<Packet> = plain.iter().map(with_options).collect();
    let series: [(&str, &[u64], Vec<Packet>, bool); 3] = [
        ("ipv6", &IPV6, packets(&internet.ipv6), true),
        ("local", &PUNTED, local, false),
        ("options", &PUNTED, options, false),
    ];
    for (name, shares, others, leave) in series {
        let mut group = group(criterion, &format!("mixed/{name}"));
        for share in shares {
            let (packets, count) = mix(&plain, &others, *share);
            let forwarded = if leave { FRAMES } else { FRAMES - count };
            let mut router = Router::new(internet, &packets, forwarded);
            let name = share.to_string();
            measure(&mut group, &name, &mut router, Router::fill, Router::run);
        }
    }
}

/// A worker's time when all IPv4 routes have a single next hop, and when all have several, among which
/// the five-tuple chooses.
fn multipath(criterion: &mut Criterion, internet: &Internet) {
    let packets = packets(&internet.ipv4);
    let mut group = group(criterion, "multipath");
    for legs in [1, 8] {
        let internet = internet.with_legs(legs);
        let mut router = Router::new(&internet, &packets, FRAMES);
        let name = legs.to_string();
        measure(&mut group, &name, &mut router, Router::fill, Router::run);
    }
}

/// A worker's time when packets leave by several ports, as their next hops, of which there are many, have it.
fn several_ports(criterion: &mut Criterion, internet: &Internet) {
    let packets = packets(&internet.ipv4);
    let mut group = group(criterion, "ports");
    for count in [1, 2, 4, 8] {
        let internet = internet.with_ports(count);
        let mut router = Router::new(&internet, &packets, FRAMES);
        let name = count.to_string();
        measure(&mut group, &name, &mut router, Router::fill, Router::run);
    }
}

/// Plain packets of which a share, by the dice, is replaced by others; how many are.
fn mix(plain: &[Packet], others: &[Packet], percent: u64) -> (Vec<Packet>, usize) {
    let dice = FixedState::with_seed(SEED);
    let mut packets = plain.to_vec();
    let mut count = 0;
    for (at, packet) in packets.iter_mut().enumerate() {
        if dice.hash_one(at) % 100 < percent {
            *packet = others[at];
            count += 1;
        }
    }
    (packets, count)
}

/// The packet with a router alert (RFC 2113) in front of its payload.
fn with_options(packet: &Packet) -> Packet {
    let mut packet = *packet;
    let header = &mut packet[14..38];
    header[0] = 0x46;
    header[20..].copy_from_slice(&[0x94, 4, 0, 0]);
    header[10..12].fill(0);
    let sum = checksum::checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = all
}
criterion_main!(benches);
