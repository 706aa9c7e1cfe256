//! Access units that are cheap to make and cheap to check.

use serde::Deserialize;

/// What the bytes of a simulated access unit are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentKind {
    /// Byte b of frame f is `(b XOR f) mod 256` (punktfunk/1 section 10.1).
    Classic,
    /// Bytes 0..3 are the index, byte i is `(index + i) mod 256` (section 7.2).
    #[default]
    TestFrame,
    /// Bytes without a pattern, from the seed.
    Random,
}

/// Bytes of the table that random frames are cut from.
const TABLE_BYTES: usize = 1 << 20;
/// Bytes that are generated or compared at a time.
const TILE_BYTES: usize = 4096;

/// Makes and checks access units.
pub struct Content {
    kind: ContentKind,
    seed: u64,
    table: Vec<u8>,
}

/// One step of SplitMix64 (Steele, Lea, Flood 2014): a bijection that scatters consecutive inputs.
pub(super) fn scatter(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Content {
    /// Content of one kind; `seed` matters to random content only.
    #[must_use]
    pub fn new(kind: ContentKind, seed: u64) -> Self {
        let words = if kind == ContentKind::Random {
            TABLE_BYTES as u64 / 8
        } else {
            0
        };
        let table = (0..words)
            .flat_map(|i| scatter(seed ^ i).to_le_bytes())
            .collect();
        Self { kind, seed, table }
    }

    /// Walk over the bytes of a frame in order, a piece at a time; stops when `visit` says so.
    fn pieces(&self, frame: u32, len: usize, mut visit: impl FnMut(usize, &[u8]) -> bool) {
        let mut at = 0;
        if self.kind == ContentKind::Random {
            let mut from =
                scatter(self.seed.wrapping_add(u64::from(frame) << 20)) as usize % TABLE_BYTES;
            while at < len {
                let part = (TABLE_BYTES - from).min(len - at);
                if !visit(at, &self.table[from..from + part]) {
                    return;
                }
                (at, from) = (at + part, 0);
            }
            return;
        }
        // Both patterns repeat every 256 bytes.
        let mut tile = [0; TILE_BYTES];
        let low = frame as u8;
        for (i, byte) in tile.iter_mut().enumerate() {
            *byte = if self.kind == ContentKind::Classic {
                i as u8 ^ low
            } else {
                low.wrapping_add(i as u8)
            };
        }
        if self.kind == ContentKind::TestFrame {
            let head = frame.to_le_bytes();
            let n = len.min(head.len());
            if !visit(0, &head[..n]) {
                return;
            }
            at = n;
        }
        while at < len {
            let from = at % TILE_BYTES;
            let part = (TILE_BYTES - from).min(len - at);
            if !visit(at, &tile[from..from + part]) {
                return;
            }
            at += part;
        }
    }

    /// Write the access unit of `frame`; `out` sets its length.
    pub fn fill(&self, frame: u32, out: &mut [u8]) {
        self.pieces(frame, out.len(), |at, piece| {
            out[at..at + piece.len()].copy_from_slice(piece);
            true
        });
    }

    /// Whether `data` is the access unit of `frame`, byte for byte.
    #[must_use]
    pub fn matches(&self, frame: u32, data: &[u8]) -> bool {
        let mut equal = true;
        self.pieces(frame, data.len(), |at, piece| {
            equal = data[at..at + piece.len()] == *piece;
            equal
        });
        equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_the_specification() {
        let mut out = vec![0; 10_000];
        Content::new(ContentKind::Classic, 0).fill(300, &mut out);
        assert!(
            out.iter()
                .enumerate()
                .all(|(b, &x)| x == ((b ^ 300) & 255) as u8)
        );
        Content::new(ContentKind::TestFrame, 0).fill(300, &mut out);
        assert_eq!(out[..4], 300u32.to_le_bytes());
        assert!(
            out.iter()
                .enumerate()
                .skip(4)
                .all(|(i, &x)| x == ((300 + i) & 255) as u8)
        );
    }

    #[test]
    fn one_wrong_byte_is_noticed_wherever_it_is() {
        for kind in [
            ContentKind::Classic,
            ContentKind::TestFrame,
            ContentKind::Random,
        ] {
            let content = Content::new(kind, 7);
            for len in [1, 3, 4, 5, 4095, 4096, 4097, 10_000] {
                let mut data = vec![0; len];
                content.fill(9, &mut data);
                assert!(content.matches(9, &data));
                for at in [0, len / 2, len - 1] {
                    data[at] ^= 1;
                    assert!(!content.matches(9, &data), "{kind:?} {len} {at}");
                    data[at] ^= 1;
                }
            }
        }
    }

    #[test]
    fn frames_differ() {
        let content = Content::new(ContentKind::Random, 7);
        let mut data = vec![0; 1000];
        content.fill(1, &mut data);
        assert!(!content.matches(2, &data));
    }
}
