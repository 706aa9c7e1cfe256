//! The host's session: access units in, paced trains of sealed packets out.
//!
//! It has two halves that share a bounded queue, so that sealing the next frame and sending the last one can run on
//! two threads: [`Submitter`] and [`Transmitter`]. [`HostSession`] is both in one hand.

mod transmit;

pub use transmit::{Train, Transmitter};

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{ConfigError, FLAGS_DECODABLE, StreamConfig};
use crate::pacing::PacerConfig;
use crate::packetize::gamestream::{GameStreamPacketizer, PACING};
use crate::packetize::punktfunk1::{EmissionOrder, Punktfunk1Packetizer};
use crate::packetize::{Outgoing, Packetizer, SealedFrame, SubmitError};
use crate::stats::{HostRecord, HostStats, NULL, RecordLog, add};
use crate::wire::gamestream::{GameStreamConfig, GameStreamConfigError};

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
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            rate_kbps: 20_000,
            queue_frames: 8,
            pacer: PacerConfig::default(),
            record_frames: true,
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

struct Queue {
    frames: VecDeque<SealedFrame>,
    records: RecordLog<HostRecord>,
}

/// What both halves share.
pub struct Shared {
    /// Bytes of every packet, and of the access unit in a data packet.
    packet_bytes: usize,
    payload_bytes: usize,
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

    /// True once for each loss in the sender's own queue that no key frame has repaired yet.
    pub fn take_recovery_request(&self) -> bool {
        self.recovery_pending.swap(false, Relaxed)
    }

    /// The records of the frames that are done since the last call.
    pub fn take_records(&self) -> Vec<HostRecord> {
        self.queue().records.take()
    }

    /// Return how many frames have no record because nobody took those before.
    #[must_use]
    pub fn records_dropped(&self) -> u64 {
        self.queue().records.dropped()
    }

    /// Packets per second of the session, recovery shards included.
    fn packets_per_s(&self) -> f64 {
        let media = f64::from(self.rate_kbps.load(Relaxed)) * 1e3 / 8.0 / self.payload_bytes as f64;
        media * (1.0 + f64::from(self.fec_percent.load(Relaxed)) / 100.0)
    }
}

/// The half that takes access units.
pub struct Submitter {
    shared: Arc<Shared>,
    packetizer: Box<dyn Packetizer>,
    queue_frames: usize,
}

impl Submitter {
    /// Seal an access unit and queue its packets; returns its index on the wire.
    ///
    /// `now` is asked for the time before, where the time of the capture is known, and after sealing. A full queue drops its
    /// oldest frame, never this one, and never blocks.
    ///
    /// # Errors
    /// [`SubmitError`]; the session goes on.
    pub fn submit(
        &mut self,
        access_unit: &[u8],
        pts_ns: u64,
        flags: u32,
        stamps: SubmitStamps,
        now: impl Fn() -> u64,
    ) -> Result<u32, SubmitError> {
        let percent = self.shared.fec_percent.load(Relaxed);
        let captured_ns = u64::try_from(stamps.captured_ns).ok();
        let unit = Outgoing {
            data: access_unit,
            pts_ns,
            flags,
            age_ns: captured_ns.map(|at| now().saturating_sub(at)),
        };
        let mut frame = self.packetizer.packetize(unit, percent)?;
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
        // A frame in the queue that needs no reference repairs the loss by itself.
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

/// Both halves of a host's session: access units in, paced packets out, and no socket, thread or clock.
///
/// # Driving it
///
/// * **[`HostSession::submit`]** each access unit as it leaves the encoder. That seals it, queues its packets and never waits:
///   a full queue drops its oldest frame, which then makes [`Shared::take_recovery_request`] ask for a key frame.
/// * **[`Transmitter::next_timeout`]** says when packets may leave, `None` while none wait. It changes with every other call, so
///   ask it anew after each, and again after the next submission where it was `None`.
/// * **[`Transmitter::poll_transmit`]** at that time, until it has nothing more. Give each [`Train`] to the network as a whole or
///   packet by packet, and report its fate by **[`Transmitter::sent`]** before the next poll. What is not sent is refused: a
///   session sends nothing twice.
///
/// `now_ns` is the time of one monotonic clock at which the call happens; any origin will do, and it never goes back. A call
/// that comes late is no error, the pacer only makes up for it with a burst of bounded length. `pts_ns` is the wall clock's
/// when the picture was captured: the session carries it and reads no time from it.
///
/// The two halves may be driven by a thread each: they share a bounded queue and the counters in [`Shared`].
///
/// ```
/// use punktfunk_core::session::{FLAG_KEY, FLAG_PICTURE, HostSession, HostSettings, StreamConfig};
///
/// let config = StreamConfig { key: Some([7; 16]), fec_percent: 20, ..StreamConfig::default() };
/// let mut host = HostSession::new(config, &HostSettings::default())?;
///
/// let mut now_ns = 0;
/// host.submit(&[42; 100_000], 0, FLAG_PICTURE | FLAG_KEY, now_ns)?;
///
/// let mut sent = 0;
/// while let Some(due_ns) = host.transmitter.next_timeout() {
///     now_ns = now_ns.max(due_ns); // a real host sleeps until then
///     while let Some(train) = host.transmitter.poll_transmit(now_ns) {
///         for packet in train.bytes.chunks_exact(train.segment) {
///             sent += 1; // socket.send(packet)
///             assert_eq!(packet.len(), 1264); // 8 of number, 40 of header, 1200 of shard, 16 of tag
///         }
///         let packets = train.packets;
///         host.transmitter.sent(now_ns, packets, 0);
///     }
/// }
/// assert_eq!(sent, 84 + 17); // 100 000 bytes in shards of 1200, and 20 % of them rounded up
/// assert_eq!(now_ns, 690_000); // 32 of them at once, then 100 each millisecond
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct HostSession {
    /// Takes access units.
    pub submitter: Submitter,
    /// Gives packets.
    pub transmitter: Transmitter,
}

impl HostSession {
    /// A session of punktfunk/1 at its start: every sequence number is 0.
    ///
    /// # Errors
    /// [`ConfigError`] when no receiver would accept the parameters.
    pub fn new(config: StreamConfig, settings: &HostSettings) -> Result<Self, ConfigError> {
        let fec_percent = config.fec_percent;
        let packetizer = Punktfunk1Packetizer::new(config, EmissionOrder::default(), None)?;
        Ok(Self::with_packetizer(packetizer, fec_percent, settings))
    }

    /// A session of GameStream at its start. It paces as [`PACING`] says; what `settings` say of their own is held to that.
    ///
    /// # Errors
    /// [`GameStreamConfigError`] when no client could have announced the parameters.
    pub fn gamestream(
        config: GameStreamConfig,
        settings: &HostSettings,
    ) -> Result<Self, GameStreamConfigError> {
        let fec_percent = config.fec_percent;
        let packetizer = GameStreamPacketizer::new(config)?;
        let mut settings = settings.clone();
        settings.pacer = if settings.pacer == PacerConfig::default() {
            PACING
        } else {
            let PacerConfig {
                burst_packets,
                packets_per_ms,
                rate_factor,
                ..
            } = settings.pacer;
            PacerConfig {
                burst_packets: burst_packets.min(PACING.burst_packets),
                packets_per_ms: packets_per_ms.min(PACING.packets_per_ms),
                rate_factor,
                ..PACING
            }
        };
        Ok(Self::with_packetizer(packetizer, fec_percent, &settings))
    }

    /// A session of the wire that `packetizer` speaks, which begins with `fec_percent` % of recovery shards.
    #[must_use]
    pub fn with_packetizer(
        packetizer: impl Packetizer + 'static,
        fec_percent: u32,
        settings: &HostSettings,
    ) -> Self {
        let shared = Arc::new(Shared {
            packet_bytes: packetizer.packet_bytes(),
            payload_bytes: packetizer.payload_bytes(),
            queue: Mutex::new(Queue {
                frames: VecDeque::new(),
                records: RecordLog::new(settings.record_frames),
            }),
            stats: HostStats::default(),
            rate_kbps: AtomicU32::new(settings.rate_kbps),
            fec_percent: AtomicU32::new(fec_percent),
            recovery_pending: AtomicBool::new(false),
            settings_epoch: AtomicU64::new(0),
        });
        Self {
            submitter: Submitter {
                shared: Arc::clone(&shared),
                packetizer: Box::new(packetizer),
                queue_frames: settings.queue_frames.max(1),
            },
            transmitter: Transmitter::new(shared, settings.pacer),
        }
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
