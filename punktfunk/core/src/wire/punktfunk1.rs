//! The packet header of punktfunk/1 (section 4.4) and what the wire itself limits.
//!
//! ```text
//!  0        8           12          16          20         24          26          28   30   32    34    36
//!  | pts_ns | frame_idx | stream_sq | frame_len | usr_flag | block_idx | block_cnt | k  | m  | idx | len |
//!  |  u64   |    u32    |    u32    |    u32    |   u32    |    u16    |    u16    | u16| u16| u16 | u16 |
//!  36 magic 0xC9   37 version 1   38 fec scheme   39 flags                         all little-endian
//! ```
//!
//! A field that is added here is written by `packetize/punktfunk1.rs` and, where an application is to see it, goes the way
//! `Shard` → `reassemble/frame.rs` → `session/client/frame.rs` → `abi/session.rs` and `python/src/frame.rs`. Section 4.4 of
//! `docs/reference/wire/punktfunk1.md` has it too, and for captures `harness/dissect/punktfunk1.py`. Where the header gets
//! longer, `abi/config.rs` and `_HEADER_BYTES` of `punktfunk/client/probe.py` repeat its length. Python's tests read packets by
//! offset in `tests/security/test_hostile_packets.py`, `tests/e2e/test_interop_traps.py`, `tests/golden` and
//! `tests/unit/test_core_face.py`.

use crate::reject::Reject;
use crate::shard::Shard;

/// Bytes of the packet header.
pub const HEADER_BYTES: usize = 40;
/// First constant byte of every packet, at offset 36.
pub const MAGIC: u8 = 0xC9;
/// Header version (offset 37): 1 also for punktfunk/1 sessions (section 4.4).
pub const VERSION: u8 = 1;
/// Largest UDP payload that a receiver looks at: that of releases since v0.25.0 (section 2.5), which fill packets of 9000 bytes
/// where a path carries them. Receivers before look at 2048 (section 4.2).
pub const MAX_DATAGRAM_BYTES: usize = 9216;
/// Largest access unit (section 4.6).
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// Packet flag: carries picture data; always set.
pub const PACKET_PICTURE: u8 = 1;
/// Packet flag: last packet of its frame in emission order.
pub const PACKET_END_OF_FRAME: u8 = 2;
/// Packet flag: first packet of its frame.
pub const PACKET_START_OF_FRAME: u8 = 4;

/// The 40-byte header of a packet (section 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Capture time on the host's wall clock, ns since 1970.
    pub pts_ns: u64,
    /// Frame number from 0, wraps.
    pub frame_index: u32,
    /// Packet number over all frames from 0, wraps.
    pub stream_seq: u32,
    /// Exact length of the access unit.
    pub frame_bytes: u32,
    /// What the frame says about itself ([`crate::flags`]).
    pub user_flags: u32,
    /// Block of the frame.
    pub block_index: u16,
    /// Blocks of the frame.
    pub block_count: u16,
    /// Data shards `k` of this block.
    pub data_shards: u16,
    /// Recovery shards `m` of this block.
    pub recovery_shards: u16,
    /// Shard within the block: data below `k`, recovery from `k` on.
    pub shard_index: u16,
    /// Shard size of the session, bytes.
    pub shard_bytes: u16,
    /// Header version; receivers ignore it.
    pub version: u8,
    /// FEC scheme byte; receivers ignore it, the Welcome decides.
    pub fec_scheme: u8,
    /// [`PACKET_PICTURE`], [`PACKET_START_OF_FRAME`], [`PACKET_END_OF_FRAME`]; receivers ignore it.
    pub flags: u8,
}

impl Header {
    /// Write the header's wire form.
    pub fn write(&self, out: &mut [u8; HEADER_BYTES]) {
        out[0..8].copy_from_slice(&self.pts_ns.to_le_bytes());
        out[8..12].copy_from_slice(&self.frame_index.to_le_bytes());
        out[12..16].copy_from_slice(&self.stream_seq.to_le_bytes());
        out[16..20].copy_from_slice(&self.frame_bytes.to_le_bytes());
        out[20..24].copy_from_slice(&self.user_flags.to_le_bytes());
        out[24..26].copy_from_slice(&self.block_index.to_le_bytes());
        out[26..28].copy_from_slice(&self.block_count.to_le_bytes());
        out[28..30].copy_from_slice(&self.data_shards.to_le_bytes());
        out[30..32].copy_from_slice(&self.recovery_shards.to_le_bytes());
        out[32..34].copy_from_slice(&self.shard_index.to_le_bytes());
        out[34..36].copy_from_slice(&self.shard_bytes.to_le_bytes());
        out[36..40].copy_from_slice(&[MAGIC, self.version, self.fec_scheme, self.flags]);
    }

    /// Read the header at the front of a plain packet. Checks its length and magic, nothing else: see
    /// [`Header::shard`] and [`Shard::within`].
    ///
    /// # Errors
    /// [`Reject::TooShort`] or [`Reject::Magic`].
    pub fn parse(packet: &[u8]) -> Result<Self, Reject> {
        let bytes = packet
            .first_chunk::<HEADER_BYTES>()
            .ok_or(Reject::TooShort)?;
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if bytes[36] != MAGIC {
            return Err(Reject::Magic);
        }
        Ok(Self {
            pts_ns: u64::from(u32_at(0)) | u64::from(u32_at(4)) << 32,
            frame_index: u32_at(8),
            stream_seq: u32_at(12),
            frame_bytes: u32_at(16),
            user_flags: u32_at(20),
            block_index: u16_at(24),
            block_count: u16_at(26),
            data_shards: u16_at(28),
            recovery_shards: u16_at(30),
            shard_index: u16_at(32),
            shard_bytes: u16_at(34),
            version: bytes[37],
            fec_scheme: bytes[38],
            flags: bytes[39],
        })
    }

    /// The shard of `shard_bytes` that the packet has behind this header. A longer packet is fine and its rest ignored.
    ///
    /// # Errors
    /// [`Reject::ShardBytes`] or [`Reject::TooShort`], in the order of section 4.6.
    #[inline]
    pub fn shard<'a>(&self, packet: &'a [u8], shard_bytes: usize) -> Result<Shard<'a>, Reject> {
        if usize::from(self.shard_bytes) != shard_bytes {
            return Err(Reject::ShardBytes);
        }
        let payload = packet
            .get(HEADER_BYTES..HEADER_BYTES + shard_bytes)
            .ok_or(Reject::TooShort)?;
        Ok(Shard {
            frame: self.frame_index,
            frame_bytes: Some(self.frame_bytes),
            pts_ns: self.pts_ns,
            flags: self.user_flags,
            block: self.block_index,
            blocks: self.block_count,
            k: self.data_shards,
            m: self.recovery_shards,
            index: self.shard_index,
            payload,
        })
    }
}
