//! Shards of any wire into the reassembler.

use punktfunk_core::fec::Scheme;
use punktfunk_core::geometry::Limits;
use punktfunk_core::reassemble::{FrameState, Phase, Placed, Reassembler};
use punktfunk_core::shard::Shard;

const MEMORY_CAP: usize = 8 << 10;
const LIMITS: Limits = Limits {
    shard_bytes: 16,
    head_bytes: 6,
    max_block: 9,
    max_total: 14,
    max_blocks: 4,
    max_frame_bytes: 300,
};

/// Eight bytes a shard: block, blocks, k, m, index, length of the frame, of which 0 says none, and of the payload, and what
/// is in it. Nothing is kept of a shard beyond the limits; a frame that becomes complete has the length it claimed or all
/// that its shards hold, and memory stays under its cap and comes back.
pub fn reassemble(bytes: &[u8]) {
    for (scheme, head_bytes) in [(Scheme::Gf8, 6), (Scheme::Gf16, 0)] {
        let limits = Limits {
            head_bytes,
            ..LIMITS
        };
        let mut reassembler = Reassembler::new(scheme, limits, MEMORY_CAP);
        let mut frame = FrameState::new(Phase::Open);
        for fields in bytes.as_chunks::<8>().0 {
            let [block, blocks, k, m, index, length, cut, fill] = fields.map(u16::from);
            let frame_bytes = (length > 0).then(|| u32::from(length) * 2);
            let payload = [fill as u8; 17];
            let shard = Shard {
                frame: 0,
                frame_bytes,
                pts_ns: 0,
                flags: 0,
                block,
                blocks,
                k,
                m,
                index,
                payload: &payload[..if cut < 240 {
                    16
                } else {
                    usize::from(cut) - 239
                }],
            };
            let Ok(shard) = shard.within(&limits) else {
                assert!(
                    cut >= 240
                        || k == 0
                        || k > 9
                        || k + m > 14
                        || index >= k + m
                        || blocks > 4
                        || block >= blocks
                        || length > 150
                );
                continue;
            };
            let placed = reassembler.insert(&mut frame, &shard);
            assert!(reassembler.meter().used() <= MEMORY_CAP);
            if placed != Ok(Placed::Completed) {
                continue;
            }
            let counts = reassembler.counts(&frame);
            assert_eq!(counts.unrecoverable, 0);
            let whole = counts.k * limits.payload_bytes();
            match reassembler.assemble(&mut frame) {
                Some(complete) => {
                    assert_eq!(
                        complete.data.len(),
                        frame.length.said().map_or(whole, |bytes| bytes as usize)
                    );
                }
                None => assert!(
                    frame
                        .length
                        .said()
                        .is_some_and(|bytes| bytes as usize > whole)
                ),
            }
            frame = FrameState::new(Phase::Open);
        }
        drop(frame);
        assert_eq!(reassembler.meter().used(), 0);
    }
}

/// Frames of one and of two blocks, with a length and without, one of which needs its recovery shards.
pub fn frames() -> Vec<Vec<u8>> {
    let frame = |blocks: &[(u8, u8)], lost: u8, length: u8| -> Vec<u8> {
        let mut shards = Vec::new();
        for (block, &(k, m)) in blocks.iter().enumerate() {
            for index in lost..k + m {
                let fill = index.wrapping_mul(37);
                shards.extend([
                    block as u8,
                    blocks.len() as u8,
                    k,
                    m,
                    index,
                    length,
                    16,
                    fill,
                ]);
            }
        }
        shards
    };
    vec![
        [frame(&[(3, 2)], 0, 0), frame(&[(9, 3)], 2, 40)].concat(),
        frame(&[(4, 2), (2, 1)], 1, 0),
        frame(&[(4, 2), (2, 1)], 1, 20),
    ]
}
