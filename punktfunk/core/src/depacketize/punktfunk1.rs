//! The packets of punktfunk/1 (sections 4.2 to 4.6) on their way in.

use super::{Arrival, Content, Depacketizer, Unseal, Unsealer};
use crate::config::{ConfigError, StreamConfig};
use crate::crypto::{CryptoError, Direction, Opener};
use crate::fec::Scheme;
use crate::geometry::Limits;
use crate::reject::Reject;
use crate::replay::ReplayWindow;
use crate::wire::punktfunk1::{Header, MAX_DATAGRAM_BYTES};

impl Unseal for Opener {
    fn open_in_place<'a>(&self, packet: &'a mut [u8]) -> Result<(u64, &'a mut [u8]), CryptoError> {
        self.open_in_place(packet)
    }
}

/// Opens and reads the packets of a host.
pub struct Punktfunk1Depacketizer {
    limits: Limits,
    scheme: Scheme,
    unsealer: Unsealer<Opener>,
}

impl Punktfunk1Depacketizer {
    /// A depacketizer at the start of a session.
    ///
    /// # Errors
    /// [`ConfigError`] for parameters that no session may have.
    pub fn new(config: &StreamConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let opener = config
            .key
            .map(|key| Opener::new(key, config.salt, Direction::HostToClient));
        Ok(Self {
            limits: config.limits(),
            scheme: config.scheme,
            unsealer: Unsealer::new(opener, config.loss_window_ns, MAX_DATAGRAM_BYTES),
        })
    }
}

impl Depacketizer for Punktfunk1Depacketizer {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn first_frame(&self) -> u32 {
        0
    }

    fn seen(&self) -> Option<ReplayWindow> {
        self.unsealer.seen()
    }

    fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<Arrival<'a>, Reject> {
        let plain = self.unsealer.open(datagram)?;
        let header = Header::parse(plain)?;
        let shard = header
            .shard(plain, self.limits.shard_bytes)?
            .within(&self.limits)?;
        Ok(Arrival {
            shard,
            number: header.stream_seq,
            percent: None,
        })
    }

    fn content(&self, joined: &[u8], flags: u32) -> Option<Content> {
        Some(Content {
            bytes: 0..joined.len(),
            flags,
            host_latency_ns: None,
        })
    }
}
