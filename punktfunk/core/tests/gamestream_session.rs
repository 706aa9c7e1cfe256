//! A GameStream host's session against a client's: what is lost, recovered, given up and asked for.

mod support;

use proptest::prelude::*;
use punktfunk_core::config::Receiving;
use punktfunk_core::flags::{FLAG_PICTURE, FLAG_RECOVERY_ANCHOR, FLAG_RECOVERY_POINT};
use punktfunk_core::packetize::gamestream::GameStreamPacketizer;
use punktfunk_core::reassemble::Placed;
use punktfunk_core::reject::Reject;
use punktfunk_core::session::{ClientSession, HostSession, HostSettings, Receipt};
use punktfunk_core::wire::gamestream::{Codec, GameStreamConfig, Stamp, ticks_to_ns};
use support::{Client, DELTA_FRAME, Host, KEY, KEY_FRAME, MS, START, access_unit};

/// Packets of 48 bytes of a frame, which keeps the numbers small.
fn config() -> GameStreamConfig {
    GameStreamConfig {
        packet_size: 64,
        ..GameStreamConfig::default()
    }
}

fn sealed() -> GameStreamConfig {
    GameStreamConfig {
        key: Some(KEY),
        ..config()
    }
}

fn client(config: &GameStreamConfig) -> Client {
    Client {
        session: ClientSession::gamestream(config, true).unwrap(),
        now: START,
    }
}

fn pair(config: &GameStreamConfig) -> (Host, Client) {
    let session = HostSession::gamestream(config.clone(), &HostSettings::default()).unwrap();
    (Host::of(session), client(config))
}

/// A frame of ten data packets and two of recovery.
fn ten(host: &mut Host, index: u32, flags: u32) -> Vec<Vec<u8>> {
    host.frame(&access_unit(index, 460), flags)
}

#[test]
fn two_of_a_frame_are_recovered_and_a_third_is_asked_a_key_frame_for() {
    for config in [config(), sealed()] {
        let (mut host, mut client) = pair(&config);
        let first = ten(&mut host, 1, KEY_FRAME);
        assert_eq!(first.len(), 12);
        let frames = client.take_all(first[2..].iter());
        assert_eq!(Client::indices(&frames), [1]);
        assert_eq!(&*frames[0].data, access_unit(1, 460));
        assert!(frames[0].is_key() && frames[0].decodable && frames[0].gap == 0);
        // Of the second too many are lost; the third cannot be decoded without it.
        client.take_all(ten(&mut host, 2, DELTA_FRAME)[3..].iter());
        assert!(client.take_all(&ten(&mut host, 3, DELTA_FRAME)).is_empty());
        assert!(client.pass(20 * MS).is_empty());
        assert!(client.session.take_recovery_request(client.now, None));
        assert!(!client.session.take_recovery_request(client.now, None));
        let frames = client.take_all(&ten(&mut host, 4, KEY_FRAME));
        assert_eq!((frames[0].index, frames[0].gap), (4, 2));
        client.session.settle(Some((5, 60)), client.now);
        client.assert_balanced(5);
        let stats = client.stats();
        assert_eq!(
            (stats.data_shards_recovered, stats.packets_lost),
            (2, 5 + 12)
        );
        assert_eq!((stats.frames_unrecoverable, stats.frames_unseen), (2, 1));
        let records = client.session.take_records();
        let told: Vec<_> = records
            .iter()
            .map(|r| {
                (
                    r.index,
                    r.bytes,
                    r.k,
                    r.m,
                    r.recovered,
                    r.status,
                    r.decodable,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (1, 460, 10, 2, 2, 0, 1),
                (2, -1, 10, 2, 0, 1, 0),
                (3, 460, 10, 2, 0, 0, 0),
                (4, 460, 10, 2, 0, 0, 1),
                (5, -1, -1, -1, 0, 1, 0),
            ]
        );
    }
}

#[test]
fn what_a_frame_says_it_is_mends_the_references() {
    for flags in [FLAG_RECOVERY_POINT, FLAG_RECOVERY_ANCHOR] {
        let (mut host, mut client) = pair(&config());
        client.take_all(&ten(&mut host, 1, KEY_FRAME));
        ten(&mut host, 2, DELTA_FRAME);
        client.take_all(&ten(&mut host, 3, DELTA_FRAME));
        assert!(client.pass(20 * MS).is_empty());
        let frames = client.take_all(&ten(&mut host, 4, FLAG_PICTURE | flags));
        assert_eq!(
            (frames[0].flags, frames[0].decodable),
            (FLAG_PICTURE | flags, true)
        );
        assert!(!client.session.take_recovery_request(client.now, None));
    }
}

#[test]
fn nothing_forged_damaged_or_repeated_gets_past_the_encryption() {
    let (mut host, mut receiver) = pair(&sealed());
    let packets = ten(&mut host, 1, KEY_FRAME);
    let refused = |receiver: &mut Client, packet: &[u8], reason| {
        assert_eq!(receiver.take(packet), Receipt::Rejected(reason));
    };
    // Bit by bit, but for the frame's number in clear, which nothing rests on.
    for at in (0..packets[0].len()).filter(|at| !(12..16).contains(at)) {
        let mut packet = packets[0].clone();
        packet[at] ^= 1;
        refused(&mut receiver, &packet, Reject::Auth);
    }
    refused(&mut receiver, &packets[0][..31], Reject::TooShort);
    refused(&mut receiver, &packets[0][32..], Reject::Auth);
    assert_eq!(receiver.take(&packets[0]), Receipt::Placed(Placed::Stored));
    refused(&mut receiver, &packets[0], Reject::Replay);
    let mut other = client(&GameStreamConfig {
        key: Some([9; 16]),
        ..config()
    });
    refused(&mut other, &packets[0], Reject::Auth);
    assert_eq!(other.stats().memory_bytes, 0);
}

#[test]
fn packets_that_no_client_could_use_are_dropped_by_name_before_anything_is_kept() {
    let (mut host, mut client) = pair(&config());
    let packet = ten(&mut host, 1, KEY_FRAME)[0].clone();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = packet.clone();
        change(&mut packet);
        packet
    };
    let block = |k: u32, index: u32, percent: u32| {
        with(&|p| p[28..32].copy_from_slice(&(k << 22 | index << 12 | percent << 4).to_le_bytes()))
    };
    for (packet, reason) in [
        (vec![], Reject::TooShort),
        (packet[..31].to_vec(), Reject::TooShort),
        (with(&|p| p[0] = 0x80), Reject::Magic),
        (with(&|p| p[1] = 97), Reject::Magic),
        (with(&|p| p.truncate(79)), Reject::ShardBytes),
        (with(&|p| p.push(0)), Reject::ShardBytes),
        (vec![0x90; 2049], Reject::TooLong),
        (block(0, 0, 20), Reject::Geometry),
        (block(10, 12, 20), Reject::Geometry),
        (block(213, 0, 20), Reject::Geometry),
        (block(1023, 0, 1), Reject::Geometry),
        (block(1023, 1023, 0), Reject::Geometry),
        (with(&|p| p[27] = 0x10), Reject::Geometry),
    ] {
        assert_eq!(client.take(&packet), Receipt::Rejected(reason));
    }
    assert_eq!(client.stats().memory_bytes, 0);
    assert_eq!(
        client.take(&block(1023, 1022, 0)),
        Receipt::Placed(Placed::Stored)
    );
    assert_eq!(
        client.take(&packet),
        Receipt::Rejected(Reject::BlockMismatch)
    );
}

#[test]
fn a_frame_of_av1_without_its_exact_length_is_dropped_as_clients_do_and_others_keep_their_padding()
{
    for (codec, released) in [(Codec::Av1, 0), (Codec::H264, 1)] {
        for last in [0_u16, 49, u16::MAX] {
            let (mut host, mut client) = pair(&GameStreamConfig { codec, ..config() });
            let mut packets = host.frame(&access_unit(0, 100), KEY_FRAME);
            packets[0][36..38].copy_from_slice(&last.to_le_bytes());
            let frames = client.take_all(&packets[..3]);
            assert_eq!(frames.len(), released);
            assert!(frames.iter().all(|frame| frame.data.len() == 3 * 48 - 8));
            assert_eq!(client.stats().frames_short, 1 - released as u64);
        }
    }
}

/// gamestream line 54, and the 16 and 24 bits of it that a packet says.
#[test]
fn losses_are_counted_exactly_beyond_every_wrap_and_outage() {
    let (mut host, mut client) = pair(&sealed());
    let (mut sent, mut lost) = (0_u64, 0);
    let send =
        |host: &mut Host, client: &mut Client, every: usize, lost: &mut u64, sent: &mut u64| {
            for packet in &host.frame(&access_unit(0, 9000), KEY_FRAME) {
                *sent += 1;
                if (*sent as usize).is_multiple_of(every) {
                    *lost += 1;
                } else {
                    client.take(packet);
                }
            }
            client.now += 16 * MS;
            client.frames();
        };
    for _ in 0..600 {
        send(&mut host, &mut client, 13, &mut lost, &mut sent);
    }
    assert!(sent > 2 * 65_536);
    assert_eq!(client.stats().packets_lost, lost);
    assert_eq!(client.stats().frames_complete, 600);
    // 65536 packets and more at once: nothing but the 24 bits of a data packet tells.
    for _ in 0..400 {
        let packets = host.frame(&access_unit(0, 9000), KEY_FRAME).len() as u64;
        (sent, lost) = (sent + packets, lost + packets);
    }
    send(&mut host, &mut client, usize::MAX, &mut lost, &mut sent);
    assert_eq!(client.stats().packets_lost, lost);
    client.session.settle(Some((1001, sent)), client.now);
    client.assert_balanced(1001);
    assert_eq!(client.stats().packets_lost, lost);
}

/// gamestream line 59: 13 hours and a quarter make 2^32 ticks. A pause of half of that would be one too many.
#[test]
fn a_frame_s_time_is_that_of_its_capture_beyond_the_wrap_of_its_ticks() {
    let (mut host, mut client) = pair(&config());
    let mut times = Vec::new();
    let hour = 3_600_000 * MS;
    for at in [MS, 5 * hour, 10 * hour, 15 * hour, 20 * hour, 25 * hour] {
        host.now = at.max(START);
        host.session
            .submit(&[1; 20], at, KEY_FRAME, host.now)
            .unwrap();
        let packets = host.drain();
        let stamp = Stamp::parse(&packets[0]).unwrap();
        assert_ne!(stamp.ticks, 0);
        client.now = host.now;
        times.push((at, client.take_all(&packets)[0].pts_ns));
    }
    for (sent, got) in times {
        assert!(sent.abs_diff(got) <= ticks_to_ns(1), "{sent} {got}");
    }
}

#[test]
fn what_a_host_makes_a_client_hold_stays_under_its_cap_and_comes_back() {
    let config = GameStreamConfig {
        receiving: Receiving {
            memory_cap_bytes: 300_000,
            ..Receiving::default()
        },
        ..config()
    };
    let (mut host, mut client) = pair(&config);
    // One packet of each frame, which claims four blocks of 1023.
    let packet = ten(&mut host, 1, KEY_FRAME)[0].clone();
    let mut refused = 0;
    for frame in 1..60_u32 {
        for block in 0..4_u8 {
            let mut packet = packet.clone();
            packet[20..24].copy_from_slice(&frame.to_le_bytes());
            packet[27] = block << 4 | 3 << 6;
            packet[28..32].copy_from_slice(&(1023_u32 << 22).to_le_bytes());
            refused += u64::from(client.take(&packet) == Receipt::Rejected(Reject::Memory));
        }
    }
    assert!(refused > 200, "{refused}");
    assert!(client.stats().memory_peak_bytes <= 300_000);
    client.session.settle(None, client.now);
    client.frames();
    assert_eq!(client.stats().memory_bytes, 0);
}

#[test]
fn a_stream_goes_on_where_the_frame_s_number_wraps() {
    let mut packetizer = GameStreamPacketizer::new(config()).unwrap();
    packetizer.set_next(u32::MAX - 1, 77);
    let settings = HostSettings::default();
    let mut host = Host::of(HostSession::with_packetizer(packetizer, 20, &settings));
    let mut client = client(&config());
    client.session.resume(u32::MAX - 1, 77);
    let mut indices = Vec::new();
    for i in 0..4 {
        let packets = ten(&mut host, i, if i == 0 { KEY_FRAME } else { DELTA_FRAME });
        indices.extend(Client::indices(&client.take_all(packets[2..].iter())));
    }
    assert_eq!(indices, [u32::MAX - 1, u32::MAX, 0, 1]);
    assert_eq!(client.stats().packets_lost, 8);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// gamestream line 53: frames are delivered exactly where no block of them lost more than its recovery packets, byte for byte, in order.
    #[test]
    fn a_frame_comes_out_whole_where_every_block_has_as_many_packets_as_data(
        frames in prop::collection::vec((1..24_000_usize, 0..2_000_u32, any::<u64>()), 1..6),
        encrypted in any::<bool>(), percent in 0..100_u32, codec in prop::sample::select(vec![Codec::H264, Codec::Av1]),
    ) {
        let config = GameStreamConfig { fec_percent: percent, codec, ..if encrypted { sealed() } else { config() } };
        let (mut host, mut client) = pair(&config);
        let mut expected = Vec::new();
        let mut got = Vec::new();
        for (index, (bytes, loss, seed)) in frames.iter().enumerate() {
            let unit = access_unit(index as u32, *bytes);
            let plain = GameStreamConfig { key: None, ..config.clone() };
            let mut reader = GameStreamPacketizer::new(plain).unwrap();
            reader.set_next(index as u32 + 1, 0);
            let packets = host.frame(&unit, KEY_FRAME);
            // What the same packets say in clear: block, k.
            let mut twin = Host::of(HostSession::with_packetizer(reader, percent, &HostSettings::default()));
            let places: Vec<_> = twin.frame(&unit, KEY_FRAME).iter().map(|p| Stamp::parse(p).unwrap().position).collect();
            let mut kept = [0_usize; 4];
            let mut random = *seed;
            for (packet, place) in packets.iter().zip(&places) {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if (random >> 33) % 10_000 >= u64::from(*loss) {
                    kept[usize::from(place.block)] += 1;
                    client.take(packet);
                }
            }
            if places.iter().all(|place| kept[usize::from(place.block)] >= usize::from(place.k)) {
                expected.push((index as u32 + 1, unit));
            }
            got.extend(client.pass(30 * MS));
        }
        client.session.settle(Some((frames.len() as u64, 0)), client.now);
        got.extend(client.frames());
        client.assert_balanced(frames.len() as u64);
        prop_assert_eq!(got.len(), expected.len());
        for (frame, (index, unit)) in got.iter().zip(&expected) {
            prop_assert_eq!(frame.index, *index);
            prop_assert_eq!(&frame.data[..unit.len()], &unit[..]);
            let padding = frame.data.len() - unit.len();
            prop_assert!(padding == 0 || (codec == Codec::Av1 && padding == 9));
        }
    }
}
