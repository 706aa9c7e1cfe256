//! The seeded link model, without I/O or clock.
//!
//! One [`LinkModel`] is one direction of a link. It is told of every packet when it arrives and says at once what
//! becomes of it: lost, dropped by the full queue, or delivered once or twice at given times, intact or with a
//! flipped bit. The order of the stations is that of Linux's netem: loss, duplication, queue and rate, delay.
//!
//! ```
//! use punktfunk_core::emulate::{LinkModel, LinkSpec, Outcome};
//!
//! // 10 Mbit/s after a queue of four, 5 ms of way, and every third packet lost.
//! let spec = LinkSpec::from_json(
//!     r#"{"rate_kbps": 10000, "queue_packets": 4, "delay_us": 5000, "loss": {"kind": "periodic", "every": 3}}"#,
//! )?;
//! let mut link = LinkModel::new(&spec, 1, 0)?;
//! let mut arrivals = Vec::new();
//! for _ in 0..9 {
//!     let packet = link.offer(0, 1222); // all at once; with the headers of IP and UDP each takes 1 ms
//!     arrivals.extend(packet.deliveries().iter().map(|delivery| delivery.at_ns / 1_000_000));
//! }
//! assert_eq!(arrivals, [6, 7, 8, 9, 10]); // one on its way, four behind it
//! let counters = link.counters();
//! assert_eq!((counters.dropped_loss, counters.dropped_queue), (3, 1));
//! assert_eq!(counters.in_flight(), 5); // until `LinkModel::arrived` is told of each
//! # Ok::<(), punktfunk_core::emulate::LinkSpecError>(())
//! ```
//!
//! All randomness is a hash of (seed, direction, packet number, purpose): the lost, duplicated and corrupted sets of
//! a seed do not depend on when packets arrive or how they are batched. Only what the queue drops depends on time.

mod bottleneck;
mod draw;
mod spec;
#[cfg(test)]
mod tests;
mod timeline;
mod validate;

use bottleneck::Bottleneck;
use draw::{Draws, PacketDraws, Purpose};
pub use spec::{
    Change, CorruptMode, DEFAULT_QUEUE_PACKETS, JitterDistribution, LinkSpec, LossSpec,
    MAX_DELAY_US, MAX_QUEUE_PACKETS, MAX_RATE_KBPS, ReorderSpec, TracePoint,
};
use timeline::{Loss, Params, Segment, Timeline};
pub use validate::LinkSpecError;

/// What happened to a packet on its way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It arrives, once or twice.
    Delivered,
    /// The link lost it.
    Lost,
    /// The queue before the bottleneck was full.
    QueueDropped,
}

/// What a flipped bit does to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corruption {
    /// The receiver's checksum drops the packet; it must not reach the application. The bit is within the payload.
    Checksum(u32),
    /// This bit of the payload (bit 0 = lowest of byte 0) is flipped and the packet reaches the application.
    Payload(u32),
}

/// One arrival of a packet at the far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// When it arrives, on the clock of `now_ns`.
    pub at_ns: u64,
    /// 0 for the packet, 1 for its duplicate.
    pub copy: u8,
    /// Set when a bit was flipped.
    pub corrupt: Option<Corruption>,
}

/// What becomes of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The packet's number in this direction, from 0.
    pub index: u64,
    /// Its fate; a packet whose duplicate alone was dropped is still delivered.
    pub outcome: Outcome,
    /// Whether a duplicate was made, whatever became of it.
    pub duplicated: bool,
    slots: [Delivery; 2],
    count: u8,
}

impl Verdict {
    /// The deliveries: none, one or two, the packet before its duplicate.
    #[must_use]
    pub fn deliveries(&self) -> &[Delivery] {
        &self.slots[..usize::from(self.count)]
    }
}

/// Counts of one direction. The balance is
/// `link_in + duplicated = dropped_total + delivered + in_flight`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Packets offered.
    pub link_in: u64,
    /// Their bytes, without overhead.
    pub link_in_bytes: u64,
    /// Duplicates made.
    pub duplicated: u64,
    /// Packets that the link lost.
    pub dropped_loss: u64,
    /// Packets and duplicates that found the queue full.
    pub dropped_queue: u64,
    /// Packets that the shell around the model had no memory for; 0 in the model itself.
    pub dropped_overflow: u64,
    /// Deliveries with a flipped bit, counted when they were scheduled.
    pub corrupted: u64,
    /// Of the delivered, those that the receiver's checksum drops.
    pub checksum_dropped: u64,
    /// Delivered packets that a later one had overtaken (RFC 4737 type-P-reordered; duplicates do not count).
    pub reordered: u64,
    /// Deliveries that have arrived, with those that a checksum drops.
    pub delivered: u64,
    /// Their bytes, without overhead.
    pub delivered_bytes: u64,
    /// Longest wait in the queue.
    pub queue_max_ns: u64,
}

impl LinkCounters {
    /// Packets and duplicates that never arrive.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped_loss + self.dropped_queue + self.dropped_overflow
    }

    /// Deliveries scheduled and not yet arrived.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        (self.link_in + self.duplicated).saturating_sub(self.dropped_total() + self.delivered)
    }

    /// Names and values, as reports carry them.
    #[must_use]
    pub fn pairs(&self) -> [(&'static str, u64); 14] {
        [
            ("link_in", self.link_in),
            ("link_in_bytes", self.link_in_bytes),
            ("duplicated", self.duplicated),
            ("dropped_loss", self.dropped_loss),
            ("dropped_queue", self.dropped_queue),
            ("dropped_overflow", self.dropped_overflow),
            ("dropped_total", self.dropped_total()),
            ("corrupted", self.corrupted),
            ("checksum_dropped", self.checksum_dropped),
            ("reordered", self.reordered),
            ("delivered", self.delivered),
            ("delivered_bytes", self.delivered_bytes),
            ("in_flight", self.in_flight()),
            ("queue_max_ns", self.queue_max_ns),
        ]
    }
}

/// State of the Gilbert–Elliott chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chain {
    /// The next packet draws the state from the stationary distribution.
    Unstarted,
    Good,
    Bad,
}

/// One direction of a link.
#[derive(Debug, Clone)]
pub struct LinkModel {
    timeline: Timeline,
    draws: Draws,
    /// Clock of the first packet; everything below is in ns since then.
    origin_ns: Option<u64>,
    /// Where the timeline began (0, or when the spec was replaced).
    timeline_began_ns: u64,
    segment: Segment,
    now_ns: u64,
    chain: Chain,
    bottleneck: Bottleneck,
    last_arrival_ns: u64,
    highest_arrived: Option<u64>,
    counters: LinkCounters,
}

impl LinkModel {
    /// A link direction whose draws come from `seed` and `direction`.
    ///
    /// Trace and changes count from the first packet unless [`LinkModel::start`] says when they begin.
    ///
    /// # Errors
    /// [`LinkSpecError`] when the spec does not hold [`LinkSpec::validate`].
    pub fn new(spec: &LinkSpec, seed: u64, direction: u8) -> Result<Self, LinkSpecError> {
        let timeline = Timeline::new(spec)?;
        Ok(Self {
            segment: timeline.segment(0),
            timeline,
            draws: Draws::new(seed, direction),
            origin_ns: None,
            timeline_began_ns: 0,
            now_ns: 0,
            chain: Chain::Unstarted,
            bottleneck: Bottleneck::default(),
            last_arrival_ns: 0,
            highest_arrived: None,
            counters: LinkCounters::default(),
        })
    }

    /// Begin trace and changes at `now_ns` instead of at the first packet. No effect once a packet was offered.
    pub fn start(&mut self, now_ns: u64) {
        self.origin_ns.get_or_insert(now_ns);
    }

    /// Apply another spec from `now_ns` on; its trace and changes begin then.
    ///
    /// Packet numbers, counters and what is already on its way stay.
    ///
    /// # Errors
    /// [`LinkSpecError`], and the old spec still applies.
    pub fn set_spec(&mut self, spec: &LinkSpec, now_ns: u64) -> Result<(), LinkSpecError> {
        self.timeline = Timeline::new(spec)?;
        self.advance(now_ns);
        self.timeline_began_ns = self.now_ns;
        self.segment = self.timeline.segment(0);
        if !matches!(self.segment.params.loss, Loss::GilbertElliott { .. }) {
            self.chain = Chain::Unstarted;
        }
        Ok(())
    }

    /// Offer a packet of `size` bytes (UDP payload) that arrives at `now_ns`; time never goes back.
    pub fn offer(&mut self, now_ns: u64, size: usize) -> Verdict {
        self.advance(now_ns);
        let index = self.counters.link_in;
        self.counters.link_in += 1;
        self.counters.link_in_bytes += size as u64;
        let params = self.segment.params;
        let draws = self.draws.packet(index, 0);
        let mut verdict = Verdict {
            index,
            outcome: Outcome::Delivered,
            duplicated: false,
            slots: [NO_DELIVERY; 2],
            count: 0,
        };
        if self.is_lost(index, &params.loss, draws) {
            self.counters.dropped_loss += 1;
            verdict.outcome = Outcome::Lost;
            return verdict;
        }
        let Some(delivery) = self.deliver(size, &params, draws, 0) else {
            verdict.outcome = Outcome::QueueDropped;
            return verdict;
        };
        verdict.slots[0] = delivery;
        verdict.count = 1;
        if draws.happens(Purpose::Duplicate, params.duplicate) {
            self.counters.duplicated += 1;
            verdict.duplicated = true;
            if let Some(copy) = self.deliver(size, &params, self.draws.packet(index, 1), 1) {
                verdict.slots[1] = copy;
                verdict.count = 2;
            }
        }
        verdict
    }

    /// When something that is not to be shaped (ICMP, ND) and arrives at `now_ns` leaves: after the delay alone.
    ///
    /// It draws nothing, takes no packet number, no room in the queue and is not counted.
    pub fn pass(&mut self, now_ns: u64) -> u64 {
        self.advance(now_ns);
        now_ns + self.segment.params.delay_ns
    }

    /// Count a delivery as arrived; the shell calls this when it hands `size` bytes to the receiver.
    pub fn arrived(&mut self, index: u64, delivery: &Delivery, size: usize) {
        self.counters.delivered += 1;
        self.counters.delivered_bytes += size as u64;
        if matches!(delivery.corrupt, Some(Corruption::Checksum(_))) {
            self.counters.checksum_dropped += 1;
        }
        if delivery.copy != 0 {
            return;
        }
        if self.highest_arrived.is_some_and(|highest| index < highest) {
            self.counters.reordered += 1;
        } else {
            self.highest_arrived = Some(index);
        }
    }

    /// Count scheduled deliveries of the last packet that the shell could not hold as dropped.
    pub fn overflowed(&mut self, deliveries: usize) {
        self.counters.dropped_overflow += deliveries as u64;
    }

    /// The counts so far.
    #[must_use]
    pub fn counters(&self) -> LinkCounters {
        LinkCounters {
            queue_max_ns: self.bottleneck.longest_wait_ns,
            ..self.counters
        }
    }

    fn advance(&mut self, now_ns: u64) {
        let origin = *self.origin_ns.get_or_insert(now_ns);
        self.now_ns = self.now_ns.max(now_ns.saturating_sub(origin));
        let elapsed_ns = self.now_ns - self.timeline_began_ns;
        if elapsed_ns >= self.segment.until_ns {
            self.segment = self.timeline.segment(elapsed_ns);
        }
    }

    fn is_lost(&mut self, index: u64, loss: &Loss, draws: PacketDraws) -> bool {
        match *loss {
            Loss::None => false,
            Loss::Independent(p) => draws.happens(Purpose::Loss, p),
            Loss::Periodic { every, offset } => index % every == offset,
            Loss::GilbertElliott {
                to_bad,
                to_good,
                in_bad,
                in_good,
                begins_bad,
            } => {
                let bad = match self.chain {
                    Chain::Unstarted => draws.happens(Purpose::State, begins_bad),
                    Chain::Good => draws.happens(Purpose::State, to_bad),
                    Chain::Bad => !draws.happens(Purpose::State, to_good),
                };
                self.chain = if bad { Chain::Bad } else { Chain::Good };
                draws.happens(Purpose::Loss, if bad { in_bad } else { in_good })
            }
        }
    }

    /// Queue, rate, delay, jitter and corruption of one copy; none when the queue drops it.
    fn deliver(
        &mut self,
        size: usize,
        params: &Params,
        draws: PacketDraws,
        copy: u8,
    ) -> Option<Delivery> {
        let wire_bytes = size as u64 + params.overhead_bytes;
        let Some(sent_ns) = self.bottleneck.transmit(
            self.now_ns,
            wire_bytes,
            &self.segment,
            &self.timeline,
            self.timeline_began_ns,
        ) else {
            self.counters.dropped_queue += 1;
            return None;
        };
        let mut at_ns = sent_ns + params.delay_ns;
        if params.jitter_ns > 0.0 {
            let u = draws.unit(Purpose::Jitter);
            let jitter_ns = params.jitter_ns
                * match params.distribution {
                    JitterDistribution::Uniform => 2.0 * u - 1.0,
                    JitterDistribution::Normal => draw::normal_quantile(u),
                    JitterDistribution::Pareto => draw::pareto_quantile(u),
                };
            at_ns = at_ns.saturating_add_signed(jitter_ns as i64).max(sent_ns);
        }
        if !params.jitter_reorder {
            at_ns = at_ns.max(self.last_arrival_ns);
            self.last_arrival_ns = at_ns;
        }
        if draws.happens(Purpose::Reorder, params.reorder) {
            at_ns += params.reorder_extra_ns;
        }
        let mut corrupt = None;
        if size > 0 && draws.happens(Purpose::Corrupt, params.corrupt) {
            self.counters.corrupted += 1;
            let bit = (draws.bits(Purpose::CorruptBit) % (size as u64 * 8)) as u32;
            corrupt = Some(match params.corrupt_mode {
                CorruptMode::Checksum => Corruption::Checksum(bit),
                CorruptMode::Payload => Corruption::Payload(bit),
            });
        }
        Some(Delivery {
            at_ns: self.origin_ns.unwrap_or(0) + at_ns,
            copy,
            corrupt,
        })
    }
}

const NO_DELIVERY: Delivery = Delivery {
    at_ns: 0,
    copy: 0,
    corrupt: None,
};
