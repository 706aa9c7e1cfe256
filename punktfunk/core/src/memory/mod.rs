//! Memory that a peer can make grow: buffers that are reused, and the count of what is held.

pub mod meter;
pub mod pool;
