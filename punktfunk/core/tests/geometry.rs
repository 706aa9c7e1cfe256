//! How frames are cut, and what a receiver of any wire keeps a shard for.

use proptest::prelude::*;
use punktfunk_core::geometry::Limits;
use punktfunk_core::reject::Reject;
use punktfunk_core::shard::Shard;

/// Shards of 100 bytes, 20 of which are heads.
const LIMITS: Limits = Limits {
    shard_bytes: 100,
    head_bytes: 20,
    max_block: 8,
    max_total: 11,
    max_blocks: 3,
    max_frame_bytes: 1000,
};

fn pairs(limits: &Limits, frame_bytes: usize, percent: u32) -> Vec<(usize, usize)> {
    let geometry = limits.geometry(frame_bytes, percent);
    geometry.blocks().map(|block| (block.k, block.m)).collect()
}

proptest! {
    #[test]
    fn blocks_cover_every_data_shard_once_and_only_the_last_is_short(
        frame in 0..20_000_000_usize, head in 0..100_usize, payload in 1..1500_usize, block in 1..4096_usize,
        percent in 0..100_u32, room in 0..3000_usize,
    ) {
        let limits = Limits {
            shard_bytes: head + payload,
            head_bytes: head,
            max_block: block,
            max_total: block + room,
            ..LIMITS
        };
        let geometry = limits.geometry(frame, percent);
        let blocks: Vec<_> = geometry.blocks().collect();
        let mut next = 0;
        for (index, b) in blocks.iter().enumerate() {
            prop_assert_eq!((b.index, b.first_shard), (index, next));
            prop_assert!(b.k == block || index + 1 == blocks.len());
            prop_assert!((1..=block).contains(&b.k));
            // m = ceil(k * percent / 100), without division, or as many as there is room for
            let asked = b.k * percent as usize;
            prop_assert!(b.m * 100 < asked + 100);
            prop_assert!(b.m * 100 >= asked || b.k + b.m == block + room);
            next += b.k;
        }
        prop_assert_eq!(next, geometry.data_shards());
        prop_assert!(next * payload >= frame && (next == 1 || (next - 1) * payload < frame));
    }
}

#[test]
fn a_frame_of_heads_and_payloads_is_cut_by_its_payload() {
    assert_eq!(pairs(&LIMITS, 0, 30), [(1, 1)]);
    assert_eq!(pairs(&LIMITS, 80, 30), [(1, 1)]);
    assert_eq!(pairs(&LIMITS, 81, 30), [(2, 1)]);
    assert_eq!(pairs(&LIMITS, 640, 30), [(8, 3)]);
    assert_eq!(pairs(&LIMITS, 641, 30), [(8, 3), (1, 1)]);
    // A block of 8 has room for 3 recovery shards, one of 5 for 6.
    assert_eq!(pairs(&LIMITS, 1040, 100), [(8, 3), (5, 5)]);
    assert_eq!(pairs(&LIMITS, 1040, 200), [(8, 3), (5, 6)]);
    assert_eq!(pairs(&LIMITS, 1040, u32::MAX), [(8, 3), (5, 6)]);
}

#[test]
fn a_block_behind_the_last_is_empty() {
    let geometry = LIMITS.geometry(641, 30);
    assert_eq!((geometry.block(1).k, geometry.block(1).m), (1, 1));
    for index in [2, 3, 1000] {
        assert_eq!((geometry.block(index).k, geometry.block(index).m), (0, 0));
    }
}

#[test]
fn a_shard_is_admitted_up_to_each_limit_and_refused_by_name_beyond_it() {
    let payload = [7; 101];
    let shard = Shard {
        frame: u32::MAX,
        frame_bytes: Some(1000),
        pts_ns: 1,
        flags: 2,
        block: 2,
        blocks: 3,
        k: 8,
        m: 3,
        index: 10,
        payload: &payload[..100],
    };
    let admitted = shard.within(&LIMITS).unwrap();
    assert_eq!(*admitted, shard);
    let check = |change: &dyn Fn(&mut Shard<'static>)| {
        let mut changed = Shard {
            payload: &[7; 100],
            ..shard
        };
        change(&mut changed);
        changed.within(&LIMITS).map(|_| ())
    };
    assert_eq!(check(&|_| ()), Ok(()));
    assert_eq!(check(&|s| s.frame_bytes = None), Ok(()));
    let longer = Shard {
        payload: &payload,
        ..shard
    };
    assert_eq!(longer.within(&LIMITS).map(|_| ()), Err(Reject::ShardBytes));
    assert_eq!(check(&|s| s.payload = &[7; 99]), Err(Reject::ShardBytes));
    assert_eq!(check(&|s| s.k = 0), Err(Reject::Geometry));
    assert_eq!(check(&|s| (s.k, s.m) = (9, 2)), Err(Reject::Geometry));
    assert_eq!(check(&|s| s.m = 4), Err(Reject::Geometry));
    assert_eq!(check(&|s| s.index = 11), Err(Reject::Geometry));
    assert_eq!(check(&|s| s.blocks = 4), Err(Reject::Geometry));
    assert_eq!(
        check(&|s| (s.block, s.blocks) = (0, 0)),
        Err(Reject::Geometry)
    );
    assert_eq!(check(&|s| s.block = 3), Err(Reject::Geometry));
    assert_eq!(
        check(&|s| s.frame_bytes = Some(1001)),
        Err(Reject::FrameBytes)
    );
}
