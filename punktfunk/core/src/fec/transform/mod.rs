//! The transform of the GF(2^16) code: the same bytes as Leopard's, made by passes of our own.
//!
//! Points are numbers in the Cantor basis. There the polynomial that vanishes on the points below `2^l` maps `x` to
//! `x >> l`, which gives the layers their factors, and the sum over a block of data shards of `D[i] / (x + y[i])` is
//! the polynomial through that block, taken at `x`, divided by `(x >> l) + (y[i] >> l)`: the closed form of a generalised Cauchy code,
//! a block at a time. Encoding and decoding are both made of that (`docs/explanation/fec.md`).

mod block;
mod decode;
pub(super) mod lanes;
mod locator;
pub(super) mod passes;
mod workspace;

use std::cell::RefCell;

use self::block::{Blocks, Plan};
pub(super) use self::decode::{Received, reconstruct};
use self::passes::{Output, Passes, Stripe};
use self::workspace::{Lists, Workspace, rows};
use super::Shards;

thread_local! {
    static WORKSPACE: RefCell<Workspace> = const { RefCell::new(Workspace::new()) };
}

/// Shards at a stride that are written, or some of them: the first one's first byte.
#[derive(Clone, Copy)]
pub(super) struct Strided {
    pub(super) first: *mut u8,
    pub(super) stride: usize,
}

/// The code is high rate (recovery shards at the low points) or low rate (data shards there).
pub(super) fn is_high_rate(k: usize, m: usize) -> bool {
    let (data, recovery) = (k.next_power_of_two(), m.next_power_of_two());
    data > recovery || (data == recovery && k <= m)
}

/// Stripes of `width` bytes of shards of `shard_bytes`.
fn stripes(shard_bytes: usize, width: usize) -> impl Iterator<Item = Stripe> {
    (0..shard_bytes).step_by(width).map(move |at| Stripe {
        at,
        bytes: width.min(shard_bytes - at),
    })
}

/// Compute `m` recovery shards of `k` data shards; both are at least 1.
///
/// # Safety
/// This machine can run `passes`; the code carries `k` and `m`; `data` are `k` and `parity` are `m` shards of `shard_bytes`
/// bytes, an even number, and nothing else uses them.
pub(super) unsafe fn encode(
    passes: &'static Passes,
    (k, m, shard_bytes): (usize, usize, usize),
    data: Shards<'_>,
    parity: Strided,
) {
    let high_rate = is_high_rate(k, m);
    let chunk = if high_rate { m } else { k }.next_power_of_two();
    let plan = Plan::new(chunk.ilog2(), passes.radix_log);
    let points = chunk + k.max(m).next_multiple_of(chunk);
    WORKSPACE.with_borrow_mut(|workspace| {
        let (table, [sums, work], width, lists) =
            workspace.prepare(passes, points, chunk, shard_bytes);
        let Lists { sources, sinks, .. } = lists;
        sources.clear();
        let first = data.bytes.as_ptr();
        sources.extend((0..k).map(|i| first.wrapping_add(i * data.stride)));
        if let Some(last) = data.last {
            sources[k - 1] = last.as_ptr();
        }
        sources.resize(k.next_multiple_of(plan.group()), std::ptr::null());
        sinks.clear();
        sinks.extend((0..m).map(|j| parity.first.wrapping_add(j * parity.stride)));
        sinks.resize(m.next_multiple_of(plan.group()), std::ptr::null_mut());
        let blocks = Blocks {
            passes,
            table,
            plan,
        };
        for stripe in stripes(shard_bytes, width) {
            let width = stripe.bytes.next_multiple_of(passes.column);
            let (sums, work) = (rows(sums, width), rows(work, width));
            for (n, shards) in sources.chunks(chunk).enumerate() {
                let output = Output {
                    rows: sums,
                    add: n > 0,
                    scale: std::ptr::null(),
                };
                let point = if high_rate { chunk * (n + 1) } else { 0 };
                // SAFETY: promised by the caller, and by `prepare` what concerns rows and table.
                unsafe { blocks.inverse(point, shards, stripe, work, output) };
            }
            for (n, shards) in sinks.chunks(chunk).enumerate() {
                let point = if high_rate { 0 } else { chunk * (n + 1) };
                // SAFETY: as above.
                unsafe { blocks.forward(point, sums, work, shards, std::ptr::null(), stripe) };
            }
        }
    });
}
