//! One frame under reassembly.

use crate::memory::meter::Metered;
use crate::memory::pool::PooledBuf;
use crate::shard::Shard;
use crate::stats::NULL;

/// How far a frame has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Shards are missing.
    Open,
    /// Every block is whole; the frame waits for its turn.
    Complete,
    /// Released, or kept back because its references are missing.
    Done,
    /// Its turn is over; what still comes is only noted.
    GivenUp,
}

/// One block of a frame.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Data shards, 0 until its first packet came.
    pub k: usize,
    /// Recovery shards.
    pub m: usize,
    /// Distinct shards that came.
    pub have: usize,
    /// Of these, data shards.
    pub have_data: usize,
    /// Data shards that FEC rebuilt.
    pub recovered: usize,
    /// Which shards came.
    pub present: Vec<bool>,
    /// `m` recovery shards, from the first that there is a use for; or `k + m` shards, data first.
    pub buffer: Option<PooledBuf>,
    /// All data is there.
    pub done: bool,
    /// Its data lies in the frame's buffer.
    in_frame: bool,
    /// Where it lies there, bytes; in four of them, and so in what would be padding.
    first: u32,
}

impl Block {
    /// Return where its data lies in the frame's buffer, bytes; `None` where it has a buffer of its own for all shards.
    pub fn first(&self) -> Option<usize> {
        self.in_frame.then_some(self.first as usize)
    }

    /// Have its data in the frame's buffer, from byte `first` on.
    pub fn put_into_frame(&mut self, first: u32) {
        (self.in_frame, self.first) = (true, first);
    }

    /// Forget all of it, but for the memory of `present`.
    fn reset(&mut self) {
        let mut present = std::mem::take(&mut self.present);
        present.clear();
        *self = Self {
            present,
            ..Self::default()
        };
    }
}

/// Return the bytes of what is known about shards: a list of blocks, and which of their shards came.
pub(super) fn books_bytes(blocks: &Vec<Block>) -> usize {
    let present: usize = blocks.iter().map(|b| b.present.capacity()).sum();
    present + blocks.capacity() * size_of::<Block>()
}

/// Lists of blocks of frames that left the window, for those that come into it.
#[derive(Debug, Default)]
pub(super) struct SpareLists {
    /// The one given back longest ago first.
    lists: Vec<Vec<Block>>,
    bytes: usize,
}

impl SpareLists {
    /// Most bytes that are kept: a stream needs one or two lists at a time.
    const KEEP_BYTES: usize = 32 << 10;

    /// Return a list of `blocks`, of which nothing came yet.
    pub fn take(&mut self, blocks: usize) -> Option<Vec<Block>> {
        let fit = self.lists.iter().rposition(|l| l.capacity() == blocks)?;
        let list = self.lists.remove(fit);
        self.bytes -= books_bytes(&list);
        Some(list)
    }

    /// Keep a list. Those that are no longer asked for make room for those that are.
    pub fn give_back(&mut self, mut list: Vec<Block>) {
        list.iter_mut().for_each(Block::reset);
        let bytes = books_bytes(&list);
        if !(1..=Self::KEEP_BYTES).contains(&bytes) {
            return;
        }
        self.bytes += bytes;
        self.lists.push(list);
        while self.bytes > Self::KEEP_BYTES {
            self.bytes -= books_bytes(&self.lists.remove(0));
        }
    }
}

/// The bytes of a complete frame and what they cost on the memory meter.
#[derive(Debug)]
pub struct CompleteFrame {
    /// The access unit.
    pub data: PooledBuf,
    /// Keeps them on the meter.
    pub memory: Option<Metered>,
}

/// What is known of the length of an access unit, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// No shard has come, or shards do not say it.
    Unknown,
    /// Its shards say it.
    Said(u32),
    /// They do not; it was found when the access unit was handed out.
    Found(u32),
}

impl Length {
    /// What the shards say.
    #[must_use]
    pub const fn said(self) -> Option<u32> {
        match self {
            Self::Said(bytes) => Some(bytes),
            Self::Unknown | Self::Found(_) => None,
        }
    }

    /// The length, however it became known.
    #[must_use]
    pub const fn known(self) -> Option<u32> {
        match self {
            Self::Said(bytes) | Self::Found(bytes) => Some(bytes),
            Self::Unknown => None,
        }
    }
}

/// A frame in the loss window.
#[derive(Debug)]
pub struct FrameState {
    /// How far it has come.
    pub phase: Phase,
    /// A shard has fixed its size and blocks.
    pub pinned: bool,
    /// Host's capture time; meaningful once pinned.
    pub pts_ns: u64,
    /// What the frame says about itself; meaningful once pinned.
    pub flags: u32,
    /// Length of the access unit.
    pub length: Length,
    /// Duplicates of its shards.
    pub duplicates: u32,
    /// Packets that came after its turn.
    pub late: u32,
    /// When its first packet came in turn, -1 until then.
    pub recv_first_ns: i64,
    /// When the last packet that it had use for came, -1 until one did.
    pub recv_last_ns: i64,
    /// When its last block was whole, -1 until then.
    pub complete_ns: i64,
    /// When it was handed out, -1 unless it was.
    pub released_ns: i64,
    /// Every frame it refers to was decodable.
    pub decodable: bool,
    pub(super) blocks: Vec<Block>,
    pub(super) blocks_done: usize,
    /// Its data shards, each where it belongs, as far as its blocks are cut as the stream's geometry says.
    pub(super) whole: Option<PooledBuf>,
    /// A block has a buffer of its own.
    pub(super) apart: bool,
    /// Data shards of the blocks that were seen.
    pub(super) data_shards: usize,
    /// What it holds on the memory meter.
    pub(super) memory: Option<Metered>,
}

/// What came of a block so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockState {
    /// Data shards.
    pub k: usize,
    /// Recovery shards.
    pub m: usize,
    /// Blocks of its frame.
    pub blocks: usize,
    /// Data shards that came.
    pub have_data: usize,
    /// Recovery shards that came.
    pub have_recovery: usize,
    /// One past the last shard that came.
    pub end: usize,
    /// The first shard that did not.
    pub first_missing: usize,
    /// Shards before `end` that did not.
    pub missing: usize,
}

/// Sums over the blocks of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCounts {
    /// Data shards of the blocks that were seen.
    pub k: usize,
    /// Recovery shards of the blocks that were seen.
    pub m: usize,
    /// Distinct shards that came.
    pub received: usize,
    /// Data shards that FEC rebuilt.
    pub recovered: usize,
    /// Data shards that neither came nor were rebuilt.
    pub unrecoverable: usize,
}

impl FrameState {
    /// A frame of which no packet came yet.
    #[must_use]
    pub fn new(phase: Phase) -> Self {
        Self {
            phase,
            pinned: false,
            pts_ns: 0,
            flags: 0,
            length: Length::Unknown,
            duplicates: 0,
            late: 0,
            recv_first_ns: NULL,
            recv_last_ns: NULL,
            complete_ns: NULL,
            released_ns: NULL,
            decodable: false,
            blocks: Vec::new(),
            blocks_done: 0,
            whole: None,
            apart: false,
            data_shards: 0,
            memory: None,
        }
    }

    pub(super) fn pin(&mut self, shard: &Shard<'_>, blocks: Vec<Block>) {
        self.pinned = true;
        self.pts_ns = shard.pts_ns;
        self.flags = shard.flags;
        self.length = shard.frame_bytes.map_or(Length::Unknown, Length::Said);
        self.blocks = blocks;
    }

    /// Free its shards.
    pub(super) fn free(&mut self) {
        self.whole = None;
        for block in &mut self.blocks {
            block.buffer = None;
        }
    }

    /// Return the bytes of what is known about its shards, which stays until the frame leaves the window.
    pub(super) fn books_bytes(&self) -> usize {
        books_bytes(&self.blocks)
    }

    /// Note when a packet that it had use for came.
    pub fn stamp(&mut self, received_ns: u64) {
        if self.recv_first_ns == NULL {
            self.recv_first_ns = received_ns as i64;
        }
        self.recv_last_ns = self.recv_last_ns.max(received_ns as i64);
    }

    /// Blocks of the frame, 0 until pinned.
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// FEC has made the block whole.
    #[must_use]
    pub fn block_rebuilt(&self, block: usize) -> bool {
        self.blocks
            .get(block)
            .is_some_and(|b| b.done && b.recovered > 0)
    }

    /// What came of the blocks of which something did, and that are not whole.
    pub fn broken_blocks(&self) -> impl Iterator<Item = (usize, BlockState)> + '_ {
        (0..self.blocks.len())
            .filter(|&at| !self.blocks[at].done)
            .filter_map(|at| Some((at, self.block_state(at)?)))
    }

    /// What came of a block; `None` while nothing did.
    #[must_use]
    pub fn block_state(&self, block: usize) -> Option<BlockState> {
        let found = self.blocks.get(block).filter(|b| b.k > 0)?;
        let present = &found.present;
        let end = present.iter().rposition(|&came| came)? + 1;
        let came = present.iter().filter(|&&came| came).count();
        Some(BlockState {
            k: found.k,
            m: found.m,
            blocks: self.blocks.len(),
            have_data: found.have_data,
            have_recovery: found.have - found.have_data,
            end,
            first_missing: present
                .iter()
                .position(|&came| !came)
                .unwrap_or(present.len()),
            missing: end - came,
        })
    }

    /// Enough shards came to rebuild every block, be it after the frame's turn.
    #[must_use]
    pub fn rebuildable(&self) -> bool {
        self.pinned && self.blocks.iter().all(|b| b.k != 0 && b.have >= b.k)
    }

    /// Sums over the blocks; `expected_data` gives the data shards of a block of which nothing came.
    pub(super) fn counts(&self, expected_data: impl Fn(usize) -> usize) -> ShardCounts {
        let mut sum = ShardCounts::default();
        for (i, block) in self.blocks.iter().enumerate() {
            let k = if block.k == 0 {
                expected_data(i)
            } else {
                block.k
            };
            sum.k += k;
            sum.m += block.m;
            sum.received += block.have;
            sum.recovered += block.recovered;
            if !block.done {
                sum.unrecoverable += k - block.have_data;
            }
        }
        sum
    }
}
