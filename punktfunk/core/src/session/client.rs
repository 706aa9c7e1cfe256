//! The client's session: datagrams in, access units out, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::loss::{LossTracker, ReportWindow};
use super::meter::Metered;
use super::pool::PooledBuf;
use super::recovery::Recovery;
use super::{ConfigError, FLAG_KEY, FLAG_PROBE, FLAGS_DECODABLE, StreamConfig};
use crate::crypto::{CryptoError, Direction, Opener};
use crate::packet::{HEADER_BYTES, Header, Limits, MAX_DATAGRAM_BYTES, Reject};
use crate::reassemble::{FrameState, Phase, Placed, Reassembler, Window};
use crate::replay::ReplayWindow;
use crate::stats::{ClientRecord, ClientStats, NULL, RecordLog, Rejections};

/// Packet rate for which the replay window spans the loss window: 12 Gbit/s of 1250-byte packets. At the default
/// 120 ms that makes the 131072 sequence numbers of section 2.5.
const REPLAY_PACKETS_PER_S: u64 = 1_000_000;
/// A jump over more frames than this leaves no record per frame, only the count.
const MAX_GAP_RECORDS: u64 = 4096;

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It was used, or dropped as surplus, late or duplicate.
    Placed(Placed),
    /// It was dropped and counted.
    Rejected(Reject),
}

/// One access unit, in its turn.
#[derive(Debug)]
pub struct Frame {
    /// Index on the wire.
    pub index: u32,
    /// Host's capture time.
    pub pts_ns: u64,
    /// User flags.
    pub flags: u32,
    /// Every frame it refers to was released before it.
    pub decodable: bool,
    /// Frames that were left out between the one released before and this one.
    pub gap: u32,
    /// When its first packet came, ns.
    pub recv_first_ns: i64,
    /// When the packet that completed it came, ns.
    pub recv_last_ns: i64,
    /// When its last block was whole, ns.
    pub complete_ns: i64,
    /// When it was released, ns.
    pub released_ns: i64,
    /// The access unit.
    pub data: PooledBuf,
    /// On the meter until somebody takes the frame over.
    memory: Option<Metered>,
}

impl Frame {
    /// Whoever takes the frame now answers for its memory.
    pub fn take_over(&mut self) {
        self.memory = None;
    }

    /// Decodable without any other frame.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.flags & FLAG_KEY != 0
    }
}

/// A receiver of one stream.
pub struct ClientSession {
    config: Arc<StreamConfig>,
    limits: Limits,
    opener: Option<Opener>,
    replay: ReplayWindow,
    loss: LossTracker,
    report: ReportWindow,
    reassembler: Reassembler,
    window: Window,
    /// First frame whose turn is not over.
    next: u64,
    newest_pts_ns: u64,
    /// Complete frames that have no completion stamp yet.
    unstamped: u32,
    /// Everything the next frame may refer to was decodable.
    chain: bool,
    last_released: Option<u64>,
    recovery: Recovery,
    out: VecDeque<Frame>,
    stats: ClientStats,
    rejections: Rejections,
    records: RecordLog<ClientRecord>,
}

impl ClientSession {
    /// A session at its start.
    ///
    /// # Errors
    /// [`ConfigError`] for parameters that no session may have.
    pub fn new(config: StreamConfig, record_frames: bool) -> Result<Self, ConfigError> {
        config.validate()?;
        let config = Arc::new(config);
        let window = Duration::from_nanos(config.loss_window_ns);
        let replay = ReplayWindow::new(REPLAY_PACKETS_PER_S, window);
        let opener = config
            .key
            .map(|key| Opener::new(key, config.salt, Direction::HostToClient));
        // Where sequence numbers are authenticated the replay window has seen every duplicate already.
        let seen = opener.is_none().then(|| replay.clone());
        Ok(Self {
            limits: config.limits(),
            opener,
            replay,
            loss: LossTracker::new(seen),
            report: ReportWindow::default(),
            reassembler: Reassembler::new(Arc::clone(&config)),
            window: Window::new(config.loss_window_frames),
            next: 0,
            newest_pts_ns: 0,
            unstamped: 0,
            chain: false,
            last_released: None,
            recovery: Recovery::default(),
            out: VecDeque::new(),
            stats: ClientStats::default(),
            rejections: Rejections::default(),
            records: RecordLog::new(record_frames),
            config,
        })
    }

    /// Take one datagram; it is decrypted in place. Call [`ClientSession::advance`] after a batch of them.
    pub fn receive(&mut self, datagram: &mut [u8], received_ns: u64) -> Receipt {
        self.stats.packets_received += 1;
        self.stats.bytes_received += datagram.len() as u64;
        match self.place(datagram, received_ns) {
            Ok(placed) => Receipt::Placed(placed),
            Err(reason) => {
                self.rejections.count(reason);
                Receipt::Rejected(reason)
            }
        }
    }

    fn place(&mut self, datagram: &mut [u8], received_ns: u64) -> Result<Placed, Reject> {
        if datagram.len() > MAX_DATAGRAM_BYTES {
            return Err(Reject::TooLong);
        }
        let plain: &[u8] = match &self.opener {
            None => datagram,
            Some(opener) => {
                let (seq, plain) = opener.open_in_place(datagram).map_err(|e| match e {
                    CryptoError::TooShort(_) => Reject::TooShort,
                    _ => Reject::Auth,
                })?;
                if !self.replay.check_and_set(seq) {
                    return Err(Reject::Replay);
                }
                plain
            }
        };
        let header = Header::parse(plain)?;
        self.limits.check(&header, plain.len())?;
        self.loss.on_packet(header.stream_seq);
        self.report.received += 1;
        let index = match self.window.place(header.frame_index) {
            Some(index) if index >= self.window.base() => index,
            _ => {
                self.stats.packets_late += 1;
                return Ok(Placed::Late);
            }
        };
        if index >= self.window.end() {
            self.extend_window(index, received_ns);
            self.newest_pts_ns = header.pts_ns;
        }
        let phase = if index < self.next {
            Phase::GivenUp
        } else {
            Phase::Open
        };
        let frame = self.window.entry(index, phase);
        let placed = self
            .reassembler
            .insert(frame, &header, &plain[HEADER_BYTES..])?;
        self.note(index, placed, received_ns);
        Ok(placed)
    }

    fn note(&mut self, index: u64, placed: Placed, received_ns: u64) {
        let Some(frame) = self.window.get_mut(index) else {
            return;
        };
        // Packets that changed nothing any more do not count into a frame's receive time.
        if matches!(placed, Placed::Stored | Placed::Completed) {
            frame.stamp(received_ns);
        }
        let stats = &mut self.stats;
        match placed {
            Placed::Stored => stats.packets_used += 1,
            Placed::Completed => {
                stats.packets_used += 1;
                self.unstamped += 1;
            }
            Placed::Surplus { late_data } => {
                stats.packets_used += 1;
                stats.packets_surplus += 1;
                stats.data_shards_late += u64::from(late_data);
                self.report.late += u64::from(late_data);
            }
            Placed::Late => {
                stats.packets_late += 1;
                frame.late += 1;
            }
            Placed::Duplicate => {
                stats.packets_duplicate += 1;
                frame.duplicates += 1;
            }
        }
    }

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
        let mut deadline: Option<u64> = None;
        for index in self.next..self.window.end() {
            let Some(frame) = self.window.get(index) else {
                continue;
            };
            let at =
                match frame.phase {
                    // A complete frame waits for those before it no longer than the reorder window.
                    Phase::Complete => (frame.complete_ns.max(0) as u64)
                        .saturating_add(self.config.reorder_window_ns),
                    // Only rejected packets came for it so far, which say nothing.
                    Phase::Open if frame.recv_last_ns == NULL => continue,
                    // The pts of later frames says that this one is over, or nothing came for as long.
                    Phase::Open
                        if self.newest_pts_ns.saturating_sub(frame.pts_ns)
                            > self.config.loss_window_ns =>
                    {
                        0
                    }
                    Phase::Open => (frame.recv_last_ns.max(0) as u64)
                        .saturating_add(self.config.loss_window_ns),
                    Phase::GivenUp => 0,
                    Phase::Done => continue,
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
        let Some(complete) = self.reassembler.assemble(frame) else {
            self.reassembler.give_up(frame);
            self.stats.frames_short += 1;
            self.report.frames_lost += 1;
            self.break_chain();
            return;
        };
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
        if probe || (!frame.decodable && self.config.hold_undecodable) {
            return;
        }
        frame.released_ns = now_ns as i64;
        self.stats.frames_released += 1;
        let gap = index - self.last_released.map_or(0, |last| last + 1);
        self.last_released = Some(index);
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
            data: complete.data,
            memory: complete.memory,
        });
    }

    fn break_chain(&mut self) {
        self.chain = false;
        self.recovery.arm();
    }

    /// Make room for a newer frame; what falls out of the window has had its turn.
    fn extend_window(&mut self, index: u64, now_ns: u64) {
        let base = self.window.base_for(index);
        while self.window.base() < base.min(self.window.end()) {
            self.retire_oldest(now_ns);
        }
        let skipped = base.saturating_sub(self.window.base());
        if skipped > 0 {
            // Never seen, and so many at once that they were never tracked.
            for index in self.window.base()..self.window.base() + skipped.min(MAX_GAP_RECORDS) {
                self.records.push(ClientRecord {
                    index: index as i64,
                    status: 1,
                    decodable: 0,
                    ..ClientRecord::EMPTY
                });
            }
            self.stats.frames_unrecoverable += skipped;
            self.stats.frames_unseen += skipped;
            self.report.frames_lost += skipped;
            self.break_chain();
            self.window.skip_to(base);
            self.next = self.next.max(base);
        }
        self.window.extend_to(index);
        // A receiver that joined late begins with its first frame.
        self.next = self.next.max(self.window.base());
    }

    fn retire_oldest(&mut self, now_ns: u64) {
        if self.next <= self.window.base() {
            self.take_turn(now_ns);
        }
        let (index, frame) = self.window.pop();
        let frame = frame.unwrap_or_else(|| FrameState::new(Phase::GivenUp));
        let frame_bytes = frame.frame_bytes;
        let counts = frame.counts(|block| self.reassembler.expected_data(frame_bytes, block));
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
            bytes: when_pinned(i64::from(frame.frame_bytes)),
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
    }

    /// Close the books: every frame that is still open has had its turn.
    ///
    /// `sent` is what the host says it sent, frames and packets, if it said so: what was lost at the very end is only
    /// known from there.
    pub fn settle(&mut self, sent: Option<(u64, u64)>, now_ns: u64) {
        if let Some((frames, packets)) = sent {
            self.loss.settle(packets);
            if let Some(last) = frames.checked_sub(1)
                && last >= self.window.end()
            {
                self.extend_window(last, now_ns);
            }
        }
        self.advance(now_ns);
        while self.window.base() < self.window.end() {
            self.retire_oldest(now_ns);
        }
    }

    /// The next access unit in turn. It stays on the memory meter until [`Frame::take_over`] or its end.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.out.pop_front()
    }

    /// Whoever takes the frames had to drop `frames` of them: nothing that refers to them can be decoded, unless
    /// they were `mended` by a later frame that is waiting already.
    pub fn dropped_downstream(&mut self, frames: u64, mended: bool) {
        self.stats.frames_queue_dropped += frames;
        if !mended {
            self.break_chain();
        }
    }

    /// True once for each break of the references until a key frame comes, and again after `retry_ns` without one.
    pub fn take_recovery_request(&mut self, now_ns: u64, retry_ns: Option<u64>) -> bool {
        self.recovery.take(now_ns, retry_ns)
    }

    /// The loss report of section 2.4 over the time since the last one, ppm.
    pub fn take_loss_report_ppm(&mut self) -> u32 {
        self.report.recovered = self.reassembler.take_recovered();
        std::mem::take(&mut self.report).ppm()
    }

    /// The records of the frames that left the window since the last call.
    pub fn take_records(&mut self) -> Vec<ClientRecord> {
        self.records.take()
    }

    /// Counters. A frame and its shards are counted when it leaves the loss window, its release at once.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        ClientStats {
            data_shards_rebuilt: self.reassembler.rebuilt(),
            packets_lost: self.loss.lost(),
            packets_reordered: self.loss.reordered(),
            memory_bytes: self.reassembler.meter().used() as u64,
            memory_peak_bytes: self.reassembler.meter().peak() as u64,
            ..self.stats
        }
    }

    /// Dropped packets by reason.
    #[must_use]
    pub fn rejections(&self) -> &Rejections {
        &self.rejections
    }
}
