//! What both ends of a GameStream video stream agree on, in RTSP and by HTTP.

use super::{HEAD_BYTES, MAX_DATAGRAM_BYTES, SEAL_BYTES, limits};
use crate::config::Receiving;
use crate::geometry::Limits;

/// Smallest packet size: a frame's short header and padding have room in one payload.
pub const MIN_PACKET_SIZE: usize = 48;
/// Largest packet size: a sealed packet fits a datagram that receivers look at.
pub const MAX_PACKET_SIZE: usize =
    (MAX_DATAGRAM_BYTES - super::BEYOND_PACKET_SIZE - SEAL_BYTES) / 16 * 16;

const _: () = assert!(MIN_PACKET_SIZE >= HEAD_BYTES);

/// What is coded in the frames; the end of a frame depends on it (gamestream section 7.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// H.264, whose decoders skip padding.
    #[default]
    H264,
    /// HEVC, likewise.
    Hevc,
    /// AV1: clients cut the last packet to its length, and drop a frame of which it has 8 bytes or less.
    Av1,
}

impl Codec {
    /// The codec of this name as configurations have it: `h264`, `hevc` or `av1`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "h264" => Some(Self::H264),
            "hevc" => Some(Self::Hevc),
            "av1" => Some(Self::Av1),
            _ => None,
        }
    }
}

/// Parameters that no client could have announced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GameStreamConfigError {
    /// The packet size is no multiple of 16 within the bounds.
    #[error(
        "packet_size must be a multiple of 16 in {MIN_PACKET_SIZE}..={MAX_PACKET_SIZE}, not {0}"
    )]
    PacketSize(usize),
    /// What is kept while receiving is out of bounds.
    #[error(transparent)]
    Receiving(#[from] crate::config::ConfigError),
    /// An all-zero key is a forgotten key.
    #[error("the key is all zeroes")]
    ZeroKey,
}

/// What both ends of a stream agree on, and the limits of the receiving one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GameStreamConfig {
    /// `x-nv-video[0].packetSize`, already reduced by the client where video is encrypted (section 7.1).
    pub packet_size: usize,
    /// Recovery shards in per cent of a block's data shards at first, at most 255.
    pub fec_percent: u32,
    /// Fewest recovery packets of a protected block: `minRequiredFecPackets`.
    pub min_fec: u8,
    /// The AES-128 key (`rikey`) where video is encrypted.
    pub key: Option<[u8; 16]>,
    /// What is coded in the frames.
    pub codec: Codec,
    /// The `pts_ns` that has RTP timestamp 0. Frames before it have 1, for 0 means that there is none (section 7.5).
    pub origin_ns: u64,
    /// What a receiver keeps, and for how long.
    pub receiving: Receiving,
}

impl Default for GameStreamConfig {
    fn default() -> Self {
        Self {
            packet_size: 1392,
            fec_percent: 20,
            min_fec: 2,
            key: None,
            codec: Codec::default(),
            origin_ns: 0,
            receiving: Receiving::default(),
        }
    }
}

impl GameStreamConfig {
    /// Hold the parameters against the limits of the wire.
    ///
    /// # Errors
    /// The first limit that does not hold.
    pub fn validate(&self) -> Result<(), GameStreamConfigError> {
        let size = self.packet_size;
        if !size.is_multiple_of(16) || !(MIN_PACKET_SIZE..=MAX_PACKET_SIZE).contains(&size) {
            return Err(GameStreamConfigError::PacketSize(size));
        }
        if self.key == Some([0; 16]) {
            return Err(GameStreamConfigError::ZeroKey);
        }
        Ok(self.receiving.validate()?)
    }

    /// What frames may look like.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        limits(self.packet_size)
    }

    /// Bytes in front of a packet's RTP header.
    #[must_use]
    pub const fn prefix_bytes(&self) -> usize {
        if self.key.is_some() { SEAL_BYTES } else { 0 }
    }

    /// Bytes of a packet on the wire, without IP and UDP headers.
    #[must_use]
    pub const fn packet_bytes(&self) -> usize {
        self.prefix_bytes() + self.limits().shard_bytes
    }
}
