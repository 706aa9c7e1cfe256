//! P4 at the allocator: what a peer makes a session hold, counted where it is taken from the system.
//!
//! The meter's own figure proves nothing. Here every byte that the thread has allocated and not freed is counted.

#[path = "support/allocation.rs"]
mod allocation;
mod support;

use allocation::{LIVE, PEAK};
use proptest::prelude::*;
use punktfunk_core::reject::Reject;
use punktfunk_core::session::{ClientSession, HostSettings, Receipt, StreamConfig};
use punktfunk_core::wire::punktfunk1::{HEADER_BYTES, Header};
use support::{Host, KEY_FRAME, MS, config};

const CAP: usize = 1 << 20;
/// What a session holds besides frames: queues of frames that are ready, flags of the block that is decoded.
const SLACK: usize = 64 << 10;
/// Unused buffers that a client keeps at most (`reassemble::POOL_BYTES`).
const CLIENT_POOL: usize = 16 << 20;
/// Unused buffers that a host keeps at most (`packetize::punktfunk1::POOL_BYTES`).
const HOST_POOL: usize = 32 << 20;

/// A client of a host that may claim anything, and what it holds by the allocator's count.
struct Metered {
    session: ClientSession,
    before: usize,
    now: u64,
    shard_bytes: usize,
}

impl Metered {
    fn new(config: StreamConfig) -> Self {
        let shard_bytes = config.shard_bytes;
        let session = ClientSession::new(config, false).unwrap();
        let before = LIVE.get();
        PEAK.set(before);
        Self {
            session,
            before,
            now: support::START,
            shard_bytes,
        }
    }

    fn live(&self) -> usize {
        LIVE.get() - self.before
    }

    fn peak(&self) -> usize {
        PEAK.get() - self.before
    }

    /// Give it one shard of zeroes.
    fn shard(&mut self, claim: Header) -> Receipt {
        let mut packet = [0; 2048];
        claim.write((&mut packet[..HEADER_BYTES]).try_into().unwrap());
        let receipt = self
            .session
            .receive(&mut packet[..HEADER_BYTES + self.shard_bytes], self.now);
        self.session.advance(self.now);
        receipt
    }

    fn drop_frames(&mut self) -> usize {
        std::iter::from_fn(|| self.session.poll_frame()).count()
    }

    /// The meter told the truth: nothing but unused buffers and the slack is held beyond it.
    fn assert_honest(&self, unused: usize) {
        let metered = self.session.stats().memory_bytes as usize;
        assert!(
            self.live() <= metered + unused + SLACK,
            "{} held, {metered} on the meter",
            self.live()
        );
    }
}

/// Blocks of one data shard and no recovery shard, unless a test says otherwise.
fn hostile(cap: usize, shard_bytes: usize, max_block_shards: usize) -> StreamConfig {
    StreamConfig {
        key: None,
        fec_percent: 0,
        shard_bytes,
        max_block_shards,
        memory_cap_bytes: cap,
        max_frame_bytes: (65_535 * shard_bytes * max_block_shards).min(8 << 20),
        reorder_window_ns: 1 << 60,
        loss_window_ns: 100 * MS,
        ..config()
    }
}

/// The first shard of the first block of a frame that is one block of one shard.
fn claim(frame_index: u32, shard_bytes: usize) -> Header {
    Header {
        pts_ns: 0,
        frame_index,
        stream_seq: 0,
        frame_bytes: shard_bytes as u32,
        user_flags: KEY_FRAME,
        block_index: 0,
        block_count: 1,
        data_shards: 1,
        recovery_shards: 0,
        shard_index: 0,
        shard_bytes: shard_bytes as u16,
        version: 1,
        fec_scheme: 1,
        flags: 1,
    }
}

#[test]
fn many_small_blocks_hold_what_is_on_the_meter() {
    let mut client = Metered::new(hostile(CAP, 2, 1));
    let blocks = 4000;
    let mut stored = 0;
    for frame in 0..60 {
        for block_index in 0..blocks - 1 {
            stored += usize::from(matches!(
                client.shard(Header {
                    frame_bytes: 2 * u32::from(blocks),
                    block_count: blocks,
                    block_index,
                    ..claim(frame, 2)
                }),
                Receipt::Placed(_)
            ));
        }
        client.assert_honest(0);
    }
    assert!(stored > 1000, "{stored} shards were taken before the cap");
    assert!(client.session.rejections().of(Reject::Memory) > 0);
    assert!(client.peak() <= CAP + SLACK, "{}", client.peak());
}

#[test]
fn many_small_frames_hold_what_is_on_the_meter() {
    let mut client = Metered::new(StreamConfig {
        loss_window_frames: 4096,
        ..hostile(CAP, 2, 2)
    });
    for frame in 0..4000 {
        client.shard(Header {
            data_shards: 2,
            frame_bytes: 4,
            ..claim(frame, 2)
        });
    }
    client.assert_honest(0);
    assert!(client.session.stats().memory_bytes > 600_000);
}

#[test]
fn frames_that_were_given_up_hold_what_is_on_the_meter() {
    let mut client = Metered::new(hostile(CAP, 2, 1));
    let blocks = 5000;
    for frame in 0..60 {
        // A frame of many blocks, which the pts of the next one ends.
        client.shard(Header {
            pts_ns: u64::from(frame) * 1000 * MS,
            frame_bytes: 2 * u32::from(blocks),
            block_count: blocks,
            ..claim(frame, 2)
        });
        client.assert_honest(0);
    }
    assert!(client.session.rejections().of(Reject::Memory) > 0);
    assert!(client.peak() <= CAP + SLACK, "{}", client.peak());
    client.session.settle(None, client.now);
    assert_eq!(client.session.stats().memory_bytes, 0);
    assert!(client.live() <= SLACK, "all came back: {}", client.live());
}

#[test]
fn a_given_up_frame_frees_its_shards_at_once() {
    let mut client = Metered::new(hostile(CAP, 1000, 500));
    let big = Header {
        frame_bytes: 500_000,
        data_shards: 500,
        ..claim(0, 1000)
    };
    client.shard(big);
    assert!(client.session.stats().memory_bytes > 500_000);
    client.shard(Header {
        pts_ns: 1000 * MS,
        ..claim(1, 1000)
    });
    let metered = client.session.stats().memory_bytes;
    assert!(metered < 10_000, "{metered} still on the meter");
    // The buffer itself is in the pool. What still comes for the frame takes none.
    let live = client.live();
    client.shard(Header {
        shard_index: 1,
        ..big
    });
    assert!(client.live() <= live);
    for frame in 2..12 {
        client.shard(Header {
            pts_ns: u64::from(frame) * 1000 * MS,
            frame_index: frame,
            ..big
        });
        client.assert_honest(CAP);
    }
    assert!(client.peak() <= 2 * CAP + SLACK, "{}", client.peak());
}

#[test]
fn complete_frames_hold_what_is_on_the_meter_until_they_are_taken_and_their_notes_after() {
    let mut client = Metered::new(hostile(CAP, 2, 1));
    let blocks = 2000;
    for frame in 0..60 {
        for block_index in 0..blocks {
            client.shard(Header {
                frame_bytes: 2 * u32::from(blocks),
                block_count: blocks,
                block_index,
                ..claim(frame, 2)
            });
        }
        client.assert_honest(CAP);
        client.drop_frames();
        client.assert_honest(CAP);
    }
    assert!(client.session.stats().frames_complete > 2);
    assert!(client.peak() <= 2 * CAP + SLACK, "{}", client.peak());
}

#[test]
fn a_joined_frame_is_on_the_meter_beside_its_blocks() {
    // The stream's geometry has 400 in the first block.
    let shards = |client: &mut Metered| two_blocks(client, [399, 400]);
    // 800 kB in two blocks, and the same again when they are joined.
    let mut tight = Metered::new(hostile(1_600_000, 1000, 400));
    shards(&mut tight);
    assert!(tight.session.rejections().of(Reject::Memory) > 0);
    assert_eq!(tight.session.stats().frames_complete, 0);
    assert!(tight.peak() <= 1_600_000 + SLACK);

    let mut roomy = Metered::new(hostile(2_000_000, 1000, 400));
    shards(&mut roomy);
    let stats = roomy.session.stats();
    assert_eq!(stats.frames_complete, 1);
    assert!(roomy.peak() > 1_600_000, "{}", roomy.peak());
    assert!(roomy.peak() <= stats.memory_peak_bytes as usize + SLACK);
    // Joined, its blocks are free again.
    assert!((800_000..1_000_000).contains(&stats.memory_bytes));
    // Whoever takes it answers for it.
    let mut frame = roomy.session.poll_frame().unwrap();
    frame.take_over();
    assert!(roomy.session.stats().memory_bytes < 10_000);
}

/// A frame of two blocks of so many data shards.
fn two_blocks(client: &mut Metered, blocks: [u16; 2]) {
    for (block_index, data_shards) in (0..).zip(blocks) {
        for shard_index in 0..data_shards {
            client.shard(Header {
                frame_bytes: 1000 * u32::from(blocks[0] + blocks[1]),
                block_count: 2,
                block_index,
                data_shards,
                shard_index,
                ..claim(0, 1000)
            });
        }
    }
}

#[test]
fn a_frame_that_is_cut_as_its_length_says_holds_its_bytes_once() {
    let mut client = Metered::new(hostile(1_000_000, 1000, 400));
    two_blocks(&mut client, [400, 399]);
    assert_eq!(client.session.stats().frames_complete, 1);
    client.assert_honest(0);
    assert!(client.peak() < 1_000_000, "{}", client.peak());
}

#[test]
fn a_small_frame_does_not_sit_in_a_large_ones_buffer() {
    let mut client = Metered::new(hostile(CAP, 1000, 500));
    for round in 0..20 {
        for shard_index in 0..500 {
            client.shard(Header {
                frame_bytes: 500_000,
                data_shards: 500,
                shard_index,
                ..claim(round, 1000)
            });
        }
        assert_eq!(client.drop_frames(), 1);
        // Of a later frame one of two shards comes.
        client.shard(Header {
            frame_bytes: 2000,
            data_shards: 2,
            ..claim(30 + round, 1000)
        });
        client.assert_honest(CAP);
    }
    assert!(client.peak() <= 2 * CAP + SLACK, "{}", client.peak());
}

#[test]
fn a_client_keeps_no_more_unused_buffers_than_it_may() {
    let mut client = Metered::new(StreamConfig {
        loss_window_frames: 20,
        ..hostile(64 << 20, 1000, 4096)
    });
    // Ten frames of some 4 MB wait for frame 0, then all of them are dropped.
    for frame in 1..11 {
        for shard_index in 0..4096 {
            client.shard(Header {
                frame_bytes: 4_096_000,
                data_shards: 4096,
                shard_index,
                ..claim(frame, 1000)
            });
        }
    }
    assert!(client.live() > 40_000_000);
    client.shard(claim(0, 1000));
    assert_eq!(client.drop_frames(), 11);
    assert!(
        (CLIENT_POOL / 2..=CLIENT_POOL + SLACK).contains(&client.live()),
        "{}",
        client.live()
    );
}

#[test]
fn a_host_keeps_no_more_unused_buffers_than_it_may() {
    // Without recovery shards, whose encoder keeps a workspace with the thread.
    let config = StreamConfig {
        key: None,
        fec_percent: 0,
        ..StreamConfig::default()
    };
    let mut host = Host::with(config, &HostSettings::default());
    let access_unit = vec![7; 8 << 20];
    let before = LIVE.get();
    for _ in 0..8 {
        let now = host.now;
        host.session
            .submit(&access_unit, now, KEY_FRAME, now)
            .unwrap();
    }
    assert!(LIVE.get() - before > 64 << 20, "all wait in the queue");
    host.drain();
    let live = LIVE.get() - before;
    assert!(
        (HOST_POOL / 2..=HOST_POOL + SLACK).contains(&live),
        "{live} held after all has left"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// P4: whatever headers claim, what is held stays under the cap, beside as many bytes of unused buffers at most.
    #[test]
    fn hostile_headers_stay_within_the_memory_cap(
        claims in prop::collection::vec(
            (any::<u64>(), 0u32..200, any::<u32>(), 0u32..200_000, (0u16..4, 0u16..5, 0u16..70, 0u16..40, 0u16..110)),
            1..300,
        ),
        cap in 0usize..200_000,
    ) {
        // The code's tables are made once a process, by whoever needs them first.
        Host::new(config()).numbered(0, KEY_FRAME);
        let mut client = Metered::new(StreamConfig {
            memory_cap_bytes: cap,
            key: None,
            ..config()
        });
        for (pts_ns, frame_index, stream_seq, frame_bytes, (block_index, block_count, k, m, shard_index)) in claims {
            client.shard(Header {
                pts_ns: pts_ns % 1_000_000_000,
                stream_seq,
                frame_bytes,
                block_index,
                block_count,
                data_shards: k,
                recovery_shards: m,
                shard_index,
                ..claim(frame_index, 100)
            });
            client.now += MS / 10;
            prop_assert!(client.session.stats().memory_bytes <= cap as u64);
            prop_assert!(client.live() <= 2 * cap + SLACK, "{} held with a cap of {cap}", client.live());
        }
        prop_assert!(client.session.stats().memory_peak_bytes <= cap as u64);
        client.session.settle(None, client.now);
        client.drop_frames();
        let s = client.session.stats();
        prop_assert_eq!(s.memory_bytes, 0);
        prop_assert_eq!(
            s.packets_received,
            s.packets_used + s.packets_late + s.packets_duplicate + client.session.rejections().total()
        );
        prop_assert_eq!(s.data_shards_missing, s.data_shards_recovered + s.data_shards_unrecoverable);
        prop_assert_eq!(s.frames_complete, s.frames_decodable + s.frames_undecodable);
    }
}
