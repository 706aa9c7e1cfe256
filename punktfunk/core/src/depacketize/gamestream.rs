//! The video packets of GameStream (gamestream section 7) on their way in.

use super::{Arrival, Content, Depacketizer, Unseal, Unsealer};
use crate::crypto::CryptoError;
use crate::fec::Scheme;
use crate::geometry::Limits;
use crate::reject::Reject;
use crate::replay::ReplayWindow;
use crate::wire::gamestream::{
    Codec, FIRST_FRAME, GameStreamConfig, GameStreamConfigError, HEAD_BYTES, MAX_DATAGRAM_BYTES,
    SHORT_HEADER_BYTES, ShortHeader, Stamp, VideoOpener, counter_of, ticks_to_ns,
};

impl Unseal for VideoOpener {
    fn open_in_place<'a>(&self, packet: &'a mut [u8]) -> Result<(u64, &'a mut [u8]), CryptoError> {
        self.open_in_place(packet)
    }
}

/// Decrypts and reads the packets of a host.
pub struct GameStreamDepacketizer {
    limits: Limits,
    codec: Codec,
    unsealer: Unsealer<VideoOpener>,
    /// Highest number of a packet so far; the wire says its low bits only.
    number: u64,
    /// Timestamp of the newest frame, likewise; `None` before the first packet.
    ticks: Option<u64>,
}

impl GameStreamDepacketizer {
    /// A depacketizer at the start of a stream.
    ///
    /// # Errors
    /// [`GameStreamConfigError`] for parameters that no stream may have.
    pub fn new(config: &GameStreamConfig) -> Result<Self, GameStreamConfigError> {
        config.validate()?;
        Ok(Self {
            limits: config.limits(),
            codec: config.codec,
            unsealer: Unsealer::new(
                config.key.map(VideoOpener::new),
                config.receiving.loss_window_ns,
                MAX_DATAGRAM_BYTES,
            ),
            number: 0,
            ticks: None,
        })
    }

    /// The packet's number in the stream. All say 16 bits of it, data packets 24: those hold over a longer outage.
    fn number(&self, head: &[u8; HEAD_BYTES], sequence: u16, is_data: bool) -> u64 {
        let counter = counter_of(head);
        if is_data && counter as u16 == sequence {
            extend(self.number, u64::from(counter), 24)
        } else {
            extend(self.number, u64::from(sequence), 16)
        }
    }
}

/// The number nearest to `near` whose low `bits` are `low`; none is below 0.
fn extend(near: u64, low: u64, bits: u32) -> u64 {
    let (span, half) = (1_u64 << bits, 1_u64 << (bits - 1));
    let ahead = low.wrapping_sub(near) & (span - 1);
    if ahead < half {
        near.saturating_add(ahead)
    } else {
        near.checked_sub(span - ahead).unwrap_or(near + ahead)
    }
}

impl Depacketizer for GameStreamDepacketizer {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn scheme(&self) -> Scheme {
        Scheme::Gf8
    }

    fn first_frame(&self) -> u32 {
        FIRST_FRAME
    }

    fn seen(&self) -> Option<ReplayWindow> {
        self.unsealer.seen()
    }

    fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<Arrival<'a>, Reject> {
        let plain = self.unsealer.open(datagram)?;
        let stamp = Stamp::parse(plain)?;
        let head = plain.first_chunk::<HEAD_BYTES>().ok_or(Reject::TooShort)?;
        let near = self.ticks.unwrap_or(u64::from(stamp.ticks));
        let ticks = extend(near, u64::from(stamp.ticks), 32);
        let shard = stamp
            .shard(plain, ticks_to_ns(ticks))?
            .within(&self.limits)?;
        let is_data = shard.index < shard.k;
        let number = self.number(head, stamp.sequence, is_data);
        self.number = self.number.max(number);
        self.ticks = Some(near.max(ticks));
        Ok(Arrival {
            shard,
            number: number as u32,
            percent: Some(stamp.percent),
        })
    }

    fn content(&self, joined: &[u8], _flags: u32) -> Option<Content> {
        let payload = self.limits.payload_bytes();
        let header = ShortHeader::parse(joined)?;
        let before_last = joined.len().checked_sub(payload)?;
        let last = usize::from(header.last_bytes);
        let end = if (1..=payload).contains(&last) && before_last + last >= SHORT_HEADER_BYTES {
            before_last + last
        } else if self.codec == Codec::Av1 {
            return None;
        } else {
            // Of other codecs nobody looks at this length, and decoders skip the padding (section 7.4).
            joined.len()
        };
        Some(Content {
            bytes: SHORT_HEADER_BYTES..end,
            flags: header.kind.flags(),
            host_latency_ns: header.latency_ns(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_extended_to_the_nearest_that_has_its_bits() {
        for near in [0_u64, 5, 40_000, 65_535, 65_536, 200_000, 1 << 40] {
            for number in [near, near + 1, near + 32_767, near.saturating_sub(32_768)] {
                let low = number & 0xFFFF;
                assert_eq!(extend(near, low, 16), number, "{number} near {near}");
            }
        }
        assert_eq!(extend(3, 0xFFFF, 16), 0xFFFF, "nothing is below 0");
    }
}
