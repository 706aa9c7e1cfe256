//! From access units to packets: what every wire's packetizer does for a host's session.

pub mod gamestream;
pub mod punktfunk1;

use crate::crypto::CryptoError;
use crate::fec::FecError;
use crate::memory::pool::PooledBuf;
use crate::stats::HostRecord;

/// An access unit on its way out, and what a wire may have to say with it.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The access unit.
    pub data: &'a [u8],
    /// Capture time for the receiver, ns of the session's clock.
    pub pts_ns: u64,
    /// What the frame says about itself ([`crate::flags`]).
    pub flags: u32,
    /// Time since its capture; `None` where nobody knows it, as of a picture that is shown again.
    pub age_ns: Option<u64>,
}

/// Cuts and protects access units; owns every number of its direction of a wire.
pub trait Packetizer: Send {
    /// Make the packets of one access unit with `percent` of recovery shards.
    ///
    /// # Errors
    /// [`SubmitError`]; no number is used up and the session can go on.
    fn packetize(&mut self, unit: Outgoing<'_>, percent: u32) -> Result<SealedFrame, SubmitError>;

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
    /// More packets than the wire's header can say (gamestream section 7.3): the rate control has failed.
    #[error(
        "a frame of {packets} packets exceeds the {limit} that GameStream can say; lower the bitrate"
    )]
    TooManyPackets {
        /// Data packets that the frame needs.
        packets: usize,
        /// Most that four blocks can have.
        limit: usize,
    },
    /// Filler of a bandwidth probe on a wire that has no probes: a client would decode it.
    #[error("GameStream carries no filler of bandwidth probes")]
    NoFiller,
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
