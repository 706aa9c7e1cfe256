//! From access units to packets: what every wire's packetizer does for a host's session.

pub mod punktfunk1;

use crate::crypto::CryptoError;
use crate::fec::FecError;
use crate::memory::pool::PooledBuf;
use crate::stats::HostRecord;

/// Cuts and protects access units; owns every number of its direction of a wire.
pub trait Packetizer: Send {
    /// Make the packets of one access unit with `percent` of recovery shards.
    ///
    /// # Errors
    /// [`SubmitError`]; no number is used up and the session can go on.
    fn packetize(
        &mut self,
        access_unit: &[u8],
        pts_ns: u64,
        flags: u32,
        percent: u32,
    ) -> Result<SealedFrame, SubmitError>;

    /// Bytes of every packet on the wire, without IP and UDP headers.
    fn packet_bytes(&self) -> usize;

    /// Bytes of the access unit in a data packet, from which the pacer knows how many packets a rate makes.
    fn payload_bytes(&self) -> usize;
}

/// The packets of one frame, ready to leave, one after another in one buffer.
#[derive(Debug)]
pub struct SealedFrame {
    /// `packets` packets of `stride` bytes.
    pub buffer: PooledBuf,
    /// Bytes of every packet.
    pub stride: usize,
    /// Packets in the buffer.
    pub packets: u32,
    /// Index on the wire.
    pub index: u32,
    /// What the frame says about itself ([`crate::flags`]).
    pub flags: u32,
    /// What is known about the frame so far.
    pub record: HostRecord,
}

/// An access unit that cannot be sent. The session goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Longer than the stream's `max_frame_bytes`.
    #[error("an access unit of {bytes} bytes exceeds max_frame_bytes {limit}")]
    TooLong {
        /// Bytes of the access unit.
        bytes: usize,
        /// The stream's limit.
        limit: usize,
    },
    /// The code refused the geometry.
    #[error("no code for a block of {k} data and {m} recovery shards: {source}")]
    Fec {
        /// Data shards of the block.
        k: usize,
        /// Recovery shards of the block.
        m: usize,
        /// The codec's words.
        source: FecError,
    },
    /// No sequence number is left that would not repeat a nonce.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}
