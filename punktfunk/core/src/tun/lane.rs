//! One direction of the pump: packets in, verdicts, departures, and survivors joined again on the way out.

use std::io::{self, IoSlice};

use crate::emulate::{Corruption, Delivery, LinkModel, Outcome};
use crate::transport::clock::monotonic_ns;

use super::lateness::Lateness;
use super::log::{LogRow, LogVerdict, PacketLog};
use super::pool::{Pool, SlotId};
use super::schedule::{Departure, Schedule};
use super::wire::{self, Frame};

/// Most datagrams joined into one packet (UDP_MAX_SEGMENTS of kernels before 6.9).
const MAX_JOINED: usize = 64;
/// Most payload of a joined packet: 65535 less the headers of IPv6 and UDP.
const MAX_JOINED_BYTES: usize = 65_487;

/// Datagrams that are not the stream's (a control connection beside it).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OtherCounters {
    /// Offered to the link.
    pub other_in: u64,
    /// Arrived, duplicates and those that a checksum drops included.
    pub other_delivered: u64,
    /// Of those that arrived, those that a checksum drops.
    pub other_checksum_dropped: u64,
}

/// Where packets go: a TUN, or a test.
pub(super) trait Sink {
    /// Write one packet with its vnet header.
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()>;
}

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    pub model: LinkModel,
    pub lateness: Lateness,
    /// Departures taken from the schedule.
    pub departures: u64,
    /// Writes to the device.
    pub writes: u64,
    /// Writes that the device refused.
    pub write_errors: u64,
    /// Datagrams of no media port.
    pub others: OtherCounters,
    media_ports: Option<Box<[u16]>>,
    direction: u8,
    coalesce: bool,
    schedule: Schedule,
    /// Departures of the packet that is being put together.
    run: Vec<Departure>,
    scratch: Vec<u8>,
}

impl Lane {
    pub(super) fn new(
        model: LinkModel,
        direction: u8,
        coalesce: bool,
        media_ports: Option<&[u16]>,
    ) -> Self {
        Self {
            model,
            lateness: Lateness::default(),
            departures: 0,
            writes: 0,
            write_errors: 0,
            others: OtherCounters::default(),
            media_ports: media_ports.map(Into::into),
            direction,
            coalesce,
            schedule: Schedule::new(coalesce),
            run: Vec::with_capacity(MAX_JOINED),
            scratch: Vec::new(),
        }
    }

    /// Decide about a packet that was read at `in_ns`; returns the number of datagrams in it.
    pub(super) fn ingest(
        &mut self,
        pool: &mut Pool,
        log: &mut PacketLog,
        bytes: &[u8],
        in_ns: u64,
    ) -> usize {
        let frame = Frame::parse(bytes);
        if self.is_other(&frame, bytes) {
            self.others.other_in += frame.segments as u64;
        }
        let slot = pool.hold(bytes, frame, in_ns);
        if frame.udp {
            for segment in 0..frame.segments {
                self.decide(pool, log, slot, &frame, segment, in_ns);
            }
        } else if let Some(slot) = slot {
            let due_ns = self.model.pass(in_ns);
            pool.retain(slot);
            self.schedule.push(Departure {
                due_ns,
                slot,
                first: 0,
                count: 1,
                copy: 0,
                index: None,
                corrupt: None,
            });
        }
        if let Some(slot) = slot {
            pool.release(slot);
        }
        frame.segments
    }

    /// Whether this is UDP, and not from (a to b) or to (b to a) a media port.
    fn is_other(&self, frame: &Frame, bytes: &[u8]) -> bool {
        let Some(media_ports) = &self.media_ports else {
            return false;
        };
        frame.udp
            && !frame.ports(bytes).is_some_and(|[source, destination]| {
                let at_a = if self.direction == 0 {
                    source
                } else {
                    destination
                };
                media_ports.contains(&at_a)
            })
    }

    fn decide(
        &mut self,
        pool: &mut Pool,
        log: &mut PacketLog,
        slot: Option<SlotId>,
        frame: &Frame,
        segment: usize,
        in_ns: u64,
    ) {
        let size = frame.span(segment, 1).len();
        let verdict = self.model.offer(in_ns, size);
        let mut row = LogRow {
            index: verdict.index,
            direction: self.direction,
            copy: 0,
            verdict: LogVerdict::Lost,
            bytes: size as u32,
            in_ns,
            due_ns: None,
            out_ns: None,
        };
        match verdict.outcome {
            Outcome::Lost => log.add(row),
            Outcome::QueueDropped => {
                row.verdict = LogVerdict::QueueDropped;
                log.add(row);
            }
            Outcome::Delivered => {}
        }
        for delivery in verdict.deliveries() {
            let Some(slot) = slot else {
                self.model.overflowed(1);
                row.verdict = LogVerdict::Overflow;
                row.copy = delivery.copy;
                log.add(row);
                continue;
            };
            let added = self.schedule.push(Departure {
                due_ns: delivery.at_ns,
                slot,
                first: segment as u16,
                count: 1,
                copy: delivery.copy,
                index: Some(verdict.index),
                corrupt: delivery.corrupt,
            });
            if added {
                pool.retain(slot);
            }
        }
        if verdict.duplicated && verdict.deliveries().len() < 2 {
            row.verdict = LogVerdict::QueueDropped;
            row.copy = 1;
            log.add(row);
        }
    }

    /// Time of the next departure.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.schedule.next_due_ns()
    }

    /// Write what is due at `now_ns`, about `budget` datagrams at most; returns how many left.
    pub(super) fn depart(
        &mut self,
        pool: &mut Pool,
        log: &mut PacketLog,
        sink: &mut impl Sink,
        now_ns: u64,
        budget: usize,
    ) -> usize {
        let mut left = 0;
        while left < budget && self.next_due_ns().is_some_and(|due_ns| due_ns <= now_ns) {
            left += self.gather(pool, now_ns);
            self.departures += self.run.len() as u64;
            let out_ns = monotonic_ns();
            self.writes += 1;
            let written = self.write(pool, sink);
            self.write_errors += u64::from(written.is_err());
            self.settle(pool, log, out_ns, written.is_ok());
        }
        left
    }

    /// Take the next departure and what may leave in one packet with it into `run`; returns its datagrams.
    fn gather(&mut self, pool: &Pool, now_ns: u64) -> usize {
        self.run.clear();
        let Some(first) = self.schedule.pop() else {
            return 0;
        };
        self.run.push(first);
        let mut datagrams = usize::from(first.count);
        let head = pool.slot(first.slot);
        if !self.coalesce || !head.frame.joinable || first.corrupt.is_some() {
            return datagrams;
        }
        let size = head.frame.span(first.first.into(), 1).len();
        let mut bytes = head
            .frame
            .span(first.first.into(), first.count.into())
            .len();
        // A datagram shorter than the others can only be the last.
        while bytes == datagrams * size {
            let Some(next) = self.schedule.peek().filter(|next| next.due_ns <= now_ns) else {
                break;
            };
            let count = usize::from(next.count);
            let slot = pool.slot(next.slot);
            let more = slot.frame.span(next.first.into(), count).len();
            let fits = slot.frame.joinable
                && next.corrupt.is_none()
                && datagrams + count <= MAX_JOINED
                && bytes + more <= MAX_JOINED_BYTES
                && if count == 1 {
                    more <= size
                } else {
                    slot.frame.segment_bytes == size
                }
                && (next.slot == first.slot || wire::same_flow(head.bytes(), slot.bytes()));
            if !fits {
                break;
            }
            self.run.extend(self.schedule.pop());
            datagrams += count;
            bytes += more;
        }
        datagrams
    }

    /// Write `run` as one packet.
    fn write(&mut self, pool: &Pool, sink: &mut impl Sink) -> io::Result<()> {
        let Some(first) = self.run.first().copied() else {
            return Ok(());
        };
        let head = pool.slot(first.slot);
        if let Some(corruption) = first.corrupt {
            self.corrupt_copy(pool, &first, corruption);
            return sink.write(&[IoSlice::new(&self.scratch)]);
        }
        if self.run.len() == 1 && usize::from(first.count) == head.frame.segments {
            return sink.write(&[IoSlice::new(head.bytes())]);
        }
        let mut parts = [IoSlice::new(&[]); MAX_JOINED + 1];
        let mut payload_bytes = 0;
        for (part, departure) in parts[1..].iter_mut().zip(&self.run) {
            let slot = pool.slot(departure.slot);
            let span = slot
                .frame
                .span(departure.first.into(), departure.count.into());
            payload_bytes += span.len();
            *part = IoSlice::new(&slot.bytes()[span]);
        }
        let segment_bytes = head.frame.span(first.first.into(), 1).len();
        let (header, length) = wire::join_header(
            head.bytes(),
            first.first.into(),
            segment_bytes,
            payload_bytes,
        );
        parts[0] = IoSlice::new(&header[..length]);
        sink.write(&parts[..=self.run.len()])
    }

    /// Put the datagram of `departure` with its flipped bit into `scratch`.
    fn corrupt_copy(&mut self, pool: &Pool, departure: &Departure, corruption: Corruption) {
        let slot = pool.slot(departure.slot);
        let frame = &slot.frame;
        let payload = &slot.bytes()[frame.span(departure.first.into(), 1)];
        self.scratch.clear();
        if frame.joinable {
            let first = departure.first.into();
            let (header, length) =
                wire::join_header(slot.bytes(), first, payload.len(), payload.len());
            self.scratch.extend_from_slice(&header[..length]);
        } else {
            self.scratch
                .extend_from_slice(&slot.bytes()[..frame.payload_at]);
        }
        self.scratch.extend_from_slice(payload);
        let (Corruption::Checksum(bit) | Corruption::Payload(bit)) = corruption;
        let at = frame.payload_at + bit as usize / 8;
        let is_found = matches!(corruption, Corruption::Checksum(_));
        // A fragment keeps the checksum of its datagram, which is whole already, and is always found out.
        if is_found && !frame.fragment {
            wire::finish_checksum(&mut self.scratch);
        }
        self.scratch[at] ^= 1 << (bit % 8);
        if !is_found && !frame.fragment && !frame.joinable {
            wire::finish_checksum(&mut self.scratch);
        }
    }

    /// Book the departures of `run` and let go of their packets.
    fn settle(&mut self, pool: &mut Pool, log: &mut PacketLog, out_ns: u64, written: bool) {
        for departure in &self.run {
            let slot = pool.slot(departure.slot);
            let count = u64::from(departure.count);
            if written && self.is_other(&slot.frame, slot.bytes()) {
                self.others.other_delivered += count;
                if matches!(departure.corrupt, Some(Corruption::Checksum(_))) {
                    self.others.other_checksum_dropped += count;
                }
            }
            if let Some(index) = departure.index {
                let late_ns = out_ns.saturating_sub(departure.due_ns);
                self.lateness.record(late_ns, count);
                let delivery = Delivery {
                    at_ns: departure.due_ns,
                    copy: departure.copy,
                    corrupt: departure.corrupt,
                };
                for i in 0..count {
                    let size = slot
                        .frame
                        .span((u64::from(departure.first) + i) as usize, 1)
                        .len();
                    if written {
                        self.model.arrived(index + i, &delivery, size);
                    } else {
                        self.model.overflowed(1);
                    }
                    log.add(LogRow {
                        index: index + i,
                        direction: self.direction,
                        copy: departure.copy,
                        verdict: match departure.corrupt {
                            _ if !written => LogVerdict::Overflow,
                            None => LogVerdict::Delivered,
                            Some(Corruption::Checksum(_)) => LogVerdict::ChecksumCorrupted,
                            Some(Corruption::Payload(_)) => LogVerdict::PayloadCorrupted,
                        },
                        bytes: size as u32,
                        in_ns: slot.in_ns,
                        due_ns: Some(departure.due_ns),
                        out_ns: written.then_some(out_ns),
                    });
                }
            }
            pool.release(departure.slot);
        }
        self.run.clear();
    }

    /// Forget what is on its way and start over with another model.
    pub(super) fn restart(&mut self, pool: &mut Pool, model: LinkModel) {
        while let Some(departure) = self.schedule.pop() {
            pool.release(departure.slot);
        }
        let media_ports = self.media_ports.take();
        *self = Self::new(model, self.direction, self.coalesce, media_ports.as_deref());
    }
}
