//! Counters of both directions and the frame records.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::reject::Reject;

/// Null in a record column.
pub const NULL: i64 = -1;
/// Rows that are kept until somebody takes them (some hours at 60 Hz); later ones are counted, not kept.
pub const MAX_RECORDS: usize = 1 << 20;

/// One column of a table of records: its name and its values.
pub type Column = (&'static str, Vec<i64>);

macro_rules! record {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$fmeta])* pub $field: i64,)* }

        impl $name {
            /// A row of nulls.
            pub const EMPTY: Self = Self { $($field: NULL,)* };

            /// The rows as columns.
            #[must_use]
            pub fn columns(rows: &[Self]) -> Vec<Column> {
                vec![$((stringify!($field), rows.iter().map(|r| r.$field).collect()),)*]
            }
        }
    };
}

record! {
    /// What the host knows about one frame. Times are ns of `CLOCK_MONOTONIC` (virtual ns in a simulation), -1 = null.
    #[allow(missing_docs)]
    HostRecord {
        index, pts_ns, flags, bytes, k, m, blocks, packets,
        captured_ns, converted_ns, encode_begin_ns, encode_end_ns, sealed_ns, sent_first_ns, sent_last_ns,
        packets_sent,
        /// 0 sent, 1 dropped from the queue before its first packet left
        status,
    }
}

record! {
    /// What the client knows about one frame. Times as in [`HostRecord`].
    #[allow(missing_docs)]
    ClientRecord {
        index, pts_ns, flags, bytes, k, m, blocks,
        packets_received, data_missing, recovered, duplicates, late,
        recv_first_ns, recv_last_ns, complete_ns, released_ns,
        /// 0 complete, 1 unrecoverable, 2 expired (enough shards came, but after the frame's turn)
        status,
        /// 1 when every frame it refers to was decodable
        decodable,
    }
}

/// Rows that wait to be taken; bounded by [`MAX_RECORDS`].
#[derive(Debug)]
pub struct RecordLog<T> {
    rows: Vec<T>,
    dropped: u64,
    enabled: bool,
}

impl<T: Copy> RecordLog<T> {
    /// An empty log; a disabled one keeps nothing.
    #[must_use]
    pub fn new(enabled: bool) -> Self {
        Self {
            rows: Vec::new(),
            dropped: 0,
            enabled,
        }
    }

    /// Keep a row.
    pub fn push(&mut self, row: T) {
        if self.enabled {
            if self.rows.len() < MAX_RECORDS {
                self.rows.push(row);
            } else {
                self.dropped += 1;
            }
        }
    }

    /// Keep the first of `rows` rows, made by their place among them, `most` at most; the others cost their count only.
    pub fn push_many(&mut self, rows: u64, most: u64, row: impl Fn(u64) -> T) {
        if self.enabled {
            let room = (MAX_RECORDS - self.rows.len()) as u64;
            let kept = rows.min(most).min(room);
            self.rows.extend((0..kept).map(row));
            self.dropped += rows - kept;
        }
    }

    /// Return how many rows found the log full, or were too many at once.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Hand out the rows collected so far.
    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.rows)
    }
}

macro_rules! counters {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $name { $($(#[$fmeta])* pub $field: AtomicU64,)* }

        impl $name {
            /// Names and values.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field.load(Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// Counters of a host session, readable from any thread.
    #[allow(missing_docs)]
    HostStats {
        frames_submitted, frames_queue_dropped, frames_sent,
        packets_sealed, packets_sent, packets_socket_dropped, packets_queue_dropped,
        bytes_sent, queue_packets,
        /// 1 while a dropped frame waits for a key frame to mend the references
        recovery_armed,
    }
}

/// Add to a counter that one thread writes and others read.
pub fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

macro_rules! plain_counters {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name { $($(#[$fmeta])* pub $field: u64,)* }

        impl $name {
            /// Names and values.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field),)*]
            }
        }
    };
}

plain_counters! {
    /// Counters of a client session. `packets_received = packets_used + packets_late + packets_duplicate + Σ rejected`,
    /// the last counted by [`Rejections`];
    /// `data_shards_missing = data_shards_recovered + data_shards_unrecoverable`;
    /// `frames_complete = frames_decodable + frames_undecodable`.
    #[allow(missing_docs)]
    ClientStats {
        packets_received,
        /// stored, or surplus to a block that was whole already
        packets_used,
        /// of `packets_used`, those that came when their block was whole already
        packets_surplus,
        /// came after their frame's turn or behind the loss window
        packets_late,
        /// a shard that was there already (a replayed sequence number is rejected as such)
        packets_duplicate,
        data_shards_missing, data_shards_recovered, data_shards_unrecoverable,
        /// rebuilt shards that came after all: late, not lost
        data_shards_late,
        /// rebuilt so far; `data_shards_recovered` counts them when their frame leaves the loss window
        data_shards_rebuilt,
        frames_complete, frames_decodable, frames_undecodable, frames_unrecoverable, frames_expired,
        /// of `frames_unrecoverable`, those of which no packet came (lost, or dropped from the host's queue)
        frames_unseen,
        /// of `frames_unrecoverable`, those whose blocks held fewer bytes than the frame claimed
        frames_short,
        /// complete filler of a bandwidth probe, never released
        frames_probe,
        frames_released, frames_queue_dropped,
        bytes_received,
        /// gaps in `stream_seq` that nothing filled
        packets_lost,
        packets_reordered,
        memory_bytes, memory_peak_bytes,
    }
}

/// Packets that were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejections([u64; Reject::ALL.len()]);

impl Rejections {
    /// Count one.
    pub fn count(&mut self, reason: Reject) {
        self.0[reason.index()] += 1;
    }

    /// Packets dropped for this reason.
    #[must_use]
    pub fn of(&self, reason: Reject) -> u64 {
        self.0[reason.index()]
    }

    /// Packets dropped for any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// `rejected_<reason>` and its count.
    pub fn entries(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        Reject::ALL
            .iter()
            .map(|r| (format!("rejected_{}", r.name()), self.of(*r)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_counts_the_rows_that_it_does_not_keep() {
        let mut log = RecordLog::new(true);
        for i in 0..MAX_RECORDS - 1 {
            log.push(i as u32);
        }
        log.push_many(3, 10, |i| 7 + i as u32);
        assert_eq!(log.dropped(), 2);
        log.push(0);
        assert_eq!(log.dropped(), 3);
        let rows = log.take();
        assert_eq!((rows.len(), rows.last()), (MAX_RECORDS, Some(&7)));
        log.push(1);
        assert_eq!((log.take(), log.dropped()), (vec![1], 3), "room again");
    }

    #[test]
    fn many_rows_at_once_are_kept_up_to_what_was_allowed() {
        let mut log = RecordLog::new(true);
        log.push(9);
        log.push_many(5, 3, |i| i);
        assert_eq!((log.take(), log.dropped()), (vec![9, 0, 1, 2], 2));
    }

    #[test]
    fn a_log_that_is_off_keeps_and_counts_nothing() {
        let mut log = RecordLog::new(false);
        log.push(1);
        log.push_many(1 << 40, 10, |_| 1);
        assert_eq!((log.take(), log.dropped()), (vec![], 0));
    }
}
