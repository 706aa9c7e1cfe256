//! The codecs.

use punktfunk_core::abi::{PunktfunkStatus, punktfunk_fec_decode, punktfunk_fec_encode};
use punktfunk_core::fec::{Scheme, codec};

use super::told;
use crate::bodies::input::Input;

/// Most bytes of a block.
const MAX_BYTES: usize = 64 << 10;
/// Most shards of one that is computed: larger ones take tens of milliseconds, and `tests/fec.rs` has them.
const MAX_SHARDS: usize = 1200;

/// Byte 0 the scheme, then shards of data, of recovery, and their bytes, two bytes each; the rest says what is in them and which
/// are lost. What the codec carries is encoded, and nothing else; a block comes back from `k` of its shards, and a refusal leaves it
/// as it was.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let scheme = u32::from(input.byte() % 3);
    let [k, m, mut shard_bytes] = [(); 3].map(|()| usize::from(input.word()));
    let legal = match scheme {
        0 => codec(Scheme::Gf8).supports(k, m),
        1 => codec(Scheme::Gf16).supports(k, m),
        _ => false,
    };
    if legal && k + m > MAX_SHARDS {
        return;
    }
    if legal && (k + m).saturating_mul(shard_bytes) > MAX_BYTES {
        shard_bytes = MAX_BYTES / (k + m) / 2 * 2;
    }
    // What no scheme carries is refused before a byte is looked at.
    let length = |shards: usize| if legal { shards * shard_bytes } else { 0 };
    let seed: [u8; 4] = input.array();
    let data: Vec<u8> = (0..length(k))
        .map(|n| seed[n % 4].wrapping_mul((n % 251) as u8) ^ (n / 7) as u8)
        .collect();
    let mut recovery = vec![0xAA; length(m)];
    // SAFETY: both have the bytes that the contract names, and shards that no scheme carries are not touched.
    let status = told(unsafe {
        punktfunk_fec_encode(
            scheme,
            k,
            m,
            shard_bytes,
            data.as_ptr(),
            recovery.as_mut_ptr(),
        )
    });
    let fits = shard_bytes > 0 && (scheme == 0 || shard_bytes % 2 == 0);
    let expected = match (scheme, legal, fits) {
        (2, ..) | (_, true, false) => PunktfunkStatus::InvalidArg,
        (_, false, _) => PunktfunkStatus::Fec,
        (_, true, true) => PunktfunkStatus::Ok,
    };
    assert_eq!(status, expected, "{scheme} ({k},{m}) {shard_bytes}");

    let mut shards = [&data[..], &recovery[..]].concat();
    let mut present = vec![1_u8; if legal { k + m } else { 0 }];
    if fits {
        for (lost, shard) in present.iter_mut().zip(shards.chunks_mut(shard_bytes)) {
            if input.byte() % 4 == 1 {
                *lost = 0;
                shard.fill(0x55);
            }
        }
    }
    let before = (shards.clone(), present.clone());
    // SAFETY: as above.
    let status = told(unsafe {
        punktfunk_fec_decode(
            scheme,
            k,
            m,
            shard_bytes,
            shards.as_mut_ptr(),
            present.as_mut_ptr(),
        )
    });
    if expected != PunktfunkStatus::Ok {
        assert_eq!(
            (status, &shards, &present),
            (expected, &before.0, &before.1)
        );
        return;
    }
    let have = before.1.iter().filter(|here| **here == 1).count();
    let missing = before.1[..k].contains(&0);
    if missing && have < k {
        assert_eq!(status, PunktfunkStatus::Fec);
        assert!((shards, present) == before, "a refusal changed the block");
    } else {
        assert_eq!(status, PunktfunkStatus::Ok);
        assert!(
            shards[..data.len()] == data,
            "{scheme} ({k},{m}) {shard_bytes}"
        );
        assert!(present[..k].iter().all(|here| *here == 1));
        assert_eq!(present[k..], before.1[k..]);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let block = |scheme: u8, k: u16, m: u16, bytes: u16, lost: &[u8]| {
        let counts = [k, m, bytes].map(u16::to_le_bytes).concat();
        [&[scheme][..], &counts, b"\x03\x07\x0b\xf1", lost].concat()
    };
    vec![
        block(0, 10, 4, 48, &[1, 0, 0, 1]),
        block(0, 200, 55, 33, &[0, 1].repeat(20)),
        block(1, 10, 4, 130, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        block(1, 300, 60, 66, &[0, 0, 0, 0, 1].repeat(50)),
        block(1, 60, 300, 34, &[1; 60]),
        block(1, 65000, 536, 2, &[]),
        block(2, 1, 1, 1, &[]),
    ]
}
