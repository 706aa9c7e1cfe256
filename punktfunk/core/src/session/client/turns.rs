//! Whose turn it is: frames leave in order, each once, complete or given up.

use super::{ClientSession, Frame};
use crate::reassemble::{FrameState, Length, Phase};
use crate::session::{FLAG_PROBE, FLAGS_DECODABLE};
use crate::stats::{ClientRecord, NULL};

/// Records of one jump; no session outlives an outage of so many frames (18 minutes at 60 Hz). Those beyond are
/// counted as dropped, so that a packet with a far frame number costs a bounded time.
const MAX_JUMP_RECORDS: u64 = 1 << 16;

impl ClientSession {
    /// Let time pass: stamp what became complete, give up what is overdue, release what is in turn.
    pub fn advance(&mut self, now_ns: u64) {
        if self.unstamped > 0 {
            self.unstamped = 0;
            for index in self.next..self.window.end() {
                if let Some(frame) = self.window.get_mut(index)
                    && frame.phase == Phase::Complete
                    && frame.complete_ns == NULL
                {
                    frame.complete_ns = now_ns as i64;
                }
            }
        }
        while self.next < self.window.end() {
            let in_turn = self.window.get(self.next).map(|f| f.phase);
            let ready = matches!(in_turn, Some(Phase::Complete | Phase::GivenUp));
            if !ready && self.next_timeout().is_none_or(|deadline| deadline > now_ns) {
                break;
            }
            self.take_turn(now_ns);
        }
    }

    /// When [`ClientSession::advance`] has something to do even if nothing arrives.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        let (reorder, loss) = (
            self.receiving.reorder_window_ns,
            self.receiving.loss_window_ns,
        );
        let mut deadline: Option<u64> = None;
        let mut oldest_open = true;
        for index in self.next..self.window.end() {
            let Some(frame) = self.window.get(index) else {
                continue;
            };
            let after =
                |stamp_ns: i64, wait_ns: u64| (stamp_ns.max(0) as u64).saturating_add(wait_ns);
            let at = match frame.phase {
                // A complete frame waits for those before it no longer than the reorder window.
                Phase::Complete => after(frame.complete_ns, reorder),
                Phase::GivenUp if index == self.next => 0,
                // Only rejected packets came for it so far, which say nothing.
                Phase::Open if frame.recv_last_ns == NULL => continue,
                // The pts of the newest frame says that this one, and so every older one, is over.
                Phase::Open if self.newest_pts_ns.saturating_sub(frame.pts_ns) > loss => 0,
                // Nothing came for as long. That says nothing of an older frame whose packets still come.
                Phase::Open if std::mem::take(&mut oldest_open) => after(frame.recv_last_ns, loss),
                Phase::Open | Phase::GivenUp | Phase::Done => continue,
            };
            deadline = Some(deadline.map_or(at, |d| d.min(at)));
        }
        deadline
    }

    /// End the turn of the next frame: release it if it is complete, else give it up.
    fn take_turn(&mut self, now_ns: u64) {
        let index = self.next;
        self.next += 1;
        let frame = self.window.entry(index, Phase::GivenUp);
        if let Some(reports) = &mut self.block_reports {
            if frame.phase == Phase::Open {
                for (block, state) in frame.broken_blocks() {
                    reports.report(index, block as u16, &state, now_ns);
                }
            }
            reports.turn_over(self.next);
        }
        if frame.phase == Phase::Complete {
            if frame.complete_ns == NULL {
                frame.complete_ns = now_ns as i64;
            }
            self.release(index, now_ns);
            return;
        }
        if frame.phase == Phase::Open {
            self.reassembler.give_up(frame);
        }
        self.report.frames_lost += 1;
        self.break_chain();
    }

    fn release(&mut self, index: u64, now_ns: u64) {
        let Some(frame) = self.window.get_mut(index) else {
            return;
        };
        let complete = self.reassembler.assemble(frame);
        let content = complete.and_then(|complete| {
            let content = self.depacketizer.content(&complete.data, frame.flags)?;
            Some((complete, content))
        });
        let Some((mut complete, content)) = content else {
            self.reassembler.give_up(frame);
            self.stats.frames_short += 1;
            self.report.frames_lost += 1;
            self.break_chain();
            return;
        };
        complete.data.narrow(content.bytes);
        frame.flags = content.flags;
        if frame.length == Length::Unknown {
            frame.length = Length::Found(complete.data.len() as u32);
        }
        frame.phase = Phase::Done;
        self.stats.frames_complete += 1;
        let probe = frame.flags & FLAG_PROBE != 0;
        let fresh = frame.flags & FLAGS_DECODABLE != 0;
        frame.decodable = probe || fresh || self.chain;
        if frame.decodable {
            self.stats.frames_decodable += 1;
        } else {
            self.stats.frames_undecodable += 1;
            self.recovery.arm();
        }
        if fresh && !probe {
            self.chain = true;
            self.recovery.mended();
        }
        if probe {
            self.stats.frames_probe += 1;
        }
        if probe || (!frame.decodable && self.receiving.hold_undecodable) {
            return;
        }
        frame.released_ns = now_ns as i64;
        self.stats.frames_released += 1;
        let gap = index - self.unreleased;
        self.unreleased = index + 1;
        self.out.push_back(Frame {
            index: index as u32,
            pts_ns: frame.pts_ns,
            flags: frame.flags,
            decodable: frame.decodable,
            gap: gap.min(u64::from(u32::MAX)) as u32,
            recv_first_ns: frame.recv_first_ns,
            recv_last_ns: frame.recv_last_ns,
            complete_ns: frame.complete_ns,
            released_ns: frame.released_ns,
            host_latency_ns: content
                .host_latency_ns
                .map_or(NULL, |latency| latency as i64),
            data: complete.data,
            memory: complete.memory,
        });
    }

    pub(super) fn break_chain(&mut self) {
        self.chain = false;
        self.recovery.arm();
    }

    /// Make room for a newer frame; what falls out of the window has had its turn.
    pub(super) fn extend_window(&mut self, index: u64, now_ns: u64) {
        let base = self.window.base_for(index);
        while self.window.base() < base.min(self.window.end()) {
            self.retire_oldest(now_ns);
        }
        let skipped = base.saturating_sub(self.window.base());
        if skipped > 0 {
            // Never seen, and so many at once that they were never tracked.
            let unseen = |offset| ClientRecord {
                index: (self.window.base() + offset) as i64,
                status: 1,
                decodable: 0,
                ..ClientRecord::EMPTY
            };
            self.records.push_many(skipped, MAX_JUMP_RECORDS, unseen);
            self.stats.frames_unrecoverable += skipped;
            self.stats.frames_unseen += skipped;
            self.report.frames_lost += skipped;
            self.break_chain();
            self.window.skip_to(base);
            self.next = self.next.max(base);
        }
        self.window.extend_to(index);
    }

    pub(super) fn retire_oldest(&mut self, now_ns: u64) {
        if self.next <= self.window.base() {
            self.take_turn(now_ns);
        }
        let (index, frame) = self.window.pop();
        let frame = frame.unwrap_or_else(|| FrameState::new(Phase::GivenUp));
        let counts = self.reassembler.counts(&frame);
        self.stats.data_shards_missing += (counts.recovered + counts.unrecoverable) as u64;
        self.stats.data_shards_recovered += counts.recovered as u64;
        self.stats.data_shards_unrecoverable += counts.unrecoverable as u64;
        let status = if frame.phase == Phase::Done {
            0
        } else if frame.rebuildable() && self.reassembler.holds_frame(&frame) {
            self.stats.frames_expired += 1;
            2
        } else {
            self.stats.frames_unrecoverable += 1;
            self.stats.frames_unseen += u64::from(!frame.pinned);
            1
        };
        let when_pinned = |value: i64| if frame.pinned { value } else { NULL };
        self.records.push(ClientRecord {
            index: index as i64,
            pts_ns: when_pinned(frame.pts_ns as i64),
            flags: when_pinned(i64::from(frame.flags)),
            bytes: frame.length.known().map_or(NULL, i64::from),
            k: when_pinned(counts.k as i64),
            m: when_pinned(counts.m as i64),
            blocks: when_pinned(frame.block_count() as i64),
            packets_received: counts.received as i64,
            data_missing: when_pinned((counts.recovered + counts.unrecoverable) as i64),
            recovered: counts.recovered as i64,
            duplicates: i64::from(frame.duplicates),
            late: i64::from(frame.late),
            recv_first_ns: frame.recv_first_ns,
            recv_last_ns: frame.recv_last_ns,
            complete_ns: frame.complete_ns,
            released_ns: frame.released_ns,
            status,
            decodable: i64::from(frame.decodable),
        });
        self.reassembler.recycle(frame);
    }
}
