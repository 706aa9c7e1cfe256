//! The video packets of GameStream (gamestream sections 7.2 to 7.8): whole packets that a code protects, some of whose fields
//! are stamped afterwards, then encrypted.

use std::sync::Arc;

use super::{Outgoing, Packetizer, SealedFrame, SubmitError};
use crate::fec::{self, Scheme, Shards};
use crate::flags::FLAG_PROBE;
use crate::geometry::{Block, Geometry, Limits, recovery_shards};
use crate::memory::pool::BufferPool;
use crate::pacing::PacerConfig;
use crate::stats::HostRecord;
use crate::wire::gamestream::{
    Codec, Covered, FIRST_FRAME, FrameKind, GameStreamConfig, GameStreamConfigError, HEAD_BYTES,
    MAX_BLOCK, MAX_BLOCKS, MAX_PROTECTED, Position, SHORT_HEADER_BYTES, ShortHeader, Stamp,
    VideoSealer, ticks,
};

/// Unused packet buffers that are kept; several frames of a gigabit stream.
const POOL_BYTES: usize = 32 << 20;
/// Highest percentage that a header can say.
const MAX_PERCENT: u32 = 255;
/// Clients drop a frame of AV1 whose last packet has no more than this of it (section 7.4).
const AV1_LAST_BYTES: usize = 8;
/// A padding OBU (obu_type 15) of 7 bytes, the last of which is the trailing bit. Decoders skip it.
const AV1_PADDING: [u8; 9] = [0x7A, 7, 0, 0, 0, 0, 0, 0, 0x80];

/// What is as much as clients and Wi-Fi queues take: 800 Mbit/s of packets of 1408 bytes beyond a burst, and below 100 packets
/// in any millisecond (sections 7.9 and 13.5, line 63).
///
/// A train is as long as a burst, and a burst as long as one call with segmentation offload: fewer wake-ups and calls are most of
/// what makes a packet cheap, and 46 packets at once are within the millisecond's worth that is usual.
pub const PACING: PacerConfig = PacerConfig {
    burst_packets: 46,
    packets_per_ms: 71,
    rate_factor: 1.25,
    train_packets: 46,
    train_ns: TRAIN_NS,
    catch_up_ns: 0,
    most_in_a_ms: 98,
};
/// 46 packets at 71 a millisecond.
const TRAIN_NS: u64 = 650_000;

/// Makes RTP timestamps: ticks of 90 kHz that rise with every frame and are never 0, which means that there is none.
#[derive(Clone, Copy, Debug)]
struct Clock {
    origin_ns: u64,
    last: u64,
}

impl Clock {
    fn next(self, pts_ns: u64) -> Self {
        let at = ticks(pts_ns.saturating_sub(self.origin_ns)).max(self.last + 1);
        let last = if at as u32 == 0 { at + 1 } else { at };
        Self { last, ..self }
    }

    const fn rtp(self) -> u32 {
        self.last as u32
    }
}

/// Cuts, protects and encrypts access units; owns every number of the stream.
pub struct GameStreamPacketizer {
    config: GameStreamConfig,
    limits: Limits,
    codec: &'static dyn fec::Codec,
    sealer: Option<VideoSealer>,
    pool: Arc<BufferPool>,
    clock: Clock,
    next_frame: u32,
    next_packet: u32,
}

/// A block as it is sent: its shards and the percentage that tells a receiver how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtectedBlock {
    /// Position within the frame.
    pub index: usize,
    /// First data shard of the block, counted over the frame.
    pub first_shard: usize,
    /// Data shards.
    pub k: usize,
    /// Recovery shards.
    pub m: usize,
    /// What the header says.
    pub percent: u8,
}

impl ProtectedBlock {
    /// Where shard `index` stands, in a frame that has as many blocks as `frame` says.
    const fn position(&self, frame: Position, index: usize) -> Position {
        Position {
            block: self.index as u8,
            blocks: frame.blocks,
            k: self.k as u16,
            index: index as u16,
        }
    }
}

/// How a frame of `packets` data packets is cut and protected (section 7.3); `min_fec` is the fewest recovery packets that the
/// client wants of a block.
///
/// # Errors
/// [`SubmitError::TooManyPackets`].
pub fn blocks(
    packets: usize,
    percent: u32,
    min_fec: u8,
) -> Result<impl ExactSizeIterator<Item = ProtectedBlock> + Clone, SubmitError> {
    let limit = MAX_BLOCKS * MAX_BLOCK;
    if packets > limit {
        return Err(SubmitError::TooManyPackets { packets, limit });
    }
    let percent = percent.min(MAX_PERCENT);
    let most_data = MAX_PROTECTED * 100 / (100 + percent as usize);
    let count = packets.max(1).div_ceil(most_data);
    let percent = if count > MAX_BLOCKS { 0 } else { percent };
    let geometry = Geometry::even(packets.max(1), count.min(MAX_BLOCKS));
    let count = geometry.block_count();
    Ok((0..count).map(move |index| protect(geometry.block(index), percent, min_fec)))
}

/// The recovery shards of a block, so that the receiver's own sum from `k` and the percentage comes to the same.
fn protect(block: Block, percent: u32, min_fec: u8) -> ProtectedBlock {
    let k = block.k;
    let least = usize::from(min_fec).min(MAX_PROTECTED.saturating_sub(k));
    let percent = if percent == 0 || recovery_shards(k, percent) >= least {
        percent
    } else {
        // Rounded down, and the shards computed from what is written: exact for the 2 that clients ask for.
        ((100 * least / k) as u32).clamp(percent, MAX_PERCENT)
    };
    ProtectedBlock {
        index: block.index,
        first_shard: block.first_shard,
        k,
        m: recovery_shards(k, percent),
        percent: percent as u8,
    }
}

/// The bytes of a frame as they lie in its packets: short header, access unit and what a codec needs behind it.
struct Content<'a> {
    header: [u8; SHORT_HEADER_BYTES],
    access_unit: &'a [u8],
    padding: &'static [u8],
}

impl<'a> Content<'a> {
    fn new(unit: &Outgoing<'a>, codec: Codec, payload_bytes: usize) -> Self {
        let last_of = |bytes: usize| match bytes % payload_bytes {
            0 => payload_bytes,
            rest => rest,
        };
        let bytes = SHORT_HEADER_BYTES + unit.data.len();
        let short = codec == Codec::Av1 && last_of(bytes) <= AV1_LAST_BYTES;
        let padding: &[u8] = if short { &AV1_PADDING } else { &[] };
        let header = ShortHeader {
            latency: ShortHeader::latency_of(unit.age_ns),
            kind: FrameKind::of(unit.flags),
            last_bytes: last_of(bytes + padding.len()) as u16,
        };
        Self {
            header: header.bytes(),
            access_unit: unit.data,
            padding,
        }
    }

    fn len(&self) -> usize {
        SHORT_HEADER_BYTES + self.access_unit.len() + self.padding.len()
    }

    /// Fill a payload with what lies at `at`; behind the end is zero.
    fn copy(&self, mut at: usize, mut payload: &mut [u8]) {
        for part in [&self.header[..], self.access_unit, self.padding] {
            let from = at.min(part.len());
            let bytes = (part.len() - from).min(payload.len());
            let (filled, rest) = payload.split_at_mut(bytes);
            filled.copy_from_slice(&part[from..from + bytes]);
            payload = rest;
            at -= from;
        }
        payload.fill(0);
    }
}

impl GameStreamPacketizer {
    /// A packetizer at the start of a stream.
    ///
    /// # Errors
    /// [`GameStreamConfigError`] when no client could have announced the parameters.
    pub fn new(config: GameStreamConfig) -> Result<Self, GameStreamConfigError> {
        config.validate()?;
        Ok(Self {
            limits: config.limits(),
            codec: fec::codec(Scheme::Gf8),
            sealer: config.key.map(VideoSealer::new),
            pool: BufferPool::new(POOL_BYTES),
            clock: Clock {
                origin_ns: config.origin_ns,
                last: 0,
            },
            next_frame: FIRST_FRAME,
            next_packet: 0,
            config,
        })
    }

    /// Continue a stream: the numbers of the next frame and the next packet, encrypted or not.
    pub fn set_next(&mut self, frame: u32, packet: u32) {
        (self.next_frame, self.next_packet) = (frame, packet);
        if let Some(sealer) = &mut self.sealer {
            sealer.set_next(u64::from(packet));
        }
    }

    /// Write one block's packets into its part of the buffer, but for what is stamped and encrypted.
    fn fill(
        &self,
        block: &ProtectedBlock,
        content: &Content<'_>,
        frame: &Stamp,
        first_packet: u32,
        packets: &mut [u8],
    ) -> Result<(), SubmitError> {
        let (prefix, stride) = (self.config.prefix_bytes(), self.config.packet_bytes());
        let (shard, payload) = (self.limits.shard_bytes, self.limits.payload_bytes());
        let ProtectedBlock { k, m, .. } = *block;
        for (index, packet) in packets.chunks_exact_mut(stride).take(k).enumerate() {
            if let Some((head, room)) = packet[prefix..].split_first_chunk_mut::<HEAD_BYTES>() {
                let covered = Covered {
                    counter: first_packet.wrapping_add(index as u32),
                    frame: frame.frame,
                    position: block.position(frame.position, index),
                };
                covered.write(head);
                content.copy((block.first_shard + index) * payload, room);
            }
        }
        if m > 0 {
            let (data, parity) = packets.split_at_mut(k * stride);
            let data = Shards::strided(&data[prefix..], stride);
            self.codec
                .encode_strided(k, m, shard, data, &mut parity[prefix..], stride)
                .map_err(|source| SubmitError::Fec { k, m, source })?;
        }
        Ok(())
    }

    /// Stamp the packets of a block and encrypt them.
    fn finish(
        &mut self,
        block: &ProtectedBlock,
        frame: &Stamp,
        first_packet: u32,
        packets: &mut [u8],
    ) -> Result<(), SubmitError> {
        let (prefix, stride) = (self.config.prefix_bytes(), self.config.packet_bytes());
        for (index, packet) in packets.chunks_exact_mut(stride).enumerate() {
            if let Some(head) = packet[prefix..].first_chunk_mut::<HEAD_BYTES>() {
                let stamp = Stamp {
                    sequence: first_packet.wrapping_add(index as u32) as u16,
                    position: block.position(frame.position, index),
                    percent: block.percent,
                    ..*frame
                };
                stamp.write(head);
            }
            if let Some(sealer) = &mut self.sealer {
                sealer.seal_in_place(frame.frame, packet)?;
            }
        }
        Ok(())
    }
}

impl Packetizer for GameStreamPacketizer {
    fn packetize(&mut self, unit: Outgoing<'_>, percent: u32) -> Result<SealedFrame, SubmitError> {
        if unit.flags & FLAG_PROBE != 0 {
            return Err(SubmitError::NoFiller);
        }
        let stride = self.config.packet_bytes();
        let content = Content::new(&unit, self.config.codec, self.limits.payload_bytes());
        let data_packets = content.len().div_ceil(self.limits.payload_bytes());
        let blocks = blocks(data_packets, percent, self.config.min_fec)?;
        let count = blocks.len();
        let recovery: usize = blocks.clone().map(|block| block.m).sum();
        let packets = data_packets + recovery;
        let clock = self.clock.next(unit.pts_ns);
        let frame = Stamp {
            sequence: 0,
            ticks: clock.rtp(),
            frame: self.next_frame,
            position: Position {
                block: 0,
                blocks: count as u8,
                k: 0,
                index: 0,
            },
            percent: 0,
        };
        let mut buffer = self.pool.take(packets * stride);
        let mut rest: &mut [u8] = &mut buffer;
        let mut number = self.next_packet;
        // All that is done to a block is done while it is in a cache.
        for block in blocks {
            let count = block.k + block.m;
            let (own, others) = rest.split_at_mut(count * stride);
            self.fill(&block, &content, &frame, number, own)?;
            self.finish(&block, &frame, number, own)?;
            rest = others;
            number = number.wrapping_add(count as u32);
        }
        let index = self.next_frame;
        self.clock = clock;
        self.next_frame = self.next_frame.wrapping_add(1);
        self.next_packet = number;
        Ok(SealedFrame {
            buffer,
            stride,
            packets: packets as u32,
            index,
            flags: unit.flags,
            record: HostRecord {
                index: i64::from(index),
                pts_ns: unit.pts_ns as i64,
                flags: i64::from(unit.flags),
                bytes: unit.data.len() as i64,
                k: data_packets as i64,
                m: recovery as i64,
                blocks: count as i64,
                packets: packets as i64,
                ..HostRecord::EMPTY
            },
        })
    }

    fn packet_bytes(&self) -> usize {
        self.config.packet_bytes()
    }

    fn payload_bytes(&self) -> usize {
        self.limits.payload_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// gamestream line 59.
    #[test]
    fn timestamps_rise_and_are_never_zero_also_of_repeated_frames_and_where_they_wrap() {
        let mut clock = Clock {
            origin_ns: 1_000,
            last: 0,
        };
        let wrap_ns = crate::wire::gamestream::ticks_to_ns(1 << 32) + 1_000;
        let mut at = |pts_ns: u64| {
            clock = clock.next(pts_ns);
            clock.rtp()
        };
        assert_eq!(at(0), 1, "before the origin");
        assert_eq!(at(1_000), 2, "the origin's 0 is none, and 1 is taken");
        assert_eq!(at(1_001_000_000 + 1_000), 90_090);
        assert_eq!(at(1_001_000_000 + 1_000), 90_091, "shown again");
        assert_eq!(at(5), 90_092, "a clock that went back");
        assert_eq!(at(wrap_ns), 1);
        assert_eq!(at(wrap_ns), 2);
    }

    #[test]
    fn content_is_copied_from_any_place_and_padded() {
        let unit = Outgoing {
            data: &[7; 20],
            pts_ns: 0,
            flags: 0,
            age_ns: None,
        };
        let content = Content::new(&unit, Codec::Av1, 32);
        assert_eq!(content.len(), 28);
        let whole: Vec<u8> = [content.header.as_slice(), &[7; 20], &[0; 12]].concat();
        for at in 0..28 {
            let mut payload = [9; 12];
            content.copy(at, &mut payload);
            assert_eq!(payload, whole[at..at + 12]);
        }
    }
}
