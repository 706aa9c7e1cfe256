//! The video packets of GameStream (gamestream section 7) and what the wire itself limits.
//!
//! ```text
//!  0    1      2     4         8       12     16         20         24       25       26       27         28      32
//!  |0x90|type 0| seq |timestamp| ssrc 0| zero | counter<<8| frameIndex| flags| extra  | 0x10   | FEC block| fecInfo| payload
//!  |    |      | BE16|   BE32  |  BE32 |      |   LE32    |    LE32   |      |        |        |          |  LE32  |
//! ```
//!
//! The code covers the whole packet, and a part of the header is written after it: [`Covered`] is what has to be final before,
//! [`Stamp`] what comes behind (gamestream section 7.7).

mod config;
mod seal;
mod short_header;

pub use config::{Codec, GameStreamConfig, GameStreamConfigError};
pub use seal::{VideoOpener, VideoSealer};
pub use short_header::{FrameKind, ShortHeader};

use crate::flags::FLAG_PICTURE;
use crate::geometry::{Limits, recovery_shards};
use crate::reject::Reject;
use crate::shard::Shard;

/// RTP header, reserved bytes and video header in front of every packet's payload.
pub const HEAD_BYTES: usize = 32;
/// By how much a plain packet is longer than the announced packet size: RTP header and reserved bytes (section 7.1).
pub const BEYOND_PACKET_SIZE: usize = 16;
/// The header in front of every frame's bitstream (section 7.4).
pub const SHORT_HEADER_BYTES: usize = 8;
/// What encryption puts in front of a packet: IV, frame index and tag (section 7.8).
pub const SEAL_BYTES: usize = 32;
/// Blocks of a frame that two bits can say.
pub const MAX_BLOCKS: usize = 4;
/// Data shards of a block that ten bits can say; only one without recovery shards may have so many.
pub const MAX_BLOCK: usize = 1023;
/// Shards of a block that is protected, data and recovery (section 7.6).
pub const MAX_PROTECTED: usize = 255;
/// Number of a stream's first frame.
pub const FIRST_FRAME: u32 = 1;
/// Longest UDP payload that a receiver looks at; [`config::MAX_PACKET_SIZE`] keeps below it.
pub const MAX_DATAGRAM_BYTES: usize = 2048;

/// Version 2 and the extension bit, which clients insist on.
const RTP_FLAGS: u8 = 0x90;
const MULTI_FEC_FLAGS: u8 = 0x10;
const PICTURE: u8 = 1;
const END_OF_BLOCK: u8 = 2;
const START_OF_BLOCK: u8 = 4;

/// What frames in packets of `packet_size`, as a client announces it, may look like.
///
/// # Panics
/// If `packet_size` is not above 32.
#[must_use]
pub const fn limits(packet_size: usize) -> Limits {
    Limits {
        shard_bytes: packet_size + BEYOND_PACKET_SIZE,
        head_bytes: HEAD_BYTES,
        max_block: MAX_BLOCK,
        max_total: MAX_BLOCK,
        max_blocks: MAX_BLOCKS,
        max_frame_bytes: MAX_BLOCKS * MAX_BLOCK * (packet_size - BEYOND_PACKET_SIZE)
            - SHORT_HEADER_BYTES,
    }
}

/// Where a packet stands in its block, and the block in its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Block of the frame.
    pub block: u8,
    /// Blocks of the frame, 1 to 4.
    pub blocks: u8,
    /// Data shards of the block.
    pub k: u16,
    /// Shard within the block: data below `k`, recovery from `k` on.
    pub index: u16,
}

/// The header fields of a data packet that the code covers: recovery gives them back, and clients trust them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    /// Number of the packet in the stream; 24 bits of it are sent.
    pub counter: u32,
    /// Number of the frame, from 1.
    pub frame: u32,
    /// Place of the packet.
    pub position: Position,
}

impl Covered {
    /// Write the head of a data packet as the code wants it: what is stamped later is zero.
    pub fn write(&self, head: &mut [u8; HEAD_BYTES]) {
        let Position {
            block,
            blocks,
            k,
            index,
        } = self.position;
        head.fill(0);
        head[16..20].copy_from_slice(&(self.counter << 8).to_le_bytes());
        head[20..24].copy_from_slice(&self.frame.to_le_bytes());
        head[24] = PICTURE
            | if index == 0 { START_OF_BLOCK } else { 0 }
            | if index + 1 == k { END_OF_BLOCK } else { 0 };
        head[26] = MULTI_FEC_FLAGS;
        head[27] = multi_fec_blocks(block, blocks);
    }
}

/// The header fields that are written into every packet after the code ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// RTP sequence number.
    pub sequence: u16,
    /// Capture time in ticks of 90 kHz.
    pub ticks: u32,
    /// Number of the frame, from 1.
    pub frame: u32,
    /// Place of the packet.
    pub position: Position,
    /// FEC percentage, from which a receiver computes the recovery shards of the block.
    pub percent: u8,
}

impl Stamp {
    /// Write the fields; the others stay as they are.
    pub fn write(&self, head: &mut [u8; HEAD_BYTES]) {
        let Position {
            block,
            blocks,
            k,
            index,
        } = self.position;
        head[..2].copy_from_slice(&[RTP_FLAGS, 0]);
        head[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        head[4..8].copy_from_slice(&self.ticks.to_be_bytes());
        head[8..12].fill(0);
        head[20..24].copy_from_slice(&self.frame.to_le_bytes());
        head[27] = multi_fec_blocks(block, blocks);
        let info = u32::from(k) << 22 | u32::from(index) << 12 | u32::from(self.percent) << 4;
        head[28..32].copy_from_slice(&info.to_le_bytes());
    }

    /// Read the fields. Nothing is checked of them but that the packet is one of RTP with an extension.
    ///
    /// # Errors
    /// [`Reject::TooShort`] or [`Reject::Magic`].
    pub fn parse(packet: &[u8]) -> Result<Self, Reject> {
        let head = packet.first_chunk::<HEAD_BYTES>().ok_or(Reject::TooShort)?;
        if head[0] != RTP_FLAGS || head[1] != 0 {
            return Err(Reject::Magic);
        }
        let word = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        let info = u32::from_le_bytes(word(28));
        Ok(Self {
            sequence: u16::from_be_bytes([head[2], head[3]]),
            ticks: u32::from_be_bytes(word(4)),
            frame: u32::from_le_bytes(word(20)),
            position: Position {
                block: head[27] >> 4 & 3,
                blocks: (head[27] >> 6) + 1,
                k: (info >> 22) as u16,
                index: (info >> 12 & 0x3FF) as u16,
            },
            percent: (info >> 4) as u8,
        })
    }

    /// The shard that a packet with this head is, of a frame with this capture time.
    ///
    /// # Errors
    /// [`Reject::Geometry`] where no block that is protected could have so many shards.
    #[inline]
    pub fn shard<'a>(&self, packet: &'a [u8], pts_ns: u64) -> Result<Shard<'a>, Reject> {
        let (position, m) = (self.position, self.recovery());
        if m > 0 && usize::from(position.k) + m > MAX_PROTECTED {
            return Err(Reject::Geometry);
        }
        Ok(Shard {
            frame: self.frame,
            frame_bytes: None,
            pts_ns,
            flags: FLAG_PICTURE,
            block: u16::from(position.block),
            blocks: u16::from(position.blocks),
            k: position.k,
            m: m as u16,
            index: position.index,
            payload: packet,
        })
    }

    /// Recovery shards of the block, by the formula that both ends have.
    #[must_use]
    pub const fn recovery(&self) -> usize {
        recovery_shards(self.position.k as usize, self.percent as u32)
    }
}

/// The packet's number in the stream as far as 24 bits say it. Of a recovery packet it is output of the code.
#[must_use]
pub fn counter_of(head: &[u8; HEAD_BYTES]) -> u32 {
    u32::from_le_bytes([head[16], head[17], head[18], head[19]]) >> 8
}

const fn multi_fec_blocks(block: u8, blocks: u8) -> u8 {
    block << 4 | (blocks - 1) << 6
}

/// Return a time in ticks of 90 kHz, rounded down.
#[must_use]
pub const fn ticks(ns: u64) -> u64 {
    (ns as u128 * 9 / 100_000) as u64
}

/// Return the shortest time that [`ticks`] makes so many ticks of.
#[must_use]
pub const fn ticks_to_ns(ticks: u64) -> u64 {
    let ns = (ticks as u128 * 100_000).div_ceil(9);
    if ns > u64::MAX as u128 {
        u64::MAX
    } else {
        ns as u64
    }
}
