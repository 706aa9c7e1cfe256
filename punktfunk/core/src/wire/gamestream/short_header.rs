//! The eight bytes in front of every frame's bitstream (gamestream section 7.4).
//!
//! ```text
//!  0         1                    3            4                          6
//!  | type 1 | latency, 0.1 ms    | frame kind | bytes in the last packet | 0
//!  |        |  LE16              |            |  LE16                    |
//! ```

use super::SHORT_HEADER_BYTES;
use crate::flags::{FLAG_KEY, FLAG_PICTURE, FLAG_RECOVERY_ANCHOR, FLAG_RECOVERY_POINT};

const TYPE: u8 = 1;
/// Latency of one unit of the field.
const LATENCY_UNIT_NS: u64 = 100_000;

/// What a frame means to a client that waits. It has to be honest, or the picture breaks or never comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Refers to frames before it.
    Predicted,
    /// Decodable without any other.
    Idr,
    /// Intra refresh is done.
    RecoveryPoint,
    /// The first that refers to nothing which the client has said to be lost.
    AfterInvalidation,
}

impl FrameKind {
    /// The kind of a frame with these [`crate::flags`].
    #[must_use]
    pub const fn of(flags: u32) -> Self {
        if flags & FLAG_KEY != 0 {
            Self::Idr
        } else if flags & FLAG_RECOVERY_ANCHOR != 0 {
            Self::AfterInvalidation
        } else if flags & FLAG_RECOVERY_POINT != 0 {
            Self::RecoveryPoint
        } else {
            Self::Predicted
        }
    }

    /// The [`crate::flags`] of a frame of this kind.
    #[must_use]
    pub const fn flags(self) -> u32 {
        FLAG_PICTURE
            | match self {
                Self::Predicted => 0,
                Self::Idr => FLAG_KEY,
                Self::RecoveryPoint => FLAG_RECOVERY_POINT,
                Self::AfterInvalidation => FLAG_RECOVERY_ANCHOR,
            }
    }

    const fn wire(self) -> u8 {
        match self {
            Self::Predicted => 1,
            Self::Idr => 2,
            Self::RecoveryPoint => 4,
            Self::AfterInvalidation => 5,
        }
    }

    /// Kinds that nobody knows promise nothing; 104 is an IDR of old hosts.
    const fn from_wire(byte: u8) -> Self {
        match byte {
            2 | 104 => Self::Idr,
            4 => Self::RecoveryPoint,
            5 => Self::AfterInvalidation,
            _ => Self::Predicted,
        }
    }
}

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortHeader {
    /// Time from capture to sending in tenths of a millisecond; 0 where it is not known.
    pub latency: u16,
    /// What the frame means to a client that waits.
    pub kind: FrameKind,
    /// Bytes that the last packet's payload holds of frame and short header.
    pub last_bytes: u16,
}

impl ShortHeader {
    /// Return a latency as the field has it: rounded, at most 6.5 s, and never the 0 of an unknown one.
    #[must_use]
    pub fn latency_of(age_ns: Option<u64>) -> u16 {
        age_ns.map_or(0, |ns| {
            let units = ns.saturating_add(LATENCY_UNIT_NS / 2) / LATENCY_UNIT_NS;
            units.clamp(1, u64::from(u16::MAX)) as u16
        })
    }

    /// Return the latency in ns, `None` where it is not known.
    #[must_use]
    pub fn latency_ns(&self) -> Option<u64> {
        (self.latency > 0).then(|| u64::from(self.latency) * LATENCY_UNIT_NS)
    }

    /// Return the header's wire form.
    #[must_use]
    pub const fn bytes(&self) -> [u8; SHORT_HEADER_BYTES] {
        let [latency, last] = [self.latency.to_le_bytes(), self.last_bytes.to_le_bytes()];
        [
            TYPE,
            latency[0],
            latency[1],
            self.kind.wire(),
            last[0],
            last[1],
            0,
            0,
        ]
    }

    /// Read the header in front of a frame; `None` where there is none of this type.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let bytes = frame.first_chunk::<SHORT_HEADER_BYTES>()?;
        (bytes[0] == TYPE).then(|| Self {
            latency: u16::from_le_bytes([bytes[1], bytes[2]]),
            kind: FrameKind::from_wire(bytes[3]),
            last_bytes: u16::from_le_bytes([bytes[4], bytes[5]]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (kind, byte) in [
            (FrameKind::Predicted, 1),
            (FrameKind::Idr, 2),
            (FrameKind::RecoveryPoint, 4),
            (FrameKind::AfterInvalidation, 5),
        ] {
            let header = ShortHeader {
                latency: 0x1234,
                kind,
                last_bytes: 0x0506,
            };
            assert_eq!(header.bytes(), [1, 0x34, 0x12, byte, 6, 5, 0, 0]);
            assert_eq!(ShortHeader::parse(&header.bytes()), Some(header));
            assert_eq!(FrameKind::of(kind.flags()), kind);
        }
        assert_eq!(ShortHeader::parse(&[1; 7]), None);
        assert_eq!(ShortHeader::parse(&[0x81; 8]), None);
    }

    #[test]
    fn a_key_frame_is_one_whatever_else_it_says_and_unknown_kinds_promise_nothing() {
        let all = FLAG_KEY | FLAG_RECOVERY_ANCHOR | FLAG_RECOVERY_POINT;
        assert_eq!(FrameKind::of(all), FrameKind::Idr);
        assert_eq!(FrameKind::from_wire(104), FrameKind::Idr);
        for byte in [0, 1, 3, 6, 255] {
            assert_eq!(FrameKind::from_wire(byte), FrameKind::Predicted);
        }
    }

    #[test]
    fn a_latency_that_is_known_is_never_zero_and_never_wraps() {
        assert_eq!(ShortHeader::latency_of(None), 0);
        assert_eq!(ShortHeader::latency_of(Some(0)), 1);
        assert_eq!(ShortHeader::latency_of(Some(7_749_999)), 77);
        assert_eq!(ShortHeader::latency_of(Some(7_750_000)), 78);
        assert_eq!(ShortHeader::latency_of(Some(u64::MAX)), u16::MAX);
    }
}
