//! Decoding by transforms whose size is that of the losses, not that of the block.

use super::block::{Blocks, Plan};
use super::passes::{Output, Passes, Rows};
use super::workspace::{Lists, rows};
use super::{Strided, WORKSPACE, is_high_rate, stripes};
use crate::fec::field::Field;
use crate::fec::field16::Field16;

/// What a decoder is given: the data shards, which of them are here, and recovery shards by index, at least as many as data
/// shards are missing.
pub(in crate::fec) struct Received<'a> {
    pub(in crate::fec) data: Strided,
    pub(in crate::fec) present: &'a [bool],
    pub(in crate::fec) recovery: &'a [(usize, &'a [u8])],
    pub(in crate::fec) missing: usize,
}

/// Rebuild the missing ones of `k` data shards, at least one.
///
/// # Safety
/// This machine can run `passes`; the code carries `k` and `m`; shards have `shard_bytes` bytes, an even number, and nothing
/// else uses them; indices are below `m` and distinct.
pub(in crate::fec) unsafe fn reconstruct(
    passes: &'static Passes,
    (k, m, shard_bytes): (usize, usize, usize),
    received: &Received,
) {
    // SAFETY: promised by the caller. Blocks of one chunk are both high and low rate.
    unsafe {
        if is_high_rate(k, m) || k.next_power_of_two() == m.next_power_of_two() {
            high_rate(passes, (k, m, shard_bytes), received);
        } else {
            low_rate(passes, (k, m, shard_bytes), received);
        }
    }
}

/// Rebuild data shards of a code whose recovery shards lie in the first chunk of points and its data behind them.
///
/// The recovery shards of one aligned window of `2^l` points are enough if as many of them are here as data shards are
/// missing. What known data adds to them is a transform of `2^l` points for each block of data shards. What is left is, but
/// for factors, the values of a polynomial that is known at all points of the window once it is multiplied by the
/// distances to those that are not received; its values in the data's blocks are, but for factors, the missing shards.
///
/// A window of one point, which is enough for one missing shard, takes no butterfly: the closed form's row.
///
/// # Safety
/// As [`reconstruct`].
unsafe fn high_rate(
    passes: &'static Passes,
    (k, m, shard_bytes): (usize, usize, usize),
    received: &Received,
) {
    let chunk = m.next_power_of_two();
    WORKSPACE.with_borrow_mut(|workspace| {
        let (log, first) = window(&mut workspace.lists, chunk, received);
        let block = 1 << log;
        let plan = Plan::new(log, passes.radix_log);
        let points = chunk + k.next_multiple_of(block);
        let (table, [sums, work], width, lists) =
            workspace.prepare(passes, points, block, shard_bytes);
        let group = plan.group();
        lists.fill_high(passes, (chunk, first, block), group, points, received);
        let Lists {
            sources,
            sinks,
            window,
            source_scales,
            sink_scales,
            window_scales,
            ..
        } = lists;
        let blocks = Blocks {
            passes,
            table,
            plan,
        };
        let mut scale = [0; 16];
        for stripe in stripes(shard_bytes, width) {
            let width = stripe.bytes.next_multiple_of(passes.column);
            let (sums, work) = (rows(sums, width), rows(work, width));
            let mut add = block == 1;
            if block == 1 {
                // SAFETY: promised by the caller, and by `prepare` and `fill_high` what concerns rows and lists.
                unsafe { (passes.sum)(sums, sources, source_scales.as_ptr(), stripe) };
            } else {
                for (n, shards) in sources.chunks(block).enumerate() {
                    if shards.iter().all(|shard| shard.is_null()) {
                        continue;
                    }
                    let coset = (chunk >> log) + n;
                    let log_scale = log_scale(chunk, log, coset, first);
                    let words = &mut scale[..passes.factor_words];
                    (passes.factor)(Field16::exp(log_scale % Field16::GROUP), words);
                    let output = Output {
                        rows: sums,
                        add,
                        scale: scale.as_ptr(),
                    };
                    // SAFETY: as above, and what concerns the table.
                    unsafe { blocks.inverse(coset << log, shards, stripe, work, output) };
                    add = true;
                }
            }
            // SAFETY: as above.
            unsafe {
                if add {
                    blocks.forward_in_place(first, sums);
                }
                (passes.weigh)(sums, window, window_scales.as_ptr(), add, stripe);
                blocks.inverse_in_place(first, sums);
            }
            let mut scales = sink_scales.as_ptr();
            for (n, shards) in sinks.chunks(block).enumerate() {
                let lost = shards.iter().filter(|shard| !shard.is_null()).count();
                if lost > 0 {
                    let point = chunk + (n << log);
                    // SAFETY: as above; there is a scale for each shard that is not null.
                    unsafe {
                        blocks.forward(point, sums, work, shards, scales, stripe);
                        scales = scales.add(lost * passes.factor_words);
                    }
                }
            }
        }
    });
}

/// Rebuild data shards of a code whose data lies in the first chunk of points and its recovery shards behind them.
///
/// All shards are values of one polynomial with fewer coefficients than the chunk has points. Lagrange's formula over the
/// points that are known, the zeros behind the data among them, gives its other values: for each chunk with known points
/// the transform of their values over their distances to the others; of the data's own chunk, the derivative of that.
///
/// # Safety
/// As [`reconstruct`].
unsafe fn low_rate(
    passes: &'static Passes,
    (k, m, shard_bytes): (usize, usize, usize),
    received: &Received,
) {
    let chunk = k.next_power_of_two();
    let plan = Plan::new(chunk.ilog2(), passes.radix_log);
    let points = chunk + m.next_multiple_of(chunk);
    WORKSPACE.with_borrow_mut(|workspace| {
        let (table, [sums, work], width, lists) =
            workspace.prepare(passes, points, chunk, shard_bytes);
        lists.fill_low(passes, chunk, plan.group(), points, received);
        let blocks = Blocks {
            passes,
            table,
            plan,
        };
        for stripe in stripes(shard_bytes, width) {
            let width = stripe.bytes.next_multiple_of(passes.column);
            let (sums, work) = (rows(sums, width), rows(work, width));
            let mut scales = lists.window_scales.as_ptr();
            // SAFETY: promised by the caller, and by `prepare` and `fill_low` what concerns rows, table and lists.
            unsafe {
                (passes.weigh)(
                    sums,
                    &lists.sources,
                    lists.source_scales.as_ptr(),
                    false,
                    stripe,
                );
                blocks.inverse_in_place(0, sums);
                add_derivative(sums, chunk);
                for (n, shards) in lists.window.chunks(chunk).enumerate() {
                    let here = shards.iter().filter(|shard| !shard.is_null()).count();
                    if here > 0 {
                        (passes.weigh)(work, shards, scales, false, stripe);
                        blocks.inverse_in_place(chunk * (n + 1), work);
                        add(sums.first, work.first, chunk * width);
                        scales = scales.add(here * passes.factor_words);
                    }
                }
                blocks.forward(
                    0,
                    sums,
                    work,
                    &lists.sinks,
                    lists.sink_scales.as_ptr(),
                    stripe,
                );
            }
        }
    });
}

/// Add to coefficients those of their polynomial's derivative. The polynomial itself is zero where this is wanted.
///
/// # Safety
/// There are `count` rows.
unsafe fn add_derivative(rows: Rows, count: usize) {
    for i in 1..count {
        let lowest = i & i.wrapping_neg();
        // SAFETY: promised by the caller: `i` is a multiple of its lowest bit below a power of two.
        unsafe {
            add(
                rows.from(i - lowest).first,
                rows.from(i).first,
                lowest * rows.width,
            )
        };
    }
}

/// # Safety
/// `bytes` bytes, a multiple of eight, are readable at `from` and writable at `to`, and they do not overlap.
unsafe fn add(to: *mut u8, from: *const u8, bytes: usize) {
    for at in (0..bytes).step_by(8) {
        // SAFETY: promised by the caller.
        unsafe {
            let word = from.add(at).cast::<u64>().read_unaligned();
            let to = to.add(at).cast::<u64>();
            to.write_unaligned(to.read_unaligned() ^ word);
        }
    }
}

/// Logarithm of what the block of data at `coset << log` is multiplied by in the window at `first`; not reduced.
fn log_scale(chunk: usize, log: u32, coset: usize, first: usize) -> u32 {
    let of_chunk = Field16::log((coset << log) >> chunk.trailing_zeros());
    of_chunk + Field16::GROUP - Field16::log(coset ^ (first >> log))
}

/// The smallest window that holds enough recovery shards: log2 of its points, and its first point.
fn window(lists: &mut Lists, chunk: usize, received: &Received) -> (u32, usize) {
    let mut log = received.missing.next_power_of_two().ilog2();
    loop {
        let counts = &mut lists.received;
        counts.clear();
        counts.resize(chunk >> log, 0);
        for &(j, _) in received.recovery {
            let count = &mut counts[j >> log];
            *count += 1;
            if *count as usize == received.missing {
                return (log, j >> log << log);
            }
        }
        log += 1;
    }
}

impl Lists {
    /// List data shards as those to read and those to rebuild, padded with none to whole groups.
    fn list_data(&mut self, group: usize, received: &Received) {
        let data = received.data;
        let shard = move |i: usize| data.first.wrapping_add(i * data.stride);
        let present = || received.present.iter().enumerate();
        self.sources.clear();
        self.sources.extend(present().map(|(i, &here)| {
            if here {
                shard(i).cast_const()
            } else {
                std::ptr::null()
            }
        }));
        self.sinks.clear();
        self.sinks.extend(present().map(
            |(i, &here)| {
                if here { std::ptr::null_mut() } else { shard(i) }
            },
        ));
        let padded = received.present.len().next_multiple_of(group);
        self.sources.resize(padded, std::ptr::null());
        self.sinks.resize(padded, std::ptr::null_mut());
    }

    /// List the shards of a block that is decoded from the window of `block` points at `first`.
    fn fill_high(
        &mut self,
        passes: &Passes,
        (chunk, first, block): (usize, usize, usize),
        group: usize,
        points: usize,
        received: &Received,
    ) {
        self.list_data(group, received);
        self.window.clear();
        self.window.resize(block, std::ptr::null());
        let inside = received
            .recovery
            .iter()
            .filter(|(j, _)| j & !(block - 1) == first);
        for (j, shard) in inside.take(received.missing) {
            self.window[j - first] = shard.as_ptr();
        }

        let set = &mut self.locator.points;
        set.clear();
        set.extend(missing(received).map(|i| (point(chunk + i), false)));
        let absent = (0..block).filter(|&n| self.window[n].is_null());
        set.extend(absent.map(|n| (point(first + n), false)));
        self.locator
            .prepare(points.next_power_of_two(), 2 * received.missing);

        let logs = present(received).map(|i| log_scale(chunk, 0, chunk + i, first));
        let known = if block == 1 {
            received.present.len()
        } else {
            0
        };
        list_scales(passes, &mut self.source_scales, known, logs.take(known));
        let here = (0..block).filter(|&n| !self.window[n].is_null());
        let logs = here.map(|n| self.locator.log(first + n));
        list_scales(passes, &mut self.window_scales, received.missing, logs);
        let logs = missing(received).map(|i| {
            let divisor = self.locator.log(chunk + i) + Field16::log((chunk + i) / chunk);
            2 * Field16::GROUP - divisor
        });
        list_scales(passes, &mut self.sink_scales, received.missing, logs);
    }

    /// List the shards of a block whose data lies in the first chunk.
    fn fill_low(
        &mut self,
        passes: &Passes,
        chunk: usize,
        group: usize,
        points: usize,
        received: &Received,
    ) {
        self.list_data(group, received);
        self.sources.resize(chunk, std::ptr::null());
        self.window.clear();
        self.window.resize(points - chunk, std::ptr::null());
        for (j, shard) in &received.recovery[..received.missing] {
            self.window[*j] = shard.as_ptr();
        }

        let set = &mut self.locator.points;
        set.clear();
        set.extend(missing(received).map(|i| (point(i), true)));
        set.extend(
            received.recovery[..received.missing]
                .iter()
                .map(|(j, _)| (point(chunk + j), false)),
        );
        self.locator
            .prepare(points.next_power_of_two(), chunk + received.missing);

        let logs = present(received).map(|i| Field16::GROUP - self.locator.log(i));
        list_scales(
            passes,
            &mut self.source_scales,
            received.present.len(),
            logs,
        );
        let here = (0..self.window.len()).filter(|&j| !self.window[j].is_null());
        let logs = here.map(|j| {
            let of_chunk = Field16::log((chunk + j) / chunk);
            3 * Field16::GROUP - self.locator.log(chunk + j) - 2 * of_chunk
        });
        list_scales(passes, &mut self.window_scales, received.missing, logs);
        let logs = missing(received).map(|i| self.locator.log(i));
        list_scales(passes, &mut self.sink_scales, received.missing, logs);
    }
}

/// Indices of the data shards that are here.
fn present<'a>(received: &Received<'a>) -> impl Iterator<Item = usize> + use<'a> {
    let present = received.present;
    (0..present.len()).filter(move |&i| present[i])
}

/// Indices of the data shards that are missing.
fn missing<'a>(received: &Received<'a>) -> impl Iterator<Item = usize> + use<'a> {
    let present = received.present;
    (0..present.len()).filter(move |&i| !present[i])
}

fn point(number: usize) -> u16 {
    u16::try_from(number).expect("a point of the field")
}

/// Write what stands for the constants of these logarithms, which need not be reduced; there are up to `most`.
fn list_scales(
    passes: &Passes,
    scales: &mut Vec<u64>,
    most: usize,
    logs: impl Iterator<Item = u32>,
) {
    let words = passes.factor_words;
    if scales.len() < most * words {
        scales.resize(most * words, 0);
    }
    for (log, scale) in logs.zip(scales.chunks_exact_mut(words)) {
        (passes.factor)(Field16::exp(log % Field16::GROUP), scale);
    }
}
