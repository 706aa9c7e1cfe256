//! The packets of punktfunk/1 (sections 4.2 to 4.5): shards behind headers that no code protects, then sealed.

use std::sync::Arc;

use super::{Outgoing, Packetizer, SealedFrame, SubmitError};
use crate::config::{ConfigError, StreamConfig};
use crate::crypto::{CryptoError, Direction, Sealer};
use crate::fec::{self, Codec, FecError, Shards};
use crate::geometry::{Block, Limits};
use crate::memory::pool::BufferPool;
use crate::stats::HostRecord;
use crate::wire::punktfunk1::{
    HEADER_BYTES, Header, PACKET_END_OF_FRAME, PACKET_PICTURE, PACKET_START_OF_FRAME, VERSION,
};

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

/// Where the packets of one block stand in the frame's buffer, in packets.
#[derive(Clone, Copy, Debug)]
struct Place {
    block: Block,
    sent_m: usize,
    data_at: usize,
    parity_at: usize,
}

/// Cuts, protects and seals access units; owns every sequence number of the direction.
pub struct Punktfunk1Packetizer {
    config: StreamConfig,
    limits: Limits,
    codec: &'static dyn Codec,
    sealer: Option<Sealer>,
    pool: Arc<BufferPool>,
    order: EmissionOrder,
    sabotage: Option<Sabotage>,
    next_index: u32,
    next_stream_seq: u32,
    next_seq: u64,
    places: Vec<Place>,
}

impl Punktfunk1Packetizer {
    /// A packetizer of the host's direction at the start of a session.
    ///
    /// # Errors
    /// [`ConfigError`] when no receiver would accept the parameters.
    pub fn new(
        config: StreamConfig,
        order: EmissionOrder,
        sabotage: Option<Sabotage>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let sealer = config
            .key
            .map(|key| Sealer::new(key, config.salt, Direction::HostToClient));
        Ok(Self {
            limits: config.limits(),
            codec: fec::codec(config.scheme),
            sealer,
            pool: BufferPool::new(POOL_BYTES),
            order,
            sabotage,
            next_index: 0,
            next_stream_seq: 0,
            next_seq: 0,
            places: Vec::new(),
            config,
        })
    }

    /// Continue a session: the numbers of the next frame and the next packet.
    pub fn set_next(&mut self, frame_index: u32, stream_seq: u32, seq: u64) {
        (self.next_index, self.next_stream_seq, self.next_seq) = (frame_index, stream_seq, seq);
    }

    /// Place every block of section 4.5; returns the packets that leave and the slots that encoding needs. Nothing is sealed
    /// of a frame that has a block which the code does not carry.
    fn lay_out(&mut self, bytes: usize, percent: u32) -> Result<(usize, usize), SubmitError> {
        let geometry = self.limits.geometry(bytes, percent);
        self.places.clear();
        let (mut at, mut parity_at) = (0, geometry.data_shards());
        for block in geometry.blocks() {
            let Block { k, m, .. } = block;
            if m > 0 && !self.codec.supports(k, m) {
                let (data, recovery) = (k, m);
                let source = FecError::Geometry { data, recovery };
                return Err(SubmitError::Fec { k, m, source });
            }
            let sent_m = match self.sabotage {
                Some(Sabotage::OneRecoveryShort) => block.m.saturating_sub(1),
                None => block.m,
            };
            let (data_at, parity) = match self.order {
                EmissionOrder::Blocks => (at, at + block.k),
                EmissionOrder::DataFirst => (block.first_shard, parity_at),
            };
            self.places.push(Place {
                block,
                sent_m,
                data_at,
                parity_at: parity,
            });
            at += block.k + sent_m;
            parity_at += sent_m;
        }
        Ok((at, at + usize::from(self.sabotage.is_some())))
    }

    fn record(&self, bytes: usize, pts_ns: u64, flags: u32, packets: usize) -> HostRecord {
        HostRecord {
            index: i64::from(self.next_index),
            pts_ns: pts_ns as i64,
            flags: i64::from(flags),
            bytes: bytes as i64,
            k: self.places.iter().map(|p| p.block.k as i64).sum(),
            m: self.places.iter().map(|p| p.block.m as i64).sum(),
            blocks: self.places.len() as i64,
            packets: packets as i64,
            ..HostRecord::EMPTY
        }
    }
}

impl Packetizer for Punktfunk1Packetizer {
    fn packetize(&mut self, unit: Outgoing<'_>, percent: u32) -> Result<SealedFrame, SubmitError> {
        let Outgoing {
            data: access_unit,
            pts_ns,
            flags,
            ..
        } = unit;
        let (bytes, limit) = (access_unit.len(), self.limits.max_frame_bytes);
        if bytes > limit {
            return Err(SubmitError::TooLong { bytes, limit });
        }
        let (packets, slots) = self.lay_out(bytes, percent)?;
        let shard_bytes = self.limits.shard_bytes;
        let stride = self.config.packet_bytes();
        let prefix = self.config.prefix_bytes();
        let payload = prefix + HEADER_BYTES..prefix + HEADER_BYTES + shard_bytes;
        let mut buffer = self.pool.take(slots * stride);
        let mut finisher = Finisher {
            sealer: self.sealer.as_mut(),
            prefix,
            header: Header {
                pts_ns,
                frame_index: self.next_index,
                stream_seq: self.next_stream_seq,
                frame_bytes: bytes as u32,
                user_flags: flags,
                block_index: 0,
                block_count: self.places.len() as u16,
                data_shards: 0,
                recovery_shards: 0,
                shard_index: 0,
                shard_bytes: shard_bytes as u16,
                version: VERSION,
                fec_scheme: self.config.scheme.wire(),
                flags: PACKET_PICTURE | PACKET_START_OF_FRAME,
            },
            seq: self.next_seq,
            left: packets,
        };
        // All that is done to a block is done while it is in a cache. The code reads shards where they lie in the access unit,
        // so that a data packet is written once, copied and sealed; only the last, which may have to be filled up with zeroes, is
        // copied before, and read in its packet.
        for place in &self.places {
            let Block {
                first_shard, k, m, ..
            } = place.block;
            let data = &access_unit[(first_shard * shard_bytes).min(bytes)..];
            let (before, after) = buffer.split_at_mut(place.parity_at * stride);
            let packets = &mut before[place.data_at * stride..];
            let last = k - 1;
            let last_payload = &mut packets[last * stride..][payload.clone()];
            fill_up(last_payload, &data[(last * shard_bytes).min(data.len())..]);
            if m > 0 {
                let shards = Shards::strided(data, shard_bytes).with_last(last_payload);
                // Recovery shards are computed in place, inside of the packets that carry them.
                let parity = &mut after[payload.start..];
                self.codec
                    .encode_strided(k, m, shard_bytes, shards, parity, stride)
                    .map_err(|source| SubmitError::Fec { k, m, source })?;
            }
            for (index, packet) in packets.chunks_exact_mut(stride).take(k).enumerate() {
                if index < last {
                    let shard = &data[index * shard_bytes..][..shard_bytes];
                    packet[payload.clone()].copy_from_slice(shard);
                }
                finisher.finish(&place.block, index, packet)?;
            }
            if self.order == EmissionOrder::Blocks {
                finisher.finish_recovery(place, after, stride)?;
            }
        }
        if self.order == EmissionOrder::DataFirst {
            for place in &self.places {
                let after = &mut buffer[place.parity_at * stride..];
                finisher.finish_recovery(place, after, stride)?;
            }
        }
        buffer.truncate(packets * stride);
        let record = self.record(bytes, pts_ns, flags, packets);
        let index = self.next_index;
        self.next_index = self.next_index.wrapping_add(1);
        self.next_stream_seq = self.next_stream_seq.wrapping_add(packets as u32);
        self.next_seq = self.next_seq.wrapping_add(packets as u64);
        Ok(SealedFrame {
            buffer,
            stride,
            packets: packets as u32,
            index,
            flags,
            record,
        })
    }

    fn packet_bytes(&self) -> usize {
        self.config.packet_bytes()
    }

    fn payload_bytes(&self) -> usize {
        self.limits.payload_bytes()
    }
}

/// Writes the headers of a frame's packets and seals them, in the order in which they leave.
struct Finisher<'a> {
    sealer: Option<&'a mut Sealer>,
    /// Bytes before a header.
    prefix: usize,
    /// That of the next packet, but for its block and shard.
    header: Header,
    /// Number under which it is sealed.
    seq: u64,
    /// Packets of the frame that are to be finished.
    left: usize,
}

impl Finisher<'_> {
    /// The next packet: shard `index` of `block`.
    fn finish(
        &mut self,
        block: &Block,
        index: usize,
        packet: &mut [u8],
    ) -> Result<(), CryptoError> {
        let end = if self.left == 1 {
            PACKET_END_OF_FRAME
        } else {
            0
        };
        let header = Header {
            block_index: block.index as u16,
            data_shards: block.k as u16,
            recovery_shards: block.m as u16,
            shard_index: index as u16,
            flags: self.header.flags | end,
            ..self.header
        };
        if let Some(head) = packet[self.prefix..].first_chunk_mut::<HEADER_BYTES>() {
            header.write(head);
        }
        if let Some(sealer) = &mut self.sealer {
            sealer.seal_in_place(self.seq, packet)?;
        }
        self.header.flags = PACKET_PICTURE;
        self.header.stream_seq = self.header.stream_seq.wrapping_add(1);
        // Behind the last number the sealer refuses whatever comes.
        self.seq = self.seq.wrapping_add(1);
        self.left -= 1;
        Ok(())
    }

    /// The recovery packets of a block that are sent.
    fn finish_recovery(
        &mut self,
        place: &Place,
        packets: &mut [u8],
        stride: usize,
    ) -> Result<(), CryptoError> {
        let packets = packets.chunks_exact_mut(stride).take(place.sent_m);
        for (index, packet) in packets.enumerate() {
            self.finish(&place.block, place.block.k + index, packet)?;
        }
        Ok(())
    }
}

/// Copy a shard that `data` begins with; what it lacks is zero.
fn fill_up(payload: &mut [u8], data: &[u8]) {
    let (filled, rest) = payload.split_at_mut(data.len().min(payload.len()));
    filled.copy_from_slice(&data[..filled.len()]);
    rest.fill(0);
}
