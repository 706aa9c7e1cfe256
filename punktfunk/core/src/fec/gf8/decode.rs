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

/// Points and the quotients of each: two slices of one length.
#[derive(Clone, Copy)]
struct Sides<'a> {
    points: &'a [u8],
    quotients: &'a [u8],
}

/// Which points the shards of a block have: those that are here, in the order of the inputs, and those that are lost.
///
/// There is room for `MOST` data shards: what a small block does not need is not cleared for it either.
pub(super) struct Places<const MOST: usize> {
    m: usize,
    here: Points<MOST>,
    recovery: Points<MOST>,
    lost: Points<MOST>,
}

/// A list of points.
struct Points<const MOST: usize> {
    points: [u8; MOST],
    count: usize,
}

impl<const MOST: usize> Points<MOST> {
    const EMPTY: Self = Self {
        points: [0; MOST],
        count: 0,
    };

    /// Returns the place in the list.
    fn push(&mut self, point: usize) -> usize {
        self.points[self.count] = point as u8;
        self.count += 1;
        self.count - 1
    }

    fn all(&self) -> &[u8] {
        &self.points[..self.count]
    }

    /// `a` or `b` of all points.
    fn quotients(&self, how: &Interpolation, above: &Self, below: &Self) -> [u8; MOST] {
        const { assert!(MOST.is_multiple_of(PADDED)) };
        let mut quotients = [0; MOST];
        let padded = self.count.next_multiple_of(PADDED);
        let (points, room) = (&self.points[..padded], &mut quotients[..padded]);
        // SAFETY: a kernel, and so its interpolation, is handed out where the processor has its features alone.
        unsafe { (how.quotients)(points, above.all(), below.all(), room) };
        quotients
    }
}

impl<const MOST: usize> Places<MOST> {
    pub(super) fn new(m: usize) -> Self {
        Self {
            m,
            here: Points::EMPTY,
            recovery: Points::EMPTY,
            lost: Points::EMPTY,
        }
    }

    /// Data shard `i` is here; returns which input it is.
    pub(super) fn known(&mut self, i: usize) -> usize {
        self.here.push(self.m + i)
    }

    /// Recovery shard `j` is here; returns which input it is.
    pub(super) fn recovery(&mut self, j: usize) -> usize {
        self.recovery.push(j);
        self.here.push(j)
    }

    /// Data shard `i` is lost; returns which output it is.
    pub(super) fn lost(&mut self, i: usize) -> usize {
        self.lost.push(self.m + i)
    }

    /// What the factors are made of, once all shards have their places.
    pub(super) fn weights(&self, how: &'static Interpolation) -> Weights<'_, MOST> {
        let (here, recovery, lost) = (&self.here, &self.recovery, &self.lost);
        Weights {
            here: here.all(),
            lost: lost.all(),
            inputs: here.quotients(how, lost, recovery),
            outputs: lost.quotients(how, recovery, lost),
            how,
        }
    }
}

/// `b` for each input and `a` for each output.
pub(super) struct Weights<'a, const MOST: usize> {
    here: &'a [u8],
    lost: &'a [u8],
    inputs: [u8; MOST],
    outputs: [u8; MOST],
    how: &'static Interpolation,
}

impl<const MOST: usize> Weights<'_, MOST> {
    /// How many inputs there are.
    pub(super) fn columns(&self) -> usize {
        self.here.len()
    }

    /// Factors of a group of outputs, column by column, in `room`.
    pub(super) fn factors<'b>(
        &self,
        group: Range<usize>,
        dot: &Dot,
        room: &'b mut Vec<u64>,
    ) -> &'b [u64] {
        let count = group.len() * self.here.len();
        let padded = count.next_multiple_of(4);
        if room.len() < padded {
            room.resize(padded, 0);
        }
        let inputs = Sides {
            points: self.here,
            quotients: &self.inputs[..self.here.len()],
        };
        let outputs = Sides {
            points: &self.lost[group.clone()],
            quotients: &self.outputs[group],
        };
        // SAFETY: as in `Points::quotients`; the room has been made.
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
