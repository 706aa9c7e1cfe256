//! From shards to access units, whatever wire they came on.
//!
//! Only shards get here whose packet authenticated, where a wire does that, and which are within the stream's limits. The
//! memory that they would need is held against the cap before anything is allocated.

mod frame;
mod window;

pub use frame::{BlockState, CompleteFrame, FrameState, Length, Phase, ShardCounts};
pub use window::Window;

use std::sync::Arc;

use self::frame::{Block, SpareLists, books_bytes};
use crate::fec::{self, Codec, Scheme};
use crate::geometry::Limits;
use crate::memory::meter::{Meter, Metered};
use crate::memory::pool::{self, BufferPool, PooledBuf};
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
    spare: SpareLists,
    /// Which data shards of the block that is rebuilt came, and the recovery shards that it is rebuilt from: empty but for then.
    present: Vec<bool>,
    recovery: Vec<(usize, &'static [u8])>,
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
            spare: SpareLists::default(),
            present: Vec::new(),
            recovery: Vec::new(),
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
        let FrameState { blocks, whole, .. } = &mut *frame;
        let block = &mut blocks[at];
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
        let (room, offset) = match block.first() {
            Some(first) if is_data => (whole.as_mut(), first + index * bytes),
            Some(_) => {
                let recovery = || self.pool.take(m * bytes);
                let room = block.buffer.get_or_insert_with(recovery);
                (Some(room), (index - k) * bytes)
            }
            None => (block.buffer.as_mut(), index * bytes),
        };
        let Some(room) = room else {
            return Ok(Placed::Late);
        };
        room[offset..][..bytes].copy_from_slice(shard.payload);
        if block.have < k {
            return Ok(Placed::Stored);
        }
        if block.have_data < k {
            if !self.rebuild(block, whole.as_mut()) {
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

    /// Rebuild the data shards of a block that did not come; false where the code refuses.
    fn rebuild(&mut self, block: &mut Block, whole: Option<&mut PooledBuf>) -> bool {
        let (k, m, bytes) = (block.k, block.m, self.limits.shard_bytes);
        let (data, recovery): (&mut [u8], &[u8]) = match (block.first(), whole, &mut block.buffer) {
            (Some(first), Some(whole), Some(recovery)) => {
                (&mut whole[first..][..k * bytes], &recovery[..])
            }
            (None, _, Some(shards)) => {
                let (data, recovery) = shards.split_at_mut(k * bytes);
                (data, recovery)
            }
            _ => return false,
        };
        let (data_came, recovery_came) = block.present.split_at(k);
        self.present.clear();
        self.present.extend_from_slice(data_came);
        let here = recovery.chunks_exact(bytes).zip(recovery_came).enumerate();
        let mut list: Vec<(usize, &[u8])> = std::mem::take(&mut self.recovery);
        list.extend(
            here.filter_map(|(j, (shard, &came))| came.then_some((j, shard)))
                .take(k - block.have_data),
        );
        let rebuilt = self
            .codec
            .reconstruct_strided(k, m, bytes, data, bytes, &mut self.present, &list)
            .is_ok();
        list.clear();
        // The memory of the list, of which nothing is left that is borrowed, is kept.
        self.recovery = list.into_iter().map(|_| (0, &[][..])).collect();
        rebuilt
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
        let spare = self.spare.take(blocks);
        let need = spare
            .as_ref()
            .map_or(blocks * size_of::<Block>(), books_bytes);
        reserve(&self.meter, &mut frame.memory, need)?;
        let list = spare.unwrap_or_else(|| {
            // Exactly as many as were put on the meter.
            let mut list = Vec::new();
            list.reserve_exact(blocks);
            list.resize_with(blocks, Block::default);
            list
        });
        frame.pin(shard, list);
        Ok(())
    }

    /// Keep what is of use again of a frame that has left the window.
    pub fn recycle(&mut self, frame: FrameState) {
        self.spare.give_back(frame.blocks);
    }

    /// Where the data of block `at` lies in its frame, bytes, and how many the frame has: of a block that is cut as the
    /// stream's geometry says, in a frame of several that says its length. A frame of one block is that block's buffer,
    /// and shards with heads have to be joined.
    fn place(&self, frame: &FrameState, at: usize, k: usize) -> Option<(u32, usize)> {
        if !self.joins(frame.block_count()) || self.limits.head_bytes > 0 {
            return None;
        }
        let frame_bytes = frame.length.said()? as usize;
        let geometry = self.limits.geometry(frame_bytes, 0);
        let block = geometry.block(at);
        let bytes = self.limits.shard_bytes;
        let first = u32::try_from(block.first_shard * bytes).ok()?;
        (block.k == k).then(|| (first, geometry.data_shards() * bytes))
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
        let place = self.place(frame, at, k).filter(|_| !given_up);
        let apart = (k + m) * self.limits.shard_bytes;
        let need = match place {
            _ if given_up => 0,
            Some((_, whole)) => {
                let room_for = |bytes: usize| if bytes > 0 { pool::footprint(bytes) } else { 0 };
                room_for(m * self.limits.shard_bytes)
                    + room_for(if frame.whole.is_some() { 0 } else { whole })
            }
            None => pool::footprint(apart) + self.joined_by(frame, k),
        };
        let noted = (k + m).saturating_sub(frame.blocks[at].present.capacity());
        reserve(&self.meter, &mut frame.memory, need + noted)?;
        frame.data_shards += k;
        frame.apart |= place.is_none();
        let block = &mut frame.blocks[at];
        (block.k, block.m) = (k, m);
        // Exactly as many as were put on the meter.
        block.present.reserve_exact(k + m);
        block.present.resize(k + m, false);
        match place {
            _ if given_up => {}
            Some((first, whole)) => {
                block.put_into_frame(first);
                frame.whole.get_or_insert_with(|| self.pool.take(whole));
            }
            None => block.buffer = Some(self.pool.take(apart)),
        }
        Ok(())
    }

    /// A frame of `blocks` in buffers of their own has to be joined, and does not come out in that of its only block.
    fn joins(&self, blocks: usize) -> bool {
        blocks > 1 || self.limits.head_bytes > 0
    }

    /// Bytes that a frame needs more to be joined when a block of `k` begins in a buffer of its own.
    fn joined_by(&self, frame: &FrameState, k: usize) -> usize {
        if !self.joins(frame.block_count()) {
            return 0;
        }
        match frame.length.said() {
            Some(_) if frame.apart => 0,
            Some(bytes) => pool::footprint(bytes as usize),
            None => {
                let joined = |shards: usize| pool::footprint(shards * self.limits.payload_bytes());
                joined(frame.data_shards + k) - joined(frame.data_shards)
            }
        }
    }

    /// Free the shards of a frame that will not be released; what still comes for it is only noted. Those notes stay on
    /// the meter until the frame leaves the window.
    pub fn give_up(&mut self, frame: &mut FrameState) {
        frame.phase = Phase::GivenUp;
        frame.free();
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
        let mut data = if !frame.apart {
            frame.whole.take()?
        } else if self.joins(frame.block_count()) {
            self.join(frame, len)
        } else {
            frame.blocks.first_mut()?.buffer.take()?
        };
        frame.free();
        data.truncate(len);
        let books = frame.books_bytes();
        let memory = frame.memory.as_mut().map(|held| {
            let data = held.split_off(data.footprint());
            held.shrink_to(books);
            data
        });
        Some(CompleteFrame { data, memory })
    }

    /// The first `len` bytes of what the data shards of a frame hold, wherever they lie.
    fn join(&self, frame: &FrameState, len: usize) -> PooledBuf {
        let (bytes, head) = (self.limits.shard_bytes, self.limits.head_bytes);
        let mut joined = self.pool.take(len);
        let mut at = 0;
        for block in &frame.blocks {
            let (buffer, first) = match block.first() {
                Some(first) => (&frame.whole, first),
                None => (&block.buffer, 0),
            };
            let shards = buffer.as_deref().unwrap_or_default();
            let block_bytes = block.k * bytes;
            // Where no heads lie between them, the shards of a block are one piece.
            let piece = if head == 0 { block_bytes } else { bytes };
            for shard in shards[first..][..block_bytes].chunks_exact(piece) {
                let part = (piece - head).min(len - at);
                joined[at..at + part].copy_from_slice(&shard[head..][..part]);
                at += part;
            }
        }
        joined
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
