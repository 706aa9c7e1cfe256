//! One row a datagram, in the order in which their fates were complete, in bounded memory.

/// What became of a datagram in a [`LogRow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LogVerdict {
    /// Left intact.
    Delivered = 0,
    /// Lost by the link.
    Lost = 1,
    /// The queue was full.
    QueueDropped = 2,
    /// The pump had no memory for it, or the device did not take it.
    Overflow = 3,
    /// Left with a flipped bit that the receiver's checksum finds.
    ChecksumCorrupted = 4,
    /// Left with a flipped bit that reaches the application.
    PayloadCorrupted = 5,
}

/// One datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRow {
    /// Number in its direction, from 0.
    pub index: u64,
    /// 0 = a to b, 1 = b to a.
    pub direction: u8,
    /// 1 for duplicates.
    pub copy: u8,
    /// Its fate.
    pub verdict: LogVerdict,
    /// UDP payload.
    pub bytes: u32,
    /// When it was read from the device (CLOCK_MONOTONIC).
    pub in_ns: u64,
    /// When the model wanted it to leave; none for what did not leave.
    pub due_ns: Option<u64>,
    /// When it left.
    pub out_ns: Option<u64>,
}

/// The log of a pump; rows beyond the capacity are counted and not kept.
#[derive(Debug, Default)]
pub(super) struct PacketLog {
    rows: Vec<LogRow>,
    capacity: usize,
    missed: u64,
}

impl PacketLog {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, row: LogRow) {
        if self.rows.len() < self.capacity {
            self.rows.push(row);
        } else if self.capacity > 0 {
            self.missed += 1;
        }
    }

    /// The rows since the last call.
    pub(super) fn take(&mut self) -> Vec<LogRow> {
        std::mem::take(&mut self.rows)
    }

    /// Rows that did not fit.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }
}
