//! The host's session: access units in, paced trains of sealed packets out.
//!
//! It has two halves that share a bounded queue, so that sealing the next frame and sending the last one can run on
//! two threads: [`Submitter`] and [`Transmitter`]. [`HostSession`] is both in one hand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use super::packetize::{EmissionOrder, Packetizer, Sabotage, SealedFrame, SubmitError};
use super::{ConfigError, FLAGS_DECODABLE, StreamConfig};
use crate::pacing::{Pacer, PacerConfig};
use crate::stats::{HostRecord, HostStats, NULL, RecordLog, add};

/// Longest train in bytes: what one UDP datagram with segmentation offload can carry.
const MAX_TRAIN_BYTES: usize = 65_000;

/// What a host decides for itself.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// Rate of the access units, kbit/s; the pacer stays above it.
    pub rate_kbps: u32,
    /// Frames that may wait for their first packet to leave.
    pub queue_frames: usize,
    /// How packets are spread over time.
    pub pacer: PacerConfig,
    /// Keep a record of each frame.
    pub record_frames: bool,
    /// Order of a frame's packets.
    pub order: EmissionOrder,
    /// A planted fault (simulation only).
    pub sabotage: Option<Sabotage>,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            rate_kbps: 20_000,
            queue_frames: 8,
            pacer: PacerConfig::default(),
            record_frames: true,
            order: EmissionOrder::default(),
            sabotage: None,
        }
    }
}

/// Stamps of the stages before the session, ns, -1 when a stage does not exist.
#[derive(Clone, Copy, Debug)]
pub struct SubmitStamps {
    /// The picture was captured.
    pub captured_ns: i64,
    /// It was converted to the encoder's format.
    pub converted_ns: i64,
    /// The encoder began.
    pub encode_begin_ns: i64,
    /// The encoder ended.
    pub encode_end_ns: i64,
}

impl SubmitStamps {
    /// No stage before the session is known.
    pub const NONE: Self = Self {
        captured_ns: NULL,
        converted_ns: NULL,
        encode_begin_ns: NULL,
        encode_end_ns: NULL,
    };
}

/// Packets that may be sent in one call: `packets` of `segment` bytes, back to back.
#[derive(Clone, Copy, Debug)]
pub struct Train<'a> {
    /// The packets.
    pub bytes: &'a [u8],
    /// Bytes of each.
    pub segment: usize,
    /// How many.
    pub packets: u32,
}

struct Queue {
    frames: VecDeque<SealedFrame>,
    records: RecordLog<HostRecord>,
}

/// What both halves share.
pub struct Shared {
    config: Arc<StreamConfig>,
    queue: Mutex<Queue>,
    /// Counters, readable at any time.
    pub stats: HostStats,
    rate_kbps: AtomicU32,
    fec_percent: AtomicU32,
    recovery_pending: AtomicBool,
    settings_epoch: AtomicU64,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Change the recovery share of the frames that follow. A block never grows above what a receiver accepts.
    pub fn set_fec_percent(&self, percent: u32) {
        self.fec_percent.store(percent, Relaxed);
        self.settings_epoch.fetch_add(1, Relaxed);
    }

    /// Change the media rate that the pacer stays above.
    pub fn set_rate(&self, rate_kbps: u32) {
        self.rate_kbps.store(rate_kbps, Relaxed);
        self.settings_epoch.fetch_add(1, Relaxed);
    }

    /// True once for each loss in the sender's own queue that no key frame has mended yet.
    pub fn take_recovery_request(&self) -> bool {
        self.recovery_pending.swap(false, Relaxed)
    }

    /// The records of the frames that are done since the last call.
    pub fn take_records(&self) -> Vec<HostRecord> {
        self.queue().records.take()
    }

    /// Packets per second of the session, recovery shards included.
    fn packets_per_s(&self) -> f64 {
        let media =
            f64::from(self.rate_kbps.load(Relaxed)) * 1e3 / 8.0 / self.config.shard_bytes as f64;
        media * (1.0 + f64::from(self.fec_percent.load(Relaxed)) / 100.0)
    }
}

/// The half that takes access units.
pub struct Submitter {
    shared: Arc<Shared>,
    packetizer: Packetizer,
    queue_frames: usize,
}

impl Submitter {
    /// Seal an access unit and queue its packets; returns its index on the wire.
    ///
    /// `now` is asked for the time after sealing. A full queue drops its oldest frame, never this one, and never blocks.
    ///
    /// # Errors
    /// [`SubmitError`]; the session goes on.
    pub fn submit(
        &mut self,
        access_unit: &[u8],
        pts_ns: u64,
        flags: u32,
        stamps: SubmitStamps,
        now: impl FnOnce() -> u64,
    ) -> Result<u32, SubmitError> {
        let percent = self.shared.fec_percent.load(Relaxed);
        let mut frame = self
            .packetizer
            .packetize(access_unit, pts_ns, flags, percent)?;
        frame.record.captured_ns = stamps.captured_ns;
        frame.record.converted_ns = stamps.converted_ns;
        frame.record.encode_begin_ns = stamps.encode_begin_ns;
        frame.record.encode_end_ns = stamps.encode_end_ns;
        frame.record.sealed_ns = now() as i64;
        let (index, packets) = (frame.index, u64::from(frame.packets));
        let stats = &self.shared.stats;
        add(&stats.frames_submitted, 1);
        add(&stats.packets_sealed, packets);
        add(&stats.queue_packets, packets);
        if flags & FLAGS_DECODABLE != 0 {
            stats.recovery_armed.store(0, Relaxed);
            self.shared.recovery_pending.store(false, Relaxed);
        }
        let mut queue = self.shared.queue();
        queue.frames.push_back(frame);
        while queue.frames.len() > self.queue_frames {
            self.drop_oldest(&mut queue);
        }
        Ok(index)
    }

    /// Continue another session's numbers: those of the next frame, the next packet and the next seal.
    pub fn resume(&mut self, frame_index: u32, stream_seq: u32, seq: u64) {
        self.packetizer.set_next(frame_index, stream_seq, seq);
    }

    fn drop_oldest(&self, queue: &mut Queue) {
        let Some(frame) = queue.frames.pop_front() else {
            return;
        };
        let stats = &self.shared.stats;
        add(&stats.frames_queue_dropped, 1);
        add(&stats.packets_queue_dropped, u64::from(frame.packets));
        stats
            .queue_packets
            .fetch_sub(u64::from(frame.packets), Relaxed);
        queue.records.push(HostRecord {
            packets_sent: 0,
            status: 1,
            ..frame.record
        });
        // A frame in the queue that needs no reference mends the loss by itself.
        let mended = queue.frames.iter().any(|f| f.flags & FLAGS_DECODABLE != 0);
        if !mended && stats.recovery_armed.swap(1, Relaxed) == 0 {
            self.shared.recovery_pending.store(true, Relaxed);
        }
    }

    /// What both halves share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

struct InFlight {
    frame: SealedFrame,
    next: u32,
}

/// The half that gives packets to a socket.
pub struct Transmitter {
    shared: Arc<Shared>,
    pacer: Pacer,
    settings_epoch: u64,
    current: Option<InFlight>,
}

impl Transmitter {
    /// The next packets that may leave now. Report their fate with [`Transmitter::sent`] before asking again.
    pub fn poll_transmit(&mut self, now_ns: u64) -> Option<Train<'_>> {
        let epoch = self.shared.settings_epoch.load(Relaxed);
        if epoch != self.settings_epoch {
            self.settings_epoch = epoch;
            self.pacer.set_rate(self.shared.packets_per_s());
        }
        if self.current.is_none() {
            let mut queue = self.shared.queue();
            let waiting = queue.frames.front()?.packets;
            // A frame stays in the queue, and can be dropped, until its first packet may leave.
            let packets = self.pacer.take(now_ns, waiting);
            if packets == 0 {
                return None;
            }
            let mut frame = queue.frames.pop_front()?;
            drop(queue);
            frame.record.sent_first_ns = now_ns as i64;
            frame.record.packets_sent = 0;
            self.current = Some(InFlight { frame, next: 0 });
            return self.train(packets);
        }
        let left = self.packets_left();
        let packets = self.pacer.take(now_ns, left);
        if packets == 0 {
            None
        } else {
            self.train(packets)
        }
    }

    fn train(&mut self, packets: u32) -> Option<Train<'_>> {
        let current = self.current.as_mut()?;
        let segment = current.frame.stride;
        let at = current.next as usize * segment;
        current.next += packets;
        Some(Train {
            bytes: &current.frame.buffer[at..at + packets as usize * segment],
            segment,
            packets,
        })
    }

    fn packets_left(&self) -> u32 {
        self.current
            .as_ref()
            .map_or(0, |c| c.frame.packets - c.next)
    }

    /// Say what became of the last train: packets that the socket took and packets that it refused for good.
    pub fn sent(&mut self, now_ns: u64, sent: u32, refused: u32) {
        let Some(current) = self.current.as_mut() else {
            return;
        };
        let stats = &self.shared.stats;
        add(&stats.packets_sent, u64::from(sent));
        add(
            &stats.bytes_sent,
            u64::from(sent) * current.frame.stride as u64,
        );
        add(&stats.packets_socket_dropped, u64::from(refused));
        stats
            .queue_packets
            .fetch_sub(u64::from(sent + refused), Relaxed);
        current.frame.record.packets_sent += i64::from(sent);
        if current.next == current.frame.packets {
            add(&stats.frames_sent, 1);
            let record = HostRecord {
                sent_last_ns: now_ns as i64,
                status: 0,
                ..current.frame.record
            };
            self.current = None;
            self.shared.queue().records.push(record);
        }
    }

    /// Drop whatever has not left yet, the frame that was under way too.
    pub fn abandon(&mut self) {
        let stats = &self.shared.stats;
        let mut queue = self.shared.queue();
        let cut = self
            .current
            .take()
            .map(|c| (c.frame.packets - c.next, c.frame.record));
        let waiting: Vec<_> = queue
            .frames
            .drain(..)
            .map(|f| (f.packets, f.record))
            .collect();
        for (packets, record) in cut.into_iter().chain(waiting) {
            add(&stats.frames_queue_dropped, 1);
            add(&stats.packets_queue_dropped, u64::from(packets));
            stats.queue_packets.fetch_sub(u64::from(packets), Relaxed);
            queue.records.push(HostRecord {
                packets_sent: record.packets_sent.max(0),
                status: 1,
                ..record
            });
        }
    }

    /// When [`Transmitter::poll_transmit`] should be called next; `None` while nothing waits.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        let left = match &self.current {
            Some(_) => self.packets_left(),
            None => self.shared.queue().frames.front()?.packets,
        };
        Some(self.pacer.next_ns(left))
    }

    /// What both halves share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// Both halves of a host's session.
pub struct HostSession {
    /// Takes access units.
    pub submitter: Submitter,
    /// Gives packets.
    pub transmitter: Transmitter,
}

impl HostSession {
    /// A session at its start: every sequence number is 0.
    ///
    /// # Errors
    /// [`ConfigError`] when no receiver would accept the parameters.
    pub fn new(config: StreamConfig, settings: &HostSettings) -> Result<Self, ConfigError> {
        config.validate()?;
        let config = Arc::new(config);
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                frames: VecDeque::new(),
                records: RecordLog::new(settings.record_frames),
            }),
            stats: HostStats::default(),
            rate_kbps: AtomicU32::new(settings.rate_kbps),
            fec_percent: AtomicU32::new(config.fec_percent),
            recovery_pending: AtomicBool::new(false),
            settings_epoch: AtomicU64::new(0),
            config: Arc::clone(&config),
        });
        let mut pacing = settings.pacer;
        let in_a_train = (MAX_TRAIN_BYTES / config.packet_bytes()).max(1) as u32;
        pacing.train_packets = pacing.train_packets.clamp(1, in_a_train);
        Ok(Self {
            submitter: Submitter {
                shared: Arc::clone(&shared),
                packetizer: Packetizer::new(config, settings.order, settings.sabotage),
                queue_frames: settings.queue_frames.max(1),
            },
            transmitter: Transmitter {
                pacer: Pacer::new(pacing, shared.packets_per_s()),
                settings_epoch: 0,
                current: None,
                shared,
            },
        })
    }

    /// As [`Submitter::submit`] at `now_ns`.
    ///
    /// # Errors
    /// [`SubmitError`]; the session goes on.
    pub fn submit(
        &mut self,
        access_unit: &[u8],
        pts_ns: u64,
        flags: u32,
        now_ns: u64,
    ) -> Result<u32, SubmitError> {
        self.submitter
            .submit(access_unit, pts_ns, flags, SubmitStamps::NONE, || now_ns)
    }

    /// What both halves share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        self.submitter.shared()
    }
}
