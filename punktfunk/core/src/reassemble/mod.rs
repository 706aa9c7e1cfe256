//! From packets to access units (punktfunk/1 sections 4.6 and 4.8).
//!
//! Only packets whose tag was right get here. Their geometry is held against the stream's limits, and the memory they
//! would need against the cap, before anything is allocated.

mod frame;
mod window;

pub use frame::{CompleteFrame, FrameState, Phase};
pub use window::Window;

use std::sync::Arc;

use crate::config::StreamConfig;
use crate::fec::{self, Codec};
use crate::memory::meter::{Meter, Metered};
use crate::memory::pool::{self, BufferPool};
use crate::packet::{Header, Reject};

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
    config: Arc<StreamConfig>,
    codec: &'static dyn Codec,
    pool: Arc<BufferPool>,
    scratch: Vec<bool>,
    recovered: u64,
    rebuilt: u64,
    meter: Arc<Meter>,
}

impl Reassembler {
    /// An empty one for a validated configuration.
    #[must_use]
    pub fn new(config: Arc<StreamConfig>) -> Self {
        Self {
            codec: fec::codec(config.scheme),
            pool: BufferPool::new(POOL_BYTES.min(config.memory_cap_bytes)),
            scratch: Vec::new(),
            recovered: 0,
            rebuilt: 0,
            meter: Meter::new(config.memory_cap_bytes),
            config,
        }
    }

    /// Put a shard into its frame, whose header passed [`crate::packet::Limits::check`].
    ///
    /// # Errors
    /// The packet contradicts an earlier one of its frame or block, or the memory cap stands against it.
    pub fn insert(
        &mut self,
        frame: &mut FrameState,
        header: &Header,
        shard: &[u8],
    ) -> Result<Placed, Reject> {
        self.pin(frame, header)?;
        let given_up = frame.phase == Phase::GivenUp;
        let (k, m) = (
            usize::from(header.data_shards),
            usize::from(header.recovery_shards),
        );
        let index = usize::from(header.shard_index);
        let bytes = self.config.shard_bytes;
        let block = &mut frame.blocks[usize::from(header.block_index)];
        if block.k != 0 && (block.k, block.m) != (k, m) {
            return Err(Reject::BlockMismatch);
        }
        if block.k == 0 {
            let buffer = (k + m) * bytes;
            let buffer_bytes = if given_up { 0 } else { pool::footprint(buffer) };
            reserve(&self.meter, &mut frame.memory, buffer_bytes + k + m)?;
            (block.k, block.m) = (k, m);
            block.present = vec![false; k + m];
            block.buffer = (!given_up).then(|| self.pool.take(buffer));
        }
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
        buffer[index * bytes..][..bytes].copy_from_slice(&shard[..bytes]);
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

    /// The first packet of a frame fixes its size and blocks (section 4.6, rule 5).
    fn pin(&mut self, frame: &mut FrameState, header: &Header) -> Result<(), Reject> {
        let blocks = usize::from(header.block_count);
        if frame.pinned {
            let same = frame.frame_bytes == header.frame_bytes && frame.blocks.len() == blocks;
            return if same {
                Ok(())
            } else {
                Err(Reject::FrameMismatch)
            };
        }
        // The blocks of a frame of several are joined in one more buffer in the end.
        let joined = if blocks > 1 {
            pool::footprint(header.frame_bytes as usize)
        } else {
            0
        };
        let need = joined + blocks * size_of::<frame::Block>();
        reserve(&self.meter, &mut frame.memory, need)?;
        frame.pin(header);
        Ok(())
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

    /// The access unit of a complete frame; `None` when its blocks hold fewer bytes than the frame claimed (section 4.8).
    /// The bytes stay on the meter until the result's `memory` is dropped.
    pub fn assemble(&mut self, frame: &mut FrameState) -> Option<CompleteFrame> {
        if !self.holds_frame(frame) {
            return None;
        }
        let (bytes, len) = (self.config.shard_bytes, frame.frame_bytes as usize);
        let blocks = frame.block_count();
        let mut buffers = frame
            .blocks
            .iter_mut()
            .filter_map(|b| Some((b.k * bytes, b.buffer.take()?)));
        let mut data = if blocks == 1 {
            buffers.next()?.1
        } else {
            let mut joined = self.pool.take(len);
            let mut at = 0;
            for (block_bytes, buffer) in buffers {
                let part = block_bytes.min(len - at);
                joined[at..at + part].copy_from_slice(&buffer[..part]);
                at += part;
            }
            joined
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
        let shards: usize = frame.blocks.iter().map(|b| b.k).sum();
        shards * self.config.shard_bytes >= frame.frame_bytes as usize
    }

    /// Bytes of unfinished and unreleased frames.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Data shards that a frame of `frame_bytes` has in block `block` by section 4.5.
    #[must_use]
    pub fn expected_data(&self, frame_bytes: u32, block: usize) -> usize {
        let total = (frame_bytes as usize)
            .div_ceil(self.config.shard_bytes)
            .max(1);
        total
            .saturating_sub(block * self.config.max_block_shards)
            .min(self.config.max_block_shards)
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
