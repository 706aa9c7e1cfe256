//! The one place that knows which library does AES-128-GCM: `ring`, or `aws-lc-rs` with the feature `aws-lc`.
//!
//! Why is recorded in `docs/adr/0001-aead-backend.md` and `docs/adr/0235-aws-lc-as-a-feature.md`.

use std::fmt;

#[cfg(feature = "aws-lc")]
use aws_lc_rs::aead;
#[cfg(not(feature = "aws-lc"))]
use ring::aead;

use aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Name of the library that was built in.
pub const LIBRARY: &str = if cfg!(feature = "aws-lc") {
    "aws-lc-rs"
} else {
    "ring"
};

/// An expanded AES-128-GCM key. Who uses it answers for nonces that never repeat.
pub(crate) struct Aes128Gcm(LessSafeKey);

impl Aes128Gcm {
    /// Expand `key`.
    pub(crate) fn new(key: [u8; 16]) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &key).expect("16 bytes are an AES-128 key");
        Self(LessSafeKey::new(key))
    }

    /// Encrypt `text` in place and return the tag; `None` for a text longer than the algorithm allows.
    #[inline]
    pub(crate) fn seal(&self, nonce: [u8; 12], data: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(data), text)
            .ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Decrypt `text` in place; false when the tag does not fit, and what is in `text` then is undefined.
    #[inline]
    pub(crate) fn open(
        &self,
        nonce: [u8; 12],
        data: &[u8],
        tag: [u8; 16],
        text: &mut [u8],
    ) -> bool {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let data = Aad::from(data);
        #[cfg(feature = "aws-lc")]
        let opened = self.0.open_in_place_separate_tag(nonce, data, &tag, text);
        #[cfg(not(feature = "aws-lc"))]
        let opened = self
            .0
            .open_in_place_separate_tag(nonce, data, tag.into(), text, 0..);
        opened.is_ok()
    }
}

impl fmt::Debug for Aes128Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aes128Gcm(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 4 of the specification of GCM (McGrew and Viega), which has additional data and an odd length.
    #[test]
    fn the_library_that_was_built_in_is_aes_128_gcm() {
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..][..2], 16).unwrap())
                .collect()
        };
        let array = |hex: &str| bytes(hex).try_into().unwrap();
        let key = Aes128Gcm::new(array("feffe9928665731c6d6a8f9467308308"));
        let nonce: [u8; 12] = bytes("cafebabefacedbaddecaf888").try_into().unwrap();
        let data = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let plain = bytes(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let mut text = plain.clone();
        let tag = key.seal(nonce, &data, &mut text).unwrap();
        assert_eq!(
            text,
            bytes(
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
                 21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
            )
        );
        assert_eq!(tag, array("5bc94fbc3221a5db94fae95ae7121a47"));
        let sealed = text.clone();
        assert!(key.open(nonce, &data, tag, &mut text));
        assert_eq!(text, plain);
        for (tag, data) in [([0; 16], &data[..]), (tag, &data[1..])] {
            assert!(!key.open(nonce, data, tag, &mut sealed.clone()));
        }
    }
}
