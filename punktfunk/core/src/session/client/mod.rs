//! The client's session: datagrams in, access units out, in order.

mod block_reports;
mod frame;
mod turns;

pub use block_reports::BlockReport;
pub use frame::Frame;

use std::collections::VecDeque;

use self::block_reports::BlockReports;
use super::loss::{LossTracker, ReportWindow};
use super::recovery::Recovery;
use super::{ConfigError, StreamConfig};
use crate::config::Receiving;
use crate::depacketize::gamestream::GameStreamDepacketizer;
use crate::depacketize::punktfunk1::Punktfunk1Depacketizer;
use crate::depacketize::{Arrival, Depacketizer};
use crate::reassemble::{Phase, Placed, Reassembler, Window};
use crate::reject::Reject;
use crate::stats::{ClientRecord, ClientStats, RecordLog, Rejections};
use crate::wire::gamestream::{GameStreamConfig, GameStreamConfigError};

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It was used, or dropped as surplus, late or duplicate.
    Placed(Placed),
    /// It was dropped and counted.
    Rejected(Reject),
}

/// A receiver of one stream: datagrams in, access units out in order, and no socket, thread or clock.
///
/// # Driving it
///
/// * **[`ClientSession::receive`]** every datagram with the time at which it came. Nothing that is in one is an error: the
///   [`Receipt`] says what became of it, and the counters add up.
/// * **[`ClientSession::advance`]** after each batch of them, and when [`ClientSession::next_timeout`] is due though nothing came.
///   This alone ends turns: it releases what is complete and gives up what waited too long.
/// * **[`ClientSession::poll_frame`]** after that, until it has no more. Frames leave in order, each once; [`Frame::gap`] says how
///   many were left out before it.
/// * **[`ClientSession::take_recovery_request`]** after that: true means ask the host for a key frame.
/// * **[`ClientSession::settle`]** once, at the end: every frame gets its fate, and the counters their balance.
///
/// `now_ns` and `received_ns` are of one monotonic clock, with any origin, and `now_ns` never goes back. It is not the host's:
/// the times of the two ends are never compared, and a frame's `pts_ns` only with that of other frames.
///
/// ```
/// use punktfunk_core::session::{
///     ClientSession, FLAG_KEY, FLAG_PICTURE, HostSession, HostSettings, StreamConfig,
/// };
///
/// let config = StreamConfig { key: Some([7; 16]), fec_percent: 20, ..StreamConfig::default() };
/// let mut host = HostSession::new(config.clone(), &HostSettings::default())?;
/// let mut client = ClientSession::new(config, true)?;
///
/// let access_unit = vec![42; 100_000];
/// host.submit(&access_unit, 1_000, FLAG_PICTURE | FLAG_KEY, 0)?;
/// let (mut now_ns, mut number) = (0, 0);
/// while let Some(due_ns) = host.transmitter.next_timeout() {
///     now_ns = now_ns.max(due_ns);
///     while let Some(train) = host.transmitter.poll_transmit(now_ns) {
///         for packet in train.bytes.chunks_exact(train.segment) {
///             number += 1;
///             if number % 10 != 0 {
///                 client.receive(&mut packet.to_vec(), now_ns); // every tenth is lost
///             }
///         }
///         let packets = train.packets;
///         host.transmitter.sent(now_ns, packets, 0);
///         client.advance(now_ns);
///     }
/// }
/// let frame = client.poll_frame().expect("10 % of loss, 20 % of recovery shards");
/// assert_eq!(&*frame.data, access_unit);
/// assert_eq!((frame.pts_ns, frame.gap, frame.decodable), (1_000, 0, true));
/// assert!(!client.take_recovery_request(now_ns, None));
///
/// // Two more frames, of which the first is lost. The second waits for it until the reorder window is over, and cannot be
/// // decoded then: it is kept back, and a key frame is to be asked for.
/// for frame in 1..3 {
///     host.submit(&access_unit[..1_000], 2_000, FLAG_PICTURE, now_ns)?;
///     now_ns = host.transmitter.next_timeout().unwrap();
///     let packets = host.transmitter.poll_transmit(now_ns).unwrap();
///     if frame == 2 {
///         for packet in packets.bytes.chunks_exact(packets.segment) {
///             client.receive(&mut packet.to_vec(), now_ns);
///         }
///     }
///     let count = packets.packets;
///     host.transmitter.sent(now_ns, count, 0);
/// }
/// client.advance(now_ns);
/// assert_eq!(client.next_timeout(), Some(now_ns + 20_000_000));
/// now_ns += 20_000_000;
/// client.advance(now_ns);
/// assert!(client.poll_frame().is_none());
/// assert!(client.take_recovery_request(now_ns, None));
///
/// client.settle(None, now_ns);
/// let stats = client.stats();
/// assert_eq!((stats.frames_decodable, stats.frames_undecodable, stats.frames_unrecoverable), (1, 1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClientSession {
    receiving: Receiving,
    depacketizer: Box<dyn Depacketizer>,
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
    /// First frame that was neither released nor left out by a release.
    unreleased: u64,
    recovery: Recovery,
    out: VecDeque<Frame>,
    stats: ClientStats,
    rejections: Rejections,
    records: RecordLog<ClientRecord>,
    /// What is said of blocks that did not come whole, where anybody wants to know.
    block_reports: Option<BlockReports>,
}

impl ClientSession {
    /// A session of punktfunk/1 at its start.
    ///
    /// # Errors
    /// [`ConfigError`] for parameters that no session may have.
    pub fn new(config: StreamConfig, record_frames: bool) -> Result<Self, ConfigError> {
        let depacketizer = Punktfunk1Depacketizer::new(&config)?;
        let receiving = config.receiving();
        Ok(Self::with_depacketizer(
            depacketizer,
            receiving,
            record_frames,
        ))
    }

    /// A session of GameStream at its start.
    ///
    /// # Errors
    /// [`GameStreamConfigError`] for parameters that no stream may have.
    pub fn gamestream(
        config: &GameStreamConfig,
        record_frames: bool,
    ) -> Result<Self, GameStreamConfigError> {
        let depacketizer = GameStreamDepacketizer::new(config)?;
        Ok(Self::with_depacketizer(
            depacketizer,
            config.receiving,
            record_frames,
        ))
    }

    /// A session at its start of the wire that `depacketizer` reads.
    #[must_use]
    pub fn with_depacketizer(
        depacketizer: impl Depacketizer + 'static,
        receiving: Receiving,
        record_frames: bool,
    ) -> Self {
        let limits = *depacketizer.limits();
        let first = depacketizer.first_frame();
        let mut session = Self {
            loss: LossTracker::new(depacketizer.seen()),
            report: ReportWindow::default(),
            reassembler: Reassembler::new(
                depacketizer.scheme(),
                limits,
                receiving.memory_cap_bytes,
            ),
            window: Window::new(receiving.loss_window_frames),
            next: 0,
            newest_pts_ns: 0,
            unstamped: 0,
            chain: false,
            unreleased: 0,
            recovery: Recovery::default(),
            out: VecDeque::new(),
            stats: ClientStats::default(),
            rejections: Rejections::default(),
            records: RecordLog::new(record_frames),
            block_reports: None,
            depacketizer: Box::new(depacketizer),
            receiving,
        };
        session.resume(first, 0);
        session
    }

    /// Begin in the middle of a session: the host says that the numbers of its next frame and packet are these.
    /// Call before the first datagram.
    ///
    /// They are those that the wire begins with unless the host says so (punktfunk/1 section 4.4). A gap does not: however far
    /// the first packet is ahead, every frame before it was sent and did not come.
    pub fn resume(&mut self, frame_index: u32, stream_seq: u32) {
        self.window.begin_at(frame_index);
        self.loss.begin_at(stream_seq);
        self.next = u64::from(frame_index);
        self.unreleased = self.next;
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
        let Arrival {
            shard,
            number,
            percent,
        } = self.depacketizer.open(datagram)?;
        self.loss.on_packet(number);
        self.report.received += 1;
        let index = match self.window.place(shard.frame) {
            Some(index) if index >= self.window.base() => index,
            _ => {
                self.stats.packets_late += 1;
                return Ok(Placed::Late);
            }
        };
        if index >= self.window.end() {
            self.extend_window(index, received_ns);
            self.newest_pts_ns = shard.pts_ns;
        }
        let phase = if index < self.next {
            Phase::GivenUp
        } else {
            Phase::Open
        };
        let frame = self.window.entry(index, phase);
        let placed = self.reassembler.insert(frame, &shard)?;
        if let (Some(reports), Some(percent)) = (&mut self.block_reports, percent)
            && matches!(placed, Placed::Stored | Placed::Completed)
        {
            let first = number.wrapping_sub(u32::from(shard.index));
            reports.note(index, shard.block, first, percent);
            let block = usize::from(shard.block);
            if frame.block_rebuilt(block)
                && let Some(state) = frame.block_state(block)
            {
                reports.report(index, shard.block, &state, received_ns);
            }
        }
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

    /// Finalise the accounting: every frame that is still open has had its turn.
    ///
    /// `sent` is what the host says it sent, frames and packets, if it said so: what was lost at the very end is only
    /// known from there.
    pub fn settle(&mut self, sent: Option<(u64, u64)>, now_ns: u64) {
        if let Some((frames, packets)) = sent {
            self.loss.settle(packets);
            let end = u64::from(self.depacketizer.first_frame()) + frames;
            if frames > 0 && end > self.window.end() {
                self.extend_window(end - 1, now_ns);
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

    /// The loss report of punktfunk/1 section 2.4 over the time since the last one, ppm.
    pub fn take_loss_report_ppm(&mut self) -> u32 {
        self.report.recovered = self.reassembler.take_recovered();
        std::mem::take(&mut self.report).ppm()
    }

    /// Keep what [`ClientSession::take_block_reports`] hands out. Call before the first datagram.
    ///
    /// There is something to report on a wire whose packets say how their block is protected: on GameStream.
    pub fn report_blocks(&mut self) {
        self.block_reports = Some(BlockReports::default());
    }

    /// What came of the blocks that FEC rebuilt or that were lost with their frame, since the last call: at most 8 in a tenth of
    /// a second (gamestream section 8.3), and 64 that nobody took.
    pub fn take_block_reports(&mut self) -> Vec<BlockReport> {
        self.block_reports
            .as_mut()
            .map(BlockReports::take)
            .unwrap_or_default()
    }

    /// The records of the frames that left the window since the last call.
    pub fn take_records(&mut self) -> Vec<ClientRecord> {
        self.records.take()
    }

    /// Return how many frames have no record because nobody took those before, or because a jump left too many at once.
    #[must_use]
    pub fn records_dropped(&self) -> u64 {
        self.records.dropped()
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

    /// Whether frames are kept back whose references are missing.
    #[must_use]
    pub fn holds_undecodable(&self) -> bool {
        self.receiving.hold_undecodable
    }

    /// Dropped packets by reason.
    #[must_use]
    pub fn rejections(&self) -> &Rejections {
        &self.rejections
    }
}
