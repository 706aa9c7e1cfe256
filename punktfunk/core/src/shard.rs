//! A shard as any wire says it, and what a receiver checks before it keeps anything for it.

use std::ops::Deref;

use crate::geometry::Limits;
use crate::reject::Reject;

/// One shard of a frame. A wire makes it of a packet, and the reassembler knows nothing else of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard<'a> {
    /// Number of the frame, wraps.
    pub frame: u32,
    /// Length of the frame; `None` on a wire whose packets do not say it. Such a frame comes out as all that its data
    /// shards hold, and the wire cuts off what it padded.
    pub frame_bytes: Option<u32>,
    /// Capture time of the frame, ns of the host's clock.
    pub pts_ns: u64,
    /// What the frame says about itself, as far as its packets do ([`crate::flags`]).
    pub flags: u32,
    /// Block of the frame.
    pub block: u16,
    /// Blocks of the frame.
    pub blocks: u16,
    /// Data shards of this block.
    pub k: u16,
    /// Recovery shards of this block.
    pub m: u16,
    /// Shard within the block: data below `k`, recovery from `k` on.
    pub index: u16,
    /// What the code protects.
    pub payload: &'a [u8],
}

/// A shard within a stream's [`Limits`].
#[derive(Debug, Clone, Copy)]
pub struct Admitted<'a>(Shard<'a>);

impl<'a> Shard<'a> {
    /// Hold the shard against the limits of its stream.
    ///
    /// # Errors
    /// The first of [`Reject::ShardBytes`], [`Reject::Geometry`], [`Reject::FrameBytes`] that applies.
    #[inline]
    pub fn within(self, limits: &Limits) -> Result<Admitted<'a>, Reject> {
        if self.payload.len() != limits.shard_bytes {
            return Err(Reject::ShardBytes);
        }
        let (k, m) = (usize::from(self.k), usize::from(self.m));
        let blocks = usize::from(self.blocks);
        if k == 0
            || k > limits.max_block
            || k + m > limits.max_total
            || usize::from(self.index) >= k + m
            || blocks == 0
            || blocks > limits.max_blocks
            || self.block >= self.blocks
        {
            return Err(Reject::Geometry);
        }
        if self
            .frame_bytes
            .is_some_and(|bytes| bytes as usize > limits.max_frame_bytes)
        {
            return Err(Reject::FrameBytes);
        }
        Ok(Admitted(self))
    }
}

impl<'a> Deref for Admitted<'a> {
    type Target = Shard<'a>;

    fn deref(&self) -> &Shard<'a> {
        &self.0
    }
}
