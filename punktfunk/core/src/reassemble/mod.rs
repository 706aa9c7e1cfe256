//! From shards to access units, whatever wire they came on.
//!
//! Only shards get here whose packet authenticated, where a wire does that, and which are within the stream's limits. The
//! memory that they would need is held against the cap before anything is allocated.

mod frame;
mod window;

pub use frame::{BlockState, CompleteFrame, FrameState, Length, Phase, ShardCounts};
pub use window::Window;

use std::sync::Arc;

use crate::fec::{self, Codec, Scheme};
use crate::geometry::Limits;
use crate::memory::meter::{Meter, Metered};
use crate::memory::pool::{self, BufferPool};
use crate::reject::Reject;
use crate::shard::Admitted;

/// Unused shard buffers that are kept.
const POOL_BYTES: usize = 16 << 20;

/// What became of a packet that passed every check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// Stored; its frame is not complete yet.
    Stored,
    /// Stored, and it made its frame complete.
    Completed,
    /// Its block was whole already; `late_data` says that FEC had rebuilt this very shard.
    Surplus {
        /// The shard was rebuilt before it came.
        late_data: bool,
    },
    /// Its frame's turn is over.
    Late,
    /// The shard was there already.
    Duplicate,
}

/// Holds the shards of unfinished frames.
pub struct Reassembler {
    limits: Limits,
    codec: &'static dyn Codec,
    pool: Arc<BufferPool>,
    scratch: Vec<bool>,
    recovered: u64,
    rebuilt: u64,
    meter: Arc<Meter>,
}

impl Reassembler {
    /// An empty one for frames within `limits`, of which it holds `memory_cap_bytes` at most.
    #[must_use]
    pub fn new(scheme: Scheme, limits: Limits, memory_cap_bytes: usize) -> Self {
        Self {
            limits,
            codec: fec::codec(scheme),
            pool: BufferPool::new(POOL_BYTES.min(memory_cap_bytes)),
            scratch: Vec::new(),
            recovered: 0,
            rebuilt: 0,
            meter: Meter::new(memory_cap_bytes),
        }
    }

    /// Put a shard into its frame.
    ///
    /// # Errors
    /// The shard contradicts an earlier one of its frame or block, or the memory cap stands against it.
    pub fn insert(
        &mut self,
        frame: &mut FrameState,
        shard: &Admitted<'_>,
    ) -> Result<Placed, Reject> {
        self.pin(frame, shard)?;
        let given_up = frame.phase == Phase::GivenUp;
        let (k, m) = (usize::from(shard.k), usize::from(shard.m));
        let index = usize::from(shard.index);
        let bytes = self.limits.shard_bytes;
        let at = usize::from(shard.block);
        let known = &frame.blocks[at];
        if known.k == 0 {
            self.begin(frame, at, k, m)?;
        } else if (known.k, known.m) != (k, m) {
            return Err(Reject::BlockMismatch);
        }
        let block = &mut frame.blocks[at];
        if std::mem::replace(&mut block.present[index], true) {
            return Ok(Placed::Duplicate);
        }
        let is_data = index < k;
        block.have += 1;
        block.have_data += usize::from(is_data);
        if given_up {
            return Ok(Placed::Late);
        }
        if block.done {
            return Ok(Placed::Surplus { late_data: is_data });
        }
        let Some(buffer) = block.buffer.as_mut() else {
            return Ok(Placed::Late);
        };
        buffer[index * bytes..][..bytes].copy_from_slice(shard.payload);
        if block.have < k {
            return Ok(Placed::Stored);
        }
        if block.have_data < k {
            self.scratch.clear();
            self.scratch.extend_from_slice(&block.present);
            if self
                .codec
                .reconstruct(k, m, bytes, buffer, &mut self.scratch)
                .is_err()
            {
                // Any k distinct shards rebuild a block; should a code ever disagree, the frame is lost, not the session.
                self.give_up(frame);
                return Ok(Placed::Late);
            }
            block.recovered = k - block.have_data;
            self.recovered += block.recovered as u64;
            self.rebuilt += block.recovered as u64;
        }
        block.done = true;
        frame.blocks_done += 1;
        if frame.blocks_done < frame.blocks.len() {
            return Ok(Placed::Stored);
        }
        frame.phase = Phase::Complete;
        Ok(Placed::Completed)
    }

    /// The first shard of a frame fixes its size and blocks.
    fn pin(&mut self, frame: &mut FrameState, shard: &Admitted<'_>) -> Result<(), Reject> {
        let blocks = usize::from(shard.blocks);
        if frame.pinned {
            let same = frame.length.said() == shard.frame_bytes && frame.blocks.len() == blocks;
            return if same {
                Ok(())
            } else {
                Err(Reject::FrameMismatch)
            };
        }
        let joined = if self.joins(blocks) {
            pool::footprint(shard.frame_bytes.unwrap_or(0) as usize)
        } else {
            0
        };
        let need = joined + blocks * size_of::<frame::Block>();
        reserve(&self.meter, &mut frame.memory, need)?;
        frame.pin(shard);
        Ok(())
    }

    /// The first shard of a block fixes its counts. Of a frame that was given up only what came is noted.
    fn begin(
        &mut self,
        frame: &mut FrameState,
        at: usize,
        k: usize,
        m: usize,
    ) -> Result<(), Reject> {
        let given_up = frame.phase == Phase::GivenUp;
        let buffer = (k + m) * self.limits.shard_bytes;
        let need = if given_up {
            0
        } else {
            pool::footprint(buffer) + self.joined_by(frame, k)
        };
        reserve(&self.meter, &mut frame.memory, need + k + m)?;
        frame.data_shards += k;
        let block = &mut frame.blocks[at];
        (block.k, block.m) = (k, m);
        block.present = vec![false; k + m];
        block.buffer = (!given_up).then(|| self.pool.take(buffer));
        Ok(())
    }

    /// A frame of `blocks` comes out in a buffer of its own, and not in that of its only block.
    fn joins(&self, blocks: usize) -> bool {
        blocks > 1 || self.limits.head_bytes > 0
    }

    /// Bytes that a frame needs more to be joined when a block of `k` begins. Where a frame says its length they are on the
    /// meter from its first shard.
    fn joined_by(&self, frame: &FrameState, k: usize) -> usize {
        if frame.length.said().is_some() || !self.joins(frame.block_count()) {
            return 0;
        }
        let joined = |shards: usize| pool::footprint(shards * self.limits.payload_bytes());
        joined(frame.data_shards + k) - joined(frame.data_shards)
    }

    /// Free the shards of a frame that will not be released; what still comes for it is only noted. Those notes stay on
    /// the meter until the frame leaves the window.
    pub fn give_up(&mut self, frame: &mut FrameState) {
        frame.phase = Phase::GivenUp;
        for block in &mut frame.blocks {
            block.buffer = None;
        }
        let books = frame.books_bytes();
        if let Some(memory) = &mut frame.memory {
            memory.shrink_to(books);
        }
    }

    /// The access unit of a complete frame; `None` when its blocks hold fewer bytes than the frame claimed. A frame that
    /// claimed nothing comes out as all that its data shards hold. The bytes stay on the meter until the result's `memory`
    /// is dropped.
    pub fn assemble(&mut self, frame: &mut FrameState) -> Option<CompleteFrame> {
        if !self.holds_frame(frame) {
            return None;
        }
        let len = frame
            .length
            .said()
            .map_or(self.payload_of(frame), |bytes| bytes as usize);
        let (bytes, head) = (self.limits.shard_bytes, self.limits.head_bytes);
        let joins = self.joins(frame.block_count());
        let mut buffers = frame
            .blocks
            .iter_mut()
            .filter_map(|b| Some((b.k * bytes, b.buffer.take()?)));
        let mut data = if joins {
            let mut joined = self.pool.take(len);
            let mut at = 0;
            for (block_bytes, buffer) in buffers {
                // Where no heads lie between them, the shards of a block are one piece.
                let piece = if head == 0 { block_bytes } else { bytes };
                for shard in buffer[..block_bytes].chunks_exact(piece) {
                    let part = (piece - head).min(len - at);
                    joined[at..at + part].copy_from_slice(&shard[head..][..part]);
                    at += part;
                }
            }
            joined
        } else {
            buffers.next()?.1
        };
        data.truncate(len);
        let books = frame.books_bytes();
        let memory = frame.memory.as_mut().map(|held| {
            let data = held.split_off(data.footprint());
            held.shrink_to(books);
            data
        });
        Some(CompleteFrame { data, memory })
    }

    /// Data shards that FEC has rebuilt so far.
    #[must_use]
    pub fn rebuilt(&self) -> u64 {
        self.rebuilt
    }

    /// Data shards that FEC rebuilt since the last call.
    pub fn take_recovered(&mut self) -> u64 {
        std::mem::take(&mut self.recovered)
    }

    /// The frame's blocks hold at least as many bytes as it claims.
    #[must_use]
    pub fn holds_frame(&self, frame: &FrameState) -> bool {
        frame
            .length
            .said()
            .is_none_or(|bytes| self.payload_of(frame) >= bytes as usize)
    }

    /// Bytes in the data shards of the blocks that were seen.
    fn payload_of(&self, frame: &FrameState) -> usize {
        frame.data_shards * self.limits.payload_bytes()
    }

    /// Bytes of unfinished and unreleased frames.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Sums over the blocks of a frame. A block of which nothing came has the data shards that the stream's geometry gives
    /// it, or without a length as many as the largest of its frame.
    #[must_use]
    pub fn counts(&self, frame: &FrameState) -> ShardCounts {
        match frame.length.said() {
            Some(bytes) => {
                let geometry = self.limits.geometry(bytes as usize, 0);
                frame.counts(|block| geometry.block(block).k)
            }
            None => {
                let largest = frame.blocks.iter().map(|b| b.k).max();
                frame.counts(|_| largest.unwrap_or(0))
            }
        }
    }
}

/// Put more of a frame on the meter.
fn reserve(meter: &Arc<Meter>, held: &mut Option<Metered>, bytes: usize) -> Result<(), Reject> {
    match held {
        Some(held) => held.grow(bytes).then_some(()).ok_or(Reject::Memory),
        None => meter
            .reserve(bytes)
            .map(|m| *held = Some(m))
            .ok_or(Reject::Memory),
    }
}
