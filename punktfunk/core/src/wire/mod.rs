//! What packets look like, one file a wire. Nothing outside of a wire's own file and packetizer knows its header.

pub mod punktfunk1;
