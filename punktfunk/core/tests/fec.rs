//! Both codes against their naive reference and against `reed-solomon-simd`, for every kernel of this machine.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use punktfunk_core::fec::{
    self, Codec, FecError, Scheme, Shards, codec_with_kernel, kernels, naive,
};

/// A block of random bytes: scheme, k, m, shard bytes, data.
#[derive(Debug, Clone)]
struct Block {
    scheme: Scheme,
    k: usize,
    m: usize,
    shard_bytes: usize,
    data: Vec<u8>,
}

/// Blocks with tails of all lengths; high and low rate, and more rows and columns than one kernel tile has.
fn blocks(max_k: usize, max_m: usize) -> impl Strategy<Value = Block> {
    (
        prop_oneof![Just(Scheme::Gf8), Just(Scheme::Gf16)],
        1..=max_k,
        1..=max_m,
        1..=150_usize,
    )
        .prop_flat_map(|(scheme, k, m, half)| {
            let shard_bytes = if scheme == Scheme::Gf8 {
                half
            } else {
                2 * half
            };
            vec(any::<u8>(), k * shard_bytes).prop_map(move |data| Block {
                scheme,
                k,
                m,
                shard_bytes,
                data,
            })
        })
}

fn parity_of(codec: &dyn Codec, block: &Block) -> Vec<u8> {
    // What was there before must not matter.
    let mut parity = vec![0xA5; block.m * block.shard_bytes];
    codec
        .encode(
            block.k,
            block.m,
            block.shard_bytes,
            &block.data,
            &mut parity,
        )
        .unwrap();
    parity
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_kernel_makes_the_naive_references_recovery_shards(block in blocks(40, 9)) {
        let shards: Vec<Vec<u8>> = block.data.chunks(block.shard_bytes).map(<[u8]>::to_vec).collect();
        let expected = naive::encode(block.scheme, &shards, block.m).concat();
        for kernel in kernels::available() {
            let codec = codec_with_kernel(block.scheme, kernel);
            prop_assert_eq!(parity_of(&*codec, &block), &expected[..], "{}", kernel.name);
        }
    }

    #[test]
    fn gf16_recovery_shards_are_those_of_reed_solomon_simd(
        (k, m) in (1..300_usize, 1..80_usize), half in 1..100_usize, seed in any::<u64>(),
    ) {
        let shard_bytes = 2 * half;
        let data: Vec<u8> =
            (0..k * shard_bytes).map(|n| (seed.wrapping_mul(n as u64 | 1) >> 32) as u8).collect();
        let expected = reed_solomon_simd::encode(k, m, data.chunks(shard_bytes)).unwrap().concat();
        for kernel in kernels::available() {
            let mut parity = vec![0; m * shard_bytes];
            codec_with_kernel(Scheme::Gf16, kernel).encode(k, m, shard_bytes, &data, &mut parity).unwrap();
            prop_assert_eq!(&parity, &expected, "{}", kernel.name);
        }
    }

    /// High and low rate, all sizes of windows, lost recovery shards among them.
    #[test]
    fn transforms_rebuild_what_reed_solomon_simd_has_encoded(
        (k, m, kept) in (1..400_usize, 1..400_usize).prop_flat_map(|(k, m)| {
            (Just(k), Just(m), subsequence((0..k + m).collect::<Vec<usize>>(), k))
        }),
        half in 1..140_usize,
        seed in any::<u64>(),
    ) {
        let shard_bytes = 2 * half;
        let data: Vec<u8> =
            (0..k * shard_bytes).map(|n| (seed.wrapping_mul(n as u64 | 1) >> 32) as u8).collect();
        let expected = reed_solomon_simd::encode(k, m, data.chunks(shard_bytes)).unwrap().concat();
        let mut present = vec![false; k + m];
        kept.iter().for_each(|&i| present[i] = true);
        let lost = present[..k].iter().filter(|here| !**here).count();
        for kernel in kernels::available() {
            let codec = codec_with_kernel(Scheme::Gf16, kernel);
            let mut shards = [&data[..], &expected].concat();
            codec.encode(k, m, shard_bytes, &data, &mut shards[data.len()..]).unwrap();
            prop_assert!(shards[data.len()..] == expected, "({},{}) {}", k, m, kernel.name);
            for (shard, _) in shards.chunks_mut(shard_bytes).zip(&present).filter(|(_, here)| !**here) {
                shard.fill(0xEE);
            }
            let rebuilt = codec.reconstruct(k, m, shard_bytes, &mut shards, &mut present.clone());
            prop_assert_eq!(rebuilt, Ok(lost));
            prop_assert!(shards[..data.len()] == data, "({},{}) {}", k, m, kernel.name);
        }
    }

    /// P3, first half.
    #[test]
    fn any_k_of_k_plus_m_shards_rebuild_the_block(
        (block, kept) in blocks(70, 30).prop_flat_map(|block| {
            let all: Vec<usize> = (0..block.k + block.m).collect();
            let k = block.k;
            (Just(block), subsequence(all, k))
        })
    ) {
        for kernel in kernels::available() {
            let codec = codec_with_kernel(block.scheme, kernel);
            let mut shards = block.data.clone();
            shards.extend(parity_of(&*codec, &block));
            let mut present = vec![false; block.k + block.m];
            kept.iter().for_each(|&i| present[i] = true);
            for (shard, _) in shards.chunks_mut(block.shard_bytes).zip(&present).filter(|(_, here)| !**here) {
                shard.fill(0xEE);
            }
            let lost = present[..block.k].iter().filter(|here| !**here).count();
            let rebuilt = codec.reconstruct(block.k, block.m, block.shard_bytes, &mut shards, &mut present);
            prop_assert_eq!(rebuilt, Ok(lost));
            prop_assert_eq!(&shards[..block.data.len()], &block.data[..], "{}", kernel.name);
            prop_assert!(present[..block.k].iter().all(|here| *here));
        }
    }

    /// P3, second half: an error, and not a byte written.
    #[test]
    fn fewer_than_k_shards_never_rebuild_the_block(
        (block, kept) in blocks(40, 12).prop_flat_map(|block| {
            let all: Vec<usize> = (0..block.k + block.m).collect();
            let k = block.k;
            (Just(block), subsequence(all, 0..k))
        })
    ) {
        let codec = fec::codec(block.scheme);
        let mut shards = block.data.clone();
        shards.extend(parity_of(codec, &block));
        let mut present = vec![false; block.k + block.m];
        kept.iter().for_each(|&i| present[i] = true);
        let (shards_before, present_before) = (shards.clone(), present.clone());
        let outcome = codec.reconstruct(block.k, block.m, block.shard_bytes, &mut shards, &mut present);
        if present_before[..block.k].iter().all(|here| *here) {
            prop_assert_eq!(outcome, Ok(0));
        } else {
            prop_assert_eq!(outcome, Err(FecError::TooFewShards { need: block.k, have: kept.len() }));
        }
        prop_assert_eq!(shards, shards_before);
        prop_assert_eq!(present, present_before);
    }

    #[test]
    fn the_naive_decoder_agrees_on_small_blocks(
        (block, kept) in blocks(8, 6).prop_flat_map(|block| {
            let all: Vec<usize> = (0..block.k + block.m).collect();
            let k = block.k;
            (Just(block), subsequence(all, k))
        })
    ) {
        let parity = parity_of(fec::codec(block.scheme), &block);
        let all: Vec<&[u8]> =
            block.data.chunks(block.shard_bytes).chain(parity.chunks(block.shard_bytes)).collect();
        let received: Vec<(usize, Vec<u8>)> = kept.iter().map(|&i| (i, all[i].to_vec())).collect();
        let decoded = naive::decode(block.scheme, block.k, block.m, &received).unwrap();
        prop_assert_eq!(decoded.concat(), block.data);
        prop_assert_eq!(naive::decode(block.scheme, block.k, block.m, &received[1..]), None);
    }

    #[test]
    fn strided_shards_in_packets_leave_headers_and_tags_alone(
        block in blocks(20, 8), before in 0..64_usize, behind in 0..32_usize, kernel in any::<Index>(),
    ) {
        let kernels = kernels::available();
        let codec = codec_with_kernel(block.scheme, kernels[kernel.index(kernels.len())]);
        let codec = &*codec;
        let stride = before + block.shard_bytes + behind;
        let mut packets = vec![0x77; (block.k + block.m) * stride];
        for (packet, shard) in packets.chunks_mut(stride).zip(block.data.chunks(block.shard_bytes)) {
            packet[before..before + block.shard_bytes].copy_from_slice(shard);
        }
        let (data, parity) = packets.split_at_mut(block.k * stride);
        codec
            .encode_strided(
                block.k, block.m, block.shard_bytes,
                Shards::strided(&data[before..], stride), &mut parity[before..], stride,
            )
            .unwrap();
        let expected = parity_of(codec, &block);
        let shards = || block.data.chunks(block.shard_bytes).chain(expected.chunks(block.shard_bytes));
        for (packet, shard) in packets.chunks(stride).zip(shards()) {
            prop_assert_eq!(&packet[before..before + block.shard_bytes], shard);
            prop_assert!(packet[..before].iter().all(|byte| *byte == 0x77));
            prop_assert!(packet[before + block.shard_bytes..].iter().all(|byte| *byte == 0x77));
        }
        // Lose the first data packets and rebuild them inside of their packets from the last recovery shards.
        let lost = block.k.min(block.m);
        let (data, parity) = packets.split_at_mut(block.k * stride);
        for packet in data.chunks_mut(stride).take(lost) {
            packet[before..before + block.shard_bytes].fill(0);
        }
        let mut present: Vec<bool> = (0..block.k).map(|i| i >= lost).collect();
        let recovery: Vec<(usize, &[u8])> = (0..block.m)
            .rev()
            .map(|j| (j, &parity[j * stride + before..][..block.shard_bytes]))
            .collect();
        let rebuilt = codec.reconstruct_strided(
            block.k, block.m, block.shard_bytes, &mut data[before..], stride, &mut present, &recovery,
        );
        prop_assert_eq!(rebuilt, Ok(lost));
        for (packet, shard) in packets.chunks(stride).zip(shards()) {
            prop_assert_eq!(&packet[before..before + block.shard_bytes], shard);
        }
    }

    /// The buffer ends with the shard before it, or goes on with what is no shard of the block.
    #[test]
    fn a_last_shard_in_a_place_of_its_own_is_encoded_as_if_it_lay_behind_the_others(
        block in blocks(70, 40), gap in 0..40_usize, goes_on in any::<bool>(),
    ) {
        let Block { k, m, shard_bytes, .. } = block;
        let stride = shard_bytes + gap;
        let (others, last) = block.data.split_at((k - 1) * shard_bytes);
        let mut strided = vec![0xC3; if goes_on { k * stride } else { ((k - 1) * stride).saturating_sub(gap) }];
        for (room, shard) in strided.chunks_mut(stride).zip(others.chunks(shard_bytes)) {
            room[..shard_bytes].copy_from_slice(shard);
        }
        for kernel in kernels::available() {
            let codec = codec_with_kernel(block.scheme, kernel);
            let mut parity = vec![0xA5; m * shard_bytes];
            let shards = Shards::strided(&strided, stride).with_last(last);
            codec.encode_strided(k, m, shard_bytes, shards, &mut parity, shard_bytes).unwrap();
            prop_assert_eq!(parity, parity_of(&*codec, &block), "{}", kernel.name);
        }
    }

    #[test]
    fn impossible_requests_are_refused_and_never_panic(
        scheme in prop_oneof![Just(Scheme::Gf8), Just(Scheme::Gf16)],
        k in prop_oneof![0..20_usize, 65_000..70_000_usize, Just(usize::MAX)],
        m in prop_oneof![0..20_usize, 65_000..70_000_usize, Just(usize::MAX)],
        shard_bytes in prop_oneof![0..6_usize, Just(usize::MAX)],
        buffer in 0..200_usize,
        stride in prop_oneof![0..20_usize, Just(usize::MAX)],
        entries in vec((any::<bool>(), any::<Index>()), 0..12),
    ) {
        let codec = fec::codec(scheme);
        let data = vec![0; buffer];
        let (mut a, mut b) = (data.clone(), data.clone());
        let mut present: Vec<bool> = entries.iter().map(|(here, _)| *here).collect();
        let _ = codec.encode(k, m, shard_bytes, &data, &mut a);
        let strided = Shards::strided(&data, stride);
        let _ = codec.encode_strided(k, m, shard_bytes, strided, &mut a, stride);
        let _ = codec.encode_strided(k, m, shard_bytes, strided.with_last(&data), &mut a, stride);
        let _ = codec.reconstruct(k, m, shard_bytes, &mut b, &mut present);
        let recovery: Vec<(usize, &[u8])> = entries
            .iter()
            .map(|(_, index)| (index.index(24), &data[..shard_bytes.min(buffer)]))
            .collect();
        let mut present = vec![false; entries.len()];
        let _ = codec.reconstruct_strided(k, m, shard_bytes, &mut b, stride, &mut present, &recovery);
    }
}

#[test]
fn large_blocks_survive_their_largest_and_smallest_losses() {
    // (4096,820) is the largest block of the wire. Its shards make more than one stripe there, and so do those of the
    // last block; (300,2000) is low rate with recovery shards of more than one chunk.
    for (k, m, losses, shard_bytes) in [
        (300, 60, 60, 66),
        (300, 2000, 300, 66),
        (1000, 200, 200, 66),
        (4096, 820, 820, 290),
        (4096, 820, 1, 290),
        (3, 2, 2, 10_002),
    ] {
        let data: Vec<u8> = (0..k * shard_bytes).map(|n| ((n * n) >> 7) as u8).collect();
        let expected = reed_solomon_simd::encode(k, m, data.chunks(shard_bytes))
            .unwrap()
            .concat();
        for kernel in kernels::available() {
            let codec = codec_with_kernel(Scheme::Gf16, kernel);
            let mut shards = data.clone();
            shards.resize((k + m) * shard_bytes, 0);
            let (front, parity) = shards.split_at_mut(data.len());
            codec.encode(k, m, shard_bytes, front, parity).unwrap();
            assert!(parity == expected, "({k},{m}) {}", kernel.name);
            // The recovery shards that are here are the last ones.
            let mut present: Vec<bool> = (0..k + m)
                .map(|i| {
                    if i < k {
                        i * losses / k == (i + 1) * losses / k
                    } else {
                        i >= k + m - losses
                    }
                })
                .collect();
            for i in (0..k + m).filter(|&i| !present[i]) {
                shards[i * shard_bytes..][..shard_bytes].fill(0xEE);
            }
            assert_eq!(
                codec.reconstruct(k, m, shard_bytes, &mut shards, &mut present),
                Ok(losses)
            );
            assert!(
                shards[..data.len()] == data,
                "({k},{m}) {losses} {}",
                kernel.name
            );
        }
    }
}

/// The most points that there are, the last of them among those that matter.
#[test]
fn the_largest_blocks_of_the_field_go_through_the_transform() {
    for (k, m, lost) in [
        (32768, 32768, 32768),
        (61440, 4096, 4000),
        (100, 65408, 100),
    ] {
        let data: Vec<u8> = (0..2 * k).map(|n| ((n * 77) >> 5) as u8).collect();
        let expected = reed_solomon_simd::encode(k, m, data.chunks(2))
            .unwrap()
            .concat();
        let codec = fec::codec(Scheme::Gf16);
        let mut shards = data.clone();
        shards.resize(2 * (k + m), 0);
        let (front, parity) = shards.split_at_mut(data.len());
        codec.encode(k, m, 2, front, parity).unwrap();
        assert!(parity == expected, "({k},{m})");
        let mut present: Vec<bool> = (0..k + m)
            .map(|i| (lost..k).contains(&i) || i >= k + m - lost)
            .collect();
        shards[..2 * lost].fill(0xEE);
        assert_eq!(
            codec.reconstruct(k, m, 2, &mut shards, &mut present),
            Ok(lost)
        );
        assert!(shards[..data.len()] == data, "({k},{m})");
    }
}

#[test]
fn the_largest_block_of_gf8_rebuilds_from_its_recovery_shards_alone() {
    let (k, m, shard_bytes) = (128, 128, 100);
    let data: Vec<u8> = (0..k * shard_bytes)
        .map(|n| ((n * 31) >> 3) as u8)
        .collect();
    for kernel in kernels::available() {
        let codec = codec_with_kernel(Scheme::Gf8, kernel);
        let mut shards = data.clone();
        shards.resize((k + m) * shard_bytes, 0);
        let (front, parity) = shards.split_at_mut(data.len());
        codec.encode(k, m, shard_bytes, front, parity).unwrap();
        front.fill(0);
        let mut present: Vec<bool> = (0..k + m).map(|i| i >= k).collect();
        assert_eq!(
            codec.reconstruct(k, m, shard_bytes, &mut shards, &mut present),
            Ok(k)
        );
        assert!(shards[..data.len()] == data, "{}", kernel.name);
    }
}

#[test]
fn limits_are_those_of_the_specification() {
    let (gf8, gf16) = (fec::codec(Scheme::Gf8), fec::codec(Scheme::Gf16));
    assert!(gf8.supports(1, 255) && gf8.supports(255, 1) && gf8.supports(256, 0));
    assert!(!gf8.supports(0, 1) && !gf8.supports(129, 128) && !gf8.supports(257, 0));
    // min(pow2(k), pow2(m)) + max(k, m) <= 65536
    assert!(gf16.supports(4096, 820) && gf16.supports(32768, 32768) && gf16.supports(61440, 4096));
    assert!(!gf16.supports(61441, 4096) && !gf16.supports(0, 1) && !gf16.supports(65536, 0));
    for (k, m) in [
        (1, 1),
        (7, 300),
        (32768, 32768),
        (61440, 4096),
        (61441, 4096),
        (4097, 60000),
        (60000, 5000),
    ] {
        assert_eq!(
            gf16.supports(k, m),
            reed_solomon_simd::ReedSolomonEncoder::supports(k, m),
            "({k},{m})"
        );
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let codec = fec::codec(Scheme::Gf16);
    let (data, mut parity) = ([0; 40], [0; 20]);
    assert_eq!(
        codec.encode(0, 1, 2, &data, &mut parity),
        Err(FecError::Geometry {
            data: 0,
            recovery: 1
        })
    );
    assert_eq!(
        codec.encode(2, 1, 7, &data, &mut parity),
        Err(FecError::ShardBytes(7))
    );
    assert_eq!(
        codec.encode(5, 1, 10, &data, &mut parity),
        Err(FecError::Buffer { need: 50, have: 40 })
    );
    assert_eq!(
        codec.encode(4, 3, 10, &data, &mut parity),
        Err(FecError::Buffer { need: 30, have: 20 })
    );
    assert_eq!(
        codec.encode_strided(4, 2, 10, Shards::strided(&data, 8), &mut parity, 10),
        Err(FecError::Buffer { need: 10, have: 8 })
    );
    let shard = [0; 10];
    let mut room = data;
    for (recovery, index) in [
        (vec![(2, &shard[..])], 2),
        (vec![(1, &shard[..]), (1, &shard[..])], 1),
        (vec![(0, &shard[..8])], 0),
    ] {
        let outcome = codec.reconstruct_strided(
            4,
            2,
            10,
            &mut room,
            10,
            &mut [true, false, true, true],
            &recovery,
        );
        assert_eq!(outcome, Err(FecError::Recovery(index)));
    }
}

#[test]
fn one_recovery_shard_is_the_xor_of_the_data() {
    for (k, shard_bytes) in [(1, 64), (2, 1452), (55, 1200)] {
        let data: Vec<u8> = (0..k * shard_bytes)
            .map(|n| ((n * 131) >> 2) as u8)
            .collect();
        let mut parity = vec![0; shard_bytes];
        fec::codec(Scheme::Gf16)
            .encode(k, 1, shard_bytes, &data, &mut parity)
            .unwrap();
        let mut expected = vec![0; shard_bytes];
        for shard in data.chunks(shard_bytes) {
            expected
                .iter_mut()
                .zip(shard)
                .for_each(|(sum, byte)| *sum ^= byte);
        }
        assert_eq!(parity, expected);
    }
}
