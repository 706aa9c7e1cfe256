//! The packets of punktfunk/1 (sections 4.2 to 4.6) on their way in.

use std::time::Duration;

use super::{Arrival, Content, Depacketizer};
use crate::config::{ConfigError, StreamConfig};
use crate::crypto::{CryptoError, Direction, Opener};
use crate::fec::Scheme;
use crate::geometry::Limits;
use crate::pacing::MAX_SESSION_PACKETS_PER_S;
use crate::reject::Reject;
use crate::replay::ReplayWindow;
use crate::wire::punktfunk1::{Header, MAX_DATAGRAM_BYTES};

/// Opens and reads the packets of a host.
pub struct Punktfunk1Depacketizer {
    limits: Limits,
    scheme: Scheme,
    opener: Option<Opener>,
    replay: ReplayWindow,
}

impl Punktfunk1Depacketizer {
    /// A depacketizer at the start of a session.
    ///
    /// # Errors
    /// [`ConfigError`] for parameters that no session may have.
    pub fn new(config: &StreamConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let window = Duration::from_nanos(config.loss_window_ns);
        let opener = config
            .key
            .map(|key| Opener::new(key, config.salt, Direction::HostToClient));
        Ok(Self {
            limits: config.limits(),
            scheme: config.scheme,
            opener,
            // At the default 120 ms the 131072 sequence numbers of section 2.5.
            replay: ReplayWindow::new(u64::from(MAX_SESSION_PACKETS_PER_S), window),
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
        // Where sequence numbers are authenticated the replay window has seen every duplicate already.
        self.opener.is_none().then(|| self.replay.clone())
    }

    fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<Arrival<'a>, Reject> {
        if datagram.len() > MAX_DATAGRAM_BYTES {
            return Err(Reject::TooLong);
        }
        let plain: &[u8] = match &self.opener {
            None => datagram,
            Some(opener) => {
                let (seq, plain) = opener.open_in_place(datagram).map_err(|e| match e {
                    CryptoError::TooShort(_) => Reject::TooShort,
                    _ => Reject::Auth,
                })?;
                if !self.replay.check_and_set(seq) {
                    return Err(Reject::Replay);
                }
                plain
            }
        };
        let header = Header::parse(plain)?;
        let shard = header
            .shard(plain, self.limits.shard_bytes)?
            .within(&self.limits)?;
        Ok(Arrival {
            shard,
            number: header.stream_seq,
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
