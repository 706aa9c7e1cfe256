//! The factors of decoding, in closed form.
//!
//! Recovery shard `j` is `p[j] = sum over i of d[i] / (x[j] + y[i])` with `x[j] = j` and `y[i] = m + i`. With
//! `D(x)` the product of all `x + y[i]` that is `N(x[j]) / D(x[j])`, for the polynomial `N` of a degree below `k`
//! that is `d[i] * D'(y[i])` at each `y[i]`. The shards that are here are `N` at `k` points `z`; interpolated
//! at the place `l` of a lost shard they give it as a sum over `z` of `a[l] * b[z] / (l + z)`, where with the
//! products `R` and `L` of all differences to the recovery shards in use and to the lost shards
//! `a[l] = R(l) / L'(l)`, `b[z] = L(z) / R(z)` for data and `L(z) / R'(z)` for recovery shards.
//!
//! So a lost shard costs `k` products of shards as a recovery shard does: no syndromes, no second pass over what
//! they are stored in, no elimination. Products leave out a difference of 0, which is what the derivatives want.

#[cfg(target_arch = "x86_64")]
pub(super) mod gfni;
pub(super) mod logarithms;

use std::cell::RefCell;
use std::ops::Range;

use super::dot::Dot;

/// Points come in lists of a multiple of this length; what stands behind the last one has no meaning.
const PADDED: usize = 32;

/// How `a`, `b` and factors are computed. What stands for `a` and `b`, a byte each, is its own affair.
pub(super) struct Interpolation {
    quotients: Quotients,
    factors: Factors,
}

/// For each of `points`, write the product of its differences to `above`, divided by that of those to `below`: `b` for
/// inputs, `a` for outputs.
///
/// # Safety
/// The processor has the features that the implementation is made of; `points` and `quotients` have one length, a
/// multiple of [`PADDED`].
type Quotients = unsafe fn(points: &[u8], above: &[u8], below: &[u8], quotients: &mut [u8]);

/// Write what a kernel multiplies by, for up to [`super::dot::ROWS`] outputs, column by column of inputs.
///
/// # Safety
/// The processor has the features that the implementation is made of; `words` has an entry for each pair of input and
/// output, and then some to a multiple of four, which may be written as well.
type Factors = unsafe fn(dot: &Dot, inputs: Sides, outputs: Sides, words: &mut [u64]);

/// Points and the quotients of each. All inputs are a list of a multiple of [`PADDED`], `count` of them with a meaning;
/// outputs are as many as they are.
#[derive(Clone, Copy)]
struct Sides<'a> {
    points: &'a [u8],
    quotients: &'a [u8],
    count: usize,
}

/// Which points the inputs have, and those of the shards that are lost and that replace them.
///
/// There is room for `MOST` inputs: what a small block does not need is not cleared for it either.
pub(super) struct Places<const MOST: usize> {
    /// Of each data shard, and of the recovery shard in its place where it is lost.
    here: [u8; MOST],
    recovery: [u8; MOST],
    lost: [u8; MOST],
    columns: usize,
    replaced: usize,
}

impl<const MOST: usize> Places<MOST> {
    /// A block of `k` data shards, up to `MOST`, and `m` recovery shards that has lost nothing.
    pub(super) fn new(k: usize, m: usize) -> Self {
        Self {
            here: std::array::from_fn(|i| (m + i) as u8),
            recovery: [0; MOST],
            lost: [0; MOST],
            columns: k,
            replaced: 0,
        }
    }

    /// How many shards have been replaced so far: the place of the next one among the outputs.
    pub(super) fn replaced(&self) -> usize {
        self.replaced
    }

    /// Data shard `i` is lost, and recovery shard `j` is the input in its place.
    pub(super) fn replace(&mut self, i: usize, j: usize) {
        self.lost[self.replaced] = self.here[i];
        self.recovery[self.replaced] = j as u8;
        self.here[i] = j as u8;
        self.replaced += 1;
    }

    /// What the factors are made of, once all shards have their places.
    pub(super) fn weights(&self, how: &'static Interpolation) -> Weights<'_, MOST> {
        let (recovery, lost) = (&self.recovery[..self.replaced], &self.lost[..self.replaced]);
        Weights {
            here: &self.here,
            columns: self.columns,
            lost,
            inputs: quotients(how, (&self.here, self.columns), lost, recovery),
            outputs: quotients(how, (&self.lost, self.replaced), recovery, lost),
            how,
        }
    }
}

/// `a` or `b` of the first points.
fn quotients<const MOST: usize>(
    how: &Interpolation,
    (points, count): (&[u8; MOST], usize),
    above: &[u8],
    below: &[u8],
) -> [u8; MOST] {
    const { assert!(MOST.is_multiple_of(PADDED)) };
    let mut quotients = [0; MOST];
    let padded = count.next_multiple_of(PADDED);
    let (points, room) = (&points[..padded], &mut quotients[..padded]);
    // SAFETY: a kernel, and so its interpolation, is handed out where the processor has its features alone.
    unsafe { (how.quotients)(points, above, below, room) };
    quotients
}

/// `b` for each input and `a` for each output.
pub(super) struct Weights<'a, const MOST: usize> {
    here: &'a [u8; MOST],
    columns: usize,
    lost: &'a [u8],
    inputs: [u8; MOST],
    outputs: [u8; MOST],
    how: &'static Interpolation,
}

impl<const MOST: usize> Weights<'_, MOST> {
    /// Factors of a group of outputs, column by column, in `room`.
    pub(super) fn factors<'b>(
        &self,
        group: Range<usize>,
        dot: &Dot,
        room: &'b mut Vec<u64>,
    ) -> &'b [u64] {
        let count = group.len() * self.columns;
        let padded = count.next_multiple_of(4);
        if room.len() < padded {
            room.resize(padded, 0);
        }
        let inputs = Sides {
            points: self.here,
            quotients: &self.inputs,
            count: self.columns,
        };
        let outputs = Sides {
            points: &self.lost[group.clone()],
            count: group.len(),
            quotients: &self.outputs[group],
        };
        // SAFETY: as in `quotients`; the room has been made.
        unsafe { (self.how.factors)(dot, inputs, outputs, &mut room[..padded]) };
        &room[..count]
    }
}

/// Room for factors, which a thread keeps from call to call: 24 KiB at most.
pub(super) fn with_room<T>(work: impl FnOnce(&mut Vec<u64>) -> T) -> T {
    thread_local! {
        static ROOM: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }
    ROOM.with_borrow_mut(work)
}
