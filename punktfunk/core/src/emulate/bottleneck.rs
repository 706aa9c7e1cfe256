//! The bottleneck: one server with a rate that may change over time, and a queue with tail drop before it.

use std::collections::VecDeque;

use super::timeline::{Segment, Timeline};

/// Service times are kept in 1/1024 ns, so that rounding stays below a part in a million at 10 Gbit/s.
const TICKS_PER_NS: u64 = 1024;
/// bytes x this / kbit/s = ticks.
const TICK_KILOBITS_PER_BYTE: u64 = 8_000_000 * TICKS_PER_NS;

/// A packet that waits, with the tick at which its transmission begins.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    begins: u64,
    bytes: u64,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Bottleneck {
    /// Tick at which the last accepted packet has left; 0 = never used.
    free_at: u64,
    waiting: VecDeque<Waiting>,
    waiting_bytes: u64,
    /// Longest wait before transmission so far.
    pub longest_wait_ns: u64,
}

impl Bottleneck {
    /// When a packet of `bytes` that arrives at `now_ns` has been transmitted, or none when the queue is full.
    ///
    /// Times are in ns since the start of the link; `offset_ns` is where the timeline begins on that scale.
    pub(super) fn transmit(
        &mut self,
        now_ns: u64,
        bytes: u64,
        segment: &Segment,
        timeline: &Timeline,
        offset_ns: u64,
    ) -> Option<u64> {
        let now = now_ns.saturating_mul(TICKS_PER_NS);
        if segment.params.rate_kbps.is_none() && self.free_at <= now {
            self.forget_begun(now);
            return Some(now_ns);
        }
        let begins = now.max(self.free_at);
        let waits = begins > now;
        if waits {
            self.forget_begun(now);
            let params = &segment.params;
            if self.waiting.len() >= params.queue_packets
                || self.waiting_bytes + bytes > params.queue_bytes
            {
                return None;
            }
        }
        let ends = serve(begins, bytes, timeline, offset_ns)?;
        if waits {
            self.waiting.push_back(Waiting { begins, bytes });
            self.waiting_bytes += bytes;
            self.longest_wait_ns = self.longest_wait_ns.max((begins - now) / TICKS_PER_NS);
        }
        self.free_at = ends;
        Some(ends.div_ceil(TICKS_PER_NS))
    }

    fn forget_begun(&mut self, now: u64) {
        while let Some(first) = self.waiting.front() {
            if first.begins > now {
                break;
            }
            self.waiting_bytes -= first.bytes;
            self.waiting.pop_front();
        }
    }
}

/// The tick at which `bytes` that begin at tick `at` are through, over all changes of the rate in between.
fn serve(mut at: u64, bytes: u64, timeline: &Timeline, offset_ns: u64) -> Option<u64> {
    let mut work = bytes.saturating_mul(TICK_KILOBITS_PER_BYTE);
    loop {
        let elapsed_ns = (at / TICKS_PER_NS).saturating_sub(offset_ns);
        let segment = timeline.segment(elapsed_ns);
        let until = segment
            .until_ns
            .saturating_add(offset_ns)
            .saturating_mul(TICKS_PER_NS);
        match segment.params.rate_kbps {
            None => return Some(at),
            Some(0) if timeline.is_dead() => return None,
            Some(0) => {}
            Some(rate) => {
                let needed = work.div_ceil(rate);
                if needed <= until - at {
                    return Some(at + needed);
                }
                // needed > until - at, so the product stays below work.
                work -= (until - at) * rate;
            }
        }
        // Nothing changes any more before the clock ends, 208 days on.
        if until == u64::MAX {
            return None;
        }
        at = until;
    }
}
