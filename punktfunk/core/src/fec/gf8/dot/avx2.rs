//! Nibble tables by `vpshufb`, 32 bytes at a time: for processors without GFNI.
//!
//! Of 16 registers, four outputs take eight, the nibbles of an input four, two tables two and the mask one.

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_set1_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_xor_si256,
};

use super::super::decode::logarithms;
use super::tiles::{Lane, dot};
use super::{NIBBLES, PLACES, ymm};

struct Avx2;

dot!(Avx2, "avx2", PLACES, logarithms, 1 x 2, 2 x 2, 3 x 2, 4 x 2);

impl Lane for Avx2 {
    type Bytes = __m256i;
    /// Low and high nibbles.
    type Operand = [__m256i; 2];
    /// Products of low and of high nibbles, twice.
    type Factor = [__m256i; 2];
    const BYTES: usize = 32;
    const PAIRS: bool = false;

    #[inline(always)]
    unsafe fn zero() -> __m256i {
        // SAFETY: the caller has AVX2, here and below.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn load(at: *const u8, bytes: usize) -> [__m256i; 2] {
        // SAFETY: promised by the caller.
        unsafe {
            let bytes = ymm::load(at, bytes);
            let mask = _mm256_set1_epi8(15);
            [
                _mm256_and_si256(bytes, mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store(at: *mut u8, bytes: usize, value: __m256i) {
        // SAFETY: promised by the caller.
        unsafe { ymm::store(at, bytes, value) };
    }

    #[inline(always)]
    unsafe fn factor(word: u64) -> [__m256i; 2] {
        // As a byte, so that no bounds are checked.
        let tables = &NIBBLES[usize::from(word as u8)];
        // SAFETY: see `zero`; either half of a table has 16 bytes.
        unsafe {
            let low = _mm_loadu_si128(tables.as_ptr().cast());
            let high = _mm_loadu_si128(tables.as_ptr().add(16).cast());
            [
                _mm256_broadcastsi128_si256(low),
                _mm256_broadcastsi128_si256(high),
            ]
        }
    }

    #[inline(always)]
    unsafe fn add(sum: __m256i, operand: [__m256i; 2], factor: [__m256i; 2]) -> __m256i {
        // SAFETY: see `zero`.
        unsafe {
            let low = _mm256_shuffle_epi8(factor[0], operand[0]);
            let high = _mm256_shuffle_epi8(factor[1], operand[1]);
            _mm256_xor_si256(sum, _mm256_xor_si256(low, high))
        }
    }
}
