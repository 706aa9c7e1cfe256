//! Bit matrices by `gf2p8affineqb`, 32 elements at a time: for processors with GFNI and without AVX-512.

use std::arch::x86_64::{
    __m256i, _mm256_gf2p8affine_epi64_epi8, _mm256_loadu_si256, _mm256_set1_epi64x,
    _mm256_setzero_si256, _mm256_storeu_si256, _mm256_xor_si256,
};

use super::super::passes::passes;
use super::{Lanes, matrix_factor, padded, unpadded};

#[derive(Clone, Copy)]
struct Gfni256;

passes!(Gfni256, radix_log: 2, factor: matrix_factor, "avx2,gfni");

impl Gfni256 {
    /// # Safety
    /// The processor has AVX2 and GFNI; a matrix is readable at `matrix`.
    #[inline(always)]
    unsafe fn image(bytes: __m256i, matrix: *const u64) -> __m256i {
        // SAFETY: promised by the caller.
        unsafe {
            let matrix = _mm256_set1_epi64x(matrix.read().cast_signed());
            _mm256_gf2p8affine_epi64_epi8::<0>(bytes, matrix)
        }
    }
}

impl Lanes for Gfni256 {
    type Pair = [__m256i; 2];
    const COLUMN: usize = 64;
    const FACTOR_WORDS: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self::Pair {
        // SAFETY: the caller has AVX2 and GFNI, here and below.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn read(at: *const u8) -> Self::Pair {
        // SAFETY: promised by the caller; loads are unaligned.
        unsafe {
            [
                _mm256_loadu_si256(at.cast()),
                _mm256_loadu_si256(at.add(32).cast()),
            ]
        }
    }

    #[inline(always)]
    unsafe fn write(at: *mut u8, pair: Self::Pair) {
        // SAFETY: promised by the caller; stores are unaligned.
        unsafe {
            _mm256_storeu_si256(at.cast(), pair[0]);
            _mm256_storeu_si256(at.add(32).cast(), pair[1]);
        }
    }

    #[inline(always)]
    unsafe fn gather(at: *const u8, bytes: usize) -> Self::Pair {
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
    unsafe fn scatter(at: *mut u8, bytes: usize, pair: Self::Pair) {
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
    unsafe fn add(a: Self::Pair, b: Self::Pair) -> Self::Pair {
        // SAFETY: see `zero`.
        unsafe { [_mm256_xor_si256(a[0], b[0]), _mm256_xor_si256(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn multiply(pair: Self::Pair, factor: *const u64) -> Self::Pair {
        // SAFETY: promised by the caller: four matrices.
        unsafe {
            [
                _mm256_xor_si256(
                    Self::image(pair[0], factor),
                    Self::image(pair[1], factor.add(2)),
                ),
                _mm256_xor_si256(
                    Self::image(pair[0], factor.add(3)),
                    Self::image(pair[1], factor.add(1)),
                ),
            ]
        }
    }
}
