//! Frames in and out of a device that is well.

use super::*;

#[test]
fn frames_come_in_as_they_were_many_times_around_the_ring() {
    let mut bench = Bench::new(PLAIN);
    for start in (0..1000).step_by(40) {
        let sent = packets(start..start + 40);
        sent.iter().for_each(|packet| bench.model.deliver(packet));
        assert_eq!(bench.receive_all(), sent);
    }
    bench.close_clean();
}

#[test]
fn frames_go_out_as_they_were_many_times_around_the_ring() {
    let mut bench = Bench::new(PLAIN);
    for start in (0..1000).step_by(37) {
        let packets = packets(start..start + 37);
        assert_eq!(bench.send(&packets), 0);
        assert!(!bench.tend(), "all are sent and reaped");
        assert_eq!(bench.model.sent(), packets);
    }
    bench.close_clean();
}

#[test]
fn received_frames_go_out_again_without_a_copy() {
    let mut bench = Bench::new(PLAIN);
    for n in 0..300 {
        bench.model.deliver(&packet(n, 100));
        let (mut burst, mut list) = (Burst::new(), Burst::new());
        let Bench { queue, pool, .. } = &mut bench;
        let queue = queue.as_mut().unwrap();
        queue.receive(pool, &mut burst);
        list.extend(burst);
        queue.transmit(pool, &mut list);
        assert!(list.is_empty());
        assert_eq!(bench.model.sent(), [packet(n, 100)]);
    }
    bench.close_clean();
}

#[test]
fn a_burst_takes_no_more_than_it_has_room_for() {
    let shape = Shape {
        entries: 256,
        ..PLAIN
    };
    let mut bench = Bench::new(shape);
    let sent = packets(0..200);
    sent.iter().for_each(|packet| bench.model.deliver(packet));
    let mut burst = Burst::new();
    for _ in 0..54 {
        burst.push(bench.pool.take().unwrap());
    }
    let Bench { queue, pool, .. } = &mut bench;
    queue.as_mut().unwrap().receive(pool, &mut burst);
    assert_eq!(burst.len(), 64);
    assert_eq!(bench.pool.bytes(&burst[54]), sent[0]);
    burst.into_iter().for_each(|frame| bench.pool.give(frame));
    assert_eq!(bench.receive_all(), sent[10..]);
    bench.close_clean();
}

#[test]
fn one_worker_serves_several_hardware_queues_in_turn() {
    let mut bench = Bench::new(SPREAD);
    let mut sent = packets(0..150);
    sent.iter().for_each(|packet| bench.model.deliver(packet));
    let mut received = Vec::new();
    while received.len() < sent.len() {
        let burst = bench.receive();
        assert!(!burst.is_empty(), "{} of {}", received.len(), sent.len());
        received.extend(burst);
    }
    received.sort();
    sent.sort();
    assert_eq!(received, sent);
    bench.close_clean();
}

#[test]
fn a_full_queue_never_starves_the_others() {
    let mut bench = Bench::new(SPREAD);
    for _ in 0..2 * 64 {
        bench.model.deliver(&packet(7, 60));
    }
    for n in 0..40 {
        bench.model.deliver(&packet(n, 61));
    }
    let received = bench.receive_all();
    let others = received.iter().filter(|packet| packet.len() == 61);
    assert!(others.count() >= 20, "those of the other three queues");
    let lost = bench.lost("rx_no_buffer");
    assert!(lost >= 2 * 64 - 63, "of whatever queue");
    assert_eq!(received.len() as u64 + lost, 2 * 64 + 40);
    bench.close_clean();
}

#[test]
fn jumbo_frames_fit_into_large_buffers() {
    let shape = Shape {
        frame_size: 16_384,
        frames: 512,
        mtu: 9000,
        ..PLAIN
    };
    let mut bench = Bench::new(shape);
    let jumbos: Vec<_> = (0..100).map(|n| packet(n, 9000)).collect();
    for jumbos in jumbos.chunks(20) {
        jumbos.iter().for_each(|packet| bench.model.deliver(packet));
        let received = bench.receive_all();
        assert_eq!(received, jumbos);
        assert_eq!(bench.send(&received), 0);
        assert_eq!(bench.model.sent(), jumbos);
    }
    bench.close_clean();
}

#[test]
fn a_frame_longer_than_a_buffer_is_dropped_whole_and_counted_once() {
    let mut bench = Bench::new(Shape { mtu: 9000, ..PLAIN });
    for n in 0..50 {
        bench.model.deliver(&packet(n, 9000));
        bench.model.deliver(&packet(n, 3072));
        assert_eq!(bench.receive_all(), [packet(n, 3072)]);
    }
    assert_eq!(bench.counters.rx_split.get(), 50);
    bench.close_clean();
}

#[test]
fn a_pool_without_frames_starves_the_ring_until_it_has_some() {
    let mut bench = Bench::new(PLAIN);
    for round in 1..=3 {
        let mut hoard: Vec<Frame> = std::iter::from_fn(|| bench.pool.take()).collect();
        let sent = packets(0..100);
        sent.iter().for_each(|packet| bench.model.deliver(packet));
        let Bench { queue, pool, .. } = &mut bench;
        let queue = queue.as_mut().unwrap();
        let mut burst = Burst::new();
        (0..10).for_each(|_| queue.receive(pool, &mut burst));
        assert_eq!(burst.len(), 63, "what the ring had");
        assert_eq!(bench.counters.rx_starved.get(), round, "once a time");
        for (frame, packet) in burst.iter().zip(&sent) {
            assert_eq!(bench.pool.bytes(frame), packet);
        }
        hoard.extend(burst);
        hoard.into_iter().for_each(|frame| bench.pool.give(frame));
        assert!(bench.receive().is_empty(), "this gives it buffers");
        assert!(
            bench.receive_all() == sent[63..],
            "what waited in the device"
        );
    }
    bench.close_clean();
}

#[test]
fn a_full_transmit_ring_leaves_frames_in_the_list_and_goes_on() {
    let mut bench = Bench::new(PLAIN);
    bench.model.set_stuck(true);
    let packets = packets(0..100);
    assert_eq!(bench.send(&packets), 100 - 63);
    assert!(bench.tend(), "still on their way");
    assert_eq!(bench.send(&packets), 100);
    bench.model.set_stuck(false);
    bench.model.pull_the_tail(0);
    assert_eq!(bench.model.sent(), packets[..63]);
    assert!(!bench.tend());
    assert_eq!(bench.send(&packets[..64]), 64 - 63);
    bench.close_clean();
}

#[test]
fn every_frame_is_reaped_without_another_that_follows() {
    let mut bench = Bench::new(PLAIN);
    for count in (1..=62).chain(1..=62) {
        assert_eq!(bench.send(&packets(0..count)), 0);
        assert!(!bench.tend());
        assert_eq!(bench.model.sent().len(), count);
    }
    bench.close_clean();
}

#[test]
fn short_frames_are_padded_and_what_is_no_frame_is_not_sent() {
    let mut bench = Bench::new(PLAIN);
    let list = [0, 13, 14, 16, 17, 60].map(|length| vec![0xAB; length]);
    assert_eq!(bench.send(&list), 0);
    let sent = bench.model.sent();
    let ours = |frame: &Vec<u8>| frame.iter().take_while(|byte| **byte == 0xAB).count();
    assert_eq!(sent.iter().map(ours).collect::<Vec<_>>(), [14, 16, 17, 60]);
    assert_eq!(bench.counters.tx_unsendable.get(), 2);
    bench.close_clean();
}

#[test]
fn a_wrong_ip_checksum_is_counted_and_left_to_the_pipeline() {
    let mut bench = Bench::new(PLAIN);
    let mut wrong = packet(1, 100);
    wrong[24] ^= 1;
    bench.model.deliver(&wrong);
    assert_eq!(bench.receive(), [wrong]);
    assert_eq!(bench.counters.rx_ip_checksum.get(), 1);
    bench.close_clean();
}

#[test]
fn a_vlan_tag_stays_in_its_frame() {
    let mut bench = Bench::new(PLAIN);
    let mut tagged = packet(1, 100);
    tagged.splice(12..12, [0x81, 0x00, 0x20, 0x05]);
    bench.model.deliver(&tagged);
    assert_eq!(bench.receive(), [tagged]);
    bench.close_clean();
}

#[test]
fn a_worker_may_have_nothing_but_a_transmit_queue() {
    let mut bench = Bench::new(Shape {
        receive_queues: 0,
        ..PLAIN
    });
    assert_eq!(bench.send(&packets(0..20)), 0);
    assert!(bench.receive_all().is_empty());
    assert!(!bench.queue().arm());
    assert_eq!(bench.model.sent(), packets(0..20));
    bench.close_clean();
}
