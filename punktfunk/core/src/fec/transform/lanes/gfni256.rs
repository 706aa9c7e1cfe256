//! Bit matrices by `gf2p8affineqb`, 32 elements at a time: for processors with GFNI and without AVX-512.

use std::arch::x86_64::{
    __m256i, _mm256_gf2p8affine_epi64_epi8, _mm256_set1_epi64x, _mm256_xor_si256,
};

use super::super::passes::passes;
use super::matrix_factor;
use super::ymm::{Pair, Product, Ymm};

#[derive(Clone, Copy)]
struct Gfni256;

passes!(Ymm<Gfni256>, radix_log: 2, factor: matrix_factor, "avx2,gfni");

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

impl Product for Gfni256 {
    const FACTOR_WORDS: usize = 4;

    #[inline(always)]
    unsafe fn multiply(pair: Pair, factor: *const u64) -> Pair {
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
