//! Bit matrices by `gf2p8affineqb`, 64 bytes at a time: for processors with GFNI and AVX-512.
//!
//! Of 32 registers, twelve outputs take 24, two inputs four and their matrices two. An addition takes in the products
//! of both inputs, so that the two units that multiply are what limits: on a Zen 5 two products a cycle.

use std::arch::x86_64::{
    __m512i, __mmask64, _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_mask_storeu_epi8,
    _mm512_maskz_loadu_epi8, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_storeu_si512,
    _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use super::super::decode::gfni;
use super::MATRICES;
use super::tiles::{Lane, dot};

struct Gfni512;

dot!(Gfni512, "avx512f,avx512bw,avx512vl,gfni", MATRICES, gfni,
    1 x 8, 2 x 4, 3 x 4, 4 x 2, 5 x 2, 6 x 2, 7 x 2, 8 x 2, 9 x 2, 10 x 2, 11 x 2, 12 x 2);

/// The first `bytes` bytes of a register, fewer than 64.
#[inline(always)]
const fn first(bytes: usize) -> __mmask64 {
    (1 << bytes) - 1
}

impl Lane for Gfni512 {
    type Bytes = __m512i;
    type Operand = __m512i;
    type Factor = __m512i;
    const BYTES: usize = 64;
    const PAIRS: bool = true;

    #[inline(always)]
    unsafe fn zero() -> __m512i {
        // SAFETY: the caller has AVX-512 and GFNI, here and below.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn load(at: *const u8, bytes: usize) -> __m512i {
        // SAFETY: promised by the caller; loads are unaligned, and masked bytes are not accessed.
        unsafe {
            if bytes == 64 {
                _mm512_loadu_si512(at.cast())
            } else {
                _mm512_maskz_loadu_epi8(first(bytes), at.cast())
            }
        }
    }

    #[inline(always)]
    unsafe fn store(at: *mut u8, bytes: usize, value: __m512i) {
        // SAFETY: as in `load`.
        unsafe {
            if bytes == 64 {
                _mm512_storeu_si512(at.cast(), value);
            } else {
                _mm512_mask_storeu_epi8(at.cast(), first(bytes), value);
            }
        }
    }

    #[inline(always)]
    unsafe fn factor(word: u64) -> __m512i {
        // SAFETY: see `zero`.
        unsafe { _mm512_set1_epi64(word.cast_signed()) }
    }

    #[inline(always)]
    unsafe fn add(sum: __m512i, operand: __m512i, factor: __m512i) -> __m512i {
        // SAFETY: see `zero`.
        unsafe { _mm512_xor_si512(sum, _mm512_gf2p8affine_epi64_epi8::<0>(operand, factor)) }
    }

    #[inline(always)]
    unsafe fn add_both(sum: __m512i, operands: [__m512i; 2], factors: [__m512i; 2]) -> __m512i {
        // SAFETY: see `zero`.
        unsafe {
            let first = _mm512_gf2p8affine_epi64_epi8::<0>(operands[0], factors[0]);
            let second = _mm512_gf2p8affine_epi64_epi8::<0>(operands[1], factors[1]);
            _mm512_ternarylogic_epi64::<0x96>(sum, first, second)
        }
    }
}
