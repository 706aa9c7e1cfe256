//! What both ends of a stream agree on, and the limits that follow from it.

use crate::crypto::{OVERHEAD_BYTES, SEQ_BYTES};
use crate::fec::Scheme;
use crate::geometry::{Limits, recovery_shards};
use crate::wire::punktfunk1::{HEADER_BYTES, MAX_DATAGRAM_BYTES, MAX_FRAME_BYTES};

/// Largest shard: a sealed packet must fit a datagram that receivers look at (section 2.6).
pub const MAX_SHARD_BYTES: usize = MAX_DATAGRAM_BYTES - HEADER_BYTES - OVERHEAD_BYTES;

/// Stream parameters that a peer could not accept (punktfunk/1 section 2.6).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The shard payload is odd, zero or too long for a datagram.
    #[error("shard_bytes must be even and 2..={MAX_SHARD_BYTES}, not {0}")]
    ShardBytes(usize),
    /// No code of the scheme spans the largest block.
    #[error("a block of {k} data and {m} recovery shards exceeds the {scheme} limit of {limit}")]
    Block {
        /// Data shards of the largest block.
        k: usize,
        /// Its recovery shards.
        m: usize,
        /// Name of the code.
        scheme: Scheme,
        /// Most shards of one block.
        limit: usize,
    },
    /// A largest frame would need more blocks than the header can number.
    #[error("max_block_shards {0} splits a frame of max_frame_bytes into more than 65535 blocks")]
    Blocks(usize),
    /// The frame limit is zero or above the wire's.
    #[error("max_frame_bytes must be 1..={MAX_FRAME_BYTES}, not {0}")]
    FrameBytes(usize),
    /// An all-zero key is a forgotten key.
    #[error("the key is all zeroes")]
    ZeroKey,
    /// The window in frames is zero or would cost unbounded memory.
    #[error("loss_window_frames must be 1..=4096, not {0}")]
    LossWindow(u32),
}

/// What a receiver keeps, and for how long. It decides that alone, whatever the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiving {
    /// Keep frames back whose references are missing, until the stream can be decoded again.
    pub hold_undecodable: bool,
    /// Longest wait of a complete frame for an earlier incomplete one.
    pub reorder_window_ns: u64,
    /// A frame is given up when it is more than this many frames behind the newest one.
    pub loss_window_frames: u32,
    /// ... or when its pts is more than this behind the newest one's.
    pub loss_window_ns: u64,
    /// Most bytes of unfinished and unreleased frames.
    pub memory_cap_bytes: usize,
}

impl Default for Receiving {
    fn default() -> Self {
        Self {
            hold_undecodable: true,
            reorder_window_ns: 20_000_000,
            loss_window_frames: 64,
            loss_window_ns: 120_000_000,
            memory_cap_bytes: 256 << 20,
        }
    }
}

impl Receiving {
    /// Hold the window against what its frames may cost.
    ///
    /// # Errors
    /// [`ConfigError::LossWindow`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        if (1..=4096).contains(&self.loss_window_frames) {
            Ok(())
        } else {
            Err(ConfigError::LossWindow(self.loss_window_frames))
        }
    }
}

/// What both ends of a stream agree on, and the limits of the receiving one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// The code.
    pub scheme: Scheme,
    /// Recovery shards in per cent of a block's data shards, rounded up.
    pub fec_percent: u32,
    /// Most data shards of one block.
    pub max_block_shards: usize,
    /// Payload bytes of every packet.
    pub shard_bytes: usize,
    /// AES-128 key; `None` sends plain packets.
    pub key: Option<[u8; 16]>,
    /// Base salt of the nonces.
    pub salt: [u8; 4],
    /// Longest access unit that is sent or accepted.
    pub max_frame_bytes: usize,
    /// Keep frames back whose references are missing, until the stream can be decoded again.
    pub hold_undecodable: bool,
    /// Longest wait of a complete frame for an earlier incomplete one.
    pub reorder_window_ns: u64,
    /// A frame is given up when it is more than this many frames behind the newest one.
    pub loss_window_frames: u32,
    /// ... or when its pts is more than this behind the newest one's.
    pub loss_window_ns: u64,
    /// Most bytes of unfinished and unreleased frames.
    pub memory_cap_bytes: usize,
}

impl Default for StreamConfig {
    fn default() -> Self {
        let Receiving {
            hold_undecodable,
            reorder_window_ns,
            loss_window_frames,
            loss_window_ns,
            memory_cap_bytes,
        } = Receiving::default();
        Self {
            scheme: Scheme::Gf16,
            fec_percent: 20,
            max_block_shards: 4096,
            shard_bytes: 1200,
            key: None,
            salt: *b"pkf1",
            max_frame_bytes: MAX_FRAME_BYTES,
            hold_undecodable,
            reorder_window_ns,
            loss_window_frames,
            loss_window_ns,
            memory_cap_bytes,
        }
    }
}

impl StreamConfig {
    /// Hold the parameters against the limits that every receiver applies (section 2.6).
    ///
    /// # Errors
    /// The first limit that does not hold.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let shard = self.shard_bytes;
        if shard == 0 || !shard.is_multiple_of(2) || shard > MAX_SHARD_BYTES {
            return Err(ConfigError::ShardBytes(shard));
        }
        if self.max_frame_bytes == 0 || self.max_frame_bytes > MAX_FRAME_BYTES {
            return Err(ConfigError::FrameBytes(self.max_frame_bytes));
        }
        let k = self.max_block_shards;
        let m = recovery_shards(k, self.fec_percent);
        let limit = self.scheme.max_shards();
        if k == 0 || k.saturating_add(m) > limit {
            return Err(ConfigError::Block {
                k,
                m,
                scheme: self.scheme,
                limit,
            });
        }
        if self.limits().max_blocks > usize::from(u16::MAX) {
            return Err(ConfigError::Blocks(k));
        }
        if self.key == Some([0; 16]) {
            return Err(ConfigError::ZeroKey);
        }
        self.receiving().validate()
    }

    /// What a receiver of the stream keeps.
    #[must_use]
    pub const fn receiving(&self) -> Receiving {
        Receiving {
            hold_undecodable: self.hold_undecodable,
            reorder_window_ns: self.reorder_window_ns,
            loss_window_frames: self.loss_window_frames,
            loss_window_ns: self.loss_window_ns,
            memory_cap_bytes: self.memory_cap_bytes,
        }
    }

    /// What frames may look like; the ceilings follow from the parameters of the Welcome (sections 2.6 and 4.6).
    ///
    /// # Panics
    /// If the parameters are not valid.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let max_block = self.max_block_shards;
        let limits = Limits {
            shard_bytes: self.shard_bytes,
            head_bytes: 0,
            max_block,
            max_total: max_block
                .saturating_add(recovery_shards(max_block, self.fec_percent))
                .min(self.scheme.max_shards()),
            max_blocks: 0,
            max_frame_bytes: self.max_frame_bytes,
        };
        Limits {
            max_blocks: limits.geometry(self.max_frame_bytes, 0).block_count(),
            ..limits
        }
    }

    /// Bytes of a packet on the wire, without IP and UDP headers.
    #[must_use]
    pub fn packet_bytes(&self) -> usize {
        HEADER_BYTES + self.shard_bytes + self.seal_bytes()
    }

    /// Bytes in front of the header.
    #[must_use]
    pub fn prefix_bytes(&self) -> usize {
        if self.key.is_some() { SEQ_BYTES } else { 0 }
    }

    fn seal_bytes(&self) -> usize {
        if self.key.is_some() {
            OVERHEAD_BYTES
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut StreamConfig)) -> StreamConfig {
        let mut config = StreamConfig::default();
        change(&mut config);
        config
    }

    fn gf8(max_block_shards: usize) -> StreamConfig {
        with(|c| {
            c.scheme = Scheme::Gf8;
            c.max_block_shards = max_block_shards;
        })
    }

    #[test]
    fn every_parameter_is_accepted_at_its_limit() {
        for config in [
            with(|c| c.shard_bytes = 2),
            with(|c| c.shard_bytes = MAX_SHARD_BYTES),
            with(|c| c.max_frame_bytes = 1),
            with(|c| c.max_frame_bytes = MAX_FRAME_BYTES),
            with(|c| c.max_block_shards = 1),
            // 212 + 43 shards.
            gf8(212),
            with(|c| (c.shard_bytes, c.max_block_shards, c.max_frame_bytes) = (2, 1, 131_070)),
            with(|c| c.key = Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
            with(|c| c.loss_window_frames = 1),
            with(|c| c.loss_window_frames = 4096),
        ] {
            assert_eq!(config.validate(), Ok(()), "{config:?}");
        }
    }

    #[test]
    fn a_parameter_beyond_its_limit_is_refused_by_name() {
        let block = |scheme, k, m, limit| ConfigError::Block {
            k,
            m,
            scheme,
            limit,
        };
        for (config, error) in [
            (with(|c| c.shard_bytes = 0), ConfigError::ShardBytes(0)),
            (with(|c| c.shard_bytes = 3), ConfigError::ShardBytes(3)),
            (
                with(|c| c.shard_bytes = MAX_SHARD_BYTES + 2),
                ConfigError::ShardBytes(MAX_SHARD_BYTES + 2),
            ),
            (with(|c| c.max_frame_bytes = 0), ConfigError::FrameBytes(0)),
            (
                with(|c| c.max_frame_bytes = MAX_FRAME_BYTES + 1),
                ConfigError::FrameBytes(MAX_FRAME_BYTES + 1),
            ),
            (
                with(|c| c.max_block_shards = 0),
                block(Scheme::Gf16, 0, 0, 65535),
            ),
            (gf8(213), block(Scheme::Gf8, 213, 43, 255)),
            (
                with(|c| (c.shard_bytes, c.max_block_shards, c.max_frame_bytes) = (2, 1, 131_071)),
                ConfigError::Blocks(1),
            ),
            (with(|c| c.key = Some([0; 16])), ConfigError::ZeroKey),
            (
                with(|c| c.loss_window_frames = 0),
                ConfigError::LossWindow(0),
            ),
            (
                with(|c| c.loss_window_frames = 4097),
                ConfigError::LossWindow(4097),
            ),
        ] {
            assert_eq!(config.validate(), Err(error));
        }
    }

    #[test]
    fn limits_and_sizes_follow_from_the_parameters() {
        let limits = with(|c| {
            c.shard_bytes = 1000;
            c.max_block_shards = 11;
            c.max_frame_bytes = 1_000_001;
        })
        .limits();
        assert_eq!((limits.shard_bytes, limits.max_block), (1000, 11));
        // 3 recovery shards to 11; 1001 shards in blocks of 11.
        assert_eq!((limits.max_total, limits.max_blocks), (14, 91));
        assert_eq!(limits.max_frame_bytes, 1_000_001);
        assert_eq!(gf8(230).limits().max_total, 255);

        let plain = StreamConfig::default();
        assert_eq!((plain.prefix_bytes(), plain.packet_bytes()), (0, 1240));
        let sealed = with(|c| c.key = Some([7; 16]));
        assert_eq!((sealed.prefix_bytes(), sealed.packet_bytes()), (8, 1264));
        assert_eq!(MAX_SHARD_BYTES + 64, 9216);
    }
}
