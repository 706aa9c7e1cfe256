//! Loads and stores of 256-bit registers, some bytes of them or all: there are no masks.

use std::arch::x86_64::{__m256i, _mm256_loadu_si256, _mm256_storeu_si256};

/// The first `bytes` bytes of a register, zeros behind them.
///
/// # Safety
/// The processor has AVX2; `bytes` bytes, up to 32, are readable at `at`.
#[inline(always)]
pub(super) unsafe fn load(at: *const u8, bytes: usize) -> __m256i {
    // SAFETY: promised by the caller; loads are unaligned.
    unsafe {
        if bytes == 32 {
            _mm256_loadu_si256(at.cast())
        } else {
            let mut whole = [0; 32];
            std::ptr::copy_nonoverlapping(at, whole.as_mut_ptr(), bytes);
            _mm256_loadu_si256(whole.as_ptr().cast())
        }
    }
}

/// Write the first `bytes` bytes of a register.
///
/// # Safety
/// The processor has AVX2; `bytes` bytes, up to 32, are writable at `at`.
#[inline(always)]
pub(super) unsafe fn store(at: *mut u8, bytes: usize, value: __m256i) {
    // SAFETY: promised by the caller; stores are unaligned.
    unsafe {
        if bytes == 32 {
            _mm256_storeu_si256(at.cast(), value);
        } else {
            let mut whole = [0; 32];
            _mm256_storeu_si256(whole.as_mut_ptr().cast(), value);
            std::ptr::copy_nonoverlapping(whole.as_ptr(), at, bytes);
        }
    }
}
