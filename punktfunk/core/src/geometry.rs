//! How frames are cut into blocks and shards: the one place that says it.
//!
//! Senders cut by it, receivers know from it what they miss of a block that never came, and tests ask it. It knows no
//! header, so that wires which cut the same way with other sizes share it.

/// What the frames of a stream may look like.
///
/// Both ends derive it from the same parameters: a sender cuts within it, and a receiver takes nothing beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of every shard, which is what the code protects.
    pub shard_bytes: usize,
    /// Bytes at the front of every shard that are no part of the frame: the headers of a wire that protects whole packets,
    /// else 0.
    pub head_bytes: usize,
    /// Most data shards of a block.
    pub max_block: usize,
    /// Most shards of a block, data and recovery.
    pub max_total: usize,
    /// Most blocks of a frame.
    pub max_blocks: usize,
    /// Longest frame.
    pub max_frame_bytes: usize,
}

impl Limits {
    /// Bytes of the frame in a data shard.
    #[must_use]
    pub const fn payload_bytes(&self) -> usize {
        self.shard_bytes - self.head_bytes
    }

    /// Cut a frame of `frame_bytes` into blocks with `percent` % of recovery shards each.
    ///
    /// A frame of no bytes is one shard of zeroes. All blocks but the last have `max_block` data shards. Recovery shards are
    /// rounded up, but no block grows above `max_total`.
    ///
    /// # Panics
    /// If a block or the payload of a shard is empty by these limits.
    #[must_use]
    pub const fn geometry(&self, frame_bytes: usize, percent: u32) -> Geometry {
        let data_shards = frame_bytes.div_ceil(self.payload_bytes());
        Geometry {
            data_shards: if data_shards == 0 { 1 } else { data_shards },
            max_block: self.max_block,
            max_total: self.max_total,
            percent,
        }
    }
}

/// Recovery shards of a block of `data_shards` at `percent`, rounded up, without regard to any limit.
#[must_use]
pub const fn recovery_shards(data_shards: usize, percent: u32) -> usize {
    data_shards.saturating_mul(percent as usize).div_ceil(100)
}

/// How one frame is cut; made by [`Limits::geometry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    data_shards: usize,
    max_block: usize,
    max_total: usize,
    percent: u32,
}

/// One block of a [`Geometry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Position within the frame.
    pub index: usize,
    /// First data shard of the block, counted over the frame.
    pub first_shard: usize,
    /// Data shards.
    pub k: usize,
    /// Recovery shards.
    pub m: usize,
}

impl Geometry {
    /// Cut `data_shards` into at most `blocks` of one size, but for the last, which has the rest; none has recovery shards.
    ///
    /// # Panics
    /// If there are no shards or no blocks.
    #[must_use]
    pub const fn even(data_shards: usize, blocks: usize) -> Self {
        assert!(data_shards > 0);
        let max_block = data_shards.div_ceil(blocks);
        Self {
            data_shards,
            max_block,
            max_total: max_block,
            percent: 0,
        }
    }

    /// Data shards over all blocks.
    #[must_use]
    pub const fn data_shards(&self) -> usize {
        self.data_shards
    }

    /// Number of blocks.
    #[must_use]
    pub const fn block_count(&self) -> usize {
        self.data_shards.div_ceil(self.max_block)
    }

    /// Block `index`; one behind the last is empty.
    #[must_use]
    pub fn block(&self, index: usize) -> Block {
        let first_shard = index * self.max_block;
        let k = self
            .data_shards
            .saturating_sub(first_shard)
            .min(self.max_block);
        let m = recovery_shards(k, self.percent).min(self.max_total.saturating_sub(k));
        Block {
            index,
            first_shard,
            k,
            m,
        }
    }

    /// All blocks, in order.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = Block> + '_ {
        (0..self.block_count()).map(|index| self.block(index))
    }
}
