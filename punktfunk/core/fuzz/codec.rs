//! Blocks through both codes.

use punktfunk_core::fec::{FecError, Scheme, codec_with_kernel, kernels, naive};

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
