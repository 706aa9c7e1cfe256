//! What a client can say of blocks that did not come whole: those that FEC rebuilt, and those of frames that were given up.
//!
//! Only where packets say the FEC percentage of their block, and their numbers follow each other within it.

use std::collections::VecDeque;

use crate::reassemble::BlockState;

/// Blocks whose frame's turn is not over, of which the number of the first packet is kept: 64 frames of four blocks. Beyond,
/// the oldest are forgotten and not reported.
const MAX_OPEN: usize = 256;
/// Reports that wait to be taken; later ones are left out.
const MAX_REPORTS: usize = 64;
/// Reports of a span of [`SPAN_NS`] at most (gamestream section 8.3).
const REPORTS_A_SPAN: u32 = 8;
const SPAN_NS: u64 = 100_000_000;

/// What came of a block, as GameStream's client says it (gamestream section 8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockReport {
    /// Number of its frame on the wire.
    pub frame: u32,
    /// Number of the highest packet of it that came.
    pub highest: u16,
    /// Number of the first that did not.
    pub next: u16,
    /// Packets that are missing below the highest.
    pub missing: u16,
    /// Data packets that were sent.
    pub data: u16,
    /// Recovery packets that were sent.
    pub recovery: u16,
    /// Data packets that came.
    pub data_received: u16,
    /// Recovery packets that came.
    pub recovery_received: u16,
    /// FEC percentage as the packets say it.
    pub percent: u8,
    /// Which block of the frame.
    pub block: u8,
    /// Blocks of the frame.
    pub blocks: u8,
}

struct Open {
    frame: u64,
    block: u16,
    /// Number of its first packet, wraps.
    first: u32,
    percent: u8,
}

/// Keeps which packets open blocks begin with, and the reports until they are taken.
#[derive(Default)]
pub(super) struct BlockReports {
    open: VecDeque<Open>,
    reports: Vec<BlockReport>,
    span_began_ns: u64,
    in_span: u32,
}

impl BlockReports {
    /// Note a packet of a block, whose first has the number `first`.
    pub(super) fn note(&mut self, frame: u64, block: u16, first: u32, percent: u8) {
        if self.find(frame, block).is_some() {
            return;
        }
        if self.open.len() == MAX_OPEN {
            self.open.pop_front();
        }
        self.open.push_back(Open {
            frame,
            block,
            first,
            percent,
        });
    }

    /// Report what came of a block, unless so much was reported just now.
    pub(super) fn report(&mut self, frame: u64, block: u16, state: &BlockState, now_ns: u64) {
        let Some(&Open { first, percent, .. }) = self.find(frame, block) else {
            return;
        };
        if now_ns.saturating_sub(self.span_began_ns) >= SPAN_NS {
            (self.span_began_ns, self.in_span) = (now_ns, 0);
        }
        if self.in_span == REPORTS_A_SPAN || self.reports.len() == MAX_REPORTS {
            return;
        }
        self.in_span += 1;
        let number = |shard: usize| first.wrapping_add(shard as u32) as u16;
        self.reports.push(BlockReport {
            frame: frame as u32,
            highest: number(state.end.saturating_sub(1)),
            next: number(state.first_missing),
            missing: state.missing as u16,
            data: state.k as u16,
            recovery: state.m as u16,
            data_received: state.have_data as u16,
            recovery_received: state.have_recovery as u16,
            percent,
            block: block as u8,
            blocks: state.blocks as u8,
        });
    }

    /// Forget the blocks of frames whose turn is over: those before `next`.
    pub(super) fn turn_over(&mut self, next: u64) {
        self.open.retain(|open| open.frame >= next);
    }

    pub(super) fn take(&mut self) -> Vec<BlockReport> {
        std::mem::take(&mut self.reports)
    }

    fn find(&self, frame: u64, block: u16) -> Option<&Open> {
        // The newest first: packets of a block come together.
        let mut newest_first = self.open.iter().rev();
        newest_first.find(|open| (open.frame, open.block) == (frame, block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: BlockState = BlockState {
        k: 4,
        m: 2,
        blocks: 1,
        have_data: 2,
        have_recovery: 1,
        end: 5,
        first_missing: 1,
        missing: 2,
    };

    #[test]
    fn packets_are_numbered_from_the_first_of_their_block_and_wrap() {
        let mut reports = BlockReports::default();
        reports.note(7, 0, 0xFFFE, 50);
        reports.report(7, 0, &LOST, 0);
        let [report] = reports.take()[..] else {
            panic!("one report")
        };
        assert_eq!(
            (report.highest, report.next, report.missing),
            (2, 0xFFFF, 2)
        );
        assert_eq!((report.frame, report.percent), (7, 50));
        assert!(reports.take().is_empty());
    }

    #[test]
    fn eight_reports_are_made_in_a_tenth_of_a_second() {
        let mut reports = BlockReports::default();
        for frame in 0..40 {
            reports.note(frame, 0, 0, 20);
            reports.report(frame, 0, &LOST, frame * 5_000_000);
        }
        let frames: Vec<_> = reports.take().iter().map(|r| r.frame).collect();
        assert_eq!(
            frames,
            [0, 1, 2, 3, 4, 5, 6, 7, 20, 21, 22, 23, 24, 25, 26, 27]
        );
    }

    #[test]
    fn blocks_that_nobody_ends_and_reports_that_nobody_takes_are_bounded() {
        let mut reports = BlockReports::default();
        for frame in 0..10_000 {
            reports.note(frame, 0, 0, 20);
            reports.report(frame, 0, &LOST, frame * SPAN_NS);
        }
        assert_eq!(
            (reports.open.len(), reports.reports.len()),
            (MAX_OPEN, MAX_REPORTS)
        );
        reports.turn_over(9_999);
        assert_eq!(reports.open.len(), 1);
    }
}
