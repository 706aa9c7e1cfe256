//! What the sessions write down of a frame: every column, each with a value of its own.

mod support;

use punktfunk_core::reject::Reject;
use punktfunk_core::session::host::SubmitStamps;
use punktfunk_core::session::{Receipt, StreamConfig};
use punktfunk_core::stats::{ClientRecord, HostRecord};
use support::{Client, DELTA_FRAME, Host, KEY_FRAME, MS, START, access_unit, config};

#[test]
fn a_host_writes_down_every_figure_of_a_frame() {
    let mut host = Host::new(config());
    host.numbered(0, KEY_FRAME);
    let stamps = SubmitStamps {
        captured_ns: 11,
        converted_ns: 12,
        encode_begin_ns: 13,
        encode_end_ns: 14,
    };
    // 70 data shards are blocks of 64 and 6, with 32 and 3 recovery shards.
    host.session
        .submitter
        .submit(&access_unit(1, 6950), 777, DELTA_FRAME, stamps, || {
            START + 5
        })
        .unwrap();
    host.now = START + 40 * MS;
    let packets = host.drain();
    assert_eq!(packets.len(), 105);
    // With 15 of the frame before, each of 100 bytes, its header and its seal.
    assert_eq!(host.stat("packets_sent"), 120);
    assert_eq!(host.stat("bytes_sent"), 120 * 164);
    let record = host.session.shared().take_records()[1];
    assert_eq!(
        record,
        HostRecord {
            index: 1,
            pts_ns: 777,
            flags: i64::from(DELTA_FRAME),
            bytes: 6950,
            k: 70,
            m: 35,
            blocks: 2,
            packets: 105,
            captured_ns: 11,
            converted_ns: 12,
            encode_begin_ns: 13,
            encode_end_ns: 14,
            sealed_ns: (START + 5) as i64,
            sent_first_ns: (START + 40 * MS) as i64,
            // 73 packets beyond the burst at 100 a ms.
            sent_last_ns: (START + 40 * MS + 730_000) as i64,
            packets_sent: 105,
            status: 0,
        }
    );
}

#[test]
fn the_pacer_counts_the_recovery_shards_into_the_sessions_rate() {
    let mut host = Host::new(StreamConfig {
        fec_percent: 60,
        shard_bytes: 1200,
        ..config()
    });
    // 250 packets of media a ms, 400 with recovery shards, times 1.25: 2 us a packet beyond 300 us of them.
    host.session.shared().set_rate(2_400_000);
    let packets = host.frame(&vec![7; 1200 * 640], KEY_FRAME);
    assert_eq!(packets.len(), 10 * (64 + 39));
    let record = host.session.shared().take_records()[0];
    assert_eq!(
        record.sent_last_ns - record.sent_first_ns,
        2000 * (1030 - 150)
    );
}

#[test]
fn a_frame_leaves_the_meter_when_somebody_takes_it_over_or_lets_it_go() {
    let (mut host, mut client) = (Host::new(config()), Client::new(config()));
    for taken_over in [true, false] {
        let mut frames = client.take_all(&host.numbered(0, KEY_FRAME));
        let before = client.stats().memory_bytes;
        if taken_over {
            frames[0].take_over();
        } else {
            frames.clear();
        }
        // What says which shards came stays for the loss window.
        let after = client.stats().memory_bytes;
        assert!(
            before - after >= 1000 && after < 500,
            "{taken_over}: {before} {after}"
        );
    }
}

#[test]
fn a_client_writes_down_every_figure_of_a_frame() {
    // In the clear, where a packet can come twice.
    let config = StreamConfig {
        key: None,
        ..config()
    };
    let (mut host, mut client) = (Host::new(config.clone()), Client::new(config));
    let packets = host.frame(&access_unit(0, 950), KEY_FRAME);
    assert_eq!(packets.len(), 15);
    // Data shards 3 to 9 and three of five recovery shards; two of them twice.
    for (at, sent) in [(1, 3..8), (2, 5..7), (3, 9..13), (3, 8..9)] {
        client.now = START + at * MS;
        for packet in &packets[sent] {
            client.take(packet);
        }
    }
    assert_eq!(client.frames().len(), 1);
    client.session.settle(None, client.now + 50 * MS);
    assert_eq!(
        client.session.take_records(),
        [ClientRecord {
            index: 0,
            pts_ns: START as i64,
            flags: i64::from(KEY_FRAME),
            bytes: 950,
            k: 10,
            m: 5,
            blocks: 1,
            packets_received: 10,
            data_missing: 3,
            recovered: 3,
            duplicates: 2,
            late: 0,
            recv_first_ns: (START + MS) as i64,
            recv_last_ns: (START + 3 * MS) as i64,
            complete_ns: (START + 3 * MS) as i64,
            released_ns: (START + 3 * MS) as i64,
            status: 0,
            decodable: 1,
        }]
    );
    let stats = client.stats();
    assert_eq!((stats.packets_received, stats.packets_used), (12, 10));
    assert_eq!(stats.bytes_received, 12 * 140);
    assert_eq!((stats.data_shards_rebuilt, stats.packets_lost), (3, 3));
    assert_eq!(stats.packets_reordered, 1);
    assert_eq!(stats.memory_bytes, 0);
    assert!(
        (1000..100_000).contains(&stats.memory_peak_bytes),
        "{stats:?}"
    );
}

#[test]
fn a_datagram_has_room_for_its_seal_and_no_more_than_receivers_look_at() {
    let mut client = Client::new(config());
    for (bytes, reason) in [
        (0, Reject::TooShort),
        (23, Reject::TooShort),
        (24, Reject::Auth),
        (9216, Reject::Auth),
        (9217, Reject::TooLong),
    ] {
        let receipt = client.take(&vec![0x55; bytes]);
        assert_eq!(receipt, Receipt::Rejected(reason), "{bytes} bytes");
    }
}
