//! From one access unit to its sealed packets (punktfunk/1 sections 4.2 to 4.5).

use std::sync::Arc;

use super::StreamConfig;
use crate::crypto::{CryptoError, Direction, Sealer};
use crate::fec::{self, Codec, FecError};
use crate::memory::pool::{BufferPool, PooledBuf};
use crate::packet::{
    Geometry, GeometryError, HEADER_BYTES, Header, PACKET_END_OF_FRAME, PACKET_PICTURE,
    PACKET_START_OF_FRAME, VERSION,
};
use crate::stats::HostRecord;

/// Unused packet buffers that are kept; several frames of a gigabit stream.
const POOL_BYTES: usize = 32 << 20;

/// Order in which a frame's packets leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmissionOrder {
    /// Each block's data, then its recovery shards (section 4.5).
    #[default]
    Blocks,
    /// The data of all blocks, then all recovery shards (section 2.5, from v0.13.0).
    DataFirst,
}

/// A fault that a check must catch; never set outside a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Announce m recovery shards a block and send m - 1.
    OneRecoveryShort,
}

/// An access unit that cannot be sent. The session goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Longer than the stream's `max_frame_bytes`.
    #[error("an access unit of {bytes} bytes exceeds max_frame_bytes {limit}")]
    TooLong {
        /// Bytes of the access unit.
        bytes: usize,
        /// The stream's limit.
        limit: usize,
    },
    /// It would need more blocks than a header can number.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The code refused the geometry.
    #[error("no code for a block of {k} data and {m} recovery shards: {source}")]
    Fec {
        /// Data shards of the block.
        k: usize,
        /// Recovery shards of the block.
        m: usize,
        /// The codec's words.
        source: FecError,
    },
    /// No sequence number is left that would not repeat a nonce.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// The packets of one frame, ready to leave, one after another in one buffer.
#[derive(Debug)]
pub struct SealedFrame {
    /// `packets` packets of `stride` bytes.
    pub buffer: PooledBuf,
    /// Bytes of every packet.
    pub stride: usize,
    /// Packets in the buffer.
    pub packets: u32,
    /// Index on the wire.
    pub index: u32,
    /// User flags on the wire.
    pub flags: u32,
    /// What is known about the frame so far.
    pub record: HostRecord,
}

/// Where the packets of one block stand in the frame's buffer, in packets.
#[derive(Clone, Copy, Debug)]
struct Block {
    first_shard: usize,
    k: usize,
    m: usize,
    sent_m: usize,
    data_at: usize,
    parity_at: usize,
}

/// Cuts, protects and seals access units; owns every sequence number of the direction.
pub struct Packetizer {
    config: Arc<StreamConfig>,
    codec: &'static dyn Codec,
    sealer: Option<Sealer>,
    pool: Arc<BufferPool>,
    order: EmissionOrder,
    sabotage: Option<Sabotage>,
    next_index: u32,
    next_stream_seq: u32,
    next_seq: u64,
    blocks: Vec<Block>,
}

impl Packetizer {
    /// A packetizer of the host's direction at the start of a session.
    #[must_use]
    pub fn new(
        config: Arc<StreamConfig>,
        order: EmissionOrder,
        sabotage: Option<Sabotage>,
    ) -> Self {
        let sealer = config
            .key
            .map(|key| Sealer::new(key, config.salt, Direction::HostToClient));
        Self {
            codec: fec::codec(config.scheme),
            sealer,
            pool: BufferPool::new(POOL_BYTES),
            order,
            sabotage,
            next_index: 0,
            next_stream_seq: 0,
            next_seq: 0,
            blocks: Vec::new(),
            config,
        }
    }

    /// Continue a session: the numbers of the next frame and the next packet.
    pub fn set_next(&mut self, frame_index: u32, stream_seq: u32, seq: u64) {
        (self.next_index, self.next_stream_seq, self.next_seq) = (frame_index, stream_seq, seq);
    }

    /// Index that the next frame will carry.
    #[must_use]
    pub fn next_index(&self) -> u32 {
        self.next_index
    }

    /// Make the packets of one access unit with `percent` of recovery shards.
    ///
    /// # Errors
    /// [`SubmitError`]; no number is used up and the session can go on.
    pub fn packetize(
        &mut self,
        access_unit: &[u8],
        pts_ns: u64,
        flags: u32,
        percent: u32,
    ) -> Result<SealedFrame, SubmitError> {
        let config = Arc::clone(&self.config);
        let (bytes, limit) = (access_unit.len(), config.max_frame_bytes);
        if bytes > limit {
            return Err(SubmitError::TooLong { bytes, limit });
        }
        let (packets, slots) = self.lay_out(bytes, percent)?;
        let (stride, payload_at) = (config.packet_bytes(), config.prefix_bytes() + HEADER_BYTES);
        let mut buffer = self.pool.take(slots * stride);
        for &block in &self.blocks {
            let data = &access_unit[(block.first_shard * config.shard_bytes).min(bytes)..];
            copy_shards(
                &mut buffer[block.data_at * stride + payload_at..],
                data,
                block.k,
                config.shard_bytes,
                stride,
            );
            if block.m == 0 {
                continue;
            }
            // Recovery shards are computed in place, inside of the packets that carry them.
            let (before, after) = buffer.split_at_mut(block.parity_at * stride);
            let data = &before[block.data_at * stride + payload_at..];
            let parity = &mut after[payload_at..];
            self.codec
                .encode_strided(
                    block.k,
                    block.m,
                    config.shard_bytes,
                    data,
                    stride,
                    parity,
                    stride,
                )
                .map_err(|source| SubmitError::Fec {
                    k: block.k,
                    m: block.m,
                    source,
                })?;
        }
        let header = Header {
            pts_ns,
            frame_index: self.next_index,
            stream_seq: 0,
            frame_bytes: bytes as u32,
            user_flags: flags,
            block_index: 0,
            block_count: self.blocks.len() as u16,
            data_shards: 0,
            recovery_shards: 0,
            shard_index: 0,
            shard_bytes: config.shard_bytes as u16,
            version: VERSION,
            fec_scheme: config.scheme.wire(),
            flags: PACKET_PICTURE,
        };
        self.finish_packets(&mut buffer, header, packets)?;
        buffer.truncate(packets * stride);
        let record = self.record(bytes, pts_ns, flags, packets);
        let index = self.next_index;
        self.next_index = self.next_index.wrapping_add(1);
        self.next_stream_seq = self.next_stream_seq.wrapping_add(packets as u32);
        self.next_seq += packets as u64;
        Ok(SealedFrame {
            buffer,
            stride,
            packets: packets as u32,
            index,
            flags,
            record,
        })
    }

    /// Place every block of section 4.5; returns the packets that leave and the slots that encoding needs.
    fn lay_out(&mut self, bytes: usize, percent: u32) -> Result<(usize, usize), GeometryError> {
        // Without recovery shards: how many a block gets is also limited by what its receiver accepts.
        let geometry = Geometry::new(
            bytes,
            self.config.shard_bytes,
            self.config.max_block_shards,
            0,
        )?;
        self.blocks.clear();
        let (mut at, mut parity_at) = (0, geometry.data_shards());
        for block in geometry.blocks() {
            let (first_shard, k) = (block.first_shard, block.data_shards);
            let m = self.config.recovery_shards(k, percent);
            let sent_m = match self.sabotage {
                Some(Sabotage::OneRecoveryShort) => m.saturating_sub(1),
                None => m,
            };
            let (data_at, parity) = match self.order {
                EmissionOrder::Blocks => (at, at + k),
                EmissionOrder::DataFirst => (first_shard, parity_at),
            };
            self.blocks.push(Block {
                first_shard,
                k,
                m,
                sent_m,
                data_at,
                parity_at: parity,
            });
            at += k + sent_m;
            parity_at += sent_m;
        }
        Ok((at, at + usize::from(self.sabotage.is_some())))
    }

    /// Write the headers and seal the packets, in the order in which they leave.
    fn finish_packets(
        &mut self,
        buffer: &mut [u8],
        frame: Header,
        packets: usize,
    ) -> Result<(), SubmitError> {
        let stride = self.config.packet_bytes();
        let prefix = self.config.prefix_bytes();
        let mut position = 0;
        for (i, shards) in emission(&self.blocks, self.order) {
            let block = &self.blocks[i];
            let mut header = Header {
                block_index: i as u16,
                data_shards: block.k as u16,
                recovery_shards: block.m as u16,
                ..frame
            };
            for shard in shards {
                header.stream_seq = self.next_stream_seq.wrapping_add(position as u32);
                header.shard_index = shard as u16;
                header.flags = PACKET_PICTURE;
                if position == 0 {
                    header.flags |= PACKET_START_OF_FRAME;
                }
                if position + 1 == packets {
                    header.flags |= PACKET_END_OF_FRAME;
                }
                let packet = &mut buffer[position * stride..][..stride];
                if let Some(head) = packet[prefix..].first_chunk_mut::<HEADER_BYTES>() {
                    header.write(head);
                }
                if let Some(sealer) = &mut self.sealer {
                    sealer.seal_in_place(self.next_seq + position as u64, packet)?;
                }
                position += 1;
            }
        }
        Ok(())
    }

    fn record(&self, bytes: usize, pts_ns: u64, flags: u32, packets: usize) -> HostRecord {
        HostRecord {
            index: i64::from(self.next_index),
            pts_ns: pts_ns as i64,
            flags: i64::from(flags),
            bytes: bytes as i64,
            k: self.blocks.iter().map(|b| b.k as i64).sum(),
            m: self.blocks.iter().map(|b| b.m as i64).sum(),
            blocks: self.blocks.len() as i64,
            packets: packets as i64,
            ..HostRecord::EMPTY
        }
    }
}

/// Blocks and the range of their shards, in emission order.
fn emission(blocks: &[Block], order: EmissionOrder) -> Vec<(usize, std::ops::Range<usize>)> {
    let whole = blocks.iter().enumerate();
    match order {
        EmissionOrder::Blocks => whole.map(|(i, b)| (i, 0..b.k + b.sent_m)).collect(),
        EmissionOrder::DataFirst => {
            let data = whole.clone().map(|(i, b)| (i, 0..b.k));
            data.chain(whole.map(|(i, b)| (i, b.k..b.k + b.sent_m)))
                .collect()
        }
    }
}

/// Spread a block's part of the access unit over its packets; what the last shard lacks is zero.
fn copy_shards(payloads: &mut [u8], data: &[u8], k: usize, shard_bytes: usize, stride: usize) {
    let mut shards = data.chunks(shard_bytes);
    for payload in payloads.chunks_mut(stride).take(k) {
        let from = shards.next().unwrap_or_default();
        payload[..from.len()].copy_from_slice(from);
        payload[from.len()..shard_bytes].fill(0);
    }
}
