//! Packet loss from gaps in `stream_seq`, and the loss report of punktfunk/1 section 2.4.

use crate::replay::ReplayWindow;

/// Weight of a lost frame in a loss report.
const LOST_FRAME_PPM: u64 = 50_000;
const MILLION: u64 = 1_000_000;

/// Counts the sequence numbers that never came. Reordering is not loss: a late packet fills its gap.
#[derive(Debug)]
pub struct LossTracker {
    /// Number of the first packet that this receiver is concerned with.
    first: u64,
    /// Highest number seen, extended to 64 bits.
    highest: Option<u64>,
    distinct: u64,
    reordered: u64,
    /// Finds duplicates where no AEAD sequence number does.
    seen: Option<ReplayWindow>,
}

impl LossTracker {
    /// A tracker at the start of a session, whose first packet has number 0. `seen` is needed where duplicates can
    /// arrive, that is on a stream without encryption.
    #[must_use]
    pub fn new(seen: Option<ReplayWindow>) -> Self {
        Self {
            first: 0,
            highest: None,
            distinct: 0,
            reordered: 0,
            seen,
        }
    }

    /// Begin at packet `stream_seq` instead of 0. Call before the first packet.
    pub fn begin_at(&mut self, stream_seq: u32) {
        self.first = u64::from(stream_seq);
    }

    /// Note a packet that passed every check.
    pub fn on_packet(&mut self, stream_seq: u32) {
        // Relative to the highest number, or to the first.
        let near = self.highest.unwrap_or(self.first);
        let ahead = i64::from(stream_seq.wrapping_sub(near as u32) as i32);
        let Some(seq) = near
            .checked_add_signed(ahead)
            .filter(|&seq| seq >= self.first)
        else {
            return;
        };
        if self
            .seen
            .as_mut()
            .is_some_and(|seen| !seen.check_and_set(seq))
        {
            return;
        }
        self.distinct += 1;
        match self.highest {
            Some(highest) if seq < highest => self.reordered += 1,
            _ => self.highest = Some(seq),
        }
    }

    /// Finalise the accounting: the peer sent `packets` in all.
    pub fn settle(&mut self, packets: u64) {
        if let Some(last) = packets.checked_sub(1) {
            self.highest = Some(self.highest.map_or(last, |h| h.max(last)));
        }
    }

    /// Packets that are missing now.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.highest
            .map_or(0, |h| (h + 1).saturating_sub(self.first + self.distinct))
    }

    /// Packets that came after a later one.
    #[must_use]
    pub fn reordered(&self) -> u64 {
        self.reordered
    }
}

/// What a loss report sums up since the last one.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportWindow {
    /// Packets of the stream.
    pub received: u64,
    /// Data shards that FEC rebuilt.
    pub recovered: u64,
    /// Of these, shards that came after all.
    pub late: u64,
    /// Frames given up.
    pub frames_lost: u64,
}

impl ReportWindow {
    /// The report's value in ppm, at most 1 000 000 (section 2.4).
    #[must_use]
    pub fn ppm(&self) -> u32 {
        let recovered = self.recovered.saturating_sub(self.late);
        let share = match self.received + recovered {
            0 => 0,
            all => recovered * MILLION / all,
        };
        let lost = if self.frames_lost > 0 {
            LOST_FRAME_PPM
        } else {
            0
        };
        (share + lost).min(MILLION) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost_after(seqs: &[u32]) -> (u64, u64) {
        let mut tracker = LossTracker::new(Some(ReplayWindow::new(
            1_000_000,
            std::time::Duration::from_millis(100),
        )));
        for &s in seqs {
            tracker.on_packet(s);
        }
        (tracker.lost(), tracker.reordered())
    }

    #[test]
    fn gaps_are_lost_packets() {
        assert_eq!(lost_after(&[0, 1, 4, 5]), (2, 0));
    }

    #[test]
    fn reordered_packets_are_not_counted_as_loss() {
        assert_eq!(lost_after(&[0, 3, 1, 2, 4]), (0, 2));
    }

    #[test]
    fn a_duplicate_hides_no_loss() {
        assert_eq!(lost_after(&[0, 0, 2, 2, 3]), (1, 0));
    }

    #[test]
    fn a_number_that_comes_twice_in_a_row_is_no_reordering() {
        let mut tracker = LossTracker::new(None);
        for seq in [0, 1, 1, 2] {
            tracker.on_packet(seq);
        }
        assert_eq!(tracker.reordered(), 0);
    }

    #[test]
    fn packets_lost_before_the_first_one_count() {
        assert_eq!(lost_after(&[3, 4]), (3, 0));
    }

    #[test]
    fn the_counter_wraps_without_loss() {
        let mut tracker = LossTracker::new(None);
        let first = u32::MAX - 1;
        tracker.begin_at(first);
        for i in [1, 0, 2, 3, 5] {
            tracker.on_packet(first.wrapping_add(i));
        }
        assert_eq!((tracker.lost(), tracker.reordered()), (1, 1));
        tracker.settle(u64::from(first) + 8);
        assert_eq!(tracker.lost(), 3);
    }

    #[test]
    fn packets_from_before_the_first_one_hide_no_loss() {
        let mut tracker = LossTracker::new(None);
        tracker.begin_at(100);
        for seq in [98, 99, 101, 97] {
            tracker.on_packet(seq);
        }
        assert_eq!((tracker.lost(), tracker.reordered()), (1, 0));
    }

    #[test]
    fn packets_lost_at_the_end_count_when_the_books_are_closed() {
        let mut tracker = LossTracker::new(None);
        tracker.on_packet(0);
        tracker.settle(5);
        assert_eq!(tracker.lost(), 4);
    }

    #[test]
    fn a_report_nets_out_late_shards_and_weighs_lost_frames() {
        let window = ReportWindow {
            received: 90,
            recovered: 12,
            late: 2,
            frames_lost: 0,
        };
        assert_eq!(window.ppm(), 100_000);
        assert_eq!(
            ReportWindow {
                frames_lost: 3,
                ..window
            }
            .ppm(),
            150_000
        );
        assert_eq!(ReportWindow::default().ppm(), 0);
        let all = ReportWindow {
            received: 0,
            recovered: 5,
            late: 0,
            frames_lost: 1,
        };
        assert_eq!(all.ppm(), 1_000_000);
    }
}
