//! Bit matrices by `gf2p8affineqb`, 64 elements at a time.
//!
//! Two chunks of a shard lie in two registers, their low bytes in one and their high bytes in the other. A product is
//! four matrices then, each an operand that the instruction broadcasts out of memory.

use std::arch::x86_64::{
    __m512i, __mmask32, _mm256_mask_storeu_epi8, _mm256_maskz_loadu_epi8, _mm512_castsi256_si512,
    _mm512_castsi512_si256, _mm512_extracti64x4_epi64, _mm512_gf2p8affine_epi64_epi8,
    _mm512_inserti64x4, _mm512_loadu_si512, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_shuffle_i64x2, _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use super::super::passes::passes;
use super::{Lanes, matrix_factor};

#[derive(Clone, Copy)]
struct Gfni512;

passes!(Gfni512, radix_log: 3, factor: matrix_factor, "avx512f,avx512bw,avx512vl,gfni");

/// Elements of the first and of the second chunk when `bytes` bytes of a column are there.
#[inline(always)]
fn elements(bytes: usize) -> [usize; 2] {
    let first = bytes.min(64);
    [first / 2, (bytes - first) / 2]
}

#[inline(always)]
fn mask(elements: usize) -> __mmask32 {
    ((1_u64 << elements) - 1) as __mmask32
}

impl Gfni512 {
    /// # Safety
    /// The processor has GFNI and AVX-512; a matrix is readable at `matrix`.
    #[inline(always)]
    unsafe fn image(bytes: __m512i, matrix: *const u64) -> __m512i {
        // SAFETY: promised by the caller.
        unsafe {
            let matrix = _mm512_set1_epi64(matrix.read().cast_signed());
            _mm512_gf2p8affine_epi64_epi8::<0>(bytes, matrix)
        }
    }

    /// Bytes of two chunks in one register, zeros behind those of each.
    ///
    /// # Safety
    /// The processor has GFNI and AVX-512; as many bytes are readable, up to 32 of each.
    #[inline(always)]
    unsafe fn join(
        first: *const u8,
        of_first: usize,
        second: *const u8,
        of_second: usize,
    ) -> __m512i {
        // SAFETY: promised by the caller; masks end the loads.
        unsafe {
            let first = _mm256_maskz_loadu_epi8(mask(of_first), first.cast());
            let second = _mm256_maskz_loadu_epi8(mask(of_second), second.cast());
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second)
        }
    }

    /// The inverse of [`Self::join`].
    ///
    /// # Safety
    /// As there, but writable.
    #[inline(always)]
    unsafe fn split(
        first: *mut u8,
        of_first: usize,
        second: *mut u8,
        of_second: usize,
        value: __m512i,
    ) {
        // SAFETY: promised by the caller; masks end the stores.
        unsafe {
            _mm256_mask_storeu_epi8(first.cast(), mask(of_first), _mm512_castsi512_si256(value));
            let value = _mm512_extracti64x4_epi64::<1>(value);
            _mm256_mask_storeu_epi8(second.cast(), mask(of_second), value);
        }
    }
}

impl Lanes for Gfni512 {
    type Pair = [__m512i; 2];
    const COLUMN: usize = 128;
    const FACTOR_WORDS: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self::Pair {
        // SAFETY: the caller has AVX-512 and GFNI, here and below.
        unsafe { [_mm512_setzero_si512(); 2] }
    }

    #[inline(always)]
    unsafe fn read(at: *const u8) -> Self::Pair {
        // SAFETY: promised by the caller; loads are unaligned.
        unsafe {
            [
                _mm512_loadu_si512(at.cast()),
                _mm512_loadu_si512(at.add(64).cast()),
            ]
        }
    }

    #[inline(always)]
    unsafe fn write(at: *mut u8, pair: Self::Pair) {
        // SAFETY: promised by the caller; stores are unaligned.
        unsafe {
            _mm512_storeu_si512(at.cast(), pair[0]);
            _mm512_storeu_si512(at.add(64).cast(), pair[1]);
        }
    }

    #[inline(always)]
    unsafe fn gather(at: *const u8, bytes: usize) -> Self::Pair {
        // SAFETY: promised by the caller; masks end the loads with the shard.
        unsafe {
            if bytes == 128 {
                let [first, second] = Self::read(at);
                return [
                    _mm512_shuffle_i64x2::<0x44>(first, second),
                    _mm512_shuffle_i64x2::<0xEE>(first, second),
                ];
            }
            let [first, second] = elements(bytes);
            let tail = at.wrapping_add(2 * first);
            [
                Self::join(at, first, tail, second),
                Self::join(
                    at.wrapping_add(first),
                    first,
                    tail.wrapping_add(second),
                    second,
                ),
            ]
        }
    }

    #[inline(always)]
    unsafe fn scatter(at: *mut u8, bytes: usize, pair: Self::Pair) {
        // SAFETY: promised by the caller; masks end the stores with the shard.
        unsafe {
            if bytes == 128 {
                let first = _mm512_shuffle_i64x2::<0x44>(pair[0], pair[1]);
                let second = _mm512_shuffle_i64x2::<0xEE>(pair[0], pair[1]);
                return Self::write(at, [first, second]);
            }
            let [first, second] = elements(bytes);
            let tail = at.wrapping_add(2 * first);
            Self::split(at, first, tail, second, pair[0]);
            let (at, tail) = (at.wrapping_add(first), tail.wrapping_add(second));
            Self::split(at, first, tail, second, pair[1]);
        }
    }

    #[inline(always)]
    unsafe fn add(a: Self::Pair, b: Self::Pair) -> Self::Pair {
        // SAFETY: see `zero`.
        unsafe { [_mm512_xor_si512(a[0], b[0]), _mm512_xor_si512(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn multiply(pair: Self::Pair, factor: *const u64) -> Self::Pair {
        // SAFETY: promised by the caller: four matrices.
        unsafe {
            [
                _mm512_xor_si512(
                    Self::image(pair[0], factor),
                    Self::image(pair[1], factor.add(2)),
                ),
                _mm512_xor_si512(
                    Self::image(pair[0], factor.add(3)),
                    Self::image(pair[1], factor.add(1)),
                ),
            ]
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(sum: Self::Pair, pair: Self::Pair, factor: *const u64) -> Self::Pair {
        // SAFETY: as in `multiply`.
        unsafe {
            [
                _mm512_ternarylogic_epi64::<0x96>(
                    sum[0],
                    Self::image(pair[0], factor),
                    Self::image(pair[1], factor.add(2)),
                ),
                _mm512_ternarylogic_epi64::<0x96>(
                    sum[1],
                    Self::image(pair[0], factor.add(3)),
                    Self::image(pair[1], factor.add(1)),
                ),
            ]
        }
    }
}
