//! The host's session.

mod support;

use punktfunk_core::packetize::SubmitError;
use punktfunk_core::packetize::punktfunk1::EmissionOrder;
use punktfunk_core::session::host::HostSettings;
use punktfunk_core::session::{ClientSession, HostSession, StreamConfig};
use punktfunk_core::wire::punktfunk1::Header;
use sha2::{Digest, Sha256};
use support::{Client, DELTA_FRAME, Host, KEY_FRAME, MS, START, access_unit, config};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn plain() -> StreamConfig {
    StreamConfig {
        key: None,
        ..config()
    }
}

fn headers(packets: &[Vec<u8>]) -> Vec<Header> {
    packets.iter().map(|p| Header::parse(p).unwrap()).collect()
}

#[test]
fn the_reference_synthetic_frame_has_the_digests_of_section_4_7() {
    let mut frame = vec![0; 65_536];
    for (i, byte) in frame.iter_mut().enumerate().skip(4) {
        *byte = i as u8;
    }
    let key = std::array::from_fn(|i| i as u8);
    for (key, digest) in [
        (
            None,
            "1274b36e4991009dd197c5c5b5f884f0f0fddd44383f2c7340bab971b0f0c583",
        ),
        (
            Some(key),
            "bf9ebb43644713546cbcf0ae10ffcc385759ff316a4b11e33ddaa5a3ad7ec450",
        ),
    ] {
        let mut host = Host::new(StreamConfig {
            key,
            ..StreamConfig::default()
        });
        host.session.submit(&frame, 0, 5, START).unwrap();
        let packets = host.drain();
        assert_eq!(packets.len(), 66);
        assert_eq!(hex(&Sha256::digest(packets.concat())), digest);
    }
}

#[test]
fn an_empty_access_unit_is_one_zero_shard_and_its_recovery() {
    let mut host = Host::new(plain());
    let packets = host.frame(&[], KEY_FRAME);
    assert_eq!(packets.len(), 2);
    assert!(packets.iter().all(|p| p[40..].iter().all(|&b| b == 0)));
    assert_eq!(headers(&packets)[0].frame_bytes, 0);
}

#[test]
fn an_access_unit_beyond_the_limit_is_refused_and_uses_no_number() {
    let mut host = Host::new(StreamConfig {
        max_frame_bytes: 5000,
        ..plain()
    });
    assert!(
        host.session
            .submit(&[0; 5001], 0, KEY_FRAME, START)
            .is_err()
    );
    assert_eq!(
        headers(&host.frame(&[0; 5000], KEY_FRAME))[0].frame_index,
        0
    );
    assert_eq!(host.stat("frames_submitted"), 1);
}

#[test]
fn an_access_unit_with_a_block_that_no_code_carries_is_refused_and_uses_no_number() {
    // 5000 recovery shards at most beside 50 000, but 22 000 beside the 33 000 of the second block: these are not all points of
    // GF(2^16) any more.
    let mut host = Host::new(StreamConfig {
        shard_bytes: 2,
        max_block_shards: 50_000,
        fec_percent: 10,
        ..config()
    });
    host.session.shared().set_fec_percent(100);
    let refused = host.session.submit(&[0; 166_000], 0, KEY_FRAME, START);
    let Err(SubmitError::Fec { k, m, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((k, m), (33_000, 22_000));
    let packets = host.frame(&[7], KEY_FRAME);
    assert_eq!(packets[0][..8], [0; 8], "the first sequence number");
    let mut client = Client::new(StreamConfig {
        shard_bytes: 2,
        max_block_shards: 50_000,
        fec_percent: 10,
        ..config()
    });
    assert_eq!(*client.take_all(&packets)[0].data, [7]);
}

#[test]
fn data_first_emission_sends_the_same_shards_in_another_order() {
    let data = access_unit(3, 20_000);
    let send = |order| Host::ordered(plain(), order).frame(&data, KEY_FRAME);
    let (blocks, data_first) = (send(EmissionOrder::Blocks), send(EmissionOrder::DataFirst));
    let first_recovery = |packets: &[Vec<u8>]| {
        headers(packets)
            .iter()
            .position(|h| h.shard_index >= h.data_shards)
            .unwrap()
    };
    assert_eq!(first_recovery(&blocks), 64);
    assert_eq!(first_recovery(&data_first), 200);
    let shards = |packets: &[Vec<u8>]| {
        let mut all: Vec<_> = packets
            .iter()
            .map(|p| (Header::parse(p).unwrap(), &p[40..]))
            .map(|(h, shard)| (h.block_index, h.shard_index, shard.to_vec()))
            .collect();
        all.sort();
        all
    };
    assert_eq!(shards(&blocks), shards(&data_first));
    for packets in [blocks, data_first] {
        let all = headers(&packets);
        assert!(
            all.iter()
                .enumerate()
                .all(|(i, h)| h.stream_seq == i as u32)
        );
        assert!(
            all.iter()
                .all(|h| (h.flags & 4 != 0) == (h.stream_seq == 0))
        );
        assert!(
            all.iter()
                .all(|h| (h.flags & 2 != 0) == (h.stream_seq as usize == all.len() - 1))
        );
    }
}

#[test]
fn a_full_queue_drops_the_oldest_frame_and_asks_for_a_key_frame_once() {
    let settings = HostSettings {
        queue_frames: 2,
        ..HostSettings::default()
    };
    let mut host = Host::with(config(), &settings);
    for i in 0..4 {
        host.session
            .submit(&access_unit(i, 1000), 0, DELTA_FRAME, START)
            .unwrap();
    }
    assert_eq!(host.stat("frames_queue_dropped"), 2);
    assert_eq!(host.stat("packets_queue_dropped"), 30);
    assert_eq!(host.stat("recovery_armed"), 1);
    assert!(host.session.shared().take_recovery_request());
    assert!(
        !host.session.shared().take_recovery_request(),
        "one loss asks once"
    );
    host.drain();
    host.numbered(4, KEY_FRAME);
    assert_eq!(host.stat("recovery_armed"), 0);
    let records = host.session.shared().take_records();
    let fates: Vec<_> = records
        .iter()
        .map(|r| (r.index, r.status, r.packets_sent))
        .collect();
    assert_eq!(
        fates,
        [(0, 1, 0), (1, 1, 0), (2, 0, 15), (3, 0, 15), (4, 0, 15)]
    );
}

#[test]
fn a_drop_that_a_waiting_key_frame_mends_asks_for_nothing() {
    let settings = HostSettings {
        queue_frames: 1,
        ..HostSettings::default()
    };
    let mut host = Host::with(config(), &settings);
    host.session.submit(&[1], 0, DELTA_FRAME, START).unwrap();
    host.session.submit(&[2], 0, KEY_FRAME, START).unwrap();
    assert_eq!(host.stat("frames_queue_dropped"), 1);
    assert!(!host.session.shared().take_recovery_request());
}

#[test]
fn a_frame_under_way_is_never_dropped() {
    let settings = HostSettings {
        queue_frames: 1,
        ..HostSettings::default()
    };
    let mut host = Host::with(config(), &settings);
    host.session
        .submit(&access_unit(0, 6000), 0, KEY_FRAME, START)
        .unwrap();
    let first = host
        .session
        .transmitter
        .poll_transmit(START)
        .unwrap()
        .packets;
    assert_eq!(first, 32);
    host.session.transmitter.sent(START, first, 0);
    for i in 1..5 {
        host.session
            .submit(&access_unit(i, 6000), 0, DELTA_FRAME, START)
            .unwrap();
    }
    assert_eq!(host.stat("frames_queue_dropped"), 3);
    assert_eq!(
        host.drain().len(),
        58 + 90,
        "the rest of frame 0 and all of frame 4"
    );
}

#[test]
fn every_sealed_packet_is_sent_refused_dropped_or_waiting() {
    let settings = HostSettings {
        queue_frames: 3,
        ..HostSettings::default()
    };
    let mut host = Host::with(config(), &settings);
    for i in 0..5 {
        host.session
            .submit(&access_unit(i, 6000), 0, KEY_FRAME, START)
            .unwrap();
    }
    assert!(host.session.transmitter.poll_transmit(START).is_some());
    host.session.transmitter.sent(START, 30, 2);
    let balance = |host: &Host| {
        host.stat("packets_sealed")
            - host.stat("packets_sent")
            - host.stat("packets_socket_dropped")
            - host.stat("packets_queue_dropped")
            - host.stat("queue_packets")
    };
    assert_eq!(balance(&host), 0);
    host.session.transmitter.abandon();
    assert_eq!(host.stat("queue_packets"), 0);
    assert_eq!(balance(&host), 0);
    assert_eq!(host.session.transmitter.next_timeout(), None);
    let mut records = host.session.shared().take_records();
    records.sort_by_key(|record| record.index);
    let fates: Vec<_> = records.iter().map(|r| (r.status, r.packets_sent)).collect();
    assert_eq!(fates, [(1, 0), (1, 0), (1, 30), (1, 0), (1, 0)]);
}

#[test]
fn a_large_frame_is_spread_at_the_pacers_rate() {
    let mut host = Host::new(StreamConfig {
        fec_percent: 0,
        shard_bytes: 1200,
        ..config()
    });
    host.session
        .submit(&vec![7; 1200 * 232], 0, KEY_FRAME, START)
        .unwrap();
    let mut sent = Vec::new();
    let mut now = START;
    while let Some(at) = host.session.transmitter.next_timeout() {
        assert!(at > now || sent.is_empty(), "asked again at once");
        assert!(at < START + 1000 * MS, "{sent:?}");
        now = now.max(at);
        while let Some(train) = host.session.transmitter.poll_transmit(now) {
            let n = train.packets;
            sent.push((now, n));
            host.session.transmitter.sent(now, n, 0);
        }
    }
    assert_eq!(sent[0], (START, 32));
    assert!(sent[1..].iter().all(|&(_, n)| n <= 32));
    assert_eq!(
        now - START,
        2 * MS,
        "200 packets beyond the burst at 100 a ms"
    );
    let record = host.session.shared().take_records()[0];
    assert_eq!(
        (record.sent_first_ns, record.sent_last_ns),
        (START as i64, now as i64)
    );
}

#[test]
fn fec_can_change_at_any_frame_but_no_block_exceeds_what_receivers_accept() {
    let config = StreamConfig {
        max_block_shards: 64,
        fec_percent: 20,
        ..plain()
    };
    let mut host = Host::new(config);
    let shape = |packets: &[Vec<u8>]| {
        let h = headers(packets)[0];
        (h.data_shards, h.recovery_shards)
    };
    assert_eq!(shape(&host.frame(&[1; 1000], KEY_FRAME)), (10, 2));
    host.session.shared().set_fec_percent(50);
    assert_eq!(shape(&host.frame(&[1; 1000], KEY_FRAME)), (10, 5));
    // A receiver computes its ceiling from the Welcome: 64 + ceil(64 × 20 %) = 77.
    assert_eq!(shape(&host.frame(&[1; 6400], KEY_FRAME)), (64, 13));
    host.session.shared().set_fec_percent(0);
    assert_eq!(shape(&host.frame(&[1; 1000], KEY_FRAME)), (10, 0));
}

#[test]
fn a_rate_change_reaches_the_pacer() {
    let mut host = Host::new(StreamConfig {
        fec_percent: 0,
        shard_bytes: 1200,
        ..config()
    });
    // 4.8 Gbit/s in 1200-byte shards are 500 packets a ms, times 1.25; two ms for what is beyond 300 us of them.
    host.session.shared().set_rate(4_800_000);
    host.session
        .submit(&vec![7; 1200 * 1437], 0, KEY_FRAME, START)
        .unwrap();
    host.drain();
    let record = host.session.shared().take_records()[0];
    assert_eq!(record.sent_last_ns - record.sent_first_ns, 2 * MS as i64);
}

#[test]
fn a_frame_of_a_fast_session_waits_seldom_and_leaves_in_trains_that_one_call_can_carry() {
    let mut host = Host::new(StreamConfig {
        fec_percent: 0,
        shard_bytes: 1200,
        ..config()
    });
    host.session.shared().set_rate(8_000_000);
    host.session
        .submit(&vec![7; 1200 * 3300], 0, KEY_FRAME, START)
        .unwrap();
    let (mut now, mut waits, mut sent) = (START, 0, 0);
    while let Some(at) = host.session.transmitter.next_timeout() {
        waits += u32::from(at > now);
        now = now.max(at);
        while let Some(train) = host.session.transmitter.poll_transmit(now) {
            assert!(train.bytes.len() <= 65_000, "{} bytes", train.bytes.len());
            let n = train.packets;
            sent += u64::from(n);
            // Never more than the rate and 300 us of it.
            let most = (now - START) / 1000 + 300;
            assert!(sent <= most, "{sent} of {most} packets");
            host.session.transmitter.sent(now, n, 0);
        }
    }
    assert_eq!(sent, 3300);
    // 3000 packets at a million a second; each wait is for 150 of them, or two in three where whole trains leave.
    assert_eq!(now - START, 3 * MS);
    assert!((20..=30).contains(&waits), "{waits} waits");
}

#[test]
fn parameters_outside_the_wires_limits_are_refused_at_both_ends() {
    // Which they are, src/config.rs tests one by one.
    let odd = StreamConfig {
        shard_bytes: 1201,
        ..config()
    };
    assert!(HostSession::new(odd.clone(), &HostSettings::default()).is_err());
    assert!(ClientSession::new(odd, true).is_err());
}

#[test]
fn the_first_frame_that_the_queue_drops_asks_and_those_after_it_do_not() {
    let settings = HostSettings {
        queue_frames: 2,
        ..HostSettings::default()
    };
    let mut host = Host::with(config(), &settings);
    for index in 0..4 {
        let data = access_unit(index, 1000);
        host.session.submit(&data, 0, DELTA_FRAME, START).unwrap();
        // The third pushes the first out.
        let asks = host.session.shared().take_recovery_request();
        assert_eq!(asks, index == 2, "after frame {index}");
    }
    assert_eq!(host.stat("frames_queue_dropped"), 2);
}
