//! Memory of a thread's transforms, kept from block to block: nothing is allocated once it has met its largest block.

use super::passes::{Passes, Rows, STRIPE};

/// A cache line: rows begin with one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Bytes of the rows of a block that a stripe is made to fit: what stays in the second-level cache with as many rows of
/// sums beside it.
const BLOCK_BYTES: usize = 128 << 10;

/// Rows, factors and lists of shards.
pub(super) struct Workspace {
    lines: Vec<Line>,
    /// The second block, where debug assertions give it memory of its own.
    second: Vec<Line>,
    /// Entry `i` stands for `2 i`; made for `table_of`.
    table: Vec<u64>,
    table_of: Option<&'static Passes>,
    pub(super) lists: Lists,
}

/// What is listed of the shards of one call.
#[derive(Default)]
pub(super) struct Lists {
    /// Shards that are read, in the order of their points; null where there is none.
    pub(super) sources: Vec<*const u8>,
    /// Shards that are written, likewise.
    pub(super) sinks: Vec<*mut u8>,
    /// Recovery shards of the window that is decoded from, likewise.
    pub(super) window: Vec<*const u8>,
    /// A factor for each that is not null in `sources`, in `sinks`, in `window`.
    pub(super) source_scales: Vec<u64>,
    pub(super) sink_scales: Vec<u64>,
    pub(super) window_scales: Vec<u64>,
    /// Recovery shards received in each window.
    pub(super) received: Vec<u32>,
    pub(super) locator: super::locator::Locator,
}

impl Workspace {
    pub(super) const fn new() -> Self {
        Self {
            lines: Vec::new(),
            second: Vec::new(),
            table: Vec::new(),
            table_of: None,
            lists: Lists {
                sources: Vec::new(),
                sinks: Vec::new(),
                window: Vec::new(),
                source_scales: Vec::new(),
                sink_scales: Vec::new(),
                window_scales: Vec::new(),
                received: Vec::new(),
                locator: super::locator::Locator::new(),
            },
        }
    }

    /// Factors of the points below `points`, room for two blocks of `rows` rows, and the width of these rows for shards
    /// of `shard_bytes` bytes.
    pub(super) fn prepare(
        &mut self,
        passes: &'static Passes,
        points: usize,
        rows: usize,
        shard_bytes: usize,
    ) -> (&[u64], [*mut u8; 2], usize, &mut Lists) {
        if !self.table_of.is_some_and(|of| std::ptr::eq(of, passes)) {
            self.table.clear();
            self.table_of = Some(passes);
        }
        grow(&mut self.table, passes, points.div_ceil(2));
        let widest = shard_bytes.next_multiple_of(passes.column).min(STRIPE);
        let width =
            (BLOCK_BYTES / rows / passes.column * passes.column).clamp(passes.column, widest);
        let block = (rows * width).div_ceil(64);
        let blocks = if cfg!(debug_assertions) {
            // Neither is longer than it is said to be, nor beside the other: so AddressSanitizer sees a row too many. What
            // is in them is no shard, so that a row which is read before it was written makes wrong bytes.
            self.lines = vec![Line([0xA5; 64]); block];
            self.second = self.lines.clone();
            [&mut self.lines, &mut self.second].map(|lines| lines.as_mut_ptr().cast())
        } else {
            if self.lines.len() < 2 * block {
                self.lines.resize(2 * block, Line([0; 64]));
            }
            let first = self.lines.as_mut_ptr();
            // The second block begins behind the first one.
            [first.cast(), first.wrapping_add(block).cast()]
        };
        (&self.table, blocks, width, &mut self.lists)
    }
}

/// Lengthen a table of factors: each is the sum of those of its number's bits.
fn grow(table: &mut Vec<u64>, passes: &Passes, entries: usize) {
    let words = passes.factor_words;
    let have = table.len() / words;
    if have >= entries {
        return;
    }
    table.resize(entries * words, 0);
    let mut bit = vec![0; words];
    for entry in have.max(1)..entries {
        let lowest = entry & entry.wrapping_neg();
        let at = entry * words;
        if entry == lowest {
            let constant = u16::try_from(2 * entry).expect("half of a point of the field");
            (passes.factor)(constant, &mut bit);
            table[at..at + words].copy_from_slice(&bit);
        } else {
            let (of_lowest, of_others) = (lowest * words, (entry ^ lowest) * words);
            for word in 0..words {
                table[at + word] = table[of_lowest + word] ^ table[of_others + word];
            }
        }
    }
}

/// Rows of `width` bytes from `first` on.
pub(super) const fn rows(first: *mut u8, width: usize) -> Rows {
    Rows { first, width }
}
