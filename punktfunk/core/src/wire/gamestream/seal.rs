//! Encrypted video packets (gamestream section 7.8): AES-128-GCM with the nonce in front, and the frame's number in clear.
//!
//! ```text
//!  0    12           16         32
//!  | IV | frameIndex | GCM tag | the whole packet, encrypted       IV = LE64(counter) ‖ 00 00 00 ‖ 'V'
//!  |    |  LE32      |         |
//! ```

use super::SEAL_BYTES;
use crate::crypto::CryptoError;
use crate::crypto::aead::Aes128Gcm;

const IV_BYTES: usize = 12;
const FRAME_AT: usize = IV_BYTES;
const TAG_AT: usize = 16;
/// Behind the counter, so that no other stream of the session can have the same nonce.
const STREAM: [u8; 4] = [0, 0, 0, b'V'];

/// Encrypts the packets of a session, each under a number of its own.
#[derive(Debug)]
pub struct VideoSealer {
    aead: Aes128Gcm,
    /// Number of the next packet; `None` when all are used.
    next: Option<u64>,
}

impl VideoSealer {
    /// A sealer at the start of a session.
    ///
    /// # Panics
    /// Never: 16 bytes are the length of an AES-128 key.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        Self {
            aead: Aes128Gcm::new(key),
            next: Some(0),
        }
    }

    /// Continue a session with packet `number`; tests alone have a reason to.
    pub fn set_next(&mut self, number: u64) {
        self.next = Some(number);
    }

    /// Seal `packet = 32 bytes of room || plain packet` of frame `frame` in place.
    ///
    /// # Errors
    /// [`CryptoError::TooShort`] without the room, [`CryptoError::Nonce`] when no number is left.
    pub fn seal_in_place(&mut self, frame: u32, packet: &mut [u8]) -> Result<(), CryptoError> {
        let length = packet.len();
        let Some((prefix, plain)) = packet.split_first_chunk_mut::<SEAL_BYTES>() else {
            return Err(CryptoError::TooShort(length));
        };
        let number = self.next.ok_or(CryptoError::Nonce(u64::MAX))?;
        self.next = number.checked_add(1);
        let mut iv = [0; IV_BYTES];
        iv[..8].copy_from_slice(&number.to_le_bytes());
        iv[8..].copy_from_slice(&STREAM);
        prefix[..IV_BYTES].copy_from_slice(&iv);
        prefix[FRAME_AT..TAG_AT].copy_from_slice(&frame.to_le_bytes());
        let tag = self.aead.seal(iv, &[], plain).ok_or(CryptoError::Auth)?;
        prefix[TAG_AT..].copy_from_slice(&tag);
        Ok(())
    }
}

/// Decrypts the packets of a session. Knows nothing of replays: see [`crate::replay::ReplayWindow`].
#[derive(Debug)]
pub struct VideoOpener {
    aead: Aes128Gcm,
}

impl VideoOpener {
    /// An opener with the session's key.
    ///
    /// # Panics
    /// Never: 16 bytes are the length of an AES-128 key.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        Self {
            aead: Aes128Gcm::new(key),
        }
    }

    /// Open a sealed packet in place: its number and the plain packet within it.
    ///
    /// # Errors
    /// [`CryptoError::TooShort`] or [`CryptoError::Auth`]; what the packet holds then is undefined.
    pub fn open_in_place<'a>(
        &self,
        packet: &'a mut [u8],
    ) -> Result<(u64, &'a mut [u8]), CryptoError> {
        let length = packet.len();
        let Some((prefix, text)) = packet.split_first_chunk_mut::<SEAL_BYTES>() else {
            return Err(CryptoError::TooShort(length));
        };
        let (Some(&iv), Ok(tag)) = (
            prefix.first_chunk::<IV_BYTES>(),
            prefix[TAG_AT..].try_into(),
        ) else {
            return Err(CryptoError::TooShort(length));
        };
        // Another stream's packet, be it of this session, is none of these.
        let Some(counter) = iv.strip_suffix(&STREAM).and_then(|c| c.try_into().ok()) else {
            return Err(CryptoError::Auth);
        };
        if !self.aead.open(iv, &[], tag, text) {
            return Err(CryptoError::Auth);
        }
        Ok((u64::from_le_bytes(counter), text))
    }
}
