//! What comes before a header is read, on every wire: the length, the cipher, and that no packet counts twice.

use std::time::Duration;

use crate::crypto::CryptoError;
use crate::pacing::MAX_SESSION_PACKETS_PER_S;
use crate::reject::Reject;
use crate::replay::ReplayWindow;

/// A wire's cipher on its way in: a packet's number under which it authenticates, and what is in it.
pub trait Unseal: Send {
    /// Decrypt a packet in place.
    ///
    /// # Errors
    /// [`CryptoError`]; what the packet holds then is undefined.
    fn open_in_place<'a>(&self, packet: &'a mut [u8]) -> Result<(u64, &'a mut [u8]), CryptoError>;
}

/// Opens the datagrams of one direction, each once.
pub struct Unsealer<C> {
    cipher: Option<C>,
    replay: ReplayWindow,
    max_datagram_bytes: usize,
}

impl<C: Unseal> Unsealer<C> {
    /// An unsealer at the start of a stream, plain where there is no cipher. It knows a packet again for as long as `window_ns`,
    /// the loss window, lets one arrive: at the default 120 ms the 131072 numbers of punktfunk/1 section 2.5.
    #[must_use]
    pub fn new(cipher: Option<C>, window_ns: u64, max_datagram_bytes: usize) -> Self {
        let window = Duration::from_nanos(window_ns);
        Self {
            cipher,
            replay: ReplayWindow::new(u64::from(MAX_SESSION_PACKETS_PER_S), window),
            max_datagram_bytes,
        }
    }

    /// Tells packets that came twice apart where nothing is sealed. Where numbers are authenticated every duplicate has been seen.
    #[must_use]
    pub fn seen(&self) -> Option<ReplayWindow> {
        self.cipher.is_none().then(|| self.replay.clone())
    }

    /// The plain packet that a datagram is or holds.
    ///
    /// # Errors
    /// [`Reject::TooLong`], [`Reject::TooShort`], [`Reject::Auth`] or [`Reject::Replay`].
    pub fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<&'a [u8], Reject> {
        if datagram.len() > self.max_datagram_bytes {
            return Err(Reject::TooLong);
        }
        let Some(cipher) = &self.cipher else {
            return Ok(datagram);
        };
        let (number, plain) = cipher
            .open_in_place(datagram)
            .map_err(|error| match error {
                CryptoError::TooShort(_) => Reject::TooShort,
                CryptoError::Auth | CryptoError::Nonce(_) => Reject::Auth,
            })?;
        if self.replay.check_and_set(number) {
            Ok(plain)
        } else {
            Err(Reject::Replay)
        }
    }
}
