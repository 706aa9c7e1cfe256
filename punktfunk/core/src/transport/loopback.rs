//! A link inside of one process: a bounded queue of datagrams that drops by a fixed period.

use std::collections::VecDeque;

/// Datagrams that may wait; what is sent beyond is dropped like a full socket buffer would.
pub const MAX_DATAGRAMS: usize = 1 << 16;

/// One direction of a link without sockets, delay or reordering.
#[derive(Debug, Default)]
pub struct Loopback {
    queue: VecDeque<Vec<u8>>,
    /// Buffers of datagrams that were taken, for those that follow.
    spare: Vec<Vec<u8>>,
    drop_period: u64,
    offered: u64,
    dropped: u64,
}

impl Loopback {
    /// A link that drops datagram `n`, counted from 0 over its life, when `n % drop_period == 0`; a period of 0
    /// drops none.
    #[must_use]
    pub fn new(drop_period: u64) -> Self {
        Self {
            drop_period,
            ..Self::default()
        }
    }

    /// Put a datagram on the link.
    pub fn send(&mut self, datagram: &[u8]) {
        let number = self.offered;
        self.offered += 1;
        let lost = self.drop_period != 0 && number.is_multiple_of(self.drop_period);
        if lost || self.queue.len() == MAX_DATAGRAMS {
            self.dropped += 1;
            return;
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(datagram);
        self.queue.push_back(buffer);
    }

    /// Take the oldest datagram; give its buffer back with [`Loopback::recycle`].
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        self.queue.pop_front()
    }

    /// Keep a buffer for a later datagram.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < 64 {
            self.spare.push(buffer);
        }
    }

    /// Datagrams that were sent on the link.
    #[must_use]
    pub const fn offered(&self) -> u64 {
        self.offered
    }

    /// Of these, those that it dropped.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_of_the_period_are_lost_and_the_others_arrive_in_order() {
        let mut link = Loopback::new(3);
        (0..7_u8).for_each(|n| link.send(&[n]));
        let arrived: Vec<Vec<u8>> = std::iter::from_fn(|| link.receive()).collect();
        assert_eq!(arrived, [[1], [2], [4], [5]]);
        assert_eq!((link.offered(), link.dropped()), (7, 3));
    }

    #[test]
    fn a_full_queue_drops_what_is_sent_beyond() {
        let mut link = Loopback::new(0);
        (0..=MAX_DATAGRAMS).for_each(|_| link.send(b"datagram"));
        assert_eq!(link.dropped(), 1);
        assert_eq!(std::iter::from_fn(|| link.receive()).count(), MAX_DATAGRAMS);
    }
}
