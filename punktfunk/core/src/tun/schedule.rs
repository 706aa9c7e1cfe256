//! Departures in order of time, then of decision.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::emulate::Corruption;

use super::pool::SlotId;

/// One or more consecutive datagrams of one packet that leave at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Departure {
    /// When.
    pub due_ns: u64,
    /// The packet.
    pub slot: SlotId,
    /// First datagram in it.
    pub first: u16,
    /// How many.
    pub count: u16,
    /// 1 for duplicates.
    pub copy: u8,
    /// Number of the first in this direction; none for what the model does not decide about.
    pub index: Option<u64>,
    /// A flipped bit; such a datagram is alone.
    pub corrupt: Option<Corruption>,
}

/// A heap entry: due time, order of decision, place in `parked`.
type Early = Reverse<(u64, u64, usize)>;

/// Departures of one direction.
///
/// Nearly all are due no earlier than the one before: those stand in a queue, only the others pay for a heap.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    in_order: VecDeque<(u64, Departure)>,
    early: BinaryHeap<Early>,
    parked: Vec<Departure>,
    parked_free: Vec<usize>,
    next_order: u64,
    merge: bool,
}

impl Schedule {
    /// `merge` lets neighbours of one packet that leave together be one departure.
    pub(super) fn new(merge: bool) -> Self {
        Self {
            merge,
            ..Self::default()
        }
    }

    /// Add a departure; returns false when it was merged into the one added last, whose packet it continues.
    pub(super) fn push(&mut self, departure: Departure) -> bool {
        if let Some((order, last)) = self.in_order.back_mut() {
            let continues = self.merge
                && *order + 1 == self.next_order
                && last.slot == departure.slot
                && last.due_ns == departure.due_ns
                && last.first + last.count == departure.first
                && last.copy == 0
                && departure.copy == 0
                && last.corrupt.is_none()
                && departure.corrupt.is_none()
                && last.index.is_some()
                && departure.index == last.index.map(|index| index + u64::from(last.count));
            if continues {
                last.count += departure.count;
                return false;
            }
        }
        let order = self.next_order;
        self.next_order += 1;
        if self
            .in_order
            .back()
            .is_none_or(|(_, last)| last.due_ns <= departure.due_ns)
        {
            self.in_order.push_back((order, departure));
            return true;
        }
        let place = self.parked_free.pop().unwrap_or(self.parked.len());
        if place == self.parked.len() {
            self.parked.push(departure);
        } else {
            self.parked[place] = departure;
        }
        self.early.push(Reverse((departure.due_ns, order, place)));
        true
    }

    /// Time of the next departure.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        let queued = self.in_order.front().map(|(_, d)| d.due_ns);
        let early = self.early.peek().map(|Reverse((due_ns, _, _))| *due_ns);
        match (queued, early) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The next departure, left in place.
    pub(super) fn peek(&self) -> Option<&Departure> {
        if self.early_is_next() {
            let Reverse((_, _, place)) = self.early.peek()?;
            self.parked.get(*place)
        } else {
            self.in_order.front().map(|(_, departure)| departure)
        }
    }

    /// Take the next departure.
    pub(super) fn pop(&mut self) -> Option<Departure> {
        if self.early_is_next() {
            let Reverse((_, _, place)) = self.early.pop()?;
            self.parked_free.push(place);
            Some(self.parked[place])
        } else {
            self.in_order.pop_front().map(|(_, departure)| departure)
        }
    }

    fn early_is_next(&self) -> bool {
        match (self.in_order.front(), self.early.peek()) {
            (Some((order, queued)), Some(Reverse((due_ns, early, _)))) => {
                (*due_ns, *early) < (queued.due_ns, *order)
            }
            (None, Some(_)) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tun::pool::Pool;
    use crate::tun::wire::Frame;

    fn slot() -> SlotId {
        Pool::new(1 << 20).hold(&[], Frame::parse(&[]), 0).unwrap()
    }

    fn departure(due_ns: u64, index: u64, first: u16) -> Departure {
        Departure {
            due_ns,
            slot: slot(),
            first,
            count: 1,
            copy: 0,
            index: Some(index),
            corrupt: None,
        }
    }

    #[test]
    fn departures_leave_by_time_and_ties_by_decision() {
        let mut schedule = Schedule::new(true);
        let due = [50, 40, 60, 40, 60, 10, 50, 60, 5];
        for (i, &at) in due.iter().enumerate() {
            // descending numbers, so that nothing merges
            assert!(schedule.push(departure(at, 100 - i as u64, 0)));
        }
        let mut expected: Vec<(u64, u64)> = due
            .iter()
            .enumerate()
            .map(|(i, &at)| (at, i as u64))
            .collect();
        expected.sort_unstable();
        for (at, i) in expected {
            assert_eq!(schedule.next_due_ns(), Some(at));
            let peeked = *schedule.peek().unwrap();
            let popped = schedule.pop().unwrap();
            assert_eq!(peeked, popped);
            assert_eq!((popped.due_ns, popped.index), (at, Some(100 - i)));
        }
        assert_eq!(schedule.pop(), None);
    }

    #[test]
    fn neighbours_of_one_packet_merge_and_others_do_not() {
        let mut schedule = Schedule::new(true);
        assert!(schedule.push(departure(7, 10, 0)));
        assert!(!schedule.push(departure(7, 11, 1)));
        // a datagram lost in between
        assert!(schedule.push(departure(7, 13, 3)));
        // another time
        assert!(schedule.push(departure(8, 14, 4)));
        let corrupt = Departure {
            corrupt: Some(Corruption::Payload(1)),
            ..departure(8, 15, 5)
        };
        assert!(schedule.push(corrupt));
        assert!(schedule.push(departure(8, 16, 6)));
        assert_eq!(schedule.pop().unwrap().count, 2);
    }

    #[test]
    fn departures_out_of_order_take_no_more_room_than_wait_at_once() {
        let mut schedule = Schedule::new(true);
        for round in 0..1000 {
            let late = 1000 + 10 * round;
            assert!(schedule.push(departure(late, 3 * round, 0)));
            for early in 1..=2 {
                assert!(schedule.push(departure(late - early, 3 * round + early, 0)));
            }
            let left: Vec<_> = std::iter::from_fn(|| schedule.pop())
                .map(|d| d.due_ns)
                .collect();
            assert_eq!(left, [late - 2, late - 1, late]);
        }
        assert_eq!(schedule.parked.len(), 2);
        assert_eq!(schedule.parked_free.len(), 2);
        assert!(schedule.in_order.capacity() < 16 && schedule.early.capacity() < 16);
    }
}
