//! The punktfunk protocol core: packets, FEC, crypto, pacing, sessions, link emulation.
//!
//! Nothing here knows Python, async or a wall clock. Protocol state machines take the time as an argument;
//! threads and sockets are a shell around them.

pub mod abi;
pub mod audio;
pub mod config;
pub mod crypto;
pub mod depacketize;
pub mod emulate;
pub mod enet;
pub mod fec;
pub mod flags;
pub mod geometry;
pub mod memory;
pub mod pacing;
pub mod packetize;
pub mod probe;
pub mod reassemble;
pub mod reject;
pub mod replay;
pub mod session;
pub mod shard;
pub mod sim;
pub mod stats;
pub mod stream;
pub mod transport;
pub mod tun;
pub mod wire;
