//! The event loop of a simulation.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::content::Content;
use super::follow::{Follow, Following};
use super::report::{self, FrameCounts, SimOutcome};
use super::spec::{SimSpec, SimSpecError};
use crate::emulate::{Corruption, Delivery, LinkModel};
use crate::reassemble::Placed;
use crate::session::{ClientSession, FLAG_KEY, FLAG_PICTURE, HostSession, Receipt};

/// Virtual time of the first frame. Not 0, so that a forgotten stamp shows.
const START_NS: u64 = 1_000_000_000;
/// A client asks again when no key frame came after this many round trips, but not more often than every 50 ms.
const RETRY_ROUND_TRIPS: u64 = 2;
const RETRY_MIN_NS: u64 = 50_000_000;

/// A packet on the link; the heap's smallest is the next to arrive.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at_ns: u64,
    /// Packets that arrive at the same time do so in the order in which they were sent.
    order: u64,
    slot: usize,
    index: u64,
    copy: u8,
    corrupt: Option<Flip>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Flip {
    Checksum(u32),
    Payload(u32),
}

/// The packets on the link, in slots of one size that are used again.
struct Wire {
    packet_bytes: usize,
    slots: Vec<u8>,
    free: Vec<usize>,
    arrivals: BinaryHeap<Reverse<Arrival>>,
    sent: u64,
}

impl Wire {
    fn new(packet_bytes: usize) -> Self {
        Self {
            packet_bytes,
            slots: Vec::new(),
            free: Vec::new(),
            arrivals: BinaryHeap::new(),
            sent: 0,
        }
    }

    fn put(&mut self, packet: &[u8], index: u64, delivery: &Delivery) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.resize(self.slots.len() + self.packet_bytes, 0);
            self.slots.len() / self.packet_bytes - 1
        });
        self.slots[slot * self.packet_bytes..][..self.packet_bytes].copy_from_slice(packet);
        let corrupt = delivery.corrupt.map(|c| match c {
            Corruption::Checksum(bit) => Flip::Checksum(bit),
            Corruption::Payload(bit) => Flip::Payload(bit),
        });
        self.arrivals.push(Reverse(Arrival {
            at_ns: delivery.at_ns,
            order: self.sent,
            slot,
            index,
            copy: delivery.copy,
            corrupt,
        }));
        self.sent += 1;
    }

    fn next_ns(&self) -> Option<u64> {
        self.arrivals.peek().map(|a| a.0.at_ns)
    }
}

/// One run.
pub struct Engine<'a> {
    spec: &'a SimSpec,
    host: HostSession,
    client: ClientSession,
    link: LinkModel,
    wire: Wire,
    content: Content,
    access_unit: Vec<u8>,
    submitted: u32,
    /// A key frame was asked for.
    key_wanted: bool,
    /// When the client's request reaches the host.
    request_due_ns: Option<u64>,
    counts: FrameCounts,
    /// What the client says of loss, where somebody follows it.
    following: Option<Following<'a>>,
}

impl<'a> Engine<'a> {
    /// A run at its start.
    ///
    /// # Errors
    /// Whatever is wrong with the specification.
    pub fn new(
        spec: &'a SimSpec,
        follow: Option<&'a mut Follow<'a>>,
    ) -> Result<Self, SimSpecError> {
        let following = match (follow, spec.loss_words) {
            (None, _) => None,
            (Some(follow), Some(words)) => Some(Following::new(words, START_NS, follow)),
            (Some(_), None) => {
                return Err(SimSpecError::Value(
                    "nobody speaks of loss without loss_words".into(),
                ));
            }
        };
        let mut client = spec.wire.client(spec.records)?;
        if following.is_some() {
            client.report_blocks();
        }
        let mut link = LinkModel::new(&spec.link, spec.seed, 0)?;
        link.start(START_NS);
        Ok(Self {
            host: spec.wire.host(&spec.host)?,
            client,
            following,
            link,
            wire: Wire::new(spec.wire.packet_bytes()),
            content: Content::new(spec.content, spec.seed),
            access_unit: Vec::new(),
            submitted: 0,
            key_wanted: false,
            request_due_ns: None,
            counts: FrameCounts::default(),
            spec,
        })
    }

    fn submit_ns(&self) -> Option<u64> {
        (self.submitted < self.spec.frames)
            .then(|| START_NS + (f64::from(self.submitted) * self.spec.frame_interval_ns) as u64)
    }

    /// Run to the end and finalise the accounting.
    ///
    /// # Errors
    /// An access unit that no packets can carry.
    pub fn run(mut self) -> Result<SimOutcome, SimSpecError> {
        let mut now = START_NS;
        loop {
            // At equal times: frame, request, packets out, packets in, client's timer, its word of loss and who hears it.
            let says_ns = self.following.as_ref().map(Following::next_ns);
            let events = [
                self.submit_ns(),
                self.request_due_ns,
                self.host.transmitter.next_timeout(),
                self.wire.next_ns(),
                self.client.next_timeout(),
                // Nothing follows what is said after the last frame.
                says_ns.filter(|_| self.submit_ns().is_some()),
                self.following.as_ref().and_then(Following::due_ns),
            ];
            let Some((due, which)) = events
                .iter()
                .enumerate()
                .filter_map(|(which, at)| at.map(|at| (at.max(now), which)))
                .min()
            else {
                break;
            };
            now = due;
            match which {
                0 => self.submit(now)?,
                1 => {
                    self.request_due_ns = None;
                    self.key_wanted = true;
                }
                2 => self.transmit(now),
                3 => self.arrive(now),
                4 => self.advance(now),
                5 => self.say(now),
                _ => self.hear(now)?,
            }
        }
        let packets = self.wire_packets();
        self.client
            .settle(Some((u64::from(self.submitted), packets)), now);
        self.take_frames();
        Ok(report::close(
            self.spec,
            &self.host,
            &mut self.client,
            &self.link,
            self.counts,
        ))
    }

    fn wire_packets(&self) -> u64 {
        self.host
            .shared()
            .stats
            .packets_sealed
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    fn submit(&mut self, now: u64) -> Result<(), SimSpecError> {
        let frame = self.submitted;
        self.submitted += 1;
        self.access_unit.resize(self.spec.frame_bytes(frame), 0);
        self.content.fill(frame, &mut self.access_unit);
        let in_turn = self.spec.key_interval == 0 || frame.is_multiple_of(self.spec.key_interval);
        self.key_wanted |= self.host.shared().take_recovery_request();
        let key = in_turn || std::mem::take(&mut self.key_wanted);
        let flags = FLAG_PICTURE | if key { FLAG_KEY } else { 0 };
        self.host
            .submit(&self.access_unit, now, flags, now)
            .map_err(|e| SimSpecError::Value(e.to_string()))?;
        Ok(())
    }

    fn transmit(&mut self, now: u64) {
        while let Some(train) = self.host.transmitter.poll_transmit(now) {
            for packet in train.bytes.chunks_exact(train.segment) {
                let verdict = self.link.offer(now, packet.len());
                for delivery in verdict.deliveries() {
                    self.wire.put(packet, verdict.index, delivery);
                }
            }
            let packets = train.packets;
            self.host.transmitter.sent(now, packets, 0);
        }
    }

    /// Everything that arrives now.
    fn arrive(&mut self, now: u64) {
        let size = self.wire.packet_bytes;
        while self.wire.next_ns().is_some_and(|at| at <= now) {
            let Some(Reverse(arrival)) = self.wire.arrivals.pop() else {
                break;
            };
            let corrupt = arrival.corrupt.as_ref().map(|f| match *f {
                Flip::Checksum(bit) => Corruption::Checksum(bit),
                Flip::Payload(bit) => Corruption::Payload(bit),
            });
            let delivery = Delivery {
                at_ns: arrival.at_ns,
                copy: arrival.copy,
                corrupt,
            };
            self.link.arrived(arrival.index, &delivery, size);
            let packet = &mut self.wire.slots[arrival.slot * size..][..size];
            if let Some(Corruption::Payload(bit)) = corrupt {
                packet[bit as usize / 8] ^= 1 << (bit % 8);
            }
            if !matches!(corrupt, Some(Corruption::Checksum(_))) {
                let receipt = self.client.receive(packet, now);
                if receipt == Receipt::Placed(Placed::Completed) {
                    self.advance(now);
                }
            }
            self.wire.free.push(arrival.slot);
        }
        self.ask_for_recovery(now);
    }

    fn advance(&mut self, now: u64) {
        self.client.advance(now);
        self.take_frames();
        self.ask_for_recovery(now);
    }

    fn say(&mut self, now: u64) {
        let blocks = self.spec.wire.says_blocks();
        if let Some(following) = &mut self.following {
            following.say(&mut self.client, now, blocks);
        }
    }

    fn hear(&mut self, now: u64) -> Result<(), SimSpecError> {
        let packets = self.wire_packets();
        match &mut self.following {
            None => Ok(()),
            Some(following) => following
                .hear(&self.host, now, self.submitted, packets)
                .map_err(SimSpecError::Value),
        }
    }

    fn ask_for_recovery(&mut self, now: u64) {
        if let Some(rtt) = self.spec.recovery_rtt_ns {
            let retry = (RETRY_ROUND_TRIPS * rtt).max(RETRY_MIN_NS);
            if self.client.take_recovery_request(now, Some(retry)) {
                self.request_due_ns.get_or_insert(now + rtt);
            }
        }
    }

    fn take_frames(&mut self) {
        while let Some(frame) = self.client.poll_frame() {
            if !self.spec.verify_content {
                continue;
            }
            let number = frame.index - self.spec.wire.first_frame();
            let right = frame.data.len() == self.spec.frame_bytes(number)
                && self.content.matches(number, &frame.data);
            if right {
                self.counts.intact += 1;
            } else {
                self.counts.corrupt += 1;
            }
        }
    }
}
