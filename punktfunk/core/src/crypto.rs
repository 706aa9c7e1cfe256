//! AES-128-GCM packet protection (punktfunk/1 section 4.3).
//!
//! A sealed packet is `seq (u64 big-endian) || ciphertext || tag`. The nonce is the direction's salt followed by
//! the sequence number, the additional data is the sequence number. Which library does the AES is recorded in
//! `docs/adr/0001-aead-backend.md`.

use std::fmt;

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use thiserror::Error;

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
    aead: LessSafeKey,
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
        let aead = UnboundKey::new(&AES_128_GCM, &key).expect("16 bytes are an AES-128 key");
        Self {
            aead: LessSafeKey::new(aead),
            salt,
        }
    }

    fn nonce(&self, seq: [u8; 8]) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.salt);
        nonce[4..].copy_from_slice(&seq);
        Nonce::assume_unique_for_key(nonce)
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
            .seal_in_place_separate_tag(self.key.nonce(*prefix), Aad::from(*prefix), text)
            .map_err(|_| CryptoError::Auth)?;
        room.copy_from_slice(tag.as_ref());
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
        let tag = Tag::try_from(&*tag).map_err(|_| CryptoError::Auth)?;
        let seq = u64::from_be_bytes(*prefix);
        self.key
            .aead
            .open_in_place_separate_tag(self.key.nonce(*prefix), Aad::from(*prefix), tag, text, 0..)
            .map_err(|_| CryptoError::Auth)?;
        Ok((seq, text))
    }
}
