//! A wire of another kind than ours, for tests alone: video as GameStream sends it (gamestream section 7), unencrypted.
//!
//! It protects whole packets, headers and all, stamps fields into them after encoding, splits a frame evenly into at most
//! four blocks, and no packet says how long its frame is: the last packet's length stands in a short header of the joined
//! bytes. Whatever holds for both kinds is no property of a header.

use std::sync::Arc;

use punktfunk_core::fec::{self, Scheme};
use punktfunk_core::flags::{FLAG_KEY, FLAG_PICTURE};
use punktfunk_core::geometry::{Limits, recovery_shards};
use punktfunk_core::memory::pool::BufferPool;
use punktfunk_core::packetize::{Packetizer, SealedFrame, SubmitError};
use punktfunk_core::reject::Reject;
use punktfunk_core::shard::Shard;
use punktfunk_core::stats::HostRecord;

/// RTP header, reserved bytes and video header of every packet (gamestream section 7.2).
pub const HEAD_BYTES: usize = 32;
/// The header in front of every frame's bitstream (gamestream section 7.4).
pub const SHORT_HEADER_BYTES: usize = 8;
/// Recovery packets that a client asks for at least.
const MIN_RECOVERY: usize = 2;
const MAX_BLOCKS: usize = 4;
/// What the ten bits of the header can say.
const MAX_BLOCK: usize = 1023;
const PICTURE: u8 = 1;
const END: u8 = 2;
const START: u8 = 4;

/// What frames in packets of `packet_size` (as a client announces it) may look like.
pub fn limits(packet_size: usize) -> Limits {
    Limits {
        shard_bytes: packet_size + 16,
        head_bytes: HEAD_BYTES,
        max_block: MAX_BLOCK,
        max_total: MAX_BLOCK,
        max_blocks: MAX_BLOCKS,
        max_frame_bytes: MAX_BLOCKS * MAX_BLOCK * (packet_size - 16) - SHORT_HEADER_BYTES,
    }
}

/// Makes the packets.
pub struct WholePackets {
    limits: Limits,
    pool: Arc<BufferPool>,
    latency: u16,
    next_frame: u32,
    next_packet: u32,
}

impl WholePackets {
    /// For packets of `packet_size`, all of whose frames took `latency` tenths of a millisecond.
    pub fn new(packet_size: usize, latency: u16) -> Self {
        Self {
            limits: limits(packet_size),
            pool: BufferPool::new(1 << 20),
            latency,
            next_frame: 1,
            next_packet: 0,
        }
    }

    /// The limits of one frame, whose blocks are all alike, and its percentage: 0 where four blocks are too few.
    fn even(&self, bytes: usize, percent: u32) -> (Limits, u32) {
        let packets = bytes.div_ceil(self.limits.payload_bytes());
        let protected = 255 * 100 / (100 + percent as usize);
        let blocks = packets.div_ceil(protected);
        let (blocks, percent) = if blocks > MAX_BLOCKS {
            (MAX_BLOCKS, 0)
        } else {
            (blocks, percent)
        };
        let limits = Limits {
            max_block: packets.div_ceil(blocks),
            max_total: if percent == 0 { MAX_BLOCK } else { 255 },
            ..self.limits
        };
        (limits, percent)
    }
}

impl Packetizer for WholePackets {
    fn packetize(
        &mut self,
        access_unit: &[u8],
        pts_ns: u64,
        flags: u32,
        percent: u32,
    ) -> Result<SealedFrame, SubmitError> {
        let (bytes, limit) = (access_unit.len(), self.limits.max_frame_bytes);
        if bytes > limit {
            return Err(SubmitError::TooLong { bytes, limit });
        }
        let stride = self.limits.shard_bytes;
        let payload = self.limits.payload_bytes();
        let mut data = vec![0; SHORT_HEADER_BYTES];
        data.extend_from_slice(access_unit);
        let last = match data.len() % payload {
            0 => payload,
            rest => rest,
        };
        data[0] = 1;
        data[1..3].copy_from_slice(&self.latency.to_le_bytes());
        data[3] = if flags & FLAG_KEY == 0 { 1 } else { 2 };
        data[4..6].copy_from_slice(&(last as u16).to_le_bytes());

        let (limits, percent) = self.even(data.len(), percent);
        let geometry = limits.geometry(data.len(), percent);
        let protection = |k: usize, m: usize| match (percent, m) {
            (0, _) => (0, 0),
            (_, m) if m < MIN_RECOVERY => (MIN_RECOVERY, (100 * MIN_RECOVERY / k) as u32),
            (percent, m) => (m, percent),
        };
        let total: usize = geometry
            .blocks()
            .map(|block| block.k + protection(block.k, block.m).0)
            .sum();
        let mut buffer = self.pool.take(total * stride);
        buffer.fill(0);
        let (mut at, mut rest) = (0, data.chunks(payload));
        for block in geometry.blocks() {
            let (m, percent) = protection(block.k, block.m);
            let first_packet = self.next_packet + at as u32;
            let blocks = (block.index << 4 | (geometry.block_count() - 1) << 6) as u8;
            let (packets, parity) =
                buffer[at * stride..][..(block.k + m) * stride].split_at_mut(block.k * stride);
            for (index, packet) in packets.chunks_exact_mut(stride).enumerate() {
                let counter = (first_packet + index as u32) << 8;
                packet[16..20].copy_from_slice(&counter.to_le_bytes());
                packet[20..24].copy_from_slice(&self.next_frame.to_le_bytes());
                packet[24] = PICTURE
                    | if index == 0 { START } else { 0 }
                    | if index + 1 == block.k { END } else { 0 };
                packet[26..28].copy_from_slice(&[0x10, blocks]);
                let part = rest.next().unwrap_or_default();
                packet[HEAD_BYTES..][..part.len()].copy_from_slice(part);
            }
            if m > 0 {
                fec::codec(Scheme::Gf8)
                    .encode(block.k, m, stride, packets, parity)
                    .map_err(|source| SubmitError::Fec {
                        k: block.k,
                        m,
                        source,
                    })?;
            }
            // Stamped into packets of both kinds after encoding, so that the code does not cover it (gamestream section 7.7).
            let all = buffer[at * stride..][..(block.k + m) * stride].chunks_exact_mut(stride);
            for (index, packet) in all.enumerate() {
                let number = (first_packet + index as u32) as u16;
                let info = (block.k << 22 | index << 12) as u32 | percent << 4;
                packet[..2].copy_from_slice(&[0x90, 0]);
                packet[2..4].copy_from_slice(&number.to_be_bytes());
                packet[4..8].copy_from_slice(&ticks(pts_ns).to_be_bytes());
                packet[8..12].fill(0);
                packet[20..24].copy_from_slice(&self.next_frame.to_le_bytes());
                packet[27] = blocks;
                packet[28..32].copy_from_slice(&info.to_le_bytes());
            }
            at += block.k + m;
        }
        let index = self.next_frame;
        self.next_frame += 1;
        self.next_packet += total as u32;
        Ok(SealedFrame {
            buffer,
            stride,
            packets: total as u32,
            index,
            flags,
            record: HostRecord {
                index: i64::from(index),
                packets: total as i64,
                ..HostRecord::EMPTY
            },
        })
    }

    fn packet_bytes(&self) -> usize {
        self.limits.shard_bytes
    }

    fn payload_bytes(&self) -> usize {
        self.limits.payload_bytes()
    }
}

/// Capture time in ticks of 90 kHz.
pub fn ticks(pts_ns: u64) -> u32 {
    (u128::from(pts_ns) * 90 / 1_000_000) as u32
}

/// The shard that a packet is.
///
/// # Errors
/// [`Reject::TooShort`].
pub fn shard(packet: &[u8]) -> Result<Shard<'_>, Reject> {
    let word = |at: usize| {
        packet
            .get(at..at + 4)
            .and_then(|word| word.try_into().ok())
            .ok_or(Reject::TooShort)
    };
    let info = u32::from_le_bytes(word(28)?);
    let blocks = packet[27];
    let (k, percent) = (info >> 22, info >> 4 & 0xFF);
    Ok(Shard {
        frame: u32::from_le_bytes(word(20)?),
        frame_bytes: None,
        pts_ns: u64::from(u32::from_be_bytes(word(4)?)) * 100_000 / 9,
        flags: FLAG_PICTURE,
        block: u16::from(blocks >> 4 & 3),
        blocks: u16::from(blocks >> 6) + 1,
        k: k as u16,
        m: recovery_shards(k as usize, percent) as u16,
        index: (info >> 12 & 0x3FF) as u16,
        payload: packet,
    })
}

/// The access unit in what a frame's data packets hold together, and whether it is a key frame; `None` where the short
/// header does not fit.
pub fn unwrap(joined: &[u8], payload: usize) -> Option<(&[u8], bool)> {
    let header = joined.first_chunk::<SHORT_HEADER_BYTES>()?;
    let last = usize::from(u16::from_le_bytes([header[4], header[5]]));
    let end = (joined.len() / payload - 1) * payload + last;
    let access_unit = joined.get(SHORT_HEADER_BYTES..end)?;
    (header[0] == 1).then_some((access_unit, header[3] == 2))
}
