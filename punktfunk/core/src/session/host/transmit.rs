//! The half of a host's session that gives packets to a socket.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Shared;
use crate::pacing::{Pacer, PacerConfig};
use crate::packetize::SealedFrame;
use crate::stats::{HostRecord, add};

/// Longest train in bytes: what one UDP datagram with segmentation offload can carry.
const MAX_TRAIN_BYTES: usize = 65_000;

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
    pub(super) fn new(shared: Arc<Shared>, mut pacing: PacerConfig) -> Self {
        let in_a_train = (MAX_TRAIN_BYTES / shared.packet_bytes).max(1) as u32;
        pacing.train_packets = pacing.train_packets.clamp(1, in_a_train);
        let pacer = Pacer::new(pacing, shared.packets_per_s());
        Self {
            shared,
            pacer,
            settings_epoch: 0,
            current: None,
        }
    }

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

    /// Account for the last train: packets that the socket took and packets that it refused for good.
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
