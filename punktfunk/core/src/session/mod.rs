//! Host and client sessions as state machines without I/O or clock.
//!
//! A session opens no socket, reads no clock and draws no randomness: every call that needs the time takes it.
//! The simulation drives them in virtual time, [`crate::stream`] with threads and sockets.

pub mod client;
pub mod host;
pub mod loss;
pub mod packetize;
pub mod recovery;

pub use client::{ClientSession, Receipt};
pub use host::{HostSession, HostSettings};

pub use crate::config::{ConfigError, MAX_SHARD_BYTES, StreamConfig};

/// A picture; every frame of video has it (punktfunk/1 section 4.4).
pub const FLAG_PICTURE: u32 = 0x01;
/// A key frame: decodable without any other.
pub const FLAG_KEY: u32 = 0x04;
/// Filler of a bandwidth probe, taken out before the decoder (section 2.4).
pub const FLAG_PROBE: u32 = 0x08;
/// The decoder recovers here (section 2.5): intra refresh done, or a reference that the client is known to hold.
pub const FLAG_RECOVERY_POINT: u32 = 0x10;
/// A frame coded against an acknowledged anchor only (section 2.5).
pub const FLAG_RECOVERY_ANCHOR: u32 = 0x20;
/// A frame with any of these can be decoded whatever was lost before it.
pub const FLAGS_DECODABLE: u32 = FLAG_KEY | FLAG_RECOVERY_POINT | FLAG_RECOVERY_ANCHOR;
