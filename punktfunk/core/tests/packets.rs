//! The header of punktfunk/1 and the bounds of its receiver.

use proptest::prelude::*;
use punktfunk_core::fec::Scheme;
use punktfunk_core::flags::{FLAG_KEY, FLAG_PICTURE};
use punktfunk_core::geometry::Limits;
use punktfunk_core::reject::Reject;
use punktfunk_core::session::StreamConfig;
use punktfunk_core::wire::punktfunk1::{HEADER_BYTES, Header, MAGIC, VERSION};

fn header() -> Header {
    Header {
        pts_ns: 0x0102_0304_0506_0708,
        frame_index: 9,
        stream_seq: 10,
        frame_bytes: 65536,
        user_flags: FLAG_PICTURE | FLAG_KEY,
        block_index: 0,
        block_count: 1,
        data_shards: 55,
        recovery_shards: 11,
        shard_index: 65,
        shard_bytes: 1200,
        version: VERSION,
        fec_scheme: 1,
        flags: 3,
    }
}

/// What becomes of a packet with this header and as many bytes.
fn checked(header: &Header, packet_bytes: usize, limits: &Limits) -> Result<(), Reject> {
    header
        .shard(&vec![7; packet_bytes], limits.shard_bytes)?
        .within(limits)
        .map(|_| ())
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

    /// What a sender cuts, a receiver of the same parameters accepts, whatever percentage the sender has come to.
    #[test]
    fn every_shard_of_a_legal_geometry_passes_the_receivers_bounds(
        frame in 0..3_000_000_usize, agreed in 0..100_u32, percent in 0..300_u32, gf8 in any::<bool>(),
        pick in any::<prop::sample::Index>(),
    ) {
        let (scheme, max_block_shards) = if gf8 { (Scheme::Gf8, 128) } else { (Scheme::Gf16, 4096) };
        let config = StreamConfig { scheme, max_block_shards, fec_percent: agreed, ..StreamConfig::default() };
        prop_assume!(config.validate().is_ok());
        let limits = config.limits();
        let geometry = limits.geometry(frame, percent);
        let block = geometry.block(pick.index(geometry.block_count()));
        let header = Header {
            frame_bytes: frame as u32,
            block_index: block.index as u16,
            block_count: geometry.block_count() as u16,
            data_shards: block.k as u16,
            recovery_shards: block.m as u16,
            shard_index: (block.k + block.m - 1) as u16,
            ..header()
        };
        prop_assert_eq!(checked(&header, HEADER_BYTES + 1200, &limits), Ok(()));
    }
}

#[test]
fn each_bound_of_the_receiver_rejects_for_its_own_reason() {
    let wire = HEADER_BYTES + 1200;
    let limits = StreamConfig::default().limits();
    assert_eq!((limits.max_total, limits.max_blocks), (4916, 14));
    let check = |change: &dyn Fn(&mut Header)| {
        let mut header = header();
        change(&mut header);
        checked(&header, wire, &limits)
    };
    assert_eq!(check(&|_| ()), Ok(()));
    let longer = checked(&header(), wire + 1, &limits);
    assert_eq!(longer, Ok(()), "a longer packet is fine");
    let shorter = checked(&header(), wire - 1, &limits);
    assert_eq!(shorter, Err(Reject::TooShort));
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
fn a_packet_of_another_size_is_told_from_a_short_one() {
    // Whoever says another shard size does not get to say how long the packet should have been.
    let other = Header {
        shard_bytes: 1202,
        ..header()
    };
    let limits = StreamConfig::default().limits();
    assert_eq!(
        checked(&other, HEADER_BYTES, &limits),
        Err(Reject::ShardBytes)
    );
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
