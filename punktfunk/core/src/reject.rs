//! Why datagrams are dropped.

use thiserror::Error;

/// Why a received datagram was dropped. Every drop is counted under exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Reject {
    /// Longer than a datagram of the wire may be.
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
