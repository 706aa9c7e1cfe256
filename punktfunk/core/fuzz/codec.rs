//! Blocks through both codes.

use super::input::Input;

use punktfunk_core::fec::{FecError, Scheme, Shards, codec_with_kernel, kernels, naive};

/// Byte 0 the scheme, 1 and 2 the geometry, 3 the shard size, 4.. which shards are lost and what they hold: every
/// kernel makes the reference's recovery shards, and rebuilds from `k` shards or refuses.
pub fn rebuild(bytes: &[u8]) {
    let Some((&[scheme, k, m, size], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let scheme = if scheme % 2 == 0 {
        Scheme::Gf8
    } else {
        Scheme::Gf16
    };
    let (k, m) = (usize::from(k) % 40, usize::from(m) % 14);
    let shard_bytes = usize::from(size) % 140;
    let mut stream = rest.iter().copied().cycle();
    let mut next = || stream.next().unwrap_or(0);
    let data: Vec<u8> = (0..k * shard_bytes)
        .map(|n| next() ^ (n % 251) as u8)
        .collect();
    let lost: Vec<bool> = (0..k + m).map(|_| next() % 3 == 0).collect();

    let legal = k > 0 && shard_bytes > 0 && (scheme == Scheme::Gf8 || shard_bytes % 2 == 0);
    let expected = legal.then(|| {
        let shards: Vec<Vec<u8>> = data.chunks(shard_bytes).map(<[u8]>::to_vec).collect();
        naive::encode(scheme, &shards, m).concat()
    });
    for kernel in kernels::available() {
        let codec = codec_with_kernel(scheme, kernel);
        let mut block = data.clone();
        block.resize((k + m) * shard_bytes, 0xAA);
        let (front, parity) = block.split_at_mut(data.len());
        let encoded = codec.encode(k, m, shard_bytes, front, parity);
        let Some(expected) = &expected else {
            assert!(encoded.is_err());
            continue;
        };
        assert_eq!(encoded, Ok(()));
        assert!(
            parity == expected,
            "{scheme} ({k},{m}) {shard_bytes} {}",
            kernel.name
        );

        let mut present: Vec<bool> = lost.iter().map(|lost| !lost).collect();
        for (shard, lost) in block.chunks_mut(shard_bytes).zip(&lost) {
            if *lost {
                shard.fill(0x55);
            }
        }
        let have = present.iter().filter(|here| **here).count();
        let missing = present[..k].iter().filter(|here| !**here).count();
        let outcome = codec.reconstruct(k, m, shard_bytes, &mut block, &mut present);
        if missing == 0 || have >= k {
            assert_eq!(outcome, Ok(missing));
            assert!(
                block[..data.len()] == data,
                "{scheme} ({k},{m}) {shard_bytes} {}",
                kernel.name
            );
        } else {
            assert_eq!(outcome, Err(FecError::TooFewShards { need: k, have }));
        }
    }
}

pub fn blocks() -> Vec<Vec<u8>> {
    [
        [0_u8, 4, 2, 8],
        [1, 4, 2, 64],
        [1, 35, 7, 48],
        [1, 3, 13, 130],
        [0, 39, 9, 33],
    ]
    .into_iter()
    .map(|head| [&head[..], &[7, 11, 3, 250, 128, 0, 1]].concat())
    .collect()
}

/// Bytes of a wide block, at most.
const MAX_WIDE_BYTES: usize = 16 << 10;

/// Byte 0 the scheme, then shards of data and of recovery, two bytes each, a shard's bytes and those between shards, how many of 256
/// shards are lost, and a seed: every kernel makes the first one's recovery shards of blocks that the transform is needed for, with
/// shards inside of packets and the last apart from them, rebuilds what is lost from recovery shards in any order, and touches nothing between shards.
pub fn rebuild_wide(bytes: &[u8]) {
    let mut input = Input(bytes);
    let scheme = Scheme::from_wire(input.byte() % 2);
    let (k, m) = match scheme {
        Scheme::Gf8 => {
            let k = 1 + usize::from(input.word()) % 255;
            (k, usize::from(input.word()) % (256 - k))
        }
        Scheme::Gf16 => (
            1 + usize::from(input.word()) % 300,
            usize::from(input.word()) % 200,
        ),
    };
    let (size, gap) = (usize::from(input.byte()), usize::from(input.byte() % 4));
    let size = size.min(MAX_WIDE_BYTES / (k + m));
    let size = match scheme {
        Scheme::Gf8 => size.max(1),
        Scheme::Gf16 => (size / 2 * 2).max(2),
    };
    let stride = size + gap;
    let density = u64::from(input.byte());
    let mut state = u64::from(input.long()) << 1 | 1;
    let mut random = move || {
        // xorshift64: what is in shards, and which of them are lost.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let data: Vec<u8> = (0..(k - 1) * stride + size)
        .map(|_| random() as u8)
        .collect();
    let lost: Vec<bool> = (0..k).map(|_| random() >> 8 & 255 < density).collect();
    let missing = lost.iter().filter(|lost| **lost).count();
    let mut order: Vec<usize> = (0..m).collect();
    for n in (1..m).rev() {
        order.swap(n, (random() % (n as u64 + 1)) as usize);
    }
    // Allocations of their own, so that a sanitizer sees a byte too many.
    let (others, last) = data.split_at((k - 1) * stride);
    let (others, last) = (others.to_vec(), last.to_vec());
    let parity_bytes = if m == 0 { 0 } else { (m - 1) * stride + size };
    let mut first: Option<Vec<u8>> = None;
    for kernel in kernels::available() {
        let codec = codec_with_kernel(scheme, kernel);
        let what = (scheme, k, m, size, stride, kernel.name);
        let encode = |shards| {
            let mut parity = vec![0xA5; parity_bytes];
            let encoded = codec.encode_strided(k, m, size, shards, &mut parity, stride);
            assert_eq!(encoded, Ok(()), "{what:?}");
            parity
        };
        let parity = encode(Shards::strided(&data, stride));
        let expected = first.get_or_insert_with(|| parity.clone());
        assert!(parity == *expected, "{what:?}");
        let apart = Shards::strided(&others, stride).with_last(&last);
        assert!(encode(apart) == *expected, "{what:?}, the last apart");
        assert!(
            between(&parity, size, stride).all(|byte| *byte == 0xA5),
            "{what:?}"
        );

        let mut block = data.clone();
        for (shard, lost) in block.chunks_mut(stride).zip(&lost) {
            if *lost {
                shard[..size].fill(0x55);
            }
        }
        let damaged = block.clone();
        let mut present: Vec<bool> = lost.iter().map(|lost| !lost).collect();
        let recovery: Vec<(usize, &[u8])> = order
            .iter()
            .map(|&j| (j, &parity[j * stride..][..size]))
            .collect();
        let outcome =
            codec.reconstruct_strided(k, m, size, &mut block, stride, &mut present, &recovery);
        if missing <= m {
            assert_eq!(outcome, Ok(missing), "{what:?}");
            assert!(block == data, "{what:?} {missing} lost");
            assert!(present.iter().all(|here| *here), "{what:?}");
        } else {
            let have = k - missing + m;
            assert_eq!(outcome, Err(FecError::TooFewShards { need: k, have }));
            assert!(block == damaged, "{what:?}: a refusal changed the block");
        }
    }
}

/// The bytes between shards.
fn between(shards: &[u8], size: usize, stride: usize) -> impl Iterator<Item = &u8> {
    shards.chunks(stride).flat_map(move |shard| &shard[size..])
}

/// The geometries of the vectors, and such as take each way through the transform: high and low rate, few and many losses.
pub fn wide_blocks() -> Vec<Vec<u8>> {
    let of = |scheme: Scheme, k: u16, m: u16, size: u8, gap: u8, density: u8| {
        let counts = [k - 1, m].map(u16::to_le_bytes).concat();
        let rest = [size, gap, density, 1, 2, 3, 4];
        [&[scheme.wire()][..], &counts, &rest].concat()
    };
    let text = include_str!("../../../tests/golden/vectors/gf16_vectors.txt");
    let of_vectors = text.lines().filter_map(|line| {
        let mut words = line.strip_prefix("k=")?.split_whitespace();
        let k = words.next()?.parse().ok()?;
        let m = words.next()?.strip_prefix("m=")?.parse().ok()?;
        Some(of(Scheme::Gf16, k, m, 64, 0, 20))
    });
    let chosen = [
        of(Scheme::Gf8, 200, 55, 131, 1, 40),
        of(Scheme::Gf8, 50, 10, 64, 0, 10),
        of(Scheme::Gf16, 250, 50, 66, 2, 3),
        of(Scheme::Gf16, 250, 50, 66, 2, 45),
        of(Scheme::Gf16, 30, 190, 34, 0, 255),
        of(Scheme::Gf16, 190, 190, 10, 3, 255),
    ];
    of_vectors.chain(chosen).collect()
}
