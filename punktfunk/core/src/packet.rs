//! The punktfunk/1 packet header, the geometry of a frame and the bounds a receiver checks (sections 4.4 to 4.6).
//!
//! ```text
//!  0        8           12          16          20         24          26          28   30   32    34    36
//!  | pts_ns | frame_idx | stream_sq | frame_len | usr_flag | block_idx | block_cnt | k  | m  | idx | len |
//!  |  u64   |    u32    |    u32    |    u32    |   u32    |    u16    |    u16    | u16| u16| u16 | u16 |
//!  36 magic 0xC9   37 version 1   38 fec scheme   39 flags                         all little-endian
//! ```

use thiserror::Error;

use crate::fec::Scheme;

/// Bytes of the packet header.
pub const HEADER_BYTES: usize = 40;
/// First constant byte of every packet, at offset 36.
pub const MAGIC: u8 = 0xC9;
/// Header version (offset 37): 1 also for punktfunk/1 sessions (spec 4.4).
pub const VERSION: u8 = 1;
/// Largest UDP payload that a receiver looks at (spec 4.2).
pub const MAX_DATAGRAM_BYTES: usize = 2048;
/// Largest access unit (spec 4.6).
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// Packet flag: carries picture data; always set.
pub const PACKET_PICTURE: u8 = 1;
/// Packet flag: last packet of its frame in emission order.
pub const PACKET_END_OF_FRAME: u8 = 2;
/// Packet flag: first packet of its frame.
pub const PACKET_START_OF_FRAME: u8 = 4;

/// User flag: the frame is a picture.
pub const USER_PICTURE: u32 = 1;
/// User flag: the frame can be decoded without another.
pub const USER_KEY: u32 = 4;

/// Why a received datagram was dropped. Every drop is counted under exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Reject {
    /// Longer than [`MAX_DATAGRAM_BYTES`].
    #[error("longer than a datagram may be")]
    TooLong,
    /// Shorter than its header and shard.
    #[error("shorter than header and shard")]
    TooShort,
    /// Does not authenticate.
    #[error("does not authenticate")]
    Auth,
    /// Sequence number was seen before, or is behind the replay window.
    #[error("replayed")]
    Replay,
    /// Magic byte is wrong.
    #[error("magic byte is wrong")]
    Magic,
    /// Shard size is not the session's.
    #[error("shard size is not the session's")]
    ShardBytes,
    /// Counts or indices are outside of the session's limits.
    #[error("counts or indices are outside of the session's limits")]
    Geometry,
    /// Access unit would be larger than the session allows, or does not fit its blocks.
    #[error("access unit is larger than allowed")]
    FrameBytes,
    /// Differs in `k` or `m` from the block's first packet.
    #[error("differs from its block's first packet")]
    BlockMismatch,
    /// Differs in size or block count from the frame's first packet.
    #[error("differs from its frame's first packet")]
    FrameMismatch,
    /// The memory cap has no room for its frame.
    #[error("memory cap has no room for its frame")]
    Memory,
}

impl Reject {
    /// All reasons, in the order of [`Reject::index`].
    pub const ALL: [Self; 11] = [
        Self::TooLong,
        Self::TooShort,
        Self::Auth,
        Self::Replay,
        Self::Magic,
        Self::ShardBytes,
        Self::Geometry,
        Self::FrameBytes,
        Self::BlockMismatch,
        Self::FrameMismatch,
        Self::Memory,
    ];

    /// Position in [`Reject::ALL`], for an array of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Name of the counter: `rejected_<name>`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::TooShort => "too_short",
            Self::Auth => "auth",
            Self::Replay => "replay",
            Self::Magic => "magic",
            Self::ShardBytes => "shard_bytes",
            Self::Geometry => "geometry",
            Self::FrameBytes => "frame_bytes",
            Self::BlockMismatch => "block_mismatch",
            Self::FrameMismatch => "frame_mismatch",
            Self::Memory => "memory",
        }
    }
}

/// The 40-byte header of a packet (spec 4.4).
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
    /// [`USER_PICTURE`], [`USER_KEY`].
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
    /// [`Limits::check`].
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
}

/// Why an access unit cannot be cut into packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GeometryError {
    /// Shard size or block size is 0.
    #[error("shard size and block size must not be 0")]
    Zero,
    /// Access unit is longer than the header's 32 bits can say.
    #[error("an access unit of {0} bytes is longer than a header can say")]
    FrameBytes(usize),
    /// More than 65535 blocks.
    #[error("the access unit needs {0} blocks; a header can say 65535")]
    Blocks(usize),
    /// A block would hold more shards than the scheme allows.
    #[error(
        "a block of {data} data and {recovery} recovery shards is more than the {limit} that fit"
    )]
    Shards {
        /// Data shards.
        data: usize,
        /// Recovery shards.
        recovery: usize,
        /// What the scheme allows together.
        limit: usize,
    },
}

/// How one access unit is cut into blocks and shards (spec 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    frame_bytes: usize,
    shard_bytes: usize,
    total: usize,
    max_block: usize,
    percent: usize,
}

/// One block of a [`Geometry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Position within the frame.
    pub index: usize,
    /// First data shard of the block, counted over the frame.
    pub first_shard: usize,
    /// Data shards `k`.
    pub data_shards: usize,
    /// Recovery shards `m`.
    pub recovery_shards: usize,
}

impl Geometry {
    /// Cut an access unit of `frame_bytes` (0 gives one shard of zeros) into shards of `shard_bytes`, at most
    /// `max_block` data shards to a block, with `percent` % recovery shards rounded up.
    ///
    /// # Errors
    /// [`GeometryError`] for anything that a header cannot say.
    pub fn new(
        frame_bytes: usize,
        shard_bytes: usize,
        max_block: usize,
        percent: usize,
    ) -> Result<Self, GeometryError> {
        if shard_bytes == 0 || max_block == 0 {
            return Err(GeometryError::Zero);
        }
        if u32::try_from(frame_bytes).is_err() {
            return Err(GeometryError::FrameBytes(frame_bytes));
        }
        let total = frame_bytes.div_ceil(shard_bytes).max(1);
        let geometry = Self {
            frame_bytes,
            shard_bytes,
            total,
            max_block,
            percent,
        };
        if geometry.block_count() > 65535 {
            return Err(GeometryError::Blocks(geometry.block_count()));
        }
        geometry.fits(65535)?;
        Ok(geometry)
    }

    /// Check the largest block against the ceiling of a scheme.
    ///
    /// # Errors
    /// [`GeometryError::Shards`].
    pub fn check(&self, scheme: Scheme) -> Result<(), GeometryError> {
        self.fits(scheme.max_shards())
    }

    fn fits(&self, limit: usize) -> Result<(), GeometryError> {
        let data = self.total.min(self.max_block);
        let recovery = recovery_shards(data, self.percent);
        if data.saturating_add(recovery) > limit {
            return Err(GeometryError::Shards {
                data,
                recovery,
                limit,
            });
        }
        Ok(())
    }

    /// Length of the access unit.
    #[must_use]
    pub const fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// Shard size.
    #[must_use]
    pub const fn shard_bytes(&self) -> usize {
        self.shard_bytes
    }

    /// Data shards over all blocks.
    #[must_use]
    pub const fn data_shards(&self) -> usize {
        self.total
    }

    /// Number of blocks.
    #[must_use]
    pub const fn block_count(&self) -> usize {
        self.total.div_ceil(self.max_block)
    }

    /// Packets over all blocks: data and recovery shards.
    #[must_use]
    pub fn packets(&self) -> usize {
        self.blocks()
            .map(|block| block.data_shards + block.recovery_shards)
            .sum()
    }

    /// Block `index`; only the last block is shorter than the others.
    ///
    /// # Panics
    /// If there is no such block.
    #[must_use]
    pub fn block(&self, index: usize) -> Block {
        assert!(
            index < self.block_count(),
            "block {index} of {}",
            self.block_count()
        );
        let first_shard = index * self.max_block;
        let data_shards = (self.total - first_shard).min(self.max_block);
        Block {
            index,
            first_shard,
            data_shards,
            recovery_shards: recovery_shards(data_shards, self.percent),
        }
    }

    /// All blocks in emission order: within each, its data shards and then its recovery shards.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = Block> + '_ {
        (0..self.block_count()).map(|index| self.block(index))
    }
}

/// Recovery shards of a block: `ceil(k * percent / 100)`.
#[must_use]
pub const fn recovery_shards(data_shards: usize, percent: usize) -> usize {
    data_shards.saturating_mul(percent).div_ceil(100)
}

/// What a receiver accepts, derived from the session's parameters before the first packet (spec 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Shard size of the session.
    pub shard_bytes: usize,
    /// Most data shards of a block.
    pub max_block: usize,
    /// Most shards of a block, data and recovery.
    pub max_total: usize,
    /// Most blocks of a frame.
    pub max_blocks: usize,
    /// Longest access unit.
    pub max_frame_bytes: usize,
}

impl Limits {
    /// Limits of a session; `max_frame_bytes` is [`MAX_FRAME_BYTES`] on the reference.
    ///
    /// # Errors
    /// [`GeometryError::Zero`] for a shard or block size of 0.
    pub fn new(
        scheme: Scheme,
        shard_bytes: usize,
        max_block: usize,
        percent: usize,
        max_frame_bytes: usize,
    ) -> Result<Self, GeometryError> {
        if shard_bytes == 0 || max_block == 0 {
            return Err(GeometryError::Zero);
        }
        let max_total = max_block
            .saturating_add(recovery_shards(max_block, percent))
            .min(scheme.max_shards());
        let max_blocks = max_frame_bytes
            .div_ceil(shard_bytes)
            .max(1)
            .div_ceil(max_block);
        Ok(Self {
            shard_bytes,
            max_block,
            max_total,
            max_blocks,
            max_frame_bytes,
        })
    }

    /// Check a header, and the length of the plain packet it came with, in the order of spec 4.6 step 2. A
    /// longer packet is fine and its rest ignored.
    ///
    /// # Errors
    /// The first of [`Reject::ShardBytes`], [`Reject::TooShort`], [`Reject::Geometry`], [`Reject::FrameBytes`]
    /// that applies.
    pub fn check(&self, header: &Header, packet_bytes: usize) -> Result<(), Reject> {
        if usize::from(header.shard_bytes) != self.shard_bytes {
            return Err(Reject::ShardBytes);
        }
        if packet_bytes < HEADER_BYTES + self.shard_bytes {
            return Err(Reject::TooShort);
        }
        let (k, m) = (
            usize::from(header.data_shards),
            usize::from(header.recovery_shards),
        );
        let blocks = usize::from(header.block_count);
        if k == 0
            || k > self.max_block
            || k + m > self.max_total
            || usize::from(header.shard_index) >= k + m
            || blocks == 0
            || blocks > self.max_blocks
            || header.block_index >= header.block_count
        {
            return Err(Reject::Geometry);
        }
        if header.frame_bytes as usize > self.max_frame_bytes {
            return Err(Reject::FrameBytes);
        }
        Ok(())
    }
}
