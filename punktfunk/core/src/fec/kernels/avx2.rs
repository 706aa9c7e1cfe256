//! Nibble tables by `vpshufb`, 32 bytes at a time.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_loadu_si256, _mm256_set1_epi8, _mm256_shuffle_epi8, _mm256_srli_epi16,
    _mm256_storeu_si256, _mm256_xor_si256,
};

use super::super::transform::lanes::avx2;
use super::{Kernel, NIBBLES_8, check};

static KERNEL: Kernel = Kernel {
    name: "avx2",
    gf8: mul_add_8,
    passes: &avx2::PASSES,
};

/// The kernel, if this machine has AVX2.
pub(super) fn detect() -> Option<&'static Kernel> {
    is_x86_feature_detected!("avx2").then_some(&KERNEL)
}

pub(super) fn mul_add_8(
    outputs: &mut [&mut [u8]],
    inputs: &[&[u8]],
    coefficients: &[u8],
    overwrite: bool,
) {
    let length = check(outputs, inputs, coefficients);
    // SAFETY: KERNEL is handed out by `detect` alone, which has found AVX2; `check` has held all shards to
    // `length` and counted the coefficients.
    unsafe { rows_8(outputs, inputs, coefficients, length, overwrite) }
}

/// # Safety
/// 16 bytes must be readable at `table`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn broadcast(table: *const u8) -> __m256i {
    // SAFETY: promised by the caller; the load is unaligned.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.cast::<__m128i>()) })
}

/// # Safety
/// 32 bytes must be readable at `at`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(at: *const u8) -> __m256i {
    // SAFETY: promised by the caller; the load is unaligned.
    unsafe { _mm256_loadu_si256(at.cast()) }
}

/// # Safety
/// 32 bytes must be writable at `at`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store(at: *mut u8, value: __m256i) {
    // SAFETY: promised by the caller; the store is unaligned.
    unsafe { _mm256_storeu_si256(at.cast(), value) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn nibbles(bytes: __m256i) -> [__m256i; 2] {
    let mask = _mm256_set1_epi8(15);
    [
        _mm256_and_si256(bytes, mask),
        _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask),
    ]
}

/// # Safety
/// All shards must have `length` bytes and `coefficients` one entry for each pair of output and input.
#[target_feature(enable = "avx2")]
unsafe fn rows_8(
    outputs: &mut [&mut [u8]],
    inputs: &[&[u8]],
    coefficients: &[u8],
    length: usize,
    overwrite: bool,
) {
    let height = outputs.len();
    for (r, output) in outputs.iter_mut().enumerate() {
        if overwrite {
            output.fill(0);
        }
        let whole = length / 32 * 32;
        for at in (0..whole).step_by(32) {
            // SAFETY: at + 32 <= length, and every shard has `length` bytes.
            let mut sum = unsafe { load(output.as_ptr().add(at)) };
            for (c, input) in inputs.iter().enumerate() {
                let table = &NIBBLES_8[usize::from(coefficients[c * height + r])];
                // SAFETY: as above; a table has 32 bytes.
                let (bytes, low, high) = unsafe {
                    (
                        load(input.as_ptr().add(at)),
                        broadcast(table.as_ptr()),
                        broadcast(table.as_ptr().add(16)),
                    )
                };
                let [n0, n1] = nibbles(bytes);
                sum = _mm256_xor_si256(sum, _mm256_shuffle_epi8(low, n0));
                sum = _mm256_xor_si256(sum, _mm256_shuffle_epi8(high, n1));
            }
            // SAFETY: as above.
            unsafe { store(output.as_mut_ptr().add(at), sum) };
        }
        for (c, input) in inputs.iter().enumerate() {
            let table = &NIBBLES_8[usize::from(coefficients[c * height + r])];
            for (out, &byte) in output[whole..].iter_mut().zip(&input[whole..]) {
                *out ^= table[usize::from(byte & 15)] ^ table[16 + usize::from(byte >> 4)];
            }
        }
    }
}
