//! From Opus packets to datagrams.

use super::{AudioCipher, FEC_HEAD_BYTES, MAX_PAYLOAD_BYTES, RTP_BYTES, data_head, fec_head};
use crate::fec::audio::{DATA, encode};

/// An Opus packet that cannot be sent. No number is used up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// Packets of one stream have one length, or clients leave its recovery packets unused for good (gamestream section 9.1).
    #[error(
        "an Opus packet of {bytes} bytes in a stream of {expected}: set the encoder to a constant bit rate"
    )]
    Length {
        /// Bytes of the packet.
        bytes: usize,
        /// Bytes of those before it.
        expected: usize,
    },
    /// The recovery packets would be longer than clients take.
    #[error(
        "an Opus packet of {bytes} bytes exceeds the {limit} that have room; lower the bit rate"
    )]
    TooLong {
        /// Bytes of the packet.
        bytes: usize,
        /// Most that have room.
        limit: usize,
    },
    /// A frame length that no client asks for.
    #[error("a packet lasts 5 or 10 ms, not {0}")]
    Duration(u32),
}

/// Numbers, encrypts and protects the packets of a stream of sound.
#[derive(Debug)]
pub struct AudioSender {
    cipher: Option<AudioCipher>,
    packet_ms: u32,
    /// Bytes of every Opus packet, once there was one.
    opus_bytes: Option<usize>,
    /// Packets so far.
    sent: u64,
    /// Payloads of the block that has begun.
    block: Vec<Vec<u8>>,
}

impl AudioSender {
    /// A sender at the start of a session, of packets of 5 or 10 ms.
    ///
    /// # Errors
    /// [`AudioError::Duration`].
    pub fn new(cipher: Option<AudioCipher>, packet_ms: u32) -> Result<Self, AudioError> {
        if !matches!(packet_ms, 5 | 10) {
            return Err(AudioError::Duration(packet_ms));
        }
        Ok(Self {
            cipher,
            packet_ms,
            opus_bytes: None,
            sent: 0,
            block: Vec::with_capacity(DATA),
        })
    }

    /// Longest Opus packet of the stream.
    #[must_use]
    pub fn max_opus_bytes(&self) -> usize {
        match self.cipher {
            // The padding is one byte at least.
            Some(_) => MAX_PAYLOAD_BYTES / 16 * 16 - 1,
            None => MAX_PAYLOAD_BYTES,
        }
    }

    /// The datagrams of the next Opus packet: its own, and behind every fourth two of recovery.
    ///
    /// # Errors
    /// [`AudioError`]; the stream can go on.
    pub fn packet(&mut self, opus: &[u8]) -> Result<Vec<Vec<u8>>, AudioError> {
        let (bytes, limit) = (opus.len(), self.max_opus_bytes());
        if bytes > limit {
            return Err(AudioError::TooLong { bytes, limit });
        }
        let expected = self.opus_bytes.unwrap_or(bytes.max(1));
        if bytes != expected {
            return Err(AudioError::Length { bytes, expected });
        }
        self.opus_bytes = Some(bytes);
        let sequence = self.sent as u16;
        let milliseconds = self.milliseconds(self.sent);
        self.sent += 1;
        let payload = match &self.cipher {
            Some(cipher) => cipher.seal(sequence, opus),
            None => opus.to_vec(),
        };
        let mut packet = Vec::with_capacity(RTP_BYTES + payload.len());
        packet.extend(data_head(sequence, milliseconds));
        packet.extend(&payload);
        self.block.push(payload);
        let mut packets = vec![packet];
        if let [a, b, c, d] = &self.block[..] {
            let first = self.sent - DATA as u64;
            let (base, base_ms) = (first as u16, self.milliseconds(first));
            for (index, parity) in encode([a, b, c, d]).iter().enumerate() {
                let mut packet = Vec::with_capacity(FEC_HEAD_BYTES + parity.len());
                packet.extend(fec_head(index, base, base_ms));
                packet.extend(parity);
                packets.push(packet);
            }
            self.block.clear();
        }
        Ok(packets)
    }

    fn milliseconds(&self, packet: u64) -> u32 {
        (packet * u64::from(self.packet_ms)) as u32
    }
}
