//! What the client's session takes from the wire, and what it refuses.

mod support;

use punktfunk_core::reassemble::Placed;
use punktfunk_core::reject::Reject;
use punktfunk_core::session::{Receipt, StreamConfig};
use punktfunk_core::wire::punktfunk1::Header;
use support::{Client, Host, KEY_FRAME, MS, access_unit, config};

fn pair() -> (Host, Client) {
    (Host::new(config()), Client::new(config()))
}

fn plain() -> StreamConfig {
    StreamConfig {
        key: None,
        ..config()
    }
}

fn plain_pair() -> (Host, Client) {
    (Host::new(plain()), Client::new(plain()))
}

/// Change the header of a plain packet.
fn forge(packet: &[u8], change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut forged = packet.to_vec();
    let mut header = Header::parse(packet).unwrap();
    change(&mut header);
    header.write((&mut forged[..40]).try_into().unwrap());
    forged
}

#[test]
fn a_replayed_packet_changes_nothing_but_its_counter() {
    let (mut host, mut client) = pair();
    let packets = host.numbered(0, KEY_FRAME);
    client.take_all(&packets);
    for packet in &packets {
        assert_eq!(client.take(packet), Receipt::Rejected(Reject::Replay));
    }
    assert_eq!(client.stats().frames_complete, 1);
    assert_eq!(client.stats().packets_lost, 0);
    client.session.settle(None, client.now);
    client.assert_balanced(1);
}

#[test]
fn without_encryption_duplicates_are_known_by_their_shard() {
    let (mut host, mut client) = plain_pair();
    let packets = host.numbered(0, KEY_FRAME);
    client.take(&packets[0]);
    assert_eq!(client.take(&packets[0]), Receipt::Placed(Placed::Duplicate));
    assert_eq!(client.take_all(&packets[1..]).len(), 1);
    assert_eq!(client.take(&packets[3]), Receipt::Placed(Placed::Duplicate));
    assert_eq!(
        client.take(&packets[12]),
        Receipt::Placed(Placed::Duplicate)
    );
    assert_eq!(
        (
            client.stats().packets_lost,
            client.stats().packets_duplicate
        ),
        (0, 3)
    );
}

#[test]
fn a_packet_of_another_key_direction_or_session_is_not_opened() {
    let (mut host, _) = pair();
    let packet = host.numbered(0, KEY_FRAME).swap_remove(0);
    for other in [
        StreamConfig {
            key: Some(*b"fedcba9876543210"),
            ..config()
        },
        StreamConfig {
            salt: *b"pkf2",
            ..config()
        },
    ] {
        assert_eq!(
            Client::new(other).take(&packet),
            Receipt::Rejected(Reject::Auth)
        );
    }
    let mut client = Client::new(config());
    for at in [0, 7, 8, 50, packet.len() - 1] {
        let mut damaged = packet.clone();
        damaged[at] ^= 1;
        assert_eq!(
            client.take(&damaged),
            Receipt::Rejected(Reject::Auth),
            "byte {at}"
        );
    }
    assert_eq!(
        client.take(&packet),
        Receipt::Placed(Placed::Stored),
        "a forgery does not burn the number"
    );
}

#[test]
fn every_bound_of_a_header_has_its_own_drop_reason() {
    let (mut host, mut client) = plain_pair();
    let packet = host.numbered(0, KEY_FRAME).swap_remove(0);
    let geometry: [fn(&mut Header); 7] = [
        |h| h.data_shards = 0,
        |h| h.data_shards = 65,
        |h| h.recovery_shards = 90,
        |h| h.shard_index = 15,
        |h| h.block_count = 0,
        |h| h.block_count = u16::MAX,
        |h| h.block_index = 1,
    ];
    for change in geometry {
        let forged = forge(&packet, change);
        assert_eq!(client.take(&forged), Receipt::Rejected(Reject::Geometry));
    }
    let shard = forge(&packet, |h| h.shard_bytes = 102);
    assert_eq!(client.take(&shard), Receipt::Rejected(Reject::ShardBytes));
    let frame = forge(&packet, |h| h.frame_bytes = u32::MAX);
    assert_eq!(client.take(&frame), Receipt::Rejected(Reject::FrameBytes));
    let mut magic = packet.clone();
    magic[36] = 0;
    assert_eq!(client.take(&magic), Receipt::Rejected(Reject::Magic));
    assert_eq!(
        client.take(&packet[..139]),
        Receipt::Rejected(Reject::TooShort)
    );
    assert_eq!(client.take(&[0; 9217]), Receipt::Rejected(Reject::TooLong));
    let mut longer = packet.clone();
    longer.push(0);
    assert_eq!(
        client.stats().memory_peak_bytes,
        0,
        "nothing was allocated for any of them"
    );
    assert_eq!(
        client.take(&longer),
        Receipt::Placed(Placed::Stored),
        "a longer packet is fine"
    );
    let block = forge(&packet, |h| {
        h.recovery_shards = 4;
        h.shard_index = 1;
    });
    assert_eq!(
        client.take(&block),
        Receipt::Rejected(Reject::BlockMismatch)
    );
    let frame = forge(&packet, |h| h.frame_bytes = 999);
    assert_eq!(
        client.take(&frame),
        Receipt::Rejected(Reject::FrameMismatch)
    );
    client.session.settle(None, client.now);
    client.assert_balanced(1);
}

#[test]
fn memory_stays_under_its_cap_and_comes_back() {
    let config = StreamConfig {
        memory_cap_bytes: 10_000,
        reorder_window_ns: 1 << 60,
        loss_window_ns: 1000 * MS,
        ..config()
    };
    let (mut host, mut client) = (Host::new(config.clone()), Client::new(config));
    let mut rejected = 0;
    let frames: Vec<_> = (0..20).map(|i| host.numbered(i, KEY_FRAME)).collect();
    for packets in &frames {
        let receipt = client.take(&packets[0]);
        rejected += u64::from(receipt == Receipt::Rejected(Reject::Memory));
    }
    assert_eq!(rejected, 14, "six frames of some 1600 bytes fit");
    assert_eq!(client.session.rejections().of(Reject::Memory), rejected);
    let stats = client.stats();
    assert!(
        stats.memory_bytes > 5_000 && stats.memory_peak_bytes <= 10_000,
        "{stats:?}"
    );
    client.session.settle(None, client.now);
    assert_eq!(client.stats().memory_bytes, 0);
    client.assert_balanced(20);
}

#[test]
fn a_frame_that_holds_less_than_it_claims_is_dropped() {
    let (mut host, mut client) = plain_pair();
    let packets: Vec<_> = host
        .numbered(0, KEY_FRAME)
        .iter()
        .map(|p| forge(p, |h| h.frame_bytes = 1001))
        .collect();
    assert!(client.take_all(&packets).is_empty());
    client.session.settle(None, client.now);
    let stats = client.stats();
    assert_eq!(
        (
            stats.frames_short,
            stats.frames_unrecoverable,
            stats.memory_bytes
        ),
        (1, 1, 0)
    );
    client.assert_balanced(1);
}

#[test]
fn blocks_of_another_shape_than_ours_are_accepted() {
    // A frame of 700 bytes in blocks of 3 and 4 data shards, which punktfunk/1 section 4.5 would put into one.
    let (mut host, mut client) = plain_pair();
    let data = access_unit(0, 700);
    let first = host.frame(&data[..300], KEY_FRAME);
    let second = host.frame(&data[300..], KEY_FRAME);
    let reshape = |packets: &[Vec<u8>], block: u16| -> Vec<Vec<u8>> {
        let forged = packets.iter().map(|p| {
            forge(p, |h| {
                (h.frame_index, h.frame_bytes) = (0, 700);
                (h.block_index, h.block_count) = (block, 2);
            })
        });
        forged.collect()
    };
    assert!(client.take_all(&reshape(&second, 1)).is_empty());
    let frames = client.take_all(&reshape(&first, 0)[2..]);
    assert_eq!(&*frames[0].data, data);
}

#[test]
fn a_jump_over_many_frames_costs_bounded_memory_and_counts_them_all() {
    let (mut host, mut client) = plain_pair();
    client.take_all(&host.numbered(0, KEY_FRAME));
    let far: Vec<_> = host
        .numbered(1, KEY_FRAME)
        .iter()
        .map(|p| forge(p, |h| h.frame_index = 1_000_000_000))
        .collect();
    client.take_all(&far);
    client.session.settle(None, client.now);
    let stats = client.stats();
    assert_eq!(
        (stats.frames_complete, stats.frames_unseen),
        (2, 999_999_999)
    );
    let records = client.session.take_records().len() as u64;
    assert!(records < 100_000, "{records}");
    assert_eq!(
        records + client.session.records_dropped(),
        1_000_000_001,
        "a frame without a record is counted"
    );
    client.assert_balanced(1_000_000_001);
}
