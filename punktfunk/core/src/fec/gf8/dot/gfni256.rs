//! Bit matrices by `gf2p8affineqb`, 32 bytes at a time: for processors with GFNI and without AVX-512.
//!
//! Of 16 registers, six outputs take twelve, an input two and its matrix one.

use std::arch::x86_64::{
    __m256i, _mm256_gf2p8affine_epi64_epi8, _mm256_set1_epi64x, _mm256_setzero_si256,
    _mm256_xor_si256,
};

use super::super::decode::gfni;
use super::tiles::{Lane, dot};
use super::{MATRICES, ymm};

struct Gfni256;

dot!(Gfni256, "avx2,gfni", MATRICES, gfni, 1 x 4, 2 x 4, 3 x 3, 4 x 2, 5 x 2, 6 x 2);

impl Lane for Gfni256 {
    type Bytes = __m256i;
    type Operand = __m256i;
    type Factor = __m256i;
    const BYTES: usize = 32;
    const PAIRS: bool = false;

    #[inline(always)]
    unsafe fn zero() -> __m256i {
        // SAFETY: the caller has AVX2 and GFNI, here and below.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn load(at: *const u8, bytes: usize) -> __m256i {
        // SAFETY: promised by the caller.
        unsafe { ymm::load(at, bytes) }
    }

    #[inline(always)]
    unsafe fn store(at: *mut u8, bytes: usize, value: __m256i) {
        // SAFETY: promised by the caller.
        unsafe { ymm::store(at, bytes, value) };
    }

    #[inline(always)]
    unsafe fn factor(word: u64) -> __m256i {
        // SAFETY: see `zero`.
        unsafe { _mm256_set1_epi64x(word.cast_signed()) }
    }

    #[inline(always)]
    unsafe fn add(sum: __m256i, operand: __m256i, factor: __m256i) -> __m256i {
        // SAFETY: see `zero`.
        unsafe { _mm256_xor_si256(sum, _mm256_gf2p8affine_epi64_epi8::<0>(operand, factor)) }
    }
}
