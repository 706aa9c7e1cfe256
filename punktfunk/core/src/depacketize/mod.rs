//! From datagrams to shards, and from joined shards to access units: what every wire's depacketizer does for a client's session.

pub mod gamestream;
pub mod punktfunk1;
mod unseal;

pub use unseal::{Unseal, Unsealer};

use std::ops::Range;

use crate::fec::Scheme;
use crate::geometry::Limits;
use crate::reject::Reject;
use crate::replay::ReplayWindow;
use crate::shard::Admitted;

/// A datagram that passed every check.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// What it brings.
    pub shard: Admitted<'a>,
    /// Number of the packet in the stream, wraps.
    pub number: u32,
    /// FEC percentage of its block, on a wire whose packets say it and are numbered block by block.
    pub percent: Option<u8>,
}

/// What the joined shards of a frame hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Where the access unit lies in them.
    pub bytes: Range<usize>,
    /// What the frame says about itself ([`crate::flags`]).
    pub flags: u32,
    /// Time from capture to sending as the host says it, ns.
    pub host_latency_ns: Option<u64>,
}

/// Reads the datagrams of one direction of a wire. What it has no use for it rejects, before anything is kept for it.
pub trait Depacketizer: Send {
    /// What frames may look like.
    fn limits(&self) -> &Limits;

    /// The code that protects them.
    fn scheme(&self) -> Scheme;

    /// Number of the stream's first frame; that of its first packet is 0.
    fn first_frame(&self) -> u32;

    /// Tells packets that came twice apart, where the wire itself does not.
    fn seen(&self) -> Option<ReplayWindow>;

    /// Read a datagram, which is decrypted in place.
    ///
    /// # Errors
    /// Why the datagram is dropped.
    fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<Arrival<'a>, Reject>;

    /// Find the access unit in the joined shards of a frame whose packets said `flags`; `None` where they hold none.
    fn content(&self, joined: &[u8], flags: u32) -> Option<Content>;
}
