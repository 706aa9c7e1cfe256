//! Butterflies: one pass over rows of working space does as many layers of a transform as registers hold.
//!
//! Layer `l` pairs points whose numbers differ by `2^l`. Its factor is the number of the pair's first point, shifted
//! right by `l`, in the Cantor basis (punktfunk/1 section 5.2); that is an even number, and entry `i` of a factor
//! table stands for `2 i`.

use super::lanes::Lanes;

/// Most bytes of a shard in one stripe.
pub(super) const STRIPE: usize = 4096;

/// What an absent shard is read from.
static ZEROS: [u8; STRIPE] = [0; STRIPE];

/// The bytes of every shard that are worked on at once.
#[derive(Clone, Copy)]
pub(crate) struct Stripe {
    /// The first of them.
    pub(super) at: usize,
    /// How many there are: an even number, up to the width of a row.
    pub(super) bytes: usize,
}

/// Consecutive rows of working space, each `width` bytes.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub(super) first: *mut u8,
    pub(super) width: usize,
}

impl Rows {
    /// The rows from `index` on.
    ///
    /// # Safety
    /// There is a row `index`, or these are all before it.
    pub(super) unsafe fn from(self, index: usize) -> Self {
        Self {
            // SAFETY: promised by the caller.
            first: unsafe { self.first.add(index * self.width) },
            ..self
        }
    }
}

/// Where the results of an inverse pass go.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(super) rows: Rows,
    /// Whether they are added to what is there.
    pub(super) add: bool,
    /// The factor that they are multiplied by before; null is 1.
    pub(super) scale: *const u64,
}

/// Layers from `from` on, as many as the call says, over `count` blocks that begin at point `point`.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(super) table: *const u64,
    pub(super) point: usize,
    pub(super) from: u32,
}

/// The passes of one kind of lanes.
///
/// # Safety
/// Of every call: this machine has the features of the lanes; `layers` is 0 to `radix_log` (1 to it where there are
/// rows alone); rows hold a whole number of columns and there are as many as points; shards that are not null reach to the
/// stripe's end; the table has an entry for half of every point, and scales have `factor_words` words for each shard that is
/// not null.
pub(crate) struct Passes {
    /// Rows' widths are multiples of this many bytes.
    pub(super) column: usize,
    /// Most layers of a pass.
    pub(super) radix_log: u32,
    /// 64-bit words of a factor.
    pub(super) factor_words: usize,
    /// Write what stands for a constant.
    pub(super) factor: fn(u16, &mut [u64]),
    /// The first layers of an inverse transform, out of shards; null shards are zero.
    pub(super) inverse_shards: unsafe fn(u32, Span, &[*const u8], Stripe, Output),
    /// Further layers of an inverse transform of one block, out of rows.
    pub(super) inverse_rows: unsafe fn(u32, Span, Rows, Output),
    /// Layers of a transform of one block, from rows to rows, which may be the same.
    pub(super) forward_rows: unsafe fn(u32, Span, Rows, Rows),
    /// The last layers of a transform, into shards times their scales; null shards are not written, null scales are 1.
    pub(super) forward_shards: unsafe fn(u32, Span, Rows, &[*mut u8], *const u64, Stripe),
    /// Add shards times their scales up and write the sum to the first row.
    pub(super) sum: unsafe fn(Rows, &[*const u8], *const u64, Stripe),
    /// Add shards to rows if `add`, else put them there; multiply by their scales; rows of null shards become zero.
    pub(super) weigh: unsafe fn(Rows, &[*const u8], *const u64, bool, Stripe),
}

/// `b ^= a; a ^= b * factor`.
#[inline(always)]
unsafe fn inverse_butterfly<L: Lanes, const N: usize>(
    v: &mut [L::Pair; N],
    a: usize,
    b: usize,
    factor: *const u64,
) {
    // SAFETY: promised by the caller of the pass.
    unsafe {
        v[b] = L::add(v[b], v[a]);
        v[a] = L::multiply_add(v[a], v[b], factor);
    }
}

/// `a ^= b * factor; b ^= a`.
#[inline(always)]
unsafe fn forward_butterfly<L: Lanes, const N: usize>(
    v: &mut [L::Pair; N],
    a: usize,
    b: usize,
    factor: *const u64,
) {
    // SAFETY: promised by the caller of the pass.
    unsafe {
        v[a] = L::multiply_add(v[a], v[b], factor);
        v[b] = L::add(v[b], v[a]);
    }
}

/// The first factor of each of three layers, for values whose first has number `q` when shifted by the first layer.
#[inline(always)]
unsafe fn factors<L: Lanes>(table: *const u64, q: usize) -> [*const u64; 3] {
    // SAFETY: promised by the caller of the pass.
    unsafe {
        [
            table.add((q >> 1) * L::FACTOR_WORDS),
            table.add((q >> 2) * L::FACTOR_WORDS),
            table.add((q >> 3) * L::FACTOR_WORDS),
        ]
    }
}

/// The layers of an inverse transform of `N` values: 1, 2, 4 or 8. Written out, so that they stay in registers.
#[inline(always)]
unsafe fn inverse<L: Lanes, const N: usize>(v: &mut [L::Pair; N], f: [*const u64; 3]) {
    let w = L::FACTOR_WORDS;
    // SAFETY: promised by the caller of the pass.
    unsafe {
        if N >= 2 {
            inverse_butterfly::<L, N>(v, 0, 1, f[0]);
        }
        if N >= 4 {
            inverse_butterfly::<L, N>(v, 2, 3, f[0].add(w));
            inverse_butterfly::<L, N>(v, 0, 2, f[1]);
            inverse_butterfly::<L, N>(v, 1, 3, f[1]);
        }
        if N >= 8 {
            inverse_butterfly::<L, N>(v, 4, 5, f[0].add(2 * w));
            inverse_butterfly::<L, N>(v, 6, 7, f[0].add(3 * w));
            inverse_butterfly::<L, N>(v, 4, 6, f[1].add(w));
            inverse_butterfly::<L, N>(v, 5, 7, f[1].add(w));
            inverse_butterfly::<L, N>(v, 0, 4, f[2]);
            inverse_butterfly::<L, N>(v, 1, 5, f[2]);
            inverse_butterfly::<L, N>(v, 2, 6, f[2]);
            inverse_butterfly::<L, N>(v, 3, 7, f[2]);
        }
    }
}

/// The inverse of [`inverse`].
#[inline(always)]
unsafe fn forward<L: Lanes, const N: usize>(v: &mut [L::Pair; N], f: [*const u64; 3]) {
    let w = L::FACTOR_WORDS;
    // SAFETY: promised by the caller of the pass.
    unsafe {
        if N >= 8 {
            forward_butterfly::<L, N>(v, 0, 4, f[2]);
            forward_butterfly::<L, N>(v, 1, 5, f[2]);
            forward_butterfly::<L, N>(v, 2, 6, f[2]);
            forward_butterfly::<L, N>(v, 3, 7, f[2]);
            forward_butterfly::<L, N>(v, 4, 6, f[1].add(w));
            forward_butterfly::<L, N>(v, 5, 7, f[1].add(w));
            forward_butterfly::<L, N>(v, 4, 5, f[0].add(2 * w));
            forward_butterfly::<L, N>(v, 6, 7, f[0].add(3 * w));
        }
        if N >= 4 {
            forward_butterfly::<L, N>(v, 0, 2, f[1]);
            forward_butterfly::<L, N>(v, 1, 3, f[1]);
            forward_butterfly::<L, N>(v, 2, 3, f[0].add(w));
        }
        if N >= 2 {
            forward_butterfly::<L, N>(v, 0, 1, f[0]);
        }
    }
}

/// Write `N` values to rows that are `apart` bytes from each other, scaled and added as `output` says.
#[inline(always)]
unsafe fn put<L: Lanes, const N: usize>(
    mut v: [L::Pair; N],
    to: *mut u8,
    apart: usize,
    output: &Output,
) {
    // SAFETY: promised by the caller of the pass.
    unsafe {
        if !output.scale.is_null() {
            for value in &mut v {
                *value = L::multiply(*value, output.scale);
            }
        }
        if output.add {
            for (j, value) in v.iter_mut().enumerate() {
                *value = L::add(*value, L::read(to.add(j * apart)));
            }
        }
        for (j, &value) in v.iter().enumerate() {
            L::write(to.add(j * apart), value);
        }
    }
}

/// [`Passes::inverse_shards`] of `log2 N` layers.
#[inline(always)]
pub(super) unsafe fn inverse_shards<L: Lanes, const N: usize>(
    span: Span,
    shards: &[*const u8],
    stripe: Stripe,
    output: Output,
) {
    let width = output.rows.width;
    for (group, shards) in shards.chunks_exact(N).enumerate() {
        // SAFETY: promised by the caller of the pass; zeros reach as far as a stripe may.
        unsafe {
            let f = factors::<L>(span.table, span.point + group * N);
            let from: [*const u8; N] = std::array::from_fn(|j| {
                if shards[j].is_null() {
                    ZEROS.as_ptr()
                } else {
                    shards[j].add(stripe.at)
                }
            });
            let to = output.rows.from(group * N).first;
            let mut column = 0;
            while column < stripe.bytes {
                let bytes = L::COLUMN.min(stripe.bytes - column);
                let mut v = [L::zero(); N];
                for j in 0..N {
                    v[j] = L::gather(from[j].add(column), bytes);
                }
                inverse::<L, N>(&mut v, f);
                put::<L, N>(v, to.add(column), width, &output);
                column += L::COLUMN;
            }
        }
    }
}

/// [`Passes::inverse_rows`] of `log2 N` layers.
#[inline(always)]
pub(super) unsafe fn inverse_rows<L: Lanes, const N: usize>(
    span: Span,
    rows: Rows,
    output: Output,
) {
    let apart = rows.width << span.from;
    // SAFETY: promised by the caller of the pass.
    unsafe {
        let f = factors::<L>(span.table, span.point >> span.from);
        // Rows that are neighbours lie behind each other: a column of theirs is one of `apart` bytes.
        let mut column = 0;
        while column < apart {
            let mut v = [L::zero(); N];
            for (j, value) in v.iter_mut().enumerate() {
                *value = L::read(rows.first.add(j * apart + column));
            }
            inverse::<L, N>(&mut v, f);
            put::<L, N>(v, output.rows.first.add(column), apart, &output);
            column += L::COLUMN;
        }
    }
}

/// [`Passes::forward_rows`] of `log2 N` layers.
#[inline(always)]
pub(super) unsafe fn forward_rows<L: Lanes, const N: usize>(span: Span, from: Rows, to: Rows) {
    let apart = from.width << span.from;
    // SAFETY: promised by the caller of the pass.
    unsafe {
        let f = factors::<L>(span.table, span.point >> span.from);
        let mut column = 0;
        while column < apart {
            let mut v = [L::zero(); N];
            for (j, value) in v.iter_mut().enumerate() {
                *value = L::read(from.first.add(j * apart + column));
            }
            forward::<L, N>(&mut v, f);
            for (j, &value) in v.iter().enumerate() {
                L::write(to.first.add(j * apart + column), value);
            }
            column += L::COLUMN;
        }
    }
}

/// [`Passes::forward_shards`] of `log2 N` layers.
#[inline(always)]
pub(super) unsafe fn forward_shards<L: Lanes, const N: usize>(
    span: Span,
    rows: Rows,
    shards: &[*mut u8],
    mut scales: *const u64,
    stripe: Stripe,
) {
    for (group, shards) in shards.chunks_exact(N).enumerate() {
        if shards.iter().all(|shard| shard.is_null()) {
            continue;
        }
        // SAFETY: promised by the caller of the pass.
        unsafe {
            let f = factors::<L>(span.table, span.point + group * N);
            let from = rows.from(group * N).first;
            let first_scale = scales;
            let mut column = 0;
            while column < stripe.bytes {
                let bytes = L::COLUMN.min(stripe.bytes - column);
                let mut v = [L::zero(); N];
                for (j, value) in v.iter_mut().enumerate() {
                    *value = L::read(from.add(j * rows.width + column));
                }
                forward::<L, N>(&mut v, f);
                scales = first_scale;
                for (j, &shard) in shards.iter().enumerate() {
                    if shard.is_null() {
                        continue;
                    }
                    let mut value = v[j];
                    if !scales.is_null() {
                        value = L::multiply(value, scales);
                        scales = scales.add(L::FACTOR_WORDS);
                    }
                    L::scatter(shard.add(stripe.at + column), bytes, value);
                }
                column += L::COLUMN;
            }
        }
    }
}

/// [`Passes::sum`].
#[inline(always)]
pub(super) unsafe fn sum<L: Lanes>(
    to: *mut u8,
    shards: &[*const u8],
    scales: *const u64,
    stripe: Stripe,
) {
    // A factor is loaded once for as many columns as leave it in registers.
    for column in (0..stripe.bytes).step_by(4 * L::COLUMN) {
        let bytes = stripe.bytes - column;
        // SAFETY: promised by the caller of the pass.
        unsafe {
            let (to, at) = (to.add(column), stripe.at + column);
            match bytes.div_ceil(L::COLUMN) {
                1 => sum_columns::<L, 1>(to, shards, scales, at, bytes),
                2 => sum_columns::<L, 2>(to, shards, scales, at, bytes),
                3 => sum_columns::<L, 3>(to, shards, scales, at, bytes),
                _ => sum_columns::<L, 4>(to, shards, scales, at, bytes),
            }
        }
    }
}

/// Up to `C` columns of [`sum`], `bytes` bytes of them or all.
#[inline(always)]
unsafe fn sum_columns<L: Lanes, const C: usize>(
    to: *mut u8,
    shards: &[*const u8],
    mut scales: *const u64,
    at: usize,
    bytes: usize,
) {
    let last = (bytes - (C - 1) * L::COLUMN).min(L::COLUMN);
    // SAFETY: promised by the caller of the pass.
    unsafe {
        let mut sums = [L::zero(); C];
        for shard in shards.iter().filter(|shard| !shard.is_null()) {
            for (c, sum) in sums.iter_mut().enumerate() {
                let bytes = if c == C - 1 { last } else { L::COLUMN };
                let value = L::gather(shard.add(at + c * L::COLUMN), bytes);
                *sum = L::multiply_add(*sum, value, scales);
            }
            scales = scales.add(L::FACTOR_WORDS);
        }
        for (c, &sum) in sums.iter().enumerate() {
            L::write(to.add(c * L::COLUMN), sum);
        }
    }
}

/// [`Passes::weigh`].
#[inline(always)]
pub(super) unsafe fn weigh<L: Lanes>(
    rows: Rows,
    shards: &[*const u8],
    mut scales: *const u64,
    add: bool,
    stripe: Stripe,
) {
    for (n, &shard) in shards.iter().enumerate() {
        // SAFETY: promised by the caller of the pass.
        unsafe {
            let row = rows.from(n).first;
            let mut column = 0;
            while column < stripe.bytes {
                let to = row.add(column);
                let mut value = L::zero();
                if !shard.is_null() {
                    let bytes = L::COLUMN.min(stripe.bytes - column);
                    value = L::gather(shard.add(stripe.at + column), bytes);
                    if add {
                        value = L::add(value, L::read(to));
                    }
                    value = L::multiply(value, scales);
                }
                L::write(to, value);
                column += L::COLUMN;
            }
            if !shard.is_null() {
                scales = scales.add(L::FACTOR_WORDS);
            }
        }
    }
}

/// Make `PASSES` of lanes: each pass with the features that their intrinsics want.
macro_rules! passes {
    ($lanes:ty, radix_log: $radix_log:expr, factor: $factor:expr $(, $features:literal)?) => {
        /// These lanes' passes.
        pub(in crate::fec) static PASSES: $crate::fec::transform::passes::Passes = {
            use $crate::fec::transform::lanes::Lanes;
            use $crate::fec::transform::passes::{self, Output, Passes, Rows, Span, Stripe};

            $(#[target_feature(enable = $features)])?
            unsafe fn inverse_shards(
                layers: u32, span: Span, shards: &[*const u8], stripe: Stripe, output: Output,
            ) {
                // SAFETY: promised by the caller.
                unsafe {
                    match layers {
                        0 => passes::inverse_shards::<$lanes, 1>(span, shards, stripe, output),
                        1 => passes::inverse_shards::<$lanes, 2>(span, shards, stripe, output),
                        2 => passes::inverse_shards::<$lanes, 4>(span, shards, stripe, output),
                        _ => passes::inverse_shards::<$lanes, { 1 << $radix_log }>(span, shards, stripe, output),
                    }
                }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn inverse_rows(layers: u32, span: Span, rows: Rows, output: Output) {
                // SAFETY: promised by the caller.
                unsafe {
                    match layers {
                        1 => passes::inverse_rows::<$lanes, 2>(span, rows, output),
                        2 => passes::inverse_rows::<$lanes, 4>(span, rows, output),
                        _ => passes::inverse_rows::<$lanes, { 1 << $radix_log }>(span, rows, output),
                    }
                }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn forward_rows(layers: u32, span: Span, from: Rows, to: Rows) {
                // SAFETY: promised by the caller.
                unsafe {
                    match layers {
                        1 => passes::forward_rows::<$lanes, 2>(span, from, to),
                        2 => passes::forward_rows::<$lanes, 4>(span, from, to),
                        _ => passes::forward_rows::<$lanes, { 1 << $radix_log }>(span, from, to),
                    }
                }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn forward_shards(
                layers: u32, span: Span, rows: Rows, shards: &[*mut u8], scales: *const u64, stripe: Stripe,
            ) {
                // SAFETY: promised by the caller.
                unsafe {
                    match layers {
                        0 => passes::forward_shards::<$lanes, 1>(span, rows, shards, scales, stripe),
                        1 => passes::forward_shards::<$lanes, 2>(span, rows, shards, scales, stripe),
                        2 => passes::forward_shards::<$lanes, 4>(span, rows, shards, scales, stripe),
                        _ => passes::forward_shards::<$lanes, { 1 << $radix_log }>(span, rows, shards, scales, stripe),
                    }
                }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn sum(rows: Rows, shards: &[*const u8], scales: *const u64, stripe: Stripe) {
                // SAFETY: promised by the caller.
                unsafe { passes::sum::<$lanes>(rows.first, shards, scales, stripe) };
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn weigh(rows: Rows, shards: &[*const u8], scales: *const u64, add: bool, stripe: Stripe) {
                // SAFETY: promised by the caller.
                unsafe { passes::weigh::<$lanes>(rows, shards, scales, add, stripe) };
            }

            Passes {
                column: <$lanes as Lanes>::COLUMN,
                radix_log: $radix_log,
                factor_words: <$lanes as Lanes>::FACTOR_WORDS,
                factor: $factor,
                inverse_shards,
                inverse_rows,
                forward_rows,
                forward_shards,
                sum,
                weigh,
            }
        };
    };
}
pub(super) use passes;
