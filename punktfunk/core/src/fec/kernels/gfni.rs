//! Bit matrices by `gf2p8affineqb`, 64 bytes at a time, several rows and columns of a shard in registers.

use std::arch::x86_64::{
    __mmask64, _mm512_gf2p8affine_epi64_epi8, _mm512_mask_storeu_epi8, _mm512_maskz_loadu_epi8,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_xor_si512,
};

use super::super::transform::lanes::gfni512;
use super::{COLUMNS, Kernel, ROWS, check, field8};

static KERNEL: Kernel = Kernel {
    name: "avx512-gfni",
    gf8: mul_add_8,
    passes: &gfni512::PASSES,
};

/// The kernel, if this machine has GFNI and AVX-512 with byte masks.
pub(super) fn detect() -> Option<&'static Kernel> {
    let found = is_x86_feature_detected!("gfni")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    found.then_some(&KERNEL)
}

/// The operand of `gf2p8affineqb` for a linear map of bytes, given the images of the eight bits: the row of output
/// bit `i` is byte `7 - i`.
pub(crate) const fn matrix(images: [u8; 8]) -> u64 {
    let mut matrix = 0;
    let mut i = 0;
    while i < 8 {
        let mut row = 0;
        let mut j = 0;
        while j < 8 {
            row |= ((images[j] >> i & 1) as u64) << j;
            j += 1;
        }
        matrix |= row << (8 * (7 - i));
        i += 1;
    }
    matrix
}

/// Matrices of all coefficients of GF(2^8).
static MATRICES_8: [u64; 256] = {
    let mut matrices = [0; 256];
    let mut c = 0;
    while c < 256 {
        let mut images = [0; 8];
        let mut bit = 0;
        while bit < 8 {
            images[bit] = field8::multiply(c as u8, 1 << bit);
            bit += 1;
        }
        matrices[c] = matrix(images);
        c += 1;
    }
    matrices
};

fn mul_add_8(outputs: &mut [&mut [u8]], inputs: &[&[u8]], coefficients: &[u8], overwrite: bool) {
    let length = check(outputs, inputs, coefficients);
    // SAFETY: KERNEL is handed out by `detect` alone, which has found the features; `check` has held all shards
    // to `length` and counted the coefficients.
    unsafe {
        match outputs.len() {
            1 => rows_8::<1>(outputs, inputs, coefficients, length, overwrite),
            2 => rows_8::<2>(outputs, inputs, coefficients, length, overwrite),
            3 => rows_8::<3>(outputs, inputs, coefficients, length, overwrite),
            _ => rows_8::<4>(outputs, inputs, coefficients, length, overwrite),
        }
    }
}

/// # Safety
/// All shards must have `length` bytes, there must be `R` outputs, and `coefficients` must hold one entry for each
/// pair of output and input.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni")]
unsafe fn rows_8<const R: usize>(
    outputs: &mut [&mut [u8]],
    inputs: &[&[u8]],
    coefficients: &[u8],
    length: usize,
    overwrite: bool,
) {
    let mut matrices = [0; ROWS * COLUMNS];
    for (matrix, &coefficient) in matrices.iter_mut().zip(coefficients) {
        *matrix = MATRICES_8[usize::from(coefficient)];
    }
    let outputs_at: [*mut u8; R] = std::array::from_fn(|r| outputs[r].as_mut_ptr());
    let mut at = 0;
    // SAFETY: each step ends at or before `length`, which every shard has.
    unsafe {
        // Each matrix is loaded once for four chunks: with one chunk a step, loads were what took the time.
        while at + 256 <= length {
            step_8::<R, 4>(outputs_at, inputs, &matrices, overwrite, at, !0);
            at += 256;
        }
        while at + 64 <= length {
            step_8::<R, 1>(outputs_at, inputs, &matrices, overwrite, at, !0);
            at += 64;
        }
        if at < length {
            let mask = (1 << (length - at)) - 1;
            step_8::<R, 1>(outputs_at, inputs, &matrices, overwrite, at, mask);
        }
    }
}

/// Multiply `V` chunks of 64 bytes from `at` on, or of one chunk the bytes that `mask` names.
///
/// # Safety
/// These bytes must be accessible at `at` in every output and input; outputs are distinct from inputs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni")]
unsafe fn step_8<const R: usize, const V: usize>(
    outputs: [*mut u8; R],
    inputs: &[&[u8]],
    matrices: &[u64; ROWS * COLUMNS],
    overwrite: bool,
    at: usize,
    mask: __mmask64,
) {
    let mut sums = [[_mm512_setzero_si512(); V]; R];
    if !overwrite {
        for r in 0..R {
            for (v, sum) in sums[r].iter_mut().enumerate() {
                // SAFETY: promised by the caller; masked bytes are not accessed.
                *sum = unsafe { _mm512_maskz_loadu_epi8(mask, outputs[r].add(at + 64 * v).cast()) };
            }
        }
    }
    for (input, matrices) in inputs.iter().zip(matrices.chunks_exact(R)) {
        let mut bytes = [_mm512_setzero_si512(); V];
        for (v, bytes) in bytes.iter_mut().enumerate() {
            // SAFETY: promised by the caller; masked bytes are not accessed.
            *bytes =
                unsafe { _mm512_maskz_loadu_epi8(mask, input.as_ptr().add(at + 64 * v).cast()) };
        }
        for (sums, &matrix) in sums.iter_mut().zip(matrices) {
            let matrix = _mm512_set1_epi64(matrix.cast_signed());
            for (sum, &bytes) in sums.iter_mut().zip(&bytes) {
                let product = _mm512_gf2p8affine_epi64_epi8::<0>(bytes, matrix);
                *sum = _mm512_xor_si512(*sum, product);
            }
        }
    }
    for r in 0..R {
        for (v, &sum) in sums[r].iter().enumerate() {
            // SAFETY: promised by the caller; masked bytes are not accessed.
            unsafe { _mm512_mask_storeu_epi8(outputs[r].add(at + 64 * v).cast(), mask, sum) };
        }
    }
}
