//! What a processor does with a column of a shard: the registers that hold it, and products by a constant.

use std::sync::LazyLock;

use crate::fec::field16;
#[cfg(target_arch = "x86_64")]
use crate::fec::kernels::matrix;

#[cfg(target_arch = "x86_64")]
pub(in crate::fec) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(in crate::fec) mod gfni256;
#[cfg(target_arch = "x86_64")]
pub(in crate::fec) mod gfni512;
pub(in crate::fec) mod portable;
#[cfg(target_arch = "x86_64")]
mod ymm;

/// Arithmetic on columns: `COLUMN` bytes of a shard at a time, its low bytes in one half of a pair and its high bytes in the
/// other.
///
/// Rows of working space hold the low bytes of a column before its high bytes. All functions are inlined into a
/// function that enables the features, so that intrinsics become instructions.
///
/// # Safety
/// The processor must have the features that the implementation is made of; pointers are valid for as many bytes as
/// each function says.
pub(super) trait Lanes: Copy {
    /// Low and high bytes of the elements of a column.
    type Pair: Copy;
    /// Bytes of a column.
    const COLUMN: usize;
    /// 64-bit words that stand for a constant.
    const FACTOR_WORDS: usize;

    /// # Safety
    /// See [`Lanes`].
    unsafe fn zero() -> Self::Pair;

    /// A column of a row of working space.
    ///
    /// # Safety
    /// `COLUMN` bytes are readable at `at`; see [`Lanes`].
    unsafe fn read(at: *const u8) -> Self::Pair;

    /// The inverse of [`Lanes::read`].
    ///
    /// # Safety
    /// `COLUMN` bytes are writable at `at`; see [`Lanes`].
    unsafe fn write(at: *mut u8, pair: Self::Pair);

    /// `bytes` bytes of a shard, an even number up to `COLUMN`, as chunks of the wire; zeros behind them.
    ///
    /// # Safety
    /// `bytes` bytes are readable at `at`; see [`Lanes`].
    unsafe fn gather(at: *const u8, bytes: usize) -> Self::Pair;

    /// The inverse of [`Lanes::gather`].
    ///
    /// # Safety
    /// `bytes` bytes are writable at `at`; see [`Lanes`].
    unsafe fn scatter(at: *mut u8, bytes: usize, pair: Self::Pair);

    /// Sum of two columns.
    ///
    /// # Safety
    /// See [`Lanes`].
    unsafe fn add(a: Self::Pair, b: Self::Pair) -> Self::Pair;

    /// Product of a column and the constant that `FACTOR_WORDS` words at `factor` stand for.
    ///
    /// # Safety
    /// These words are readable; see [`Lanes`].
    unsafe fn multiply(pair: Self::Pair, factor: *const u64) -> Self::Pair;

    /// `sum` and [`Lanes::multiply`] added up.
    ///
    /// # Safety
    /// As [`Lanes::multiply`].
    #[inline(always)]
    unsafe fn multiply_add(sum: Self::Pair, pair: Self::Pair, factor: *const u64) -> Self::Pair {
        // SAFETY: promised by the caller.
        unsafe { Self::add(sum, Self::multiply(pair, factor)) }
    }
}

/// For each of an element's four nibbles, lowest first: low bytes of the 16 products, then their high bytes; as words
/// whose bytes lie in memory in that order. Tables of the coefficients `n << 4p` are at `16 p + n`.
static NIBBLES_16: LazyLock<[[u64; 16]; 64]> = LazyLock::new(|| {
    std::array::from_fn(|entry| {
        let coefficient = nibble(entry);
        let mut table = [0; 128];
        for element in 0..64 {
            let product = field16::multiply(coefficient, nibble(element)).to_le_bytes();
            let at = element / 16 * 32 + element % 16;
            table[at] = product[0];
            table[at + 16] = product[1];
        }
        std::array::from_fn(|n| u64::from_ne_bytes(std::array::from_fn(|byte| table[8 * n + byte])))
    })
});

/// The element whose nibble `entry / 16` is `entry % 16`.
fn nibble(entry: usize) -> u16 {
    ((entry % 16) as u16) << (entry / 16 * 4)
}

/// The four entries of a master table whose sum stands for `coefficient`.
fn parts<T>(master: &[T; 64], coefficient: u16) -> [&T; 4] {
    let c = usize::from(coefficient);
    [
        &master[c & 15],
        &master[16 + (c >> 4 & 15)],
        &master[32 + (c >> 8 & 15)],
        &master[48 + (c >> 12)],
    ]
}

/// Nibble tables of a constant. They are linear in it, so that four entries of a master table of 8 KiB are their sum.
fn nibble_factor(constant: u16, words: &mut [u64]) {
    let words: &mut [u64; 16] = words.try_into().expect("as many words as tables fill");
    let [a, b, c, d] = parts(&NIBBLES_16, constant);
    *words = std::array::from_fn(|n| a[n] ^ b[n] ^ c[n] ^ d[n]);
}

/// Matrices of the coefficients `n << 4p` at `16 p + n`: low to low, high to high, high to low, low to high bytes.
#[cfg(target_arch = "x86_64")]
static MATRICES_16: LazyLock<[[u64; 4]; 64]> = LazyLock::new(|| {
    std::array::from_fn(|entry| {
        let image = |bit: usize, byte: usize| {
            field16::multiply(nibble(entry), 1 << bit).to_le_bytes()[byte]
        };
        let of =
            |first: usize, byte: usize| matrix(std::array::from_fn(|bit| image(first + bit, byte)));
        [of(0, 0), of(8, 1), of(8, 0), of(0, 1)]
    })
});

/// The four bit matrices of a constant, likewise.
#[cfg(target_arch = "x86_64")]
fn matrix_factor(constant: u16, words: &mut [u64]) {
    let words: &mut [u64; 4] = words.try_into().expect("as many words as matrices");
    let [a, b, c, d] = parts(&MATRICES_16, constant);
    *words = std::array::from_fn(|n| a[n] ^ b[n] ^ c[n] ^ d[n]);
}

/// `bytes` bytes of a shard in one column of 64, its halves where a whole chunk has them.
///
/// # Safety
/// `bytes` bytes, an even number up to 64, are readable at `at`.
#[inline(always)]
unsafe fn padded(at: *const u8, bytes: usize) -> [u8; 64] {
    let half = bytes / 2;
    let mut column = [0; 64];
    // SAFETY: promised by the caller; half of them fit into half a column.
    unsafe {
        std::ptr::copy_nonoverlapping(at, column.as_mut_ptr(), half);
        std::ptr::copy_nonoverlapping(at.add(half), column.as_mut_ptr().add(32), half);
    }
    column
}

/// The inverse of [`padded`].
///
/// # Safety
/// `bytes` bytes, an even number up to 64, are writable at `at`.
#[inline(always)]
unsafe fn unpadded(at: *mut u8, bytes: usize, column: &[u8; 64]) {
    let half = bytes / 2;
    // SAFETY: promised by the caller.
    unsafe {
        std::ptr::copy_nonoverlapping(column.as_ptr(), at, half);
        std::ptr::copy_nonoverlapping(column.as_ptr().add(32), at.add(half), half);
    }
}
