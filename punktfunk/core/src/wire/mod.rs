//! What packets look like, one file or folder a wire. Nothing outside of a wire's own files, packetizer and depacketizer knows
//! its header.

pub mod gamestream;
pub mod punktfunk1;
