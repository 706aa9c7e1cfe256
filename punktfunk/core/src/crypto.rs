//! AES-128-GCM packet protection (punktfunk/1 section 4.3).
//!
//! A sealed packet is `seq (u64 big-endian) || ciphertext || tag`. The nonce is the direction's salt followed by
//! the sequence number, the additional data is the sequence number.

pub(crate) mod aead;

use std::fmt;

use thiserror::Error;

use self::aead::Aes128Gcm;
pub use self::aead::LIBRARY;

/// Bytes of the sequence number in front of a sealed packet.
pub const SEQ_BYTES: usize = 8;
/// Bytes of the authentication tag behind it.
pub const TAG_BYTES: usize = 16;
/// What sealing adds to a packet.
pub const OVERHEAD_BYTES: usize = SEQ_BYTES + TAG_BYTES;

/// Who sends: the top bit of the first salt byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the host (the encoder).
    HostToClient,
    /// From the client.
    ClientToHost,
}

/// Why a packet could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CryptoError {
    /// Shorter than sequence number and tag.
    #[error("{0} bytes are too few for a sealed packet")]
    TooShort(usize),
    /// The tag does not fit: damaged, forged, or sealed with another key, salt or direction.
    #[error("the packet does not authenticate")]
    Auth,
    /// The sequence number was used before, or none is left; sealing would repeat a nonce.
    #[error("sequence number {0} would repeat a nonce")]
    Nonce(u64),
}

/// An AES-128-GCM key with the salt of one direction.
pub struct Key {
    aead: Aes128Gcm,
    salt: [u8; 4],
}

impl Key {
    /// Expand `key` and put the direction into the top bit of the salt.
    ///
    /// # Panics
    /// Never: 16 bytes are the length of an AES-128 key.
    #[must_use]
    pub fn new(key: [u8; 16], salt: [u8; 4], direction: Direction) -> Self {
        let mut salt = salt;
        salt[0] = (salt[0] & 0x7F)
            | if direction == Direction::ClientToHost {
                0x80
            } else {
                0
            };
        Self {
            aead: Aes128Gcm::new(key),
            salt,
        }
    }

    fn nonce(&self, seq: [u8; 8]) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.salt);
        nonce[4..].copy_from_slice(&seq);
        nonce
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Seals the packets of one direction; refuses to use a sequence number twice.
#[derive(Debug)]
pub struct Sealer {
    key: Key,
    /// Smallest sequence number that was not used; `None` when all are gone.
    next: Option<u64>,
}

impl Sealer {
    /// A sealer that starts at sequence number 0.
    #[must_use]
    pub fn new(key: [u8; 16], salt: [u8; 4], direction: Direction) -> Self {
        Self {
            key: Key::new(key, salt, direction),
            next: Some(0),
        }
    }

    /// The smallest sequence number that may be sealed next, `None` when all are used.
    #[must_use]
    pub const fn next_seq(&self) -> Option<u64> {
        self.next
    }

    /// Seal `packet = 8 bytes of room || plaintext || 16 bytes of room` in place under `seq`.
    ///
    /// Sequence numbers may leave gaps but only rise.
    ///
    /// # Errors
    /// [`CryptoError::Nonce`] for a number at or below one used before, [`CryptoError::TooShort`] for a packet
    /// without the room; the packet is untouched then.
    pub fn seal_in_place(&mut self, seq: u64, packet: &mut [u8]) -> Result<(), CryptoError> {
        let length = packet.len();
        let (Some((prefix, rest)), true) = (
            packet.split_first_chunk_mut::<SEQ_BYTES>(),
            length >= OVERHEAD_BYTES,
        ) else {
            return Err(CryptoError::TooShort(length));
        };
        match self.next {
            Some(next) if seq >= next => self.next = seq.checked_add(1),
            _ => return Err(CryptoError::Nonce(seq)),
        }
        *prefix = seq.to_be_bytes();
        let (text, room) = rest.split_at_mut(length - OVERHEAD_BYTES);
        let tag = self
            .key
            .aead
            .seal(self.key.nonce(*prefix), &*prefix, text)
            .ok_or(CryptoError::Auth)?;
        room.copy_from_slice(&tag);
        Ok(())
    }
}

/// Opens the packets of one direction. Knows nothing of replays: see [`crate::replay::ReplayWindow`].
#[derive(Debug)]
pub struct Opener {
    key: Key,
}

impl Opener {
    /// An opener for packets that `direction` names the sender of.
    #[must_use]
    pub fn new(key: [u8; 16], salt: [u8; 4], direction: Direction) -> Self {
        Self {
            key: Key::new(key, salt, direction),
        }
    }

    /// Open a sealed packet in place: its sequence number and the plaintext within it.
    ///
    /// # Errors
    /// [`CryptoError::TooShort`] or [`CryptoError::Auth`]; what the packet holds then is undefined.
    pub fn open_in_place<'a>(
        &self,
        packet: &'a mut [u8],
    ) -> Result<(u64, &'a mut [u8]), CryptoError> {
        let length = packet.len();
        if length < OVERHEAD_BYTES {
            return Err(CryptoError::TooShort(length));
        }
        let (prefix, rest) = packet
            .split_first_chunk_mut::<SEQ_BYTES>()
            .ok_or(CryptoError::TooShort(length))?;
        let (text, tag) = rest.split_at_mut(length - OVERHEAD_BYTES);
        let tag = <[u8; TAG_BYTES]>::try_from(&*tag).map_err(|_| CryptoError::Auth)?;
        let seq = u64::from_be_bytes(*prefix);
        let nonce = self.key.nonce(*prefix);
        if !self.key.aead.open(nonce, &*prefix, tag, text) {
            return Err(CryptoError::Auth);
        }
        Ok((seq, text))
    }
}
