//! Lanes with a sink that keeps what was written.

use std::io::{self, IoSlice};

use crate::emulate::{LinkModel, LinkSpec};

use super::lane::{Lane, Sink};
use super::log::{LogVerdict, PacketLog};
use super::pool::Pool;
use super::wire::tests::packet;
use super::wire::{Frame, VNET_BYTES};

#[derive(Default)]
struct Kept {
    packets: Vec<Vec<u8>>,
    refuse: bool,
}

impl Sink for Kept {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        if self.refuse {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.packets
            .push(parts.iter().flat_map(|part| part.to_vec()).collect());
        Ok(())
    }
}

impl Kept {
    /// All datagrams, in order.
    fn datagrams(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for bytes in &self.packets {
            let frame = Frame::parse(bytes);
            for segment in 0..frame.segments {
                all.push(bytes[frame.span(segment, 1)].to_vec());
            }
        }
        all
    }
}

struct Bench {
    lane: Lane,
    pool: Pool,
    log: PacketLog,
    sink: Kept,
}

impl Bench {
    fn new(spec: &str, coalesce: bool) -> Self {
        let spec = LinkSpec::from_json(spec).unwrap();
        Self {
            lane: Lane::new(LinkModel::new(&spec, 7, 0).unwrap(), 0, coalesce, None),
            pool: Pool::new(1 << 24),
            log: PacketLog::new(1 << 20),
            sink: Kept::default(),
        }
    }

    fn ingest(&mut self, bytes: &[u8], now_ns: u64) {
        self.lane
            .ingest(&mut self.pool, &mut self.log, bytes, now_ns);
    }

    fn depart(&mut self, now_ns: u64) {
        while self
            .lane
            .depart(&mut self.pool, &mut self.log, &mut self.sink, now_ns, 64)
            > 0
        {}
    }
}

/// Datagrams of 100 bytes whose first two bytes are their number.
fn payload(from: u16, count: u16) -> Vec<u8> {
    (from..from + count)
        .flat_map(|n| {
            let mut bytes = vec![n as u8; 100];
            bytes[..2].copy_from_slice(&n.to_be_bytes());
            bytes
        })
        .collect()
}

fn numbers(datagrams: &[Vec<u8>]) -> Vec<u16> {
    datagrams
        .iter()
        .map(|d| u16::from_be_bytes([d[0], d[1]]))
        .collect()
}

const LOSSY: &str = r#"{"loss":{"kind":"gilbert_elliott","p":0.1,"r":0.3},"duplicate":0.05}"#;

#[test]
fn the_same_datagrams_are_lost_and_doubled_whether_sent_as_trains_or_alone() {
    let mut arrived = Vec::new();
    for (train, coalesce, v6) in [
        (1, true, false),
        (1, false, false),
        (20, true, false),
        (20, false, false),
        (50, true, true),
    ] {
        let mut bench = Bench::new(LOSSY, coalesce);
        for from in (0..2000).step_by(train) {
            let size = if train > 1 { 100 } else { 0 };
            let bytes = packet(v6, &payload(from, train as u16), size, 0);
            bench.ingest(&bytes, u64::from(from));
        }
        bench.depart(10_000);
        let longest = bench
            .sink
            .packets
            .iter()
            .map(|p| Frame::parse(p).segments)
            .max();
        assert_eq!(longest > Some(1), coalesce);
        arrived.push(numbers(&bench.sink.datagrams()));
        let counters = bench.lane.model.counters();
        assert!(counters.dropped_loss > 100 && counters.duplicated > 50);
        assert_eq!(counters.in_flight(), 0);
        assert_eq!(bench.pool.in_use(), 0);
    }
    assert!(arrived.iter().all(|numbers| *numbers == arrived[0]));
}

#[test]
fn datagrams_of_no_media_port_are_counted_apart_in_both_directions() {
    const MEDIA: [u16; 2] = [47_998, 48_000];
    for (v6, direction) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let mut bench = Bench::new(LOSSY, true);
        let model = LinkModel::new(&LinkSpec::from_json(LOSSY).unwrap(), 7, 0).unwrap();
        bench.lane = Lane::new(model, direction, true, Some(&MEDIA));
        // At end a and at end b; the client's own port may have the number of a media port.
        let between = |at_a: u16, at_b: u16, bytes: &[u8], size: usize| {
            let mut made = packet(v6, bytes, size, 0);
            let at = Frame::parse(&packet(v6, &payload(0, 1), 0, 0)).payload_at - 8;
            let (source, destination) = if direction == 0 {
                (at_a, at_b)
            } else {
                (at_b, at_a)
            };
            made[at..at + 2].copy_from_slice(&source.to_be_bytes());
            made[at + 2..at + 4].copy_from_slice(&destination.to_be_bytes());
            made
        };
        let video = between(47_998, 50_000, &payload(0, 20), 100);
        let sound = between(48_000, 50_001, &payload(0, 3), 100);
        let others = [
            between(47_999, 50_002, &payload(0, 1), 0),
            between(9777, 47_998, &payload(0, 1), 0),
        ];
        for round in 0..2 {
            for now_ns in 0..100 {
                bench.ingest(&video, now_ns);
                bench.ingest(&sound, now_ns);
                for other in &others {
                    bench.ingest(other, now_ns);
                }
            }
            bench.depart(10_000);
            let (all, apart) = (bench.lane.model.counters(), bench.lane.others);
            assert_eq!((all.link_in, apart.other_in), (2500, 200));
            let arrived: usize = bench
                .sink
                .packets
                .iter()
                .filter(|p| {
                    let frame = Frame::parse(p);
                    let ports = frame.ports(p).unwrap();
                    !MEDIA.contains(&ports[usize::from(direction)])
                })
                .map(|p| Frame::parse(p).segments)
                .sum();
            assert_eq!(apart.other_delivered, arrived as u64);
            assert!(0 < arrived && arrived < 250);
            if round == 0 {
                // The ports outlive the counters.
                let model = LinkModel::new(&LinkSpec::from_json(LOSSY).unwrap(), 8, 0).unwrap();
                bench.lane.restart(&mut bench.pool, model);
                bench.sink.packets.clear();
            }
        }
    }
}

#[test]
fn a_fragment_is_no_media_and_what_is_not_udp_is_not_counted() {
    let mut bench = Bench::new("{}", true);
    let model = LinkModel::new(&LinkSpec::from_json("{}").unwrap(), 7, 0).unwrap();
    bench.lane = Lane::new(model, 0, true, Some(&[47_998]));
    let mut datagram = packet(false, &payload(0, 1), 0, 0);
    let at = Frame::parse(&datagram).payload_at - 8;
    datagram[at..at + 2].copy_from_slice(&47_998u16.to_be_bytes());
    let mut fragment = datagram.clone();
    fragment[VNET_BYTES + 6] |= 0x20; // more fragments follow
    let mut tcp = datagram.clone();
    tcp[VNET_BYTES + 9] = 6;
    for one in [&datagram, &fragment, &tcp] {
        bench.ingest(one, 0);
    }
    let all = bench.lane.model.counters();
    assert_eq!((all.link_in, bench.lane.others.other_in), (2, 1));
}

#[test]
fn an_untouched_train_leaves_as_it_came() {
    let mut bench = Bench::new("{}", true);
    let bytes = packet(false, &payload(0, 20), 100, 33);
    bench.ingest(&bytes, 5);
    bench.depart(5);
    assert_eq!(bench.sink.packets, [bytes]);
}

#[test]
fn neighbours_are_joined_and_strangers_are_not() {
    let mut bench = Bench::new("{}", true);
    for n in 0..5 {
        bench.ingest(&packet(false, &payload(n, 1), 0, n), 0);
    }
    // A shorter one may end the train and nothing may follow it.
    bench.ingest(&packet(false, &[0, 5, 1], 0, 5), 0);
    bench.ingest(&packet(false, &payload(6, 1), 0, 6), 0);
    let mut other_port = packet(false, &payload(7, 1), 0, 7);
    other_port[VNET_BYTES + 23] ^= 1;
    bench.ingest(&other_port, 0);
    bench.depart(0);
    let trains: Vec<usize> = bench
        .sink
        .packets
        .iter()
        .map(|p| Frame::parse(p).segments)
        .collect();
    assert_eq!(trains, [6, 1, 1]);
    assert_eq!(numbers(&bench.sink.datagrams()), (0..8).collect::<Vec<_>>());
}

#[test]
fn no_packet_is_joined_beyond_what_an_ip_packet_can_say() {
    for v6 in [false, true] {
        for (bytes, most) in [(1400, 46), (1000, 64), (1023, 64), (1024, 63), (1310, 49)] {
            let mut bench = Bench::new("{}", true);
            for n in 0..130 {
                bench.ingest(&packet(v6, &vec![n as u8; bytes], 0, n), 0);
            }
            bench.depart(0);
            let trains: Vec<usize> = bench
                .sink
                .packets
                .iter()
                .map(|p| Frame::parse(p).segments)
                .collect();
            assert_eq!(trains.iter().sum::<usize>(), 130);
            assert_eq!(trains[0], most, "datagrams of {bytes} bytes: {trains:?}");
            for (n, datagram) in bench.sink.datagrams().iter().enumerate() {
                assert_eq!(*datagram, vec![n as u8; bytes]);
            }
            assert!(
                bench
                    .sink
                    .packets
                    .iter()
                    .all(|p| p.len() - VNET_BYTES <= 65_535)
            );
        }
    }
}

#[test]
fn nothing_leaves_early_and_each_leaves_alone_when_times_differ() {
    // 1 Mbit/s and 128 bytes on the wire: 1.024 ms apart
    let mut bench = Bench::new(r#"{"rate_kbps":1000,"delay_us":500}"#, true);
    bench.ingest(&packet(false, &payload(0, 4), 100, 0), 0);
    for n in 1..=4u64 {
        let due_ns = n * 1_024_000 + 500_000;
        assert_eq!(bench.lane.next_due_ns(), Some(due_ns));
        bench.depart(due_ns - 1);
        assert_eq!(bench.sink.packets.len() as u64, n - 1);
        bench.depart(due_ns);
        assert_eq!(bench.sink.packets.len() as u64, n);
    }
    assert_eq!(numbers(&bench.sink.datagrams()), [0, 1, 2, 3]);
}

#[test]
fn a_flipped_bit_is_one_bit_and_the_checksum_tells_which_mode() {
    for (mode, checked) in [("payload", false), ("checksum", true)] {
        for train in [1u16, 10] {
            let json = format!(r#"{{"corrupt":1.0,"corrupt_mode":"{mode}"}}"#);
            let mut bench = Bench::new(&json, true);
            let sent = payload(0, train);
            let size = if train > 1 { 100 } else { 0 };
            bench.ingest(&packet(false, &sent, size, 0), 0);
            bench.depart(0);
            assert_eq!(bench.sink.packets.len(), usize::from(train));
            for (bytes, original) in bench.sink.packets.iter().zip(sent.chunks(100)) {
                let got = &bytes[Frame::parse(bytes).span(0, 1)];
                let flipped: u32 = got
                    .iter()
                    .zip(original)
                    .map(|(a, b)| (a ^ b).count_ones())
                    .sum();
                assert_eq!(flipped, 1);
                // vnet flags: NEEDS_CSUM tells the receiver not to check
                assert_eq!(bytes[0] == 0, checked);
            }
            let counters = bench.lane.model.counters();
            assert_eq!(
                counters.checksum_dropped,
                if checked { train.into() } else { 0 }
            );
        }
    }
}

#[test]
fn others_that_a_checksum_drops_are_counted_among_those_that_arrive() {
    for (mode, dropped) in [("payload", 0), ("checksum", 30)] {
        let mut bench = Bench::new("{}", true);
        let json = format!(r#"{{"corrupt":1.0,"corrupt_mode":"{mode}"}}"#);
        let model = LinkModel::new(&LinkSpec::from_json(&json).unwrap(), 7, 0).unwrap();
        bench.lane = Lane::new(model, 0, true, Some(&[5000]));
        let stream = packet(false, &payload(0, 1), 0, 0);
        let at = Frame::parse(&stream).payload_at - 8;
        let mut other = packet(false, &payload(0, 3), 100, 0);
        other[at..at + 2].copy_from_slice(&9777u16.to_be_bytes());
        for now_ns in 0..10 {
            bench.ingest(&stream, now_ns);
            bench.ingest(&other, now_ns);
        }
        bench.depart(10);
        let (all, others) = (bench.lane.model.counters(), bench.lane.others);
        assert_eq!((all.delivered, others.other_delivered), (40, 30));
        assert_eq!(others.other_checksum_dropped, dropped);
        assert_eq!(all.checksum_dropped, dropped / 3 * 4);
    }
}

#[test]
fn what_is_not_udp_waits_for_the_delay_and_is_not_counted() {
    let json = r#"{"delay_us":1000,"loss":{"kind":"independent","p":1.0}}"#;
    let mut bench = Bench::new(json, true);
    let mut icmp = packet(false, &[0; 64], 0, 0);
    icmp[VNET_BYTES + 9] = 1;
    bench.ingest(&icmp, 0);
    bench.depart(999_999);
    assert!(bench.sink.packets.is_empty());
    bench.depart(1_000_000);
    assert_eq!(bench.sink.packets, [icmp]);
    assert_eq!(bench.lane.model.counters().link_in, 0);
    assert_eq!(bench.lane.lateness.summary().count, 0);
}

#[test]
fn without_memory_packets_are_dropped_counted_and_still_numbered() {
    let mut bench = Bench::new(r#"{"delay_us":1000}"#, true);
    bench.pool = Pool::new(2_048 * 3);
    for n in 0..5 {
        bench.ingest(&packet(false, &payload(n, 1), 0, n), 0);
    }
    bench.depart(1_000_000);
    assert_eq!(numbers(&bench.sink.datagrams()), [0, 1, 2]);
    let counters = bench.lane.model.counters();
    assert_eq!((counters.link_in, counters.dropped_overflow), (5, 2));
    assert_eq!(counters.in_flight(), 0);
}

#[test]
fn a_refused_write_is_a_drop() {
    let mut bench = Bench::new("{}", true);
    bench.sink.refuse = true;
    bench.ingest(&packet(false, &payload(0, 3), 100, 0), 0);
    bench.depart(0);
    let counters = bench.lane.model.counters();
    assert_eq!((counters.delivered, counters.dropped_overflow), (0, 3));
    assert_eq!(bench.lane.write_errors, 1);
    assert_eq!(bench.pool.in_use(), 0);
}

#[test]
fn the_log_has_a_row_for_every_copy() {
    let mut bench = Bench::new(
        r#"{"loss":{"kind":"periodic","every":4},"duplicate":1.0,"delay_us":2}"#,
        true,
    );
    bench.ingest(&packet(false, &payload(0, 8), 100, 0), 10);
    bench.depart(2_010);
    let rows = bench.log.take();
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    assert_eq!(count(LogVerdict::Lost), 2);
    assert_eq!(count(LogVerdict::Delivered), 12);
    assert_eq!(rows.iter().filter(|row| row.copy == 1).count(), 6);
    for row in rows {
        assert_eq!((row.in_ns, row.bytes), (10, 100));
        let left = row.verdict == LogVerdict::Delivered;
        assert_eq!(row.due_ns, left.then_some(2_010));
        assert_eq!(row.out_ns.is_some(), left);
        assert_eq!(left, row.index % 4 != 0);
    }
}

#[test]
fn a_restart_forgets_what_is_in_flight() {
    let mut bench = Bench::new(r#"{"delay_us":1000}"#, true);
    bench.ingest(&packet(false, &payload(0, 8), 100, 0), 0);
    let spec = LinkSpec::default();
    bench
        .lane
        .restart(&mut bench.pool, LinkModel::new(&spec, 7, 0).unwrap());
    assert_eq!(bench.lane.next_due_ns(), None);
    assert_eq!(bench.pool.in_use(), 0);
    assert_eq!(bench.lane.model.counters(), Default::default());
}
