//! Sums of products of shards by constants of GF(2^8).
//!
//! A kernel makes a few outputs at once. Their sums stay in registers while it walks over the inputs, so that an
//! input's bytes are loaded once for all of them and an output is written and never read.

use std::ops::Range;

use super::super::field8;
use super::decode::Interpolation;

#[cfg(target_arch = "x86_64")]
pub(in crate::fec) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(in crate::fec) mod gfni256;
#[cfg(target_arch = "x86_64")]
pub(in crate::fec) mod gfni512;
pub(in crate::fec) mod portable;
#[cfg(target_arch = "x86_64")]
mod tiles;
#[cfg(target_arch = "x86_64")]
mod ymm;

/// Most outputs in one call of any kernel.
pub(super) const ROWS: usize = 12;

/// One implementation.
pub(crate) struct Dot {
    /// What it multiplies by, for each coefficient.
    factors: &'static [u64; 256],
    /// How it computes the factors of a loss.
    pub(super) interpolation: &'static Interpolation,
    /// Most outputs in one call.
    rows: usize,
    sums: Sums,
}

/// [`Dot::multiply`] without its checks.
///
/// # Safety
/// What it checks holds, and the processor has the features that the kernel is made of.
type Sums = unsafe fn(outputs: &mut [&mut [u8]], inputs: &[&[u8]], factors: &[u64]);

impl Dot {
    /// What the kernel multiplies by in place of a coefficient.
    #[inline]
    pub(crate) fn factor(&self, coefficient: u8) -> u64 {
        self.factors[usize::from(coefficient)]
    }

    /// Divide so many outputs into groups for [`Dot::multiply`], as few as there can be and of one size or two.
    pub(super) fn groups(&self, outputs: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let count = outputs.div_ceil(self.rows);
        (0..count).map(move |n| n * outputs / count..(n + 1) * outputs / count)
    }

    /// Compute `outputs[r] = sum over c of factors[c * outputs.len() + r] * inputs[c]`.
    ///
    /// # Panics
    /// If shards differ in length, or there are more outputs than the kernel takes, or other than one factor for
    /// each pair of output and input.
    pub(crate) fn multiply(&self, outputs: &mut [&mut [u8]], inputs: &[&[u8]], factors: &[u64]) {
        let Some(bytes) = outputs.first().map(|shard| shard.len()) else {
            return;
        };
        assert!(outputs.len() <= self.rows);
        assert_eq!(factors.len(), outputs.len() * inputs.len());
        assert!(outputs.iter().all(|shard| shard.len() == bytes));
        // All lengths at once: a branch for each is as much as small losses spend on their factors.
        let differing = inputs
            .iter()
            .fold(0, |bits, shard| bits | (shard.len() ^ bytes));
        assert_eq!(differing, 0, "shards of other lengths");
        // SAFETY: checked above; a `Kernel` is handed out where the processor has its features alone.
        unsafe { (self.sums)(outputs, inputs, factors) }
    }
}

/// Products with every low nibble, then with every high nibble.
type Nibbles = [u8; 32];

/// Nibble tables of all coefficients.
static NIBBLES: [Nibbles; 256] = {
    let mut tables = [[0; 32]; 256];
    let mut c = 0;
    while c < 256 {
        let mut n = 0;
        while n < 16 {
            tables[c][n] = field8::multiply(c as u8, n as u8);
            tables[c][16 + n] = field8::multiply(c as u8, (n as u8) << 4);
            n += 1;
        }
        c += 1;
    }
    tables
};

/// The factors of kernels that look coefficients up in [`NIBBLES`]: the coefficients themselves.
static PLACES: [u64; 256] = {
    let mut places = [0; 256];
    let mut c = 0;
    while c < 256 {
        places[c] = c as u64;
        c += 1;
    }
    places
};

/// The factors of kernels that multiply by bit matrices.
#[cfg(target_arch = "x86_64")]
static MATRICES: [u64; 256] = {
    let mut matrices = [0; 256];
    let mut c = 0;
    while c < 256 {
        let mut images = [0; 8];
        let mut bit = 0;
        while bit < 8 {
            images[bit] = field8::multiply(c as u8, 1 << bit);
            bit += 1;
        }
        matrices[c] = super::super::kernels::matrix(images);
        c += 1;
    }
    matrices
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fec::kernels;

    #[test]
    fn groups_cover_all_outputs_and_differ_by_one_at_most() {
        for kernel in kernels::available() {
            let dot = kernel.gf8;
            assert!((1..=ROWS).contains(&dot.rows));
            for outputs in 0..=255 {
                let groups: Vec<_> = dot.groups(outputs).collect();
                let all: Vec<usize> = groups.iter().cloned().flatten().collect();
                assert_eq!(all, Vec::from_iter(0..outputs));
                assert_eq!(groups.len(), outputs.div_ceil(dot.rows));
                let sizes = || groups.iter().map(ExactSizeIterator::len);
                assert!(sizes().all(|size| size <= dot.rows));
                assert!(sizes().max().unwrap_or(0) - sizes().min().unwrap_or(0) <= 1);
            }
        }
    }

    #[test]
    fn each_kernel_multiplies_each_byte_by_each_coefficient() {
        let bytes: Vec<u8> = (0..=255).collect();
        for kernel in kernels::available() {
            for c in 0..=255 {
                let mut product = vec![0xA5; 256];
                kernel
                    .gf8
                    .multiply(&mut [&mut product], &[&bytes], &[kernel.gf8.factor(c)]);
                let expected: Vec<u8> = bytes.iter().map(|&b| field8::multiply(b, c)).collect();
                assert_eq!(product, expected, "{} {c}", kernel.name);
            }
        }
    }

    #[test]
    fn lengths_and_counts_are_checked_before_a_byte_is_touched() {
        let refused = |outputs: &mut [&mut [u8]], inputs: &[&[u8]], factors: &[u64]| {
            let dot = kernels::best().gf8;
            let work = std::panic::AssertUnwindSafe(|| dot.multiply(outputs, inputs, factors));
            assert!(std::panic::catch_unwind(work).is_err());
        };
        refused(&mut [&mut [0; 64]], &[&[0; 64], &[0; 63]], &[0; 2]);
        refused(&mut [&mut [0; 64], &mut [0; 65]], &[&[0; 64]], &[0; 2]);
        refused(&mut [&mut [0; 64]], &[&[0; 64]], &[0; 2]);
        refused(&mut [&mut [0; 64]], &[&[0; 64]], &[]);
        let mut rows: [&mut [u8]; ROWS + 1] = Default::default();
        refused(&mut rows, &[&[]], &[0; ROWS + 1]);
        // Nothing to write is nothing to do.
        kernels::best().gf8.multiply(&mut [], &[], &[]);
    }
}
