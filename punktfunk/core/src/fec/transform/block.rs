//! Transforms of one block of working space, from shards to coefficients and back, a stripe of every shard at a time.
//!
//! A block of `2^n` points is cut into as few passes as registers allow. Its parts are finished one after another, so
//! that a part small enough stays in the first-level cache until its last layer.

use super::passes::{Output, Passes, Rows, Span, Stripe};

/// Passes of a block: layers of the first, at shards, and of those above it, at rows.
#[derive(Clone, Copy, Default)]
pub(super) struct Plan {
    layers: [u32; 8],
    count: usize,
}

impl Plan {
    /// As few passes for `log` layers as there can be, of nearly the same size, the largest first.
    pub(super) fn new(log: u32, radix_log: u32) -> Self {
        let count = log.div_ceil(radix_log).max(1);
        let mut layers = [0; 8];
        for (n, layers) in (0..count).zip(&mut layers) {
            *layers = (log + count - 1 - n) / count;
        }
        Self {
            layers,
            count: count as usize,
        }
    }

    /// log2 of the points of the whole block.
    fn whole(&self) -> u32 {
        self.log(self.count)
    }

    /// log2 of the points of a part that `passes` passes finish.
    fn log(&self, passes: usize) -> u32 {
        self.layers[..passes].iter().sum()
    }

    /// Shards that the first pass wants at a time.
    pub(super) fn group(&self) -> usize {
        1 << self.layers[0]
    }
}

/// What all transforms of one call have in common.
#[derive(Clone, Copy)]
pub(super) struct Blocks<'a> {
    pub(super) passes: &'static Passes,
    pub(super) table: &'a [u64],
    pub(super) plan: Plan,
}

impl Blocks<'_> {
    /// Layers from `from` on over the `points` points from `point` on.
    fn span(&self, point: usize, points: usize, from: u32) -> Span {
        // What lies behind a table's last factor may be memory of the table: no sanitizer would see that it was read.
        debug_assert!((point + points) * self.passes.factor_words <= 2 * self.table.len());
        Span {
            table: self.table.as_ptr(),
            point,
            from,
        }
    }

    /// Inverse transform of the block at `point`. Its first shards are given, whole groups of them; the others are
    /// zero. `work` holds the block meanwhile where it takes more than one pass.
    ///
    /// # Safety
    /// See [`Passes`]; `work` and the output have a row for every point of the block.
    pub(super) unsafe fn inverse(
        &self,
        point: usize,
        shards: &[*const u8],
        stripe: Stripe,
        work: Rows,
        output: Output,
    ) {
        // SAFETY: promised by the caller.
        unsafe { self.inverse_part(self.plan.count, point, shards, stripe, work, output) };
    }

    /// # Safety
    /// As [`Self::inverse`], of the first `passes` passes.
    unsafe fn inverse_part(
        &self,
        passes: usize,
        point: usize,
        shards: &[*const u8],
        stripe: Stripe,
        work: Rows,
        output: Output,
    ) {
        // SAFETY: promised by the caller; parts lie within their block.
        unsafe {
            if passes <= 1 {
                let span = self.span(point, shards.len(), 0);
                return (self.passes.inverse_shards)(
                    self.plan.layers[0],
                    span,
                    shards,
                    stripe,
                    output,
                );
            }
            let (points, from) = (1 << self.plan.log(passes), self.plan.log(passes - 1));
            let to = |rows| Output {
                rows,
                add: false,
                scale: std::ptr::null(),
            };
            if passes == 2 {
                self.inverse_part(1, point, shards, stripe, work, to(work));
            } else {
                for (part, shards) in shards.chunks(1 << from).enumerate() {
                    let first = part << from;
                    let rows = work.from(first);
                    self.inverse_part(passes - 1, point + first, shards, stripe, rows, to(rows));
                }
            }
            // What no pass has written is zero; the parts below have cleared their own ends.
            let written = if passes == 2 {
                shards.len()
            } else {
                shards.len().next_multiple_of(1 << from)
            };
            let rest = work.from(written).first;
            rest.write_bytes(0, (points - written) * work.width);
            let span = self.span(point, points, from);
            (self.passes.inverse_rows)(self.plan.layers[passes - 1], span, work, output);
        }
    }

    /// Inverse transform in place of a block whose values lie in rows.
    ///
    /// # Safety
    /// See [`Passes`]; `rows` has a row for every point of the block.
    pub(super) unsafe fn inverse_in_place(&self, point: usize, rows: Rows) {
        if self.plan.whole() == 0 {
            return;
        }
        for pass in 0..self.plan.count {
            let (from, to) = (self.plan.log(pass), self.plan.log(pass + 1));
            for part in (0..1 << self.plan.whole()).step_by(1 << to) {
                // SAFETY: promised by the caller.
                unsafe {
                    let rows = rows.from(part);
                    let output = Output {
                        rows,
                        add: false,
                        scale: std::ptr::null(),
                    };
                    let span = self.span(point + part, 1 << to, from);
                    (self.passes.inverse_rows)(self.plan.layers[pass], span, rows, output);
                }
            }
        }
    }

    /// Transform in place of a block whose coefficients lie in rows.
    ///
    /// # Safety
    /// As [`Self::inverse_in_place`].
    pub(super) unsafe fn forward_in_place(&self, point: usize, rows: Rows) {
        if self.plan.whole() == 0 {
            return;
        }
        for pass in (0..self.plan.count).rev() {
            let (from, to) = (self.plan.log(pass), self.plan.log(pass + 1));
            for part in (0..1 << self.plan.whole()).step_by(1 << to) {
                // SAFETY: promised by the caller.
                unsafe {
                    let rows = rows.from(part);
                    let span = self.span(point + part, 1 << to, from);
                    (self.passes.forward_rows)(self.plan.layers[pass], span, rows, rows);
                }
            }
        }
    }

    /// Transform of the block at `point`, from the coefficients in `rows` to the first shards, whole groups of them; parts
    /// whose shards are all null are left out. `work` holds the block meanwhile; it may be `rows`.
    ///
    /// # Safety
    /// See [`Passes`]; `rows` and `work` have a row for every point of the block; `scales` is null or has a factor for
    /// every shard.
    pub(super) unsafe fn forward(
        &self,
        point: usize,
        rows: Rows,
        work: Rows,
        shards: &[*mut u8],
        scales: *const u64,
        stripe: Stripe,
    ) {
        // SAFETY: promised by the caller.
        unsafe { self.forward_part(self.plan.count, point, rows, work, shards, scales, stripe) };
    }

    /// # Safety
    /// As [`Self::forward`], of the first `passes` passes.
    #[allow(clippy::too_many_arguments)] // one more than the function that it is a part of
    unsafe fn forward_part(
        &self,
        passes: usize,
        point: usize,
        rows: Rows,
        work: Rows,
        shards: &[*mut u8],
        mut scales: *const u64,
        stripe: Stripe,
    ) {
        if shards.iter().all(|shard| shard.is_null()) {
            return;
        }
        // SAFETY: promised by the caller; parts lie within their block.
        unsafe {
            if passes <= 1 {
                let span = self.span(point, shards.len(), 0);
                return (self.passes.forward_shards)(
                    self.plan.layers[0],
                    span,
                    rows,
                    shards,
                    scales,
                    stripe,
                );
            }
            let from = self.plan.log(passes - 1);
            let span = self.span(point, 1 << self.plan.log(passes), from);
            (self.passes.forward_rows)(self.plan.layers[passes - 1], span, rows, work);
            if passes == 2 {
                return self.forward_part(1, point, work, work, shards, scales, stripe);
            }
            for (part, shards) in shards.chunks(1 << from).enumerate() {
                let first = part << from;
                let rows = work.from(first);
                self.forward_part(
                    passes - 1,
                    point + first,
                    rows,
                    rows,
                    shards,
                    scales,
                    stripe,
                );
                if !scales.is_null() {
                    let written = shards.iter().filter(|shard| !shard.is_null()).count();
                    scales = scales.add(written * self.passes.factor_words);
                }
            }
        }
    }
}
