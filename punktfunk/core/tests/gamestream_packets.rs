//! GameStream's video packets as the description says them: the worked example, every shape of a frame, numbers and times.

mod support;

use punktfunk_core::depacketize::Depacketizer;
use punktfunk_core::depacketize::gamestream::GameStreamDepacketizer;
use punktfunk_core::fec::{self, Scheme};
use punktfunk_core::flags::{
    FLAG_KEY, FLAG_PICTURE, FLAG_PROBE, FLAG_RECOVERY_ANCHOR, FLAG_RECOVERY_POINT,
};
use punktfunk_core::geometry::recovery_shards;
use punktfunk_core::packetize::gamestream::{GameStreamPacketizer, blocks};
use punktfunk_core::packetize::{Outgoing, Packetizer, SubmitError};
use punktfunk_core::session::host::SubmitStamps;
use punktfunk_core::session::{HostSession, HostSettings};
use punktfunk_core::wire::gamestream::{
    Codec, GameStreamConfig, GameStreamConfigError, HEAD_BYTES, SHORT_HEADER_BYTES, Stamp,
    counter_of,
};
use support::{DELTA_FRAME, Host, KEY_FRAME, MS, START, access_unit};

const DESCRIPTION: &str = include_str!("../../../docs/reference/wire/gamestream.md");
const CODE: &str = include_str!("../../../tests/golden/vectors/reed_solomon.txt");
const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn small() -> GameStreamConfig {
    GameStreamConfig {
        packet_size: 64,
        ..GameStreamConfig::default()
    }
}

/// The packets of a frame of `config`'s stream, the first one's or that of `set_next`.
fn packets(
    packetizer: &mut GameStreamPacketizer,
    unit: Outgoing<'_>,
    percent: u32,
) -> Vec<Vec<u8>> {
    let frame = packetizer.packetize(unit, percent).unwrap();
    let packets = frame.buffer.chunks_exact(frame.stride);
    packets.map(<[u8]>::to_vec).collect()
}

fn unit(data: &[u8], flags: u32) -> Outgoing<'_> {
    Outgoing {
        data,
        pts_ns: 22_033_334, // 1983 ticks
        flags,
        age_ns: Some(7_700_000),
    }
}

/// gamestream line 50 (appendix A).
#[test]
fn packets_are_those_of_the_worked_example_plain_and_encrypted() {
    let example = DESCRIPTION.split_once("[video] packetSize 64").unwrap().1;
    let lines = |mark: &str| -> Vec<Vec<u8>> {
        let hex = example
            .lines()
            .filter_map(|line| line.trim().strip_prefix(mark));
        hex.map(unhex).collect()
    };
    let (data, expected) = (lines("D "), lines("W "));
    assert_eq!((data.len(), expected.len()), (3, 5));
    let frame: Vec<u8> = data.iter().flat_map(|shard| shard[32..].to_vec()).collect();
    let frame = &frame[SHORT_HEADER_BYTES..][..100];
    let mut plain = GameStreamPacketizer::new(small()).unwrap();
    assert_eq!(packets(&mut plain, unit(frame, KEY_FRAME), 20), expected);

    let (_, sealed) = example.split_once("W0 encrypted").unwrap();
    let sealed = unhex(sealed.split_once(" : ").unwrap().1.lines().next().unwrap());
    let config = GameStreamConfig {
        key: Some(KEY),
        ..small()
    };
    let mut encrypted = GameStreamPacketizer::new(config.clone()).unwrap();
    let mut all = packets(&mut encrypted, unit(frame, KEY_FRAME), 20);
    assert_eq!(all[0], sealed);
    // The others are the same packets, each under a number of its own.
    let mut receiver = GameStreamDepacketizer::new(&config).unwrap();
    for (number, (packet, plain)) in all.iter_mut().zip(&expected).enumerate() {
        assert_eq!(packet[..8], (number as u64).to_le_bytes());
        assert_eq!(packet[8..16], [0, 0, 0, b'V', 1, 0, 0, 0]);
        let arrival = receiver.open(packet).unwrap();
        assert_eq!(
            (arrival.shard.payload, arrival.number),
            (&plain[..], number as u32)
        );
    }
}

/// gamestream line 50 (section 7.6).
#[test]
fn recovery_shards_are_those_of_the_vectors() {
    let mut seen = Vec::new();
    for block in CODE.split("== ").skip(1) {
        let (head, body) = block.split_once('\n').unwrap();
        let Some(head) = head.strip_suffix(" VIDEO") else {
            continue;
        };
        let [k, m, bytes] = [0, 1, 2].map(|field| {
            let word = head.split(' ').nth(field).unwrap();
            word.split_once('=').unwrap().1.parse::<usize>().unwrap()
        });
        let data: Vec<u8> = (0..k * bytes)
            .map(|n| (31 * (n / bytes) + 7 * (n % bytes) + 1) as u8)
            .collect();
        let mut parity = vec![0; m * bytes];
        let codec = fec::codec(Scheme::Gf8);
        codec.encode(k, m, bytes, &data, &mut parity).unwrap();
        if let Some((_, hash)) = body.split_once("h=") {
            let hashed = parity.iter().fold(0_u64, |h, &byte| {
                h.wrapping_mul(1_099_511_628_211) ^ u64::from(byte)
            });
            assert_eq!(format!("{hashed:016x}"), hash.lines().next().unwrap());
        } else {
            let shards = body.lines().filter(|line| line.starts_with("P["));
            let expected: Vec<u8> = shards
                .flat_map(|line| unhex(line.split_once(' ').unwrap().1))
                .collect();
            assert_eq!(parity, expected, "{head}");
        }
        seen.push((k, m));
    }
    assert_eq!(seen, [(4, 2), (10, 5), (1, 2), (212, 43), (3, 2)]);
}

/// What a packet says: frame, block and blocks, k and m as a client computes it, index, percentage.
fn read(packet: &[u8]) -> (Stamp, usize) {
    let stamp = Stamp::parse(packet).unwrap();
    (stamp, stamp.recovery())
}

/// `k`, `m` and percentage of each block of a frame that has so many data packets.
fn shape(data_packets: usize, percent: u32) -> Vec<(usize, usize, u8)> {
    let mut packetizer = GameStreamPacketizer::new(small()).unwrap();
    let data = vec![7; data_packets * 48 - SHORT_HEADER_BYTES];
    let all = packets(&mut packetizer, unit(&data, KEY_FRAME), percent);
    let mut shape = Vec::new();
    let mut left: &[Vec<u8>] = &all;
    while let Some(first) = left.first() {
        let (stamp, m) = read(first);
        let k = usize::from(stamp.position.k);
        let (block, rest) = left.split_at(k + m);
        for (index, packet) in block.iter().enumerate() {
            let (other, _) = read(packet);
            let mut expected = stamp;
            expected.position.index = index as u16;
            expected.sequence = stamp.sequence + index as u16;
            assert_eq!(
                other, expected,
                "the numbers of a block are the same in all its packets"
            );
            assert_eq!(usize::from(other.position.block), shape.len());
            if index < k {
                let flags = 1 | u8::from(index + 1 == k) << 1 | u8::from(index == 0) << 2;
                assert_eq!(packet[24..27], [flags, 0, 0x10]);
                let head: &[u8; HEAD_BYTES] = packet.first_chunk().unwrap();
                assert_eq!(counter_of(head), u32::from(other.sequence));
            }
        }
        shape.push((k, m, stamp.percent));
        left = rest;
    }
    assert_eq!(usize::from(read(&all[0]).0.position.blocks), shape.len());
    shape
}

/// gamestream line 51, gamestream line 52.
#[test]
fn frames_of_every_length_have_the_blocks_that_the_section_says() {
    assert_eq!(shape(1, 20), [(1, 2, 200)]);
    assert_eq!(shape(2, 20), [(2, 2, 100)]);
    assert_eq!(shape(3, 20), [(3, 2, 66)]);
    assert_eq!(shape(212, 20), [(212, 43, 20)]);
    assert_eq!(shape(213, 20), [(107, 22, 20), (106, 22, 20)]);
    assert_eq!(shape(424, 20), [(212, 43, 20); 2]);
    assert_eq!(
        shape(425, 20),
        [(142, 29, 20), (142, 29, 20), (141, 29, 20)]
    );
    assert_eq!(shape(848, 20), [(212, 43, 20); 4]);
    // More than four protected blocks: four without protection.
    assert_eq!(
        shape(849, 20),
        [(213, 0, 0), (213, 0, 0), (213, 0, 0), (210, 0, 0)]
    );
    assert_eq!(shape(4000, 20), [(1000, 0, 0); 4]);
    assert_eq!(shape(4092, 20), [(1023, 0, 0); 4]);
    assert_eq!(shape(1, 0), [(1, 0, 0)], "not even the minimum");
    assert_eq!(shape(71, 255), [(71, 182, 255)]);
    assert_eq!(shape(71, 1000), [(71, 182, 255)], "what the header can say");
}

#[test]
fn a_frame_of_more_packets_than_the_header_can_say_is_refused_and_costs_no_number() {
    let mut packetizer = GameStreamPacketizer::new(small()).unwrap();
    let data = vec![7; 4092 * 48 - SHORT_HEADER_BYTES + 1];
    let refused = packetizer.packetize(unit(&data, KEY_FRAME), 20);
    let expected = SubmitError::TooManyPackets {
        packets: 4093,
        limit: 4092,
    };
    assert_eq!(refused.unwrap_err(), expected);
    let filler = packetizer.packetize(unit(&data[..100], FLAG_PROBE), 0);
    assert_eq!(filler.unwrap_err(), SubmitError::NoFiller);
    let all = packets(&mut packetizer, unit(&data[..100], KEY_FRAME), 20);
    let (stamp, _) = read(&all[0]);
    assert_eq!((stamp.frame, stamp.sequence, stamp.ticks), (1, 0, 1983));
}

/// Section 7.3 and the third rule of 13.9: whatever is asked for, both ends compute the same recovery packets.
#[test]
fn a_client_computes_the_recovery_packets_that_were_sent() {
    for min_fec in [0, 1, 2, 3, 7, 40, 255] {
        for percent in [0, 1, 2, 5, 19, 20, 33, 50, 99, 100, 150, 255] {
            for count in 1..=4092 {
                let mut all = 0;
                for block in blocks(count, percent, min_fec).unwrap() {
                    let (k, m) = (block.k, block.m);
                    assert_eq!(m, recovery_shards(k, u32::from(block.percent)));
                    assert_eq!(block.first_shard, all);
                    if m > 0 {
                        assert!(k + m <= 255);
                    } else {
                        assert!(k <= 1023 && block.percent == 0);
                    }
                    if block.percent > 0 {
                        assert!(m >= recovery_shards(k, percent));
                        let least = usize::from(min_fec).min(2).min(255 - k);
                        assert!(
                            m >= least,
                            "{count} at {percent} % and {min_fec}: {block:?}"
                        );
                    }
                    all += k;
                }
                assert_eq!(all, count);
            }
        }
    }
    assert_eq!(
        blocks(1, 20, 255).unwrap().next().unwrap().percent,
        255,
        "all that can be said"
    );
}

/// gamestream line 54.
#[test]
fn numbers_have_no_gaps_across_blocks_and_frames_and_wrap() {
    let config = GameStreamConfig {
        key: Some(KEY),
        ..small()
    };
    let mut packetizer = GameStreamPacketizer::new(config.clone()).unwrap();
    let mut receiver = GameStreamDepacketizer::new(&config).unwrap();
    let (mut number, mut frames, mut ticks) = (0_u32, 0, 0);
    let long = vec![7; 300 * 48];
    // Beyond where 16 bits wrap twice; short frames and such of two blocks.
    while number < 140_000 {
        frames += 1;
        let data = &long[..if frames % 2 == 0 { 100 } else { 300 * 48 }];
        let unit = Outgoing {
            pts_ns: u64::from(frames) * 16 * MS,
            ..unit(data, DELTA_FRAME)
        };
        for mut packet in packets(&mut packetizer, unit, 20) {
            let arrival = receiver.open(&mut packet).unwrap();
            assert_eq!((arrival.number, arrival.shard.frame), (number, frames));
            let payload = arrival.shard.payload;
            let (stamp, _) = read(payload);
            assert_eq!(stamp.sequence, number as u16);
            if stamp.position.index < stamp.position.k {
                assert_eq!(payload[16..20], (number << 8).to_le_bytes());
            }
            // One time a frame, which rises.
            let new = stamp.position.index == 0 && stamp.position.block == 0;
            assert!(if new {
                stamp.ticks > ticks
            } else {
                stamp.ticks == ticks
            });
            ticks = stamp.ticks;
            number += 1;
        }
    }
    // The counter's 24 bits, and the frame's 32.
    let mut plain = GameStreamPacketizer::new(small()).unwrap();
    plain.set_next(u32::MAX, (1 << 24) - 2);
    let all = packets(&mut plain, unit(&long[..100], DELTA_FRAME), 20);
    let counter = |packet: &Vec<u8>| counter_of(packet.first_chunk().unwrap());
    let counters: Vec<_> = all[..3].iter().map(counter).collect();
    assert_eq!(counters, [(1 << 24) - 2, (1 << 24) - 1, 0]);
    let next = packets(&mut plain, unit(&long[..100], DELTA_FRAME), 20);
    assert_eq!(read(&next[0]).0.frame, 0);
}

/// gamestream line 48: no packet is shorter, the last one neither.
#[test]
fn packets_are_as_long_as_the_client_computes() {
    for (packet_size, key, bytes) in [
        (1392, None, 1408),
        (1024, None, 1040),
        (1360, Some(KEY), 1408),
        (992, Some(KEY), 1040),
    ] {
        let config = GameStreamConfig {
            packet_size,
            key,
            ..GameStreamConfig::default()
        };
        let session = HostSession::gamestream(config, &HostSettings::default()).unwrap();
        let packets = Host::of(session).frame(&access_unit(0, 2900), KEY_FRAME);
        assert_eq!(packets.len(), 5, "3 of data and 2 of recovery");
        assert!(packets.iter().all(|packet| packet.len() == bytes));
    }
}

/// The end of a frame, as its short header says it, and the bytes behind it in the last packet.
fn ends(codec: Codec, bytes: usize) -> (usize, Vec<u8>) {
    let config = GameStreamConfig { codec, ..small() };
    let mut packetizer = GameStreamPacketizer::new(config).unwrap();
    let data = access_unit(1, bytes);
    let all = packets(&mut packetizer, unit(&data, KEY_FRAME), 0);
    let joined: Vec<u8> = all.iter().flat_map(|p| p[HEAD_BYTES..].to_vec()).collect();
    assert_eq!(joined[SHORT_HEADER_BYTES..][..bytes], data);
    let last = usize::from(u16::from_le_bytes([joined[4], joined[5]]));
    let end = (all.len() - 1) * 48 + last;
    assert!(joined[end..].iter().all(|&byte| byte == 0));
    (last, joined[SHORT_HEADER_BYTES + bytes..end].to_vec())
}

/// gamestream line 56.
#[test]
fn the_length_of_the_last_packet_is_exact() {
    for bytes in 1..200 {
        let expected = match (bytes + SHORT_HEADER_BYTES) % 48 {
            0 => 48,
            rest => rest,
        };
        assert_eq!(ends(Codec::H264, bytes), (expected, vec![]));
        let (last, behind) = ends(Codec::Av1, bytes);
        if expected > 8 {
            assert_eq!((last, behind), (expected, vec![]));
        } else {
            // A client drops a frame of AV1 with so little in its last packet; a padding OBU makes it longer.
            assert_eq!(last, expected + 9);
            assert_eq!(behind, [0x7A, 7, 0, 0, 0, 0, 0, 0, 0x80]);
        }
    }
}

/// gamestream line 59: the latency; the times are in `packetize/gamestream.rs`.
#[test]
fn a_frame_says_what_it_is_and_how_long_it_took() {
    let kinds = [
        (FLAG_PICTURE, 1),
        (KEY_FRAME, 2),
        (FLAG_PICTURE | FLAG_RECOVERY_POINT, 4),
        (FLAG_PICTURE | FLAG_RECOVERY_ANCHOR, 5),
        (FLAG_KEY | FLAG_RECOVERY_ANCHOR, 2),
    ];
    for (flags, kind) in kinds {
        let settings = HostSettings::default();
        let mut host = Host::of(HostSession::gamestream(small(), &settings).unwrap());
        let stamps = SubmitStamps {
            captured_ns: (START - 7_700_000) as i64,
            ..SubmitStamps::NONE
        };
        let submitter = &mut host.session.submitter;
        submitter
            .submit(&[5; 20], 0, flags, stamps, || START)
            .unwrap();
        let packets = host.drain();
        assert_eq!(packets[0][32..40], [1, 77, 0, kind, 28, 0, 0, 0]);
        // Without a stamp of the capture nobody knows.
        assert_eq!(
            host.frame(&[5; 20], flags)[0][32..40],
            [1, 0, 0, kind, 28, 0, 0, 0]
        );
    }
}

/// gamestream line 63: a key frame of 1 MiB at once, in virtual time, whatever the host's own settings allow.
#[test]
fn no_millisecond_has_as_many_as_a_hundred_packets() {
    let mut settings = HostSettings {
        rate_kbps: 50_000,
        ..HostSettings::default()
    };
    settings.pacer.burst_packets = 500;
    settings.pacer.packets_per_ms = 5000;
    let config = GameStreamConfig::default();
    let mut host = Host::of(HostSession::gamestream(config, &settings).unwrap());
    let mut sent = Vec::new();
    for (frame, bytes) in [(0, 1 << 20), (1, 104_000), (2, 104_000)] {
        let now = START + frame * 16_666_667;
        host.session
            .submit(&vec![7; bytes], now, KEY_FRAME, now)
            .unwrap();
        let mut at = now;
        while let Some(due) = host.session.transmitter.next_timeout() {
            at = at.max(due);
            while let Some(train) = host.session.transmitter.poll_transmit(at) {
                let packets = train.packets;
                sent.extend((0..packets).map(|_| at));
                host.session.transmitter.sent(at, packets, 0);
            }
        }
    }
    assert!(sent.len() > 1000);
    let busiest = (0..sent.len())
        .map(|i| {
            sent[i..]
                .iter()
                .take_while(|&&at| at < sent[i] + MS)
                .count()
        })
        .max();
    assert!((72..100).contains(&busiest.unwrap()), "{busiest:?}");
    let last = sent[sent.len() - 1] - sent[0];
    assert!(last < 50 * MS, "and not slower than need be: {last} ns");
}

/// The trains in which a frame of 38 and 8 packets leaves.
fn trains(settings: &HostSettings) -> Vec<u32> {
    let session = HostSession::gamestream(GameStreamConfig::default(), settings).unwrap();
    let mut host = Host::of(session);
    host.session
        .submit(&[7; 38 * 1376 - 8], START, KEY_FRAME, START)
        .unwrap();
    let (mut at, mut trains) = (START, Vec::new());
    while let Some(due) = host.session.transmitter.next_timeout() {
        at = at.max(due);
        while let Some(train) = host.session.transmitter.poll_transmit(at) {
            trains.push(train.packets);
            let packets = train.packets;
            host.session.transmitter.sent(at, packets, 0);
        }
    }
    trains
}

#[test]
fn as_many_packets_as_one_call_carries_leave_in_it_unless_the_host_wants_shorter_bursts() {
    let mut settings = HostSettings::default();
    assert_eq!(trains(&settings), [46]);
    settings.pacer.burst_packets = 20;
    assert_eq!(trains(&settings), [20, 20, 6]);
}

#[test]
fn parameters_that_no_client_announces_are_refused() {
    let new = |config: GameStreamConfig| GameStreamPacketizer::new(config).err();
    let sized = |packet_size| GameStreamConfig {
        packet_size,
        ..GameStreamConfig::default()
    };
    for size in [0, 16, 32, 47, 1000, 1393, 2000 + 16, 1 << 20, usize::MAX] {
        assert_eq!(
            new(sized(size)),
            Some(GameStreamConfigError::PacketSize(size))
        );
    }
    for size in [48, 64, 1024, 1184, 1392, 2000 / 16 * 16] {
        assert_eq!(new(sized(size)), None);
    }
    let key = GameStreamConfig {
        key: Some([0; 16]),
        ..GameStreamConfig::default()
    };
    assert_eq!(new(key), Some(GameStreamConfigError::ZeroKey));
}
