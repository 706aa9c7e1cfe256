//! Encryption of sound (gamestream section 9.2): AES-128-CBC with PKCS#7 padding, the IV from the session and the packet.
//!
//! It hides and does not authenticate, and the IV repeats every 65536 packets: both are the wire's.

use std::fmt;

use aes::Aes128;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};

const BLOCK_BYTES: usize = 16;

/// The key of a session and its `rikeyid`.
#[derive(Clone)]
pub struct AudioCipher {
    key: [u8; 16],
    rikeyid: i32,
}

impl fmt::Debug for AudioCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AudioCipher(..)")
    }
}

impl AudioCipher {
    /// The cipher of a session; `rikeyid` is signed and may be negative (gamestream section 4.3).
    #[must_use]
    pub const fn new(key: [u8; 16], rikeyid: i32) -> Self {
        Self { key, rikeyid }
    }

    /// Return the bytes that `plain` of them become.
    #[must_use]
    pub const fn sealed_bytes(plain: usize) -> usize {
        (plain / BLOCK_BYTES + 1) * BLOCK_BYTES
    }

    /// The IV of a packet by its sequence number as it is sent, after it wrapped.
    fn iv(&self, sequence: u16) -> [u8; BLOCK_BYTES] {
        let sum = (self.rikeyid as u32).wrapping_add(u32::from(sequence));
        let mut iv = [0; BLOCK_BYTES];
        iv[..4].copy_from_slice(&sum.to_be_bytes());
        iv
    }

    /// Encrypt a packet's payload.
    #[must_use]
    pub fn seal(&self, sequence: u16, plain: &[u8]) -> Vec<u8> {
        let iv = self.iv(sequence);
        cbc::Encryptor::<Aes128>::new(&self.key.into(), &iv.into())
            .encrypt_padded_vec_mut::<Pkcs7>(plain)
    }

    /// Decrypt a packet's payload; `None` where it has no whole blocks or no padding at its end.
    #[must_use]
    pub fn open(&self, sequence: u16, sealed: &[u8]) -> Option<Vec<u8>> {
        let iv = self.iv(sequence);
        cbc::Decryptor::<Aes128>::new(&self.key.into(), &iv.into())
            .decrypt_padded_vec_mut::<Pkcs7>(sealed)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_iv_is_a_sum_that_wraps() {
        let iv = |rikeyid, sequence| AudioCipher::new([1; 16], rikeyid).iv(sequence);
        let first = |bytes: [u8; 4]| {
            let mut iv = [0; 16];
            iv[..4].copy_from_slice(&bytes);
            iv
        };
        assert_eq!(iv(-2, 5), first([0, 0, 0, 3]));
        assert_eq!(iv(1_460_318_696, 5), first([0x57, 0x0A, 0xB1, 0xED]));
        assert_eq!(iv(i32::MIN, 0), first([0x80, 0, 0, 0]));
        assert_eq!(iv(i32::MAX, 0xFFFF), first([0x80, 0, 0xFF, 0xFE]));
    }

    #[test]
    fn what_is_sealed_opens_under_its_number_alone_and_anything_else_is_no_panic() {
        let cipher = AudioCipher::new([7; 16], -1);
        for bytes in [1, 15, 16, 17, 1375] {
            let plain = vec![9; bytes];
            let sealed = cipher.seal(65_535, &plain);
            assert_eq!(sealed.len(), AudioCipher::sealed_bytes(bytes));
            assert_eq!(cipher.open(65_535, &sealed), Some(plain.clone()));
            assert_ne!(cipher.open(65_534, &sealed), Some(plain));
            assert_eq!(cipher.open(65_535, &sealed[1..]), None);
        }
        assert_eq!(cipher.open(0, &[]), None);
    }
}
