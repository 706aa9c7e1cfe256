//! One reassembler for two kinds of wire: GameStream's packets are protected whole, and its frames do not say their length.

mod support;

use proptest::prelude::*;
use punktfunk_core::depacketize::Depacketizer;
use punktfunk_core::depacketize::gamestream::GameStreamDepacketizer;
use punktfunk_core::fec::Scheme;
use punktfunk_core::flags::FLAG_KEY;
use punktfunk_core::geometry::Limits;
use punktfunk_core::reassemble::{FrameState, Phase, Placed, Reassembler};
use punktfunk_core::reject::Reject;
use punktfunk_core::session::{HostSession, HostSettings};
use punktfunk_core::shard::Shard;
use punktfunk_core::wire::gamestream::{
    GameStreamConfig, SHORT_HEADER_BYTES, Stamp, limits, ticks_to_ns,
};
use support::{DELTA_FRAME, Host, KEY_FRAME, access_unit};

/// Small packets: 48 bytes of a frame in each.
const PACKET_SIZE: usize = 64;
const PAYLOAD: usize = 48;
const CAP: usize = 16 << 20;

fn config(percent: u32) -> GameStreamConfig {
    GameStreamConfig {
        packet_size: PACKET_SIZE,
        fec_percent: percent,
        ..GameStreamConfig::default()
    }
}

fn host(percent: u32) -> Host {
    Host::of(HostSession::gamestream(config(percent), &HostSettings::default()).unwrap())
}

/// The shard that a packet is.
fn shard(packet: &[u8]) -> Result<Shard<'_>, Reject> {
    let stamp = Stamp::parse(packet)?;
    stamp.shard(packet, ticks_to_ns(u64::from(stamp.ticks)))
}

/// A frame under way and what receives it.
struct Receiver {
    reassembler: Reassembler,
    frame: FrameState,
}

impl Receiver {
    fn new(limits: Limits, cap: usize) -> Self {
        Self {
            reassembler: Reassembler::new(Scheme::Gf8, limits, cap),
            frame: FrameState::new(Phase::Open),
        }
    }

    fn take(&mut self, packet: &[u8]) -> Result<Placed, Reject> {
        let shard = shard(packet)?.within(&limits(PACKET_SIZE))?;
        self.reassembler.insert(&mut self.frame, &shard)
    }

    fn used(&self) -> usize {
        self.reassembler.meter().used()
    }

    /// The access unit, and that it is a key frame.
    fn assemble(&mut self) -> Option<(Vec<u8>, bool)> {
        let complete = self.reassembler.assemble(&mut self.frame)?;
        let held = complete.memory.as_ref().map(|_| complete.data.len());
        assert_eq!(held, Some(complete.data.len()), "stays on the meter");
        let wire = GameStreamDepacketizer::new(&config(20)).unwrap();
        let content = wire.content(&complete.data, 0)?;
        let access_unit = complete.data[content.bytes].to_vec();
        Some((access_unit, content.flags & FLAG_KEY != 0))
    }
}

/// The packets of each block.
fn blocks(packets: &[Vec<u8>]) -> Vec<Vec<&[u8]>> {
    let mut blocks = Vec::new();
    for packet in packets {
        let shard = shard(packet).unwrap();
        blocks.resize(usize::from(shard.blocks), Vec::new());
        blocks[usize::from(shard.block)].push(packet.as_slice());
    }
    blocks
}

fn shape(block: &[&[u8]]) -> (usize, usize) {
    let shard = shard(block[0]).unwrap();
    (usize::from(shard.k), usize::from(shard.m))
}

#[test]
fn a_frame_is_split_evenly_into_at_most_four_blocks() {
    let shapes = |packets: usize| -> Vec<_> {
        let bytes = packets * PAYLOAD - SHORT_HEADER_BYTES;
        let packets = host(20).frame(&vec![7; bytes], KEY_FRAME);
        blocks(&packets).iter().map(|block| shape(block)).collect()
    };
    assert_eq!(shapes(1), [(1, 2)]);
    assert_eq!(shapes(212), [(212, 43)]);
    assert_eq!(shapes(213), [(107, 22), (106, 22)]);
    assert_eq!(shapes(848), [(212, 43); 4]);
    // More than four protected blocks: four without protection.
    assert_eq!(shapes(849), [(213, 0), (213, 0), (213, 0), (210, 0)]);
}

/// Which packets of a block arrive: `lost` of them do not.
fn survivors(count: usize, lost: usize, order: &[u32]) -> Vec<usize> {
    let mut all: Vec<usize> = (0..count).collect();
    all.sort_by_key(|&i| order[i % order.len()].rotate_left(i as u32 % 31));
    all.split_off(lost)
}

fn order() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// As much as is protected may be lost, in any order, with any packet twice.
    #[test]
    fn any_loss_up_to_the_recovery_packets_of_each_block_is_repaired(
        bytes in 0..45_000_usize, percent in 0..120_u32, key in any::<bool>(), share in prop::collection::vec(0..=100_usize, 4),
        order in order(), twice in any::<prop::sample::Index>(),
    ) {
        let unit = access_unit(3, bytes);
        let packets = host(percent).frame(&unit, if key { KEY_FRAME } else { DELTA_FRAME });
        let blocks = blocks(&packets);
        let mut arrivals = Vec::new();
        for (block, share) in blocks.iter().zip(&share) {
            let (k, m) = shape(block);
            prop_assert_eq!(block.len(), k + m);
            // Of the worst loss that is repaired, as often as of none.
            let lost = (m * share).div_ceil(100);
            arrivals.extend(survivors(k + m, lost, &order).into_iter().map(|i| block[i]));
        }
        // Blocks arrive mixed with each other.
        arrivals.sort_by_key(|packet| order[usize::from(packet[2]) % order.len()] ^ u32::from(packet[3]) << 7);
        let mut receiver = Receiver::new(limits(PACKET_SIZE), CAP);
        let mut completed = 0;
        for (i, packet) in arrivals.iter().enumerate() {
            let placed = receiver.take(packet).unwrap();
            prop_assert!(!matches!(placed, Placed::Duplicate | Placed::Late));
            completed += usize::from(placed == Placed::Completed);
            if i == twice.index(arrivals.len()) {
                prop_assert_eq!(receiver.take(packet), Ok(Placed::Duplicate));
            }
        }
        prop_assert_eq!(completed, 1);
        prop_assert_eq!(receiver.assemble(), Some((unit, key)));
        let counts = receiver.reassembler.counts(&receiver.frame);
        prop_assert_eq!(counts.unrecoverable, 0);
        prop_assert_eq!(counts.received, arrivals.len());
    }

    /// One packet more is too many, of whichever block.
    #[test]
    fn one_loss_more_in_any_block_is_not_repaired(
        bytes in 0..45_000_usize, percent in 0..120_u32, pick in any::<prop::sample::Index>(), order in order(),
    ) {
        let packets = host(percent).frame(&access_unit(3, bytes), KEY_FRAME);
        let blocks = blocks(&packets);
        let short = pick.index(blocks.len());
        let mut receiver = Receiver::new(limits(PACKET_SIZE), CAP);
        for (index, block) in blocks.iter().enumerate() {
            let (k, m) = shape(block);
            let lost = if index == short { m + 1 } else { m };
            for i in survivors(k + m, lost, &order) {
                let placed = receiver.take(block[i]).unwrap();
                let harmless = matches!(placed, Placed::Stored | Placed::Surplus { .. });
                prop_assert!(harmless, "{placed:?}");
            }
        }
        prop_assert_eq!(receiver.frame.phase, Phase::Open);
        prop_assert!(!receiver.frame.rebuildable());
        // Of a frame of one packet nothing came.
        let missed = receiver.reassembler.counts(&receiver.frame).unrecoverable > 0;
        prop_assert_eq!(missed, receiver.frame.pinned);
        receiver.reassembler.give_up(&mut receiver.frame);
        receiver.frame = FrameState::new(Phase::Open);
        prop_assert_eq!(receiver.used(), 0);
    }
}

#[test]
fn a_frame_without_a_length_counts_what_it_will_be_joined_in_block_by_block() {
    // Two blocks of 107 and 106 packets of 80 bytes, joined from 48 of each.
    let packets = host(20).frame(
        &access_unit(0, 213 * PAYLOAD - SHORT_HEADER_BYTES),
        KEY_FRAME,
    );
    let blocks = blocks(&packets);
    let joined = |shards: usize| punktfunk_core::memory::pool::footprint(shards * PAYLOAD);
    let held = |k: usize, m: usize| {
        punktfunk_core::memory::pool::footprint((k + m) * (PACKET_SIZE + 16)) + k + m
    };
    let mut receiver = Receiver::new(limits(PACKET_SIZE), CAP);
    receiver.take(blocks[1][0]).unwrap();
    let notes = receiver.used() - held(106, 22) - joined(106);
    assert!(notes < 1000, "{notes}");
    receiver.take(blocks[0][0]).unwrap();
    let whole = held(106, 22) + held(107, 22) + joined(213) + notes;
    assert_eq!(receiver.used(), whole);

    // A byte less is too little, before the last block is there and before anything is stored of it.
    let mut tight = Receiver::new(limits(PACKET_SIZE), whole - 1);
    for packet in &blocks[1] {
        tight.take(packet).unwrap();
    }
    assert_eq!(tight.take(blocks[0][0]), Err(Reject::Memory));
    let mut enough = Receiver::new(limits(PACKET_SIZE), whole);
    for packet in blocks.concat() {
        enough.take(packet).unwrap();
    }
    let complete = enough.reassembler.assemble(&mut enough.frame).unwrap();
    assert_eq!(complete.data.len(), 213 * PAYLOAD);
    drop(complete);
    assert!(enough.used() < 1000, "the blocks are free again");
}

#[test]
fn a_block_of_which_nothing_came_counts_as_the_largest_of_its_frame() {
    let packets = host(20).frame(
        &access_unit(0, 213 * PAYLOAD - SHORT_HEADER_BYTES),
        KEY_FRAME,
    );
    let blocks = blocks(&packets);
    for (seen, k) in [(0, 107), (1, 106)] {
        let mut receiver = Receiver::new(limits(PACKET_SIZE), CAP);
        receiver.take(blocks[seen][0]).unwrap();
        let counts = receiver.reassembler.counts(&receiver.frame);
        assert_eq!((counts.k, counts.unrecoverable), (2 * k, 2 * k - 1));
    }
}

#[test]
fn a_shard_that_says_a_length_does_not_fit_a_frame_that_says_none() {
    let packets = host(20).frame(&access_unit(0, 100), KEY_FRAME);
    let mut receiver = Receiver::new(limits(PACKET_SIZE), CAP);
    receiver.take(&packets[0]).unwrap();
    let shard = Shard {
        frame_bytes: Some(100),
        ..shard(&packets[1]).unwrap()
    };
    let shard = shard.within(&limits(PACKET_SIZE)).unwrap();
    assert_eq!(
        receiver.reassembler.insert(&mut receiver.frame, &shard),
        Err(Reject::FrameMismatch)
    );
}

#[test]
fn lengths_and_heads_are_independent_of_each_other() {
    // Three shards of one block, 4 of 10 bytes of each a head or none, with and without a length.
    for (head_bytes, frame_bytes) in [(0, None), (0, Some(25)), (4, None), (4, Some(15))] {
        let limits = Limits {
            shard_bytes: 10,
            head_bytes,
            max_block: 3,
            max_total: 5,
            max_blocks: 1,
            max_frame_bytes: 30,
        };
        let mut receiver = Receiver::new(limits, CAP);
        let data: Vec<u8> = (1..=30).collect();
        for (index, payload) in data.chunks(10).enumerate() {
            let shard = Shard {
                frame: 0,
                frame_bytes,
                pts_ns: 0,
                flags: 0,
                block: 0,
                blocks: 1,
                k: 3,
                m: 2,
                index: index as u16,
                payload,
            };
            let shard = shard.within(&limits).unwrap();
            receiver
                .reassembler
                .insert(&mut receiver.frame, &shard)
                .unwrap();
        }
        let complete = receiver.reassembler.assemble(&mut receiver.frame).unwrap();
        let mut expected: Vec<u8> = data
            .chunks(10)
            .flat_map(|shard| shard[head_bytes..].to_vec())
            .collect();
        expected.truncate(frame_bytes.map_or(30, |bytes| bytes as usize));
        assert_eq!(&*complete.data, expected);
    }
}
