//! Headers, geometry and the bounds of a receiver.

use proptest::prelude::*;
use punktfunk_core::fec::Scheme;
use punktfunk_core::packet::{
    Geometry, GeometryError, HEADER_BYTES, Header, Limits, MAGIC, MAX_FRAME_BYTES, Reject,
};

fn header() -> Header {
    Header {
        pts_ns: 0x0102_0304_0506_0708,
        frame_index: 9,
        stream_seq: 10,
        frame_bytes: 65536,
        user_flags: 5,
        block_index: 0,
        block_count: 1,
        data_shards: 55,
        recovery_shards: 11,
        shard_index: 65,
        shard_bytes: 1200,
        version: 1,
        fec_scheme: 1,
        flags: 3,
    }
}

fn limits() -> Limits {
    Limits::new(Scheme::Gf16, 1200, 4096, 20, MAX_FRAME_BYTES).unwrap()
}

proptest! {
    #[test]
    fn a_header_survives_its_wire_form(bytes in any::<[u8; HEADER_BYTES]>()) {
        let mut bytes = bytes;
        bytes[36] = MAGIC;
        let mut written = [0; HEADER_BYTES];
        Header::parse(&bytes).unwrap().write(&mut written);
        prop_assert_eq!(written, bytes);
    }

    #[test]
    fn bytes_that_are_no_header_are_rejected_for_length_or_magic(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        match Header::parse(&bytes) {
            Err(Reject::TooShort) => prop_assert!(bytes.len() < HEADER_BYTES),
            Err(reason) => prop_assert!(reason == Reject::Magic && bytes[36] != MAGIC),
            Ok(_) => prop_assert!(bytes.len() >= HEADER_BYTES && bytes[36] == MAGIC),
        }
    }

    #[test]
    fn blocks_cover_every_data_shard_once_and_only_the_last_is_short(
        frame in 0..20_000_000_usize, shard in 2..1500_usize, block in 1..4096_usize, percent in 0..100_usize,
    ) {
        let geometry = match Geometry::new(frame, shard, block, percent) {
            Ok(geometry) => geometry,
            Err(GeometryError::Blocks(blocks)) => {
                prop_assert!(blocks > 65535);
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let blocks: Vec<_> = geometry.blocks().collect();
        let mut next = 0;
        for (index, b) in blocks.iter().enumerate() {
            prop_assert_eq!((b.index, b.first_shard), (index, next));
            prop_assert!(b.data_shards == block || index + 1 == blocks.len());
            prop_assert!((1..=block).contains(&b.data_shards));
            // m = ceil(k * percent / 100), without division
            prop_assert!(b.recovery_shards * 100 >= b.data_shards * percent);
            prop_assert!(b.recovery_shards * 100 < b.data_shards * percent + 100);
            next += b.data_shards;
        }
        prop_assert_eq!(next, geometry.data_shards());
        prop_assert!(next * shard >= frame && (next == 1 || (next - 1) * shard < frame));
    }

    /// What a sender cuts, a receiver of the same parameters accepts.
    #[test]
    fn every_shard_of_a_legal_geometry_passes_the_receivers_bounds(
        frame in 0..3_000_000_usize, percent in 0..100_usize, gf8 in any::<bool>(), pick in any::<prop::sample::Index>(),
    ) {
        let (scheme, max_block) = if gf8 { (Scheme::Gf8, 128) } else { (Scheme::Gf16, 4096) };
        let geometry = Geometry::new(frame, 1200, max_block, percent).unwrap();
        prop_assume!(geometry.check(scheme).is_ok());
        let limits = Limits::new(scheme, 1200, max_block, percent, MAX_FRAME_BYTES).unwrap();
        let block = geometry.block(pick.index(geometry.block_count()));
        let header = Header {
            frame_bytes: frame as u32,
            block_index: block.index as u16,
            block_count: geometry.block_count() as u16,
            data_shards: block.data_shards as u16,
            recovery_shards: block.recovery_shards as u16,
            shard_index: (block.data_shards + block.recovery_shards - 1) as u16,
            ..header()
        };
        prop_assert_eq!(limits.check(&header, HEADER_BYTES + 1200), Ok(()));
    }
}

#[test]
fn each_bound_of_the_receiver_rejects_for_its_own_reason() {
    let wire = HEADER_BYTES + 1200;
    let limits = limits();
    assert_eq!((limits.max_total, limits.max_blocks), (4916, 14));
    let check = |change: &dyn Fn(&mut Header)| {
        let mut header = header();
        change(&mut header);
        limits.check(&header, wire)
    };
    assert_eq!(check(&|_| ()), Ok(()));
    assert_eq!(
        limits.check(&header(), wire + 1),
        Ok(()),
        "a longer packet is fine"
    );
    assert_eq!(limits.check(&header(), wire - 1), Err(Reject::TooShort));
    assert_eq!(check(&|h| h.shard_bytes = 1198), Err(Reject::ShardBytes));
    assert_eq!(check(&|h| h.data_shards = 0), Err(Reject::Geometry));
    assert_eq!(check(&|h| h.data_shards = 4097), Err(Reject::Geometry));
    assert_eq!(
        check(&|h| (h.data_shards, h.recovery_shards) = (4096, 821)),
        Err(Reject::Geometry)
    );
    assert_eq!(check(&|h| h.shard_index = 66), Err(Reject::Geometry));
    assert_eq!(check(&|h| h.block_count = 0), Err(Reject::Geometry));
    assert_eq!(check(&|h| h.block_count = 15), Err(Reject::Geometry));
    assert_eq!(check(&|h| h.block_index = 1), Err(Reject::Geometry));
    assert_eq!(
        check(&|h| h.frame_bytes = (64 << 20) + 1),
        Err(Reject::FrameBytes)
    );
}

#[test]
fn geometries_that_no_header_can_say_are_refused() {
    assert_eq!(Geometry::new(1, 0, 1, 0), Err(GeometryError::Zero));
    assert_eq!(Geometry::new(1, 1, 0, 0), Err(GeometryError::Zero));
    assert_eq!(
        Geometry::new(1 << 32, 1200, 4096, 0),
        Err(GeometryError::FrameBytes(1 << 32))
    );
    assert_eq!(
        Geometry::new(65536, 1, 1, 0),
        Err(GeometryError::Blocks(65536))
    );
    assert!(Geometry::new(65535, 1, 1, 0).is_ok());
    let shards = |data, recovery, limit| {
        Err(GeometryError::Shards {
            data,
            recovery,
            limit,
        })
    };
    assert_eq!(
        Geometry::new(40_000, 1, 40_000, 64),
        shards(40_000, 25_600, 65535)
    );
    assert_eq!(
        Geometry::new(1, 1, 1, usize::MAX),
        shards(1, usize::MAX.div_ceil(100), 65535)
    );
    let gf8 = Geometry::new(213 * 1200, 1200, 4096, 20).unwrap();
    assert_eq!(
        gf8.check(Scheme::Gf8),
        Err(GeometryError::Shards {
            data: 213,
            recovery: 43,
            limit: 255
        })
    );
    assert_eq!(gf8.check(Scheme::Gf16), Ok(()));
}

#[test]
fn every_reason_has_its_own_index_and_name() {
    for (index, reason) in Reject::ALL.into_iter().enumerate() {
        assert_eq!(reason.index(), index);
        assert!(
            Reject::ALL[..index]
                .iter()
                .all(|other| other.name() != reason.name())
        );
    }
}
