//! Bit matrices by `gf2p8affineqb`, 64 bytes at a time, several rows and columns of a shard in registers.
//!
//! A product by a constant in GF(2^16) is four 8 by 8 bit matrices between low and high bytes. With the 32 low and
//! 32 high bytes of a chunk interleaved by eights, one broadcast of 16 bytes holds the two matrices that keep a
//! byte's place and another the two that swap it, and the swapped input is shared by all rows.

use std::arch::x86_64::{
    __m128i, __m512i, __mmask32, __mmask64, _mm_loadu_si128, _mm256_mask_storeu_epi8,
    _mm256_maskz_loadu_epi8, _mm512_broadcast_i32x4, _mm512_castsi256_si512,
    _mm512_castsi512_si256, _mm512_extracti64x4_epi64, _mm512_gf2p8affine_epi64_epi8,
    _mm512_inserti64x4, _mm512_loadu_si512, _mm512_mask_storeu_epi8, _mm512_maskz_loadu_epi8,
    _mm512_permutexvar_epi64, _mm512_set_epi64, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_shuffle_epi32, _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};
use std::sync::LazyLock;

use super::{COLUMNS, Kernel, ROWS, check, field8, field16, nibble, parts};

static KERNEL: Kernel = Kernel {
    name: "avx512-gfni",
    cost: 1,
    gf8: mul_add_8,
    gf16: mul_add_16,
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
const fn matrix(images: [u8; 8]) -> u64 {
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

/// Low to low, high to high, high to low, low to high.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Matrices([u64; 4]);

/// Matrices of the coefficients `n << 4p` of GF(2^16) at `16 p + n`.
static MATRICES_16: LazyLock<[Matrices; 64]> = LazyLock::new(|| {
    std::array::from_fn(|entry| {
        let image = |bit: usize, byte: usize| {
            field16::multiply(nibble(entry), 1 << bit).to_le_bytes()[byte]
        };
        let of =
            |first: usize, byte: usize| matrix(std::array::from_fn(|bit| image(first + bit, byte)));
        Matrices([of(0, 0), of(8, 1), of(8, 0), of(0, 1)])
    })
});

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

fn mul_add_16(outputs: &mut [&mut [u8]], inputs: &[&[u8]], coefficients: &[u16], overwrite: bool) {
    let length = check(outputs, inputs, coefficients);
    // SAFETY: as in `mul_add_8`.
    unsafe {
        match outputs.len() {
            1 => rows_16::<1>(outputs, inputs, coefficients, length, overwrite),
            2 => rows_16::<2>(outputs, inputs, coefficients, length, overwrite),
            3 => rows_16::<3>(outputs, inputs, coefficients, length, overwrite),
            _ => rows_16::<4>(outputs, inputs, coefficients, length, overwrite),
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

/// # Safety
/// As [`rows_8`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni")]
unsafe fn rows_16<const R: usize>(
    outputs: &mut [&mut [u8]],
    inputs: &[&[u8]],
    coefficients: &[u16],
    length: usize,
    overwrite: bool,
) {
    let mut matrices = [Matrices([0; 4]); ROWS * COLUMNS];
    for (sum, &coefficient) in matrices.iter_mut().zip(coefficients) {
        let [a, b, c, d] = parts(&MATRICES_16, coefficient);
        sum.0 = std::array::from_fn(|n| a.0[n] ^ b.0[n] ^ c.0[n] ^ d.0[n]);
    }
    let outputs_at: [*mut u8; R] = std::array::from_fn(|r| outputs[r].as_mut_ptr());
    let mut at = 0;
    // SAFETY: each step ends at or before `length`, which every shard has.
    unsafe {
        while at + 128 <= length {
            step_16::<R, 2>(outputs_at, inputs, &matrices, overwrite, at, 64);
            at += 128;
        }
        if at + 64 <= length {
            step_16::<R, 1>(outputs_at, inputs, &matrices, overwrite, at, 64);
            at += 64;
        }
        if at < length {
            step_16::<R, 1>(outputs_at, inputs, &matrices, overwrite, at, length - at);
        }
    }
}

/// Multiply `V` chunks of 64 bytes from `at` on, or one shorter chunk of `bytes`.
///
/// # Safety
/// `(V - 1) * 64 + bytes` bytes must be accessible at `at` in every output and input; outputs are distinct from
/// inputs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,gfni")]
unsafe fn step_16<const R: usize, const V: usize>(
    outputs: [*mut u8; R],
    inputs: &[&[u8]],
    matrices: &[Matrices; ROWS * COLUMNS],
    overwrite: bool,
    at: usize,
    bytes: usize,
) {
    let mut sums = [[_mm512_setzero_si512(); V]; R];
    if !overwrite {
        for r in 0..R {
            for (v, sum) in sums[r].iter_mut().enumerate() {
                // SAFETY: promised by the caller.
                *sum = unsafe { load(outputs[r].add(at + 64 * v), bytes) };
            }
        }
    }
    for (c, input) in inputs.iter().enumerate() {
        let mut straight = [_mm512_setzero_si512(); V];
        let mut swapped = [_mm512_setzero_si512(); V];
        for v in 0..V {
            // SAFETY: promised by the caller.
            straight[v] = unsafe { load(input.as_ptr().add(at + 64 * v), bytes) };
            swapped[v] = _mm512_shuffle_epi32::<0x4E>(straight[v]);
        }
        for r in 0..R {
            let matrix = matrices[c * R + r].0.as_ptr().cast::<__m128i>();
            // SAFETY: an entry has 32 bytes.
            let (keep, swap) = unsafe {
                (
                    _mm512_broadcast_i32x4(_mm_loadu_si128(matrix)),
                    _mm512_broadcast_i32x4(_mm_loadu_si128(matrix.add(1))),
                )
            };
            for v in 0..V {
                sums[r][v] = _mm512_ternarylogic_epi64::<0x96>(
                    sums[r][v],
                    _mm512_gf2p8affine_epi64_epi8::<0>(straight[v], keep),
                    _mm512_gf2p8affine_epi64_epi8::<0>(swapped[v], swap),
                );
            }
        }
    }
    for r in 0..R {
        for (v, &sum) in sums[r].iter().enumerate() {
            // SAFETY: promised by the caller.
            unsafe { store(outputs[r].add(at + 64 * v), bytes, sum) };
        }
    }
}

/// Load a chunk of up to 64 bytes, its low half and its high half interleaved by eights.
///
/// # Safety
/// `bytes` must be readable at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn load(at: *const u8, bytes: usize) -> __m512i {
    let chunk = if bytes == 64 {
        // SAFETY: promised by the caller; the load is unaligned.
        unsafe { _mm512_loadu_si512(at.cast()) }
    } else {
        let half = bytes / 2;
        let mask: __mmask32 = (1 << half) - 1;
        // SAFETY: the masks end the loads after `half` bytes each.
        let (low, high) = unsafe {
            (
                _mm256_maskz_loadu_epi8(mask, at.cast()),
                _mm256_maskz_loadu_epi8(mask, at.add(half).cast()),
            )
        };
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
    };
    _mm512_permutexvar_epi64(_mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0), chunk)
}

/// The inverse of [`load`].
///
/// # Safety
/// `bytes` must be writable at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn store(at: *mut u8, bytes: usize, value: __m512i) {
    let chunk = _mm512_permutexvar_epi64(_mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0), value);
    if bytes == 64 {
        // SAFETY: promised by the caller; the store is unaligned.
        unsafe { _mm512_storeu_si512(at.cast(), chunk) };
    } else {
        let half = bytes / 2;
        let mask: __mmask32 = (1 << half) - 1;
        // SAFETY: the masks end the stores after `half` bytes each.
        unsafe {
            _mm256_mask_storeu_epi8(at.cast(), mask, _mm512_castsi512_si256(chunk));
            _mm256_mask_storeu_epi8(
                at.add(half).cast(),
                mask,
                _mm512_extracti64x4_epi64::<1>(chunk),
            );
        }
    }
}
