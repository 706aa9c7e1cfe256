//! Two registers of 256 bits, the low bytes of 32 elements in one and their high bytes in the other: what processors
//! without AVX-512 have in common. How a column is multiplied is what they differ in.

use std::arch::x86_64::{
    __m256i, _mm256_loadu_si256, _mm256_setzero_si256, _mm256_storeu_si256, _mm256_xor_si256,
};
use std::marker::PhantomData;

use super::{Lanes, padded, unpadded};

/// Low and high bytes of 32 elements.
pub(super) type Pair = [__m256i; 2];

/// How a column is multiplied.
pub(super) trait Product: Copy {
    /// 64-bit words that stand for a constant.
    const FACTOR_WORDS: usize;

    /// [`Lanes::multiply`].
    ///
    /// # Safety
    /// As there.
    unsafe fn multiply(pair: Pair, factor: *const u64) -> Pair;
}

/// Lanes of two registers that are multiplied by `P`.
#[derive(Clone, Copy)]
pub(super) struct Ymm<P>(PhantomData<P>);

impl<P: Product> Lanes for Ymm<P> {
    type Pair = Pair;
    const COLUMN: usize = 64;
    const FACTOR_WORDS: usize = P::FACTOR_WORDS;

    #[inline(always)]
    unsafe fn zero() -> Pair {
        // SAFETY: the caller has AVX2, here and below.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn read(at: *const u8) -> Pair {
        // SAFETY: promised by the caller; loads are unaligned.
        unsafe {
            [
                _mm256_loadu_si256(at.cast()),
                _mm256_loadu_si256(at.add(32).cast()),
            ]
        }
    }

    #[inline(always)]
    unsafe fn write(at: *mut u8, pair: Pair) {
        // SAFETY: promised by the caller; stores are unaligned.
        unsafe {
            _mm256_storeu_si256(at.cast(), pair[0]);
            _mm256_storeu_si256(at.add(32).cast(), pair[1]);
        }
    }

    #[inline(always)]
    unsafe fn gather(at: *const u8, bytes: usize) -> Pair {
        // SAFETY: promised by the caller; a padded column has 64 bytes.
        unsafe {
            if bytes == 64 {
                Self::read(at)
            } else {
                Self::read(padded(at, bytes).as_ptr())
            }
        }
    }

    #[inline(always)]
    unsafe fn scatter(at: *mut u8, bytes: usize, pair: Pair) {
        // SAFETY: as in `gather`.
        unsafe {
            if bytes == 64 {
                Self::write(at, pair);
            } else {
                let mut column = [0; 64];
                Self::write(column.as_mut_ptr(), pair);
                unpadded(at, bytes, &column);
            }
        }
    }

    #[inline(always)]
    unsafe fn add(a: Pair, b: Pair) -> Pair {
        // SAFETY: see `zero`.
        unsafe { [_mm256_xor_si256(a[0], b[0]), _mm256_xor_si256(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn multiply(pair: Pair, factor: *const u64) -> Pair {
        // SAFETY: promised by the caller.
        unsafe { P::multiply(pair, factor) }
    }
}
