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
//! they are stored in, no elimination. All is computed on discrete logarithms; those of 0 count as 0 here, which is
//! what the derivatives want.

use std::cell::RefCell;
use std::ops::Range;

use super::super::field8::{GROUP, exp, log};
use super::dot::Dot;

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
    pub(super) fn weights(&self) -> Weights<'_, MOST> {
        let (here, recovery, lost) = (self.here.all(), self.recovery.all(), self.lost.all());
        Weights {
            here,
            lost,
            inputs: quotients(here, lost, recovery),
            outputs: quotients(lost, recovery, lost),
        }
    }
}

/// Logarithms of the products of all differences of each point to `above`, divided by those to `below`.
fn quotients<const MOST: usize>(points: &[u8], above: &[u8], below: &[u8]) -> [u16; MOST] {
    let mut sums = [0; MOST];
    // At most 128 shards are lost, and as many replace them: sums are below 2^16.
    for &other in above {
        for (sum, &point) in sums.iter_mut().zip(points) {
            *sum += log(point ^ other);
        }
    }
    for &other in below {
        for (sum, &point) in sums.iter_mut().zip(points) {
            *sum += GROUP - log(point ^ other);
        }
    }
    for sum in &mut sums[..points.len()] {
        *sum %= GROUP;
    }
    sums
}

/// Logarithms of `b` for each input and of `a` for each output.
pub(super) struct Weights<'a, const MOST: usize> {
    here: &'a [u8],
    lost: &'a [u8],
    inputs: [u16; MOST],
    outputs: [u16; MOST],
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
        let rows = group.len();
        // What was there before is overwritten.
        room.resize(rows * self.here.len(), 0);
        for (row, output) in group.enumerate() {
            let (other, scale) = (self.lost[output], self.outputs[output] + GROUP);
            let inputs = self.here.iter().zip(&self.inputs);
            for (column, (&point, &weight)) in room.chunks_exact_mut(rows).zip(inputs) {
                column[row] = dot.factor(exp(scale + weight - log(point ^ other)));
            }
        }
        room
    }
}

/// Room for factors, which a thread keeps from call to call: 24 KiB at most.
pub(super) fn with_room<T>(work: impl FnOnce(&mut Vec<u64>) -> T) -> T {
    thread_local! {
        static ROOM: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }
    ROOM.with_borrow_mut(work)
}
