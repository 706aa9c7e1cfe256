//! What codes accept and refuse, at the limits; and every small geometry.

use super::*;

const BOTH: [Scheme; 2] = [Scheme::Gf8, Scheme::Gf16];

#[test]
fn schemes_have_the_numbers_and_names_of_the_wire() {
    for (scheme, wire, name, most) in [
        (Scheme::Gf8, 0, "gf8", 255),
        (Scheme::Gf16, 1, "gf16", 65535),
    ] {
        assert_eq!(scheme.wire(), wire);
        assert_eq!(Scheme::from_wire(wire), scheme);
        assert_eq!(scheme.name(), name);
        assert_eq!(scheme.to_string(), name);
        assert_eq!(Scheme::from_name(name), Some(scheme));
        assert_eq!(scheme.max_shards(), most);
        assert_eq!(codec(scheme).scheme(), scheme);
    }
    assert_eq!(Scheme::from_name("gf32"), None);
    for byte in [2, 255] {
        assert_eq!(Scheme::from_wire(byte), Scheme::Gf8);
    }
}

#[test]
fn all_small_geometries_agree_with_the_other_library_and_with_the_formulas() {
    // Each pair of sides in and across powers of two, and high, equal and low rate.
    for (k, m) in (1..=9).flat_map(|k| (1..=9).map(move |m| (k, m))) {
        let shards: Vec<Vec<u8>> = (0..k)
            .map(|i| vec![(37 * i + 11) as u8, (101 * i + 200) as u8])
            .collect();
        let expected = reed_solomon_simd::encode(k, m, &shards).unwrap();
        assert_eq!(
            naive::encode(Scheme::Gf16, &shards, m),
            expected,
            "({k},{m})"
        );
        for scheme in BOTH {
            let expected = naive::encode(scheme, &shards, m).concat();
            for kernel in kernels::available() {
                let mut parity = vec![0x5A; 2 * m];
                codec_with_kernel(scheme, kernel)
                    .encode(k, m, 2, &shards.concat(), &mut parity)
                    .unwrap();
                assert_eq!(parity, expected, "{scheme} ({k},{m}) {}", kernel.name);
                check_all_losses(scheme, kernel, (k, m), &shards.concat(), &expected);
            }
        }
    }
}

/// Every number of losses is rebuilt from the last recovery shards.
fn check_all_losses(
    scheme: Scheme,
    kernel: &'static kernels::Kernel,
    (k, m): (usize, usize),
    data: &[u8],
    parity: &[u8],
) {
    for missing in 1..=k.min(m) {
        let lost = k - missing..k + m - missing;
        let mut shards = [data, parity].concat();
        shards[2 * lost.start..2 * lost.end].fill(0xC3);
        let mut present: Vec<bool> = (0..k + m).map(|i| !lost.contains(&i)).collect();
        let rebuilt =
            codec_with_kernel(scheme, kernel).reconstruct(k, m, 2, &mut shards, &mut present);
        assert_eq!(rebuilt, Ok(missing));
        let name = kernel.name;
        assert_eq!(
            &shards[..2 * k],
            data,
            "{scheme} ({k},{m}) {missing} {name}"
        );
    }
}

#[test]
fn a_block_has_a_data_shard_at_least_and_as_many_shards_as_the_field_at_most() {
    let (gf8, gf16) = (codec(Scheme::Gf8), codec(Scheme::Gf16));
    for (k, m) in [(1, 0), (1, 255), (128, 128), (256, 0)] {
        assert!(gf8.supports(k, m), "({k},{m})");
    }
    for (k, m) in [(0, 0), (0, 1), (1, 256), (129, 128), (128, 129), (257, 0)] {
        assert!(!gf8.supports(k, m), "({k},{m})");
    }
    for (k, m) in [(1, 0), (65535, 0), (1, 65535), (65535, 1), (32768, 32768)] {
        assert!(gf16.supports(k, m), "({k},{m})");
    }
    for (k, m) in [
        (0, 0),
        (0, 1),
        (65536, 0),
        (1, 65536),
        (2, 65535),
        (32769, 32768),
    ] {
        assert!(!gf16.supports(k, m), "({k},{m})");
    }
}

#[test]
fn shards_have_one_byte_or_element_at_least_and_64_mib_at_most() {
    let most = 64 << 20;
    let data = vec![0; most];
    let encode = |scheme, shard_bytes| codec(scheme).encode(1, 0, shard_bytes, &data, &mut []);
    assert_eq!(encode(Scheme::Gf8, 1), Ok(()));
    assert_eq!(encode(Scheme::Gf16, 1), Err(FecError::ShardBytes(1)));
    assert_eq!(encode(Scheme::Gf16, 2), Ok(()));
    for scheme in BOTH {
        assert_eq!(encode(scheme, 0), Err(FecError::ShardBytes(0)));
        assert_eq!(encode(scheme, most), Ok(()));
        assert_eq!(
            encode(scheme, most + 2),
            Err(FecError::ShardBytes(most + 2))
        );
        assert_eq!(
            codec(scheme).reconstruct(1, 1, 0, &mut [0; 8], &mut [true, false]),
            Err(FecError::ShardBytes(0))
        );
    }
    assert_eq!(
        encode(Scheme::Gf8, most + 1),
        Err(FecError::ShardBytes(most + 1))
    );
}

#[test]
fn buffers_may_end_with_their_last_shard_and_no_byte_earlier() {
    // Three shards of 6 bytes at 10, two at 8.
    for scheme in BOTH {
        let codec = codec(scheme);
        let encode = |data: usize, parity: usize| {
            let data = vec![1; data];
            let data = Shards::strided(&data, 10);
            codec.encode_strided(3, 2, 6, data, &mut vec![0; parity], 8)
        };
        assert_eq!(encode(26, 14), Ok(()));
        let short = |need, have| FecError::Buffer { need, have };
        assert_eq!(encode(25, 14), Err(short(26, 25)));
        assert_eq!(encode(26, 13), Err(short(14, 13)));
        // The stride itself holds a shard.
        let tight = |stride| {
            let data = Shards::strided(&[1; 6], stride);
            codec.encode_strided(1, 1, 6, data, &mut [0; 6], 13 - stride)
        };
        assert_eq!(tight(6), Ok(()));
        assert_eq!(tight(5), Err(short(6, 5)));
        assert_eq!(tight(8), Err(short(6, 5)));
        // Without recovery shards neither their buffer nor its stride is looked at.
        assert_eq!(
            codec.encode_strided(3, 0, 6, Shards::strided(&[1; 26], 10), &mut [], 0),
            Ok(())
        );
        // A last shard of its own needs a shard's bytes, and the buffer holds one fewer: of a single shard none.
        let with_last = |k: usize, data: usize, stride: usize, last: usize| {
            let (data, last) = (vec![1; data], vec![1; last]);
            let data = Shards::strided(&data, stride).with_last(&last);
            codec.encode_strided(k, 2, 6, data, &mut [0; 12], 6)
        };
        assert_eq!(with_last(3, 16, 10, 6), Ok(()));
        assert_eq!(with_last(3, 15, 10, 6), Err(short(16, 15)));
        assert_eq!(with_last(3, 16, 10, 5), Err(short(6, 5)));
        assert_eq!(with_last(3, 16, 5, 6), Err(short(6, 5)));
        assert_eq!(with_last(1, 0, 0, 6), Ok(()));
        assert_eq!(with_last(1, 0, 0, 5), Err(short(6, 5)));
        assert_eq!(
            with_last(0, 0, 0, 6),
            Err(FecError::Geometry {
                data: 0,
                recovery: 2
            })
        );

        let shard = [7; 6];
        let rebuild = |data: usize, flags: usize| {
            let mut present = vec![true; flags];
            present[0] = false;
            codec.reconstruct_strided(
                3,
                2,
                6,
                &mut vec![1; data],
                10,
                &mut present,
                &[(1, &shard[..])],
            )
        };
        assert_eq!(rebuild(26, 3), Ok(1));
        assert_eq!(rebuild(26, 4), Ok(1));
        assert_eq!(rebuild(25, 3), Err(short(26, 25)));
        assert_eq!(rebuild(26, 2), Err(short(3, 2)));

        let contiguous = |shards: usize, flags: usize| {
            let mut present = vec![true; flags];
            present[2] = false;
            codec.reconstruct(3, 2, 6, &mut vec![1; shards], &mut present)
        };
        assert_eq!(contiguous(30, 5), Ok(1));
        assert_eq!(contiguous(31, 6), Ok(1));
        assert_eq!(contiguous(29, 5), Err(short(30, 29)));
        assert_eq!(contiguous(30, 4), Err(short(5, 4)));
        assert_eq!(
            codec.reconstruct(0, 2, 6, &mut [1; 30], &mut [true; 5]),
            Err(FecError::Geometry {
                data: 0,
                recovery: 2
            })
        );
        assert_eq!(
            codec.reconstruct_strided(0, 2, 6, &mut [1; 30], 10, &mut [true; 5], &[]),
            Err(FecError::Geometry {
                data: 0,
                recovery: 2
            })
        );
    }
}

#[test]
fn recovery_shards_are_told_apart_by_their_index_alone() {
    // 100 recovery shards; the lost ones are the data shards 0 and 1.
    let (k, m, bytes) = (100, 100, 2);
    let data: Vec<u8> = (0..k * bytes).map(|n| (n * 7 + 1) as u8).collect();
    for scheme in BOTH {
        let codec = codec(scheme);
        let mut parity = vec![0; m * bytes];
        codec.encode(k, m, bytes, &data, &mut parity).unwrap();
        let rebuild = |indices: &[usize]| {
            let recovery: Vec<(usize, &[u8])> = indices
                .iter()
                .map(|&j| (j, &parity[j % m * bytes..][..bytes]))
                .collect();
            let mut damaged = data.clone();
            damaged[..2 * bytes].fill(0);
            let mut present: Vec<bool> = (0..k).map(|i| i >= 2).collect();
            let outcome = codec.reconstruct_strided(
                k,
                m,
                bytes,
                &mut damaged,
                bytes,
                &mut present,
                &recovery,
            );
            assert_eq!(damaged == data, outcome.is_ok());
            outcome
        };
        // Equal modulo 64, and the first and the last there are.
        for pair in [[1, 65], [64, 0], [0, 99], [99, 35]] {
            assert_eq!(rebuild(&pair), Ok(2), "{pair:?}");
        }
        for twice in [0, 1, 63, 64, 65, 99] {
            assert_eq!(rebuild(&[twice, twice]), Err(FecError::Recovery(twice)));
            assert_eq!(rebuild(&[twice, 7, twice]), Err(FecError::Recovery(twice)));
        }
        assert_eq!(rebuild(&[3, 100]), Err(FecError::Recovery(100)));
        assert_eq!(
            rebuild(&[65]),
            Err(FecError::TooFewShards {
                need: 100,
                have: 99
            })
        );
        // What is beyond the missing ones is checked and not needed.
        assert_eq!(rebuild(&[98, 3, 50]), Ok(2));
    }
}

#[test]
fn a_block_that_is_whole_needs_no_recovery_shard_and_looks_at_none() {
    for scheme in BOTH {
        let outcome = codec(scheme).reconstruct_strided(
            2,
            1,
            4,
            &mut [9; 8],
            4,
            &mut [true; 2],
            &[(5, &[0; 3][..])],
        );
        assert_eq!(outcome, Ok(0));
    }
}
