//! Whose turn it is: order, loss, references and recovery in the client's session.

mod support;

use punktfunk_core::fec::{Scheme, codec};
use punktfunk_core::reassemble::Placed;
use punktfunk_core::session::{
    FLAG_PROBE, FLAG_RECOVERY_ANCHOR, FLAG_RECOVERY_POINT, Receipt, StreamConfig,
};
use punktfunk_core::wire::punktfunk1::{HEADER_BYTES, Header};
use support::{Client, DELTA_FRAME, Host, KEY_FRAME, MS, access_unit, config};

fn pair() -> (Host, Client) {
    (Host::new(config()), Client::new(config()))
}

#[test]
fn frames_come_out_as_they_went_in() {
    for scheme in [Scheme::Gf8, Scheme::Gf16] {
        let config = StreamConfig { scheme, ..config() };
        let (mut host, mut client) = (Host::new(config.clone()), Client::new(config));
        for (i, bytes) in [0, 1, 99, 100, 101, 6400, 6401, 20_000]
            .into_iter()
            .enumerate()
        {
            let data = access_unit(i as u32, bytes);
            let packets = host.frame(&data, KEY_FRAME);
            let frames = client.take_all(&packets);
            assert_eq!(frames.len(), 1, "{bytes} bytes");
            assert_eq!(&*frames[0].data, data);
            assert_eq!(frames[0].index, i as u32);
        }
        client.session.settle(None, client.now);
        client.assert_balanced(8);
    }
}

/// The plain packets of a frame whose blocks have so many data shards of 100 bytes, and half as many recovery shards.
fn cut(access_unit: &[u8], blocks: &[usize]) -> Vec<Vec<u8>> {
    let mut data = access_unit.to_vec();
    data.resize(blocks.iter().sum::<usize>() * 100, 0);
    let (mut packets, mut rest) = (Vec::new(), &data[..]);
    for (block, &k) in blocks.iter().enumerate() {
        let (own, others) = rest.split_at(k * 100);
        rest = others;
        let m = k.div_ceil(2);
        let mut recovery = vec![0; m * 100];
        codec(Scheme::Gf16)
            .encode(k, m, 100, own, &mut recovery)
            .unwrap();
        for (index, shard) in own.chunks(100).chain(recovery.chunks(100)).enumerate() {
            let header = Header {
                pts_ns: 0,
                frame_index: 0,
                stream_seq: packets.len() as u32,
                frame_bytes: access_unit.len() as u32,
                user_flags: KEY_FRAME,
                block_index: block as u16,
                block_count: blocks.len() as u16,
                data_shards: k as u16,
                recovery_shards: m as u16,
                shard_index: index as u16,
                shard_bytes: 100,
                version: 1,
                fec_scheme: 1,
                flags: 1,
            };
            let mut packet = vec![0; HEADER_BYTES];
            header.write(packet.first_chunk_mut().unwrap());
            packet.extend_from_slice(shard);
            packets.push(packet);
        }
    }
    packets
}

/// Senders before v0.11.0 may cut a frame as they like (punktfunk/1 section 4.6).
#[test]
fn a_frame_comes_out_whole_however_its_blocks_are_cut() {
    let config = StreamConfig {
        key: None,
        max_block_shards: 4,
        max_frame_bytes: 10_000,
        ..config()
    };
    let data = access_unit(0, 950);
    for blocks in [
        &[4, 4, 2][..],
        &[4, 3, 3],
        &[3, 4, 3],
        &[2, 4, 4],
        &[1, 1, 4, 4],
        // More than it needs.
        &[4, 4, 4],
        &[4, 4, 2, 1],
    ] {
        let packets = cut(&data, blocks);
        for lost in 0..packets.len() {
            let mut client = Client::new(config.clone());
            let mut came = packets.clone();
            came.remove(lost);
            let frames = client.take_all(&came);
            assert_eq!(frames.len(), 1, "{blocks:?} without packet {lost}");
            assert!(*frames[0].data == data, "{blocks:?} without packet {lost}");
        }
    }
    // Fewer bytes than the frame claims.
    for blocks in [&[4, 4, 1][..], &[4, 4], &[1, 1, 1]] {
        let frames = Client::new(config.clone()).take_all(&cut(&data[..], blocks));
        assert!(frames.is_empty(), "{blocks:?}");
    }
}

#[test]
fn any_k_of_a_block_rebuild_it_and_one_fewer_does_not() {
    let (mut host, mut client) = pair();
    let packets = host.numbered(0, KEY_FRAME);
    assert!(client.take_all(&packets[..4]).is_empty());
    assert!(client.take_all(&packets[10..15]).is_empty(), "nine of ten");
    let frames = client.take_all([&packets[7]]);
    assert_eq!(&*frames[0].data, access_unit(0, 1000));
    client.session.settle(None, client.now);
    let stats = client.stats();
    assert_eq!(
        (stats.data_shards_missing, stats.data_shards_recovered),
        (5, 5)
    );
    client.assert_balanced(1);
}

#[test]
fn reordered_shards_are_not_counted_as_loss() {
    let (mut host, mut client) = pair();
    let mut packets = host.numbered(0, KEY_FRAME);
    packets.reverse();
    assert_eq!(client.take_all(&packets).len(), 1);
    let stats = client.stats();
    assert_eq!((stats.packets_lost, stats.packets_reordered), (0, 14));
}

#[test]
fn frames_are_released_in_order_within_the_reorder_window() {
    let (mut host, mut client) = pair();
    let frames: Vec<_> = (0..3).map(|i| host.numbered(i, KEY_FRAME)).collect();
    assert_eq!(Client::indices(&client.take_all(&frames[0])), [0]);
    assert!(
        client.take_all(&frames[2]).is_empty(),
        "frame 1 may still come"
    );
    client.pass(19 * MS);
    let late = client.take_all(&frames[1]);
    assert_eq!(Client::indices(&late), [1, 2]);
    assert_eq!(late[0].gap, 0);
    assert_eq!(client.stats().frames_unrecoverable, 0);
}

#[test]
fn a_frame_that_waited_for_its_turn_says_when_it_was_complete() {
    let (mut host, mut client) = pair();
    let frames: Vec<_> = (0..2).map(|i| host.numbered(i, KEY_FRAME)).collect();
    client.pass(5 * MS);
    let complete = client.now;
    assert!(
        client.take_all(&frames[1]).is_empty(),
        "frame 0 may still come"
    );
    let released = client.pass(20 * MS);
    assert_eq!(Client::indices(&released), [1]);
    assert_eq!(released[0].complete_ns, complete as i64);
    assert!(released[0].released_ns > released[0].complete_ns);
}

#[test]
fn a_frame_says_whether_it_needs_another() {
    let (mut host, mut client) = pair();
    let packets = [host.numbered(0, KEY_FRAME), host.numbered(1, DELTA_FRAME)].concat();
    let frames = client.take_all(&packets);
    assert_eq!(
        frames.iter().map(|f| f.is_key()).collect::<Vec<_>>(),
        [true, false]
    );
}

#[test]
fn a_complete_frame_waits_no_longer_than_the_reorder_window() {
    let (mut host, mut client) = pair();
    let frames: Vec<_> = (0..3).map(|i| host.numbered(i, KEY_FRAME)).collect();
    client.take_all(&frames[0]);
    client.take_all(&frames[1][..9]);
    client.take_all(&frames[2]);
    assert_eq!(client.session.next_timeout(), Some(client.now + 20 * MS));
    assert!(client.pass(20 * MS - 1).is_empty());
    let released = client.pass(1);
    assert_eq!(Client::indices(&released), [2]);
    assert_eq!(released[0].gap, 1);
}

#[test]
fn a_lost_frame_makes_the_following_undecodable_until_a_key_frame() {
    let (mut host, mut client) = pair();
    let flags = [
        KEY_FRAME,
        DELTA_FRAME,
        DELTA_FRAME,
        DELTA_FRAME,
        KEY_FRAME,
        DELTA_FRAME,
    ];
    let mut released = Vec::new();
    for (i, flags) in flags.into_iter().enumerate() {
        let packets = host.numbered(i as u32, flags);
        if i != 1 {
            released.extend(client.take_all(&packets));
        }
        released.extend(client.pass(21 * MS));
        assert_eq!(
            client.session.take_recovery_request(client.now, None),
            i == 2,
            "frame {i}"
        );
    }
    assert_eq!(Client::indices(&released), [0, 4, 5]);
    assert!(released.iter().all(|f| f.decodable));
    client.session.settle(None, client.now);
    let stats = client.stats();
    assert_eq!(
        (
            stats.frames_decodable,
            stats.frames_undecodable,
            stats.frames_unrecoverable
        ),
        (3, 2, 1)
    );
    client.assert_balanced(6);
    let decodable: Vec<_> = client
        .session
        .take_records()
        .iter()
        .map(|r| (r.status, r.decodable))
        .collect();
    assert_eq!(decodable, [(0, 1), (1, 0), (0, 0), (0, 0), (0, 1), (0, 1)]);
}

#[test]
fn a_client_that_does_not_hold_gets_undecodable_frames_marked() {
    let config = StreamConfig {
        hold_undecodable: false,
        ..config()
    };
    let (mut host, mut client) = (Host::new(config.clone()), Client::new(config));
    client.take_all(&host.numbered(0, KEY_FRAME));
    host.numbered(1, DELTA_FRAME);
    client.take_all(&host.numbered(2, DELTA_FRAME));
    let released = client.pass(20 * MS);
    assert_eq!(Client::indices(&released), [2]);
    assert!(!released[0].decodable);
    assert_eq!(client.stats().frames_undecodable, 1);
}

#[test]
fn recovery_points_and_anchors_mend_the_references_like_a_key_frame() {
    for flag in [FLAG_RECOVERY_POINT, FLAG_RECOVERY_ANCHOR] {
        let (mut host, mut client) = pair();
        client.take_all(&host.numbered(0, KEY_FRAME));
        host.numbered(1, DELTA_FRAME);
        client.take_all(&host.numbered(2, DELTA_FRAME | flag));
        assert_eq!(Client::indices(&client.pass(20 * MS)), [2]);
        assert_eq!(
            Client::indices(&client.take_all(&host.numbered(3, DELTA_FRAME))),
            [3]
        );
    }
}

#[test]
fn a_stream_that_starts_without_a_key_frame_asks_for_one() {
    let (mut host, mut client) = pair();
    assert!(client.take_all(&host.numbered(0, DELTA_FRAME)).is_empty());
    assert!(client.session.take_recovery_request(client.now, None));
}

#[test]
fn a_recovery_request_is_repeated_only_after_the_callers_patience() {
    let (mut host, mut client) = pair();
    client.take_all(&host.numbered(0, DELTA_FRAME));
    assert!(
        client
            .session
            .take_recovery_request(client.now, Some(50 * MS))
    );
    client.take_all(&host.numbered(1, DELTA_FRAME));
    assert!(
        !client
            .session
            .take_recovery_request(client.now + 49 * MS, Some(50 * MS))
    );
    assert!(
        client
            .session
            .take_recovery_request(client.now + 50 * MS, Some(50 * MS))
    );
    client.take_all(&host.numbered(2, KEY_FRAME));
    assert!(
        !client
            .session
            .take_recovery_request(client.now + 500 * MS, Some(50 * MS))
    );
}

#[test]
fn an_incomplete_frame_is_given_up_by_the_clock_when_nothing_follows() {
    let (mut host, mut client) = pair();
    client.take_all(&host.numbered(0, KEY_FRAME)[..5]);
    client.pass(120 * MS - 1);
    assert!(!client.session.take_recovery_request(client.now, None));
    client.pass(1);
    assert!(client.session.take_recovery_request(client.now, None));
}

#[test]
fn a_stalled_frame_does_not_end_the_turn_of_an_older_one_whose_packets_still_come() {
    let (mut host, mut client) = pair();
    let (slow, stalled) = (host.numbered(0, KEY_FRAME), host.numbered(1, KEY_FRAME));
    client.take_all(&stalled[..1]);
    let mut released = Vec::new();
    for packet in &slow {
        released.extend(client.take_all([packet]));
        released.extend(client.pass(50 * MS));
    }
    assert_eq!(Client::indices(&released), [0]);
}

#[test]
fn an_incomplete_frame_is_given_up_when_the_pts_of_later_ones_says_so() {
    let (mut host, mut client) = pair();
    client.take_all(&host.numbered(0, KEY_FRAME)[..5]);
    host.now += 200 * MS;
    client.take_all(&host.numbered(1, KEY_FRAME)[..1]);
    assert!(client.session.take_recovery_request(client.now, None));
}

#[test]
fn a_frame_behind_the_loss_window_is_gone() {
    let config = StreamConfig {
        loss_window_frames: 4,
        reorder_window_ns: 1 << 60,
        ..config()
    };
    let (mut host, mut client) = (Host::new(config.clone()), Client::new(config));
    client.take_all(&host.numbered(0, KEY_FRAME));
    let missing = host.numbered(1, KEY_FRAME);
    let mut released = Vec::new();
    for i in 2..6 {
        released.extend(client.take_all(&host.numbered(i, KEY_FRAME)));
    }
    assert!(released.is_empty(), "frame 1 is four behind frame 5");
    released.extend(client.take_all(&host.numbered(6, KEY_FRAME)));
    assert_eq!(Client::indices(&released), [2, 3, 4, 5, 6]);
    let receipt = client.take(&missing[0]);
    assert_eq!(receipt, Receipt::Placed(Placed::Late));
    client.session.settle(None, client.now);
    client.assert_balanced(7);
}

#[test]
fn late_shards_are_netted_out_of_loss() {
    let (mut host, mut client) = pair();
    let packets = host.numbered(0, KEY_FRAME);
    client.take_all(packets[1..].iter());
    assert_eq!(client.stats().packets_lost, 1);
    assert_eq!(
        client.take(&packets[0]),
        Receipt::Placed(Placed::Surplus { late_data: true })
    );
    let stats = client.stats();
    assert_eq!(
        (
            stats.packets_lost,
            stats.packets_reordered,
            stats.data_shards_late
        ),
        (0, 1, 1)
    );
    assert_eq!(client.session.take_loss_report_ppm(), 0);
}

#[test]
fn a_frame_whose_shards_came_too_late_is_expired_and_one_whose_never_came_unrecoverable() {
    let (mut host, mut client) = pair();
    let frames: Vec<_> = (0..4).map(|i| host.numbered(i, KEY_FRAME)).collect();
    client.take_all(&frames[0]);
    client.take_all(&frames[1][..5]);
    client.take_all(&frames[2][..5]);
    client.take_all(&frames[3]);
    assert_eq!(Client::indices(&client.pass(20 * MS)), [3]);
    assert!(client.take_all(&frames[1][5..10]).is_empty());
    client.session.settle(None, client.now);
    let stats = client.stats();
    assert_eq!(
        (
            stats.frames_expired,
            stats.frames_unrecoverable,
            stats.packets_late
        ),
        (1, 1, 5)
    );
    client.assert_balanced(4);
    let fates: Vec<_> = client
        .session
        .take_records()
        .iter()
        .map(|r| (r.status, r.late))
        .collect();
    assert_eq!(fates, [(0, 0), (2, 5), (1, 0), (0, 0)]);
}

#[test]
fn speed_test_filler_is_counted_and_not_released() {
    let (mut host, mut client) = pair();
    client.take_all(&host.numbered(0, KEY_FRAME));
    assert!(client.take_all(&host.numbered(1, FLAG_PROBE)).is_empty());
    let after = client.take_all(&host.numbered(2, DELTA_FRAME));
    assert_eq!(
        Client::indices(&after),
        [2],
        "filler does not break the references"
    );
    let stats = client.stats();
    assert_eq!(
        (
            stats.frames_probe,
            stats.frames_complete,
            stats.frames_released
        ),
        (1, 3, 2)
    );
}
