//! The replay window: which sequence numbers were seen, in bounded memory.
//!
//! The window is sized as time × packet rate, so that a packet which a link may still deliver is not mistaken
//! for a replay. It is a ring of bits indexed by the sequence number (RFC 6479), one word longer than the window
//! so that sliding clears whole words.

use std::time::Duration;

/// Smallest window, packets.
pub const MIN_PACKETS: usize = 1024;
/// Largest window, packets: 512 KiB of bits, about 4 s at 1 M packets/s. This is the memory cap of a session.
pub const MAX_PACKETS: usize = 1 << 22;

/// Accepts each sequence number at most once. Ask only for packets that have been authenticated: a forged number
/// would move the window.
#[derive(Debug, Clone)]
pub struct ReplayWindow {
    words: Vec<u64>,
    window: u64,
    /// One past the highest sequence number seen, in `u128` because `u64::MAX` is a sequence number.
    end: u128,
}

impl ReplayWindow {
    /// A window that reaches back over `window` at `packets_per_s`, rounded up to a power of two between
    /// [`MIN_PACKETS`] and [`MAX_PACKETS`].
    #[must_use]
    pub fn new(packets_per_s: u64, window: Duration) -> Self {
        let packets = u128::from(packets_per_s) * window.as_nanos() / 1_000_000_000;
        let packets = usize::try_from(packets)
            .unwrap_or(MAX_PACKETS)
            .clamp(MIN_PACKETS, MAX_PACKETS);
        let packets = packets.next_power_of_two();
        // Twice the window keeps the word count a power of two and leaves the spare word that sliding needs.
        Self {
            words: vec![0; packets * 2 / 64],
            window: packets as u64,
            end: 0,
        }
    }

    /// Packets that the window reaches back.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.window
    }

    /// Bytes that the window holds, whatever arrives.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.words.len() * 8
    }

    /// Whether `seq` is new; it counts as seen from now on.
    ///
    /// False for a number that was seen before, and for one further behind the highest than the window, which
    /// may or may not have been seen.
    pub fn check_and_set(&mut self, seq: u64) -> bool {
        let position = u128::from(seq);
        if position + u128::from(self.window) < self.end {
            return false;
        }
        let count = self.words.len() as u128;
        if position >= self.end {
            // Words from the old highest to the new one come into use again: clear them, at most all.
            let old = if self.end == 0 {
                None
            } else {
                Some((self.end - 1) / 64)
            };
            let new = position / 64;
            let from = old
                .map_or(new, |old| old + 1)
                .max((new + 1).saturating_sub(count));
            for word in from..=new {
                self.words[(word % count) as usize] = 0;
            }
            self.end = position + 1;
        }
        let word = &mut self.words[(position / 64 % count) as usize];
        let bit = 1 << (seq % 64);
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }
}
