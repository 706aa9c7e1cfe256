//! Host and client sessions as state machines without I/O or clock.
//!
//! A session opens no socket, reads no clock and draws no randomness: every call that needs the time takes it.
//! The simulation drives them in virtual time, [`crate::stream`] with threads and sockets.

pub mod client;
pub mod host;
pub mod loss;
pub mod recovery;

pub use client::{BlockReport, ClientSession, Receipt};
pub use host::{HostSession, HostSettings};

pub use crate::config::{ConfigError, MAX_SHARD_BYTES, StreamConfig};
pub use crate::flags::{
    FLAG_KEY, FLAG_PICTURE, FLAG_PROBE, FLAG_RECOVERY_ANCHOR, FLAG_RECOVERY_POINT, FLAGS_DECODABLE,
};
