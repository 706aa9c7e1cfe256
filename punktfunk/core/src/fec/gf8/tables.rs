//! The factors of encoding, kept for each number of recovery shards.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::field8::{GROUP, exp, log};
use super::ELEMENTS;
use super::dot::Dot;

/// Most factors that a codec keeps: 1 MiB of them. The largest table, of 128 + 128 shards, has an eighth of that.
const MOST: usize = 1 << 17;
/// Tables are made for this many data shards or a multiple, since frames of a stream differ by a few.
const COLUMNS: usize = 32;

/// Factors of `m` recovery shards, for as many data shards as were wanted so far.
///
/// The code's coefficients depend on `m` alone, so that a table of more data shards serves for fewer.
pub(super) struct Table {
    columns: usize,
    /// Group by group of rows, each column by column.
    factors: Vec<u64>,
}

impl Table {
    fn new(dot: &Dot, columns: usize, m: usize) -> Self {
        let mut factors = Vec::with_capacity(columns * m);
        for group in dot.groups(m) {
            for i in 0..columns {
                factors.extend(group.clone().map(|j| {
                    let point = ((m + i) ^ j) as u8;
                    dot.factor(exp(GROUP - log(point)))
                }));
            }
        }
        Self { columns, factors }
    }

    /// Factors of the rows of a group, by the first `k` columns.
    pub(super) fn factors(&self, group: &Range<usize>, k: usize) -> &[u64] {
        &self.factors[group.start * self.columns..][..group.len() * k]
    }
}

struct Entry {
    table: Arc<Table>,
    /// The call that used it last.
    used: u64,
}

struct Entries {
    /// By `m`; grown to the largest that was asked for.
    by_rows: Vec<Option<Entry>>,
    /// Factors of all tables.
    kept: usize,
    /// Calls so far.
    calls: u64,
}

/// The tables of a codec; the least recently used make room for others.
pub(super) struct Tables(Mutex<Entries>);

impl Tables {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Entries {
            by_rows: Vec::new(),
            kept: 0,
            calls: 0,
        }))
    }

    /// The table of `m` recovery shards, for `k` data shards at least.
    pub(super) fn of(&self, dot: &Dot, k: usize, m: usize) -> Arc<Table> {
        // A panic in here leaves a table out at worst.
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.calls += 1;
        let used = entries.calls;
        if let Some(Some(entry)) = entries.by_rows.get_mut(m)
            && entry.table.columns >= k
        {
            entry.used = used;
            return Arc::clone(&entry.table);
        }
        let columns = k.next_multiple_of(COLUMNS).min(ELEMENTS - m);
        let table = Arc::new(Table::new(dot, columns, m));
        entries.keep(m, Arc::clone(&table), used);
        table
    }
}

impl Entries {
    fn keep(&mut self, m: usize, table: Arc<Table>, used: u64) {
        if self.by_rows.len() <= m {
            self.by_rows.resize_with(m + 1, || None);
        }
        self.drop(m);
        while self.kept + table.factors.len() > MOST {
            let oldest = (0..self.by_rows.len())
                .filter_map(|rows| Some((self.by_rows[rows].as_ref()?.used, rows)))
                .min();
            let Some((_, rows)) = oldest else { break };
            self.drop(rows);
        }
        self.kept += table.factors.len();
        self.by_rows[m] = Some(Entry { table, used });
    }

    fn drop(&mut self, rows: usize) {
        if let Some(entry) = self.by_rows[rows].take() {
            self.kept -= entry.table.factors.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fec::kernels;

    fn kept(tables: &Tables) -> (usize, Vec<usize>) {
        let entries = tables.0.lock().unwrap();
        let rows = (0..entries.by_rows.len()).filter(|&m| entries.by_rows[m].is_some());
        (entries.kept, rows.collect())
    }

    #[test]
    fn a_table_is_made_once_and_serves_for_fewer_data_shards() {
        let dot = kernels::best().gf8;
        let tables = Tables::new();
        let table = tables.of(dot, 33, 10);
        for k in [1, 33, 64] {
            assert!(Arc::ptr_eq(&table, &tables.of(dot, k, 10)), "{k}");
        }
        assert_eq!(kept(&tables), (64 * 10, vec![10]));
        // More data shards, another number of recovery shards: other tables.
        let wider = tables.of(dot, 65, 10);
        assert!(!Arc::ptr_eq(&table, &wider));
        assert!(!Arc::ptr_eq(&wider, &tables.of(dot, 65, 11)));
        assert_eq!(kept(&tables), (96 * 10 + 96 * 11, vec![10, 11]));
        // The field ends before the next multiple.
        assert_eq!(tables.of(dot, 200, 56).columns, 200);
    }

    #[test]
    fn what_was_used_longest_ago_makes_room_for_what_is_used() {
        let dot = kernels::best().gf8;
        let tables = Tables::new();
        let first = tables.of(dot, 128, 128);
        for m in (60..=127).rev() {
            tables.of(dot, 256 - m, m);
            // In use all the time.
            assert!(Arc::ptr_eq(&first, &tables.of(dot, 128, 128)), "{m}");
            let (factors, rows) = kept(&tables);
            assert!(factors <= MOST);
            assert!(rows.starts_with(&[m]), "{m} was not kept");
            let sum: usize = rows.iter().map(|&m| m * (256 - m)).sum();
            assert_eq!(factors, sum);
        }
        // With the first one nine more fit: the last ones.
        let (_, rows) = kept(&tables);
        assert_eq!(rows, Vec::from_iter((60..=68).chain([128])));
    }
}
