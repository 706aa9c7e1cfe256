//! An access unit as it is handed out.

use crate::memory::meter::Metered;
use crate::memory::pool::PooledBuf;
use crate::session::FLAG_KEY;

/// One access unit, in its turn.
#[derive(Debug)]
pub struct Frame {
    /// Index on the wire.
    pub index: u32,
    /// Host's capture time.
    pub pts_ns: u64,
    /// What the frame says about itself ([`crate::flags`]).
    pub flags: u32,
    /// Every frame it refers to was released before it.
    pub decodable: bool,
    /// Frames that were left out between the one released before and this one.
    pub gap: u32,
    /// When its first packet came, ns.
    pub recv_first_ns: i64,
    /// When the packet that completed it came, ns.
    pub recv_last_ns: i64,
    /// When its last block was whole, ns.
    pub complete_ns: i64,
    /// When it was released, ns.
    pub released_ns: i64,
    /// Time from capture to sending as the host says it, ns; -1 where it does not.
    pub host_latency_ns: i64,
    /// The access unit.
    pub data: PooledBuf,
    /// On the meter until somebody takes the frame over.
    pub(super) memory: Option<Metered>,
}

impl Frame {
    /// Whoever takes the frame now answers for its memory.
    pub fn take_over(&mut self) {
        self.memory = None;
    }

    /// Decodable without any other frame.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.flags & FLAG_KEY != 0
    }
}
