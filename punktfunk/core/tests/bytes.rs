//! What stands in the packets to the last byte, and blocks and packets at the limits of their kind.

mod support;

use std::collections::HashMap;

use proptest::prelude::*;
use punktfunk_core::crypto::{Direction, OVERHEAD_BYTES, Opener, SEQ_BYTES, Sealer};
use punktfunk_core::fec::{self, Scheme, codec_with_kernel, kernels, naive};
use punktfunk_core::packetize::punktfunk1::EmissionOrder;
use punktfunk_core::session::{ConfigError, HostSettings, MAX_SHARD_BYTES, StreamConfig};
use punktfunk_core::wire::punktfunk1::{HEADER_BYTES, Header};
use support::{Client, DELTA_FRAME, Host, KEY, KEY_FRAME, MS, access_unit, config};

fn plain() -> StreamConfig {
    StreamConfig {
        key: None,
        ..config()
    }
}

#[test]
fn the_tail_of_a_last_shard_holds_nothing_of_an_earlier_frame() {
    for order in [EmissionOrder::Blocks, EmissionOrder::DataFirst] {
        let mut host = Host::ordered(plain(), order);
        // Ones everywhere, then frames that leave 1, 50 and 99 bytes of their last shard in the same buffer.
        host.frame(&[0xFF; 1000], KEY_FRAME);
        for bytes in [999, 950, 901] {
            let packets = host.frame(&vec![0xEE; bytes], DELTA_FRAME);
            let last = packets
                .iter()
                .find(|p| Header::parse(p).unwrap().shard_index == 9)
                .unwrap();
            let (data, tail) = last[HEADER_BYTES..].split_at(bytes - 900);
            assert!(data.iter().all(|&b| b == 0xEE));
            assert!(tail.iter().all(|&b| b == 0), "{bytes} bytes: {tail:?}");
        }
        // An empty access unit is one shard of nothing but tail.
        let packets = host.frame(&[], DELTA_FRAME);
        assert!(packets[0][HEADER_BYTES..].iter().all(|&b| b == 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The frame filled up with zeroes and encoded block by block is what the packets hold, whatever their buffer held before.
    #[test]
    fn packets_hold_the_shards_of_the_frame_with_zeroes_behind_it(
        gf8 in any::<bool>(), block in 1..60_usize, percent in 0..=100_u32, half in 1..=90_usize, bytes in 0..9000_usize,
        data_first in any::<bool>(),
    ) {
        let scheme = if gf8 { Scheme::Gf8 } else { Scheme::Gf16 };
        let shard = 2 * half;
        let config = StreamConfig {
            scheme, shard_bytes: shard, max_block_shards: block, fec_percent: percent, max_frame_bytes: 9200, ..plain()
        };
        prop_assume!(config.validate().is_ok());
        let geometry = config.limits().geometry(bytes, percent);
        let mut expected = HashMap::new();
        let mut whole = access_unit(1, bytes);
        whole.resize(geometry.data_shards() * shard, 0);
        for of in geometry.blocks() {
            let mut shards = whole[of.first_shard * shard..][..of.k * shard].to_vec();
            let mut recovery = vec![0; of.m * shard];
            fec::codec(scheme).encode(of.k, of.m, shard, &shards, &mut recovery).unwrap();
            shards.append(&mut recovery);
            for (index, bytes) in shards.chunks(shard).enumerate() {
                expected.insert((of.index as u16, index as u16), bytes.to_vec());
            }
        }
        let order = if data_first { EmissionOrder::DataFirst } else { EmissionOrder::Blocks };
        let mut host = Host::ordered(config, order);
        host.frame(&vec![0xFF; whole.len()], KEY_FRAME);
        for packet in host.frame(&access_unit(1, bytes), DELTA_FRAME) {
            let header = Header::parse(&packet).unwrap();
            let shard = expected.remove(&(header.block_index, header.shard_index));
            prop_assert_eq!(Some(&packet[HEADER_BYTES..]), shard.as_deref());
        }
        prop_assert!(expected.is_empty());
    }
}

#[test]
fn a_salts_top_bit_is_the_direction_whatever_it_was() {
    let seal = |salt, direction| {
        let mut packet = vec![7; 50 + OVERHEAD_BYTES];
        Sealer::new(KEY, salt, direction)
            .seal_in_place(3, &mut packet)
            .unwrap();
        packet
    };
    let (set, clear) = ([0xF0, 1, 2, 3], [0x70, 1, 2, 3]);
    for direction in [Direction::HostToClient, Direction::ClientToHost] {
        assert_eq!(seal(set, direction), seal(clear, direction));
    }
    assert_ne!(
        seal(set, Direction::HostToClient),
        seal(set, Direction::ClientToHost),
        "one nonce for both directions would be the end of the key"
    );
    // The other 31 bits count.
    for other in [[0xB0, 1, 2, 3], [0xF0, 1, 2, 2]] {
        assert_ne!(
            seal(set, Direction::HostToClient),
            seal(other, Direction::HostToClient)
        );
    }
    let mut packet = seal(set, Direction::HostToClient);
    let (seq, text) = Opener::new(KEY, clear, Direction::HostToClient)
        .open_in_place(&mut packet)
        .unwrap();
    assert_eq!((seq, &text[..]), (3, &[7; 50][..]));
    assert_eq!(packet[..SEQ_BYTES], 3_u64.to_be_bytes());
}

#[test]
fn a_session_whose_salt_has_its_top_bit_set_streams() {
    let config = StreamConfig {
        salt: [0xFF; 4],
        ..config()
    };
    let (mut host, mut client) = (Host::new(config.clone()), Client::new(config));
    let frames = client.take_all(&host.numbered(0, KEY_FRAME));
    assert_eq!(&*frames[0].data, access_unit(0, 1000));
}

#[test]
fn gf8_blocks_fill_the_field_to_its_last_element() {
    // 255 shards are a session's most, 256 the field's.
    for (k, m) in [
        (1, 254),
        (200, 55),
        (254, 1),
        (128, 127),
        (1, 255),
        (201, 55),
        (255, 1),
        (128, 128),
    ] {
        let shards: Vec<Vec<u8>> = (0..k)
            .map(|i| (0..6).map(|b| (31 * i + 7 * b) as u8).collect())
            .collect();
        let data = shards.concat();
        let expected = naive::encode(Scheme::Gf8, &shards, m).concat();
        for kernel in kernels::available() {
            let codec = codec_with_kernel(Scheme::Gf8, kernel);
            let mut parity = vec![0; 6 * m];
            codec.encode(k, m, 6, &data, &mut parity).unwrap();
            assert_eq!(parity, expected, "({k}, {m}) {}", kernel.name);
            // The last shards of the block rebuild as many of the first.
            let lost = k.min(m);
            let mut block = [data.clone(), parity].concat();
            block[..6 * lost].fill(0);
            let mut present: Vec<bool> = (0..k + m).map(|i| i >= lost).collect();
            assert_eq!(
                codec.reconstruct(k, m, 6, &mut block, &mut present),
                Ok(lost)
            );
            assert_eq!(block[..6 * k], data, "({k}, {m}) {}", kernel.name);
        }
    }
    let gf8 = fec::codec(Scheme::Gf8);
    assert!(gf8.supports(200, 56) && !gf8.supports(200, 57));
}

#[test]
fn a_gf8_session_takes_blocks_of_255_shards_and_none_of_256() {
    let of = |max_block_shards, fec_percent| StreamConfig {
        scheme: Scheme::Gf8,
        max_block_shards,
        fec_percent,
        ..config()
    };
    for (k, percent) in [(255, 0), (170, 50), (127, 100)] {
        let full = of(k, percent);
        let (mut host, mut client) = (Host::new(full.clone()), Client::new(full));
        let packets = host.frame(&access_unit(0, 100 * k), KEY_FRAME);
        // By hand, and not from the geometry that sends.
        let m = (k * percent as usize).div_ceil(100);
        assert_eq!(packets.len(), k + m);
        let frames = client.take_all(&packets[m..]);
        assert_eq!(&*frames[0].data, access_unit(0, 100 * k));
    }
    for (k, percent) in [(256, 0), (171, 50), (128, 100), (255, 1)] {
        assert!(
            matches!(
                of(k, percent).validate(),
                Err(ConfigError::Block { limit: 255, .. })
            ),
            "{k} and {percent} %"
        );
    }
}

#[test]
fn a_train_fits_one_datagram_of_the_kernel_whatever_the_shard() {
    // The longest train of a session that makes as many packets as are paced for, the burst of 32, and what the kernel carries.
    for (shard_bytes, packets) in [(2, 64), (1200, 32), (1984, 31), (MAX_SHARD_BYTES, 7)] {
        let mut host = Host::new(StreamConfig {
            shard_bytes,
            max_frame_bytes: 60 * shard_bytes,
            ..config()
        });
        let sent = 60 * shard_bytes;
        let now = host.now;
        host.session
            .submit(&vec![1; sent], now, KEY_FRAME, now)
            .unwrap();
        let train = host.session.transmitter.poll_transmit(now).unwrap();
        assert_eq!(train.bytes.len(), train.packets as usize * train.segment);
        // 65535 less the headers of IPv6 and UDP.
        assert!(train.bytes.len() <= 65_487, "{}", train.bytes.len());
        assert_eq!(train.packets, packets, "{shard_bytes}");
    }
}

#[test]
fn the_packet_rate_is_bounded_however_small_the_shards_are() {
    let settings = HostSettings {
        rate_kbps: 1_000_000,
        ..HostSettings::default()
    };
    let config = StreamConfig {
        shard_bytes: 2,
        max_block_shards: 1000,
        max_frame_bytes: 200_000,
        ..plain()
    };
    let mut host = Host::with(config, &settings);
    // 100 000 data and 50 000 recovery packets, 94 million a second by the session's rate.
    let now = host.now;
    host.session
        .submit(&vec![1; 200_000], now, KEY_FRAME, now)
        .unwrap();
    let mut sent = 0;
    let end = now + 100 * MS;
    while let Some(at) = host.session.transmitter.next_timeout() {
        if at > end {
            break;
        }
        while let Some(train) = host.session.transmitter.poll_transmit(at.max(now)) {
            let packets = train.packets;
            sent += packets;
            host.session.transmitter.sent(at, packets, 0);
        }
    }
    // A million a second and 300 us of them.
    assert!((90_000..=100_300).contains(&sent), "{sent} in 100 ms");
}
