//! Nibble tables by `vpshufb`, 32 elements at a time.

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_set1_epi8,
    _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_xor_si256,
};

use super::super::passes::passes;
use super::nibble_factor;
use super::ymm::{Pair, Product, Ymm};

#[derive(Clone, Copy)]
struct Avx2;

passes!(Ymm<Avx2>, radix_log: 2, factor: nibble_factor, "avx2");

impl Avx2 {
    /// Low or high bytes of products, by the first table of either kind.
    ///
    /// # Safety
    /// The processor has AVX2; four tables of 16 bytes, each 32 bytes behind the other, are readable.
    #[inline(always)]
    unsafe fn half(nibbles: [__m256i; 4], tables: *const u64) -> __m256i {
        // SAFETY: promised by the caller.
        unsafe {
            _mm256_xor_si256(
                _mm256_xor_si256(
                    Self::look_up(tables, nibbles[0]),
                    Self::look_up(tables.add(4), nibbles[1]),
                ),
                _mm256_xor_si256(
                    Self::look_up(tables.add(8), nibbles[2]),
                    Self::look_up(tables.add(12), nibbles[3]),
                ),
            )
        }
    }

    /// # Safety
    /// The processor has AVX2; 16 bytes are readable at `table`.
    #[inline(always)]
    unsafe fn look_up(table: *const u64, nibbles: __m256i) -> __m256i {
        // SAFETY: promised by the caller; the load is unaligned.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.cast()));
            _mm256_shuffle_epi8(table, nibbles)
        }
    }
}

impl Product for Avx2 {
    const FACTOR_WORDS: usize = 16;

    #[inline(always)]
    unsafe fn multiply(pair: Pair, factor: *const u64) -> Pair {
        // SAFETY: promised by the caller: tables of 16 bytes, eight of them.
        unsafe {
            let mask = _mm256_set1_epi8(15);
            let nibbles = [
                _mm256_and_si256(pair[0], mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(pair[0]), mask),
                _mm256_and_si256(pair[1], mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(pair[1]), mask),
            ];
            [
                Self::half(nibbles, factor),
                Self::half(nibbles, factor.add(2)),
            ]
        }
    }
}
