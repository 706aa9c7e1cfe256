//! Nibble tables by `vpshufb`, 32 bytes at a time.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_loadu_si256, _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_srli_epi16, _mm256_storeu_si256, _mm256_xor_si256,
};

use super::{COLUMNS, Kernel, NIBBLES_8, NIBBLES_16, Nibbles16, ROWS, check, parts};

static KERNEL: Kernel = Kernel {
    name: "avx2",
    cost: 3,
    gf8: mul_add_8,
    gf16: mul_add_16,
};

/// The kernel, if this machine has AVX2.
pub(super) fn detect() -> Option<&'static Kernel> {
    is_x86_feature_detected!("avx2").then_some(&KERNEL)
}

fn mul_add_8(outputs: &mut [&mut [u8]], inputs: &[&[u8]], coefficients: &[u8], overwrite: bool) {
    let length = check(outputs, inputs, coefficients);
    // SAFETY: KERNEL is handed out by `detect` alone, which has found AVX2; `check` has held all shards to
    // `length` and counted the coefficients.
    unsafe { rows_8(outputs, inputs, coefficients, length, overwrite) }
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

/// # Safety
/// As [`rows_8`], with `R` outputs.
#[target_feature(enable = "avx2")]
unsafe fn rows_16<const R: usize>(
    outputs: &mut [&mut [u8]],
    inputs: &[&[u8]],
    coefficients: &[u16],
    length: usize,
    overwrite: bool,
) {
    let mut tables = [Nibbles16([0; 128]); ROWS * COLUMNS];
    for (table, &coefficient) in tables.iter_mut().zip(coefficients) {
        for part in parts(&NIBBLES_16, coefficient) {
            for (sum, byte) in table.0.iter_mut().zip(&part.0) {
                *sum ^= byte;
            }
        }
    }
    let whole = length / 64 * 64;
    let output_at: [*mut u8; R] = std::array::from_fn(|r| outputs[r].as_mut_ptr());
    for at in (0..whole).step_by(64) {
        let source = |c: usize| inputs[c][at..at + 64].as_ptr();
        // SAFETY: at + 64 <= length, and every output has `length` bytes.
        unsafe {
            chunk_16::<R>(
                output_at.map(|p| p.add(at)),
                source,
                inputs.len(),
                &tables,
                overwrite,
            )
        };
    }
    if whole == length {
        return;
    }
    // The tail's halves move to where a whole chunk has them.
    let half = (length - whole) / 2;
    let mut padded_outputs = [[0_u8; 64]; R];
    let mut padded_inputs = [[0_u8; 64]; COLUMNS];
    for (padded, shard) in padded_inputs.iter_mut().zip(inputs) {
        padded[..half].copy_from_slice(&shard[whole..whole + half]);
        padded[32..32 + half].copy_from_slice(&shard[whole + half..]);
    }
    for (padded, shard) in padded_outputs.iter_mut().zip(outputs.iter()) {
        padded[..half].copy_from_slice(&shard[whole..whole + half]);
        padded[32..32 + half].copy_from_slice(&shard[whole + half..]);
    }
    let targets: [*mut u8; R] = padded_outputs.each_mut().map(|padded| padded.as_mut_ptr());
    let source = |c: usize| padded_inputs[c].as_ptr();
    // SAFETY: every padded chunk has 64 bytes.
    unsafe { chunk_16::<R>(targets, source, inputs.len(), &tables, overwrite) };
    for (padded, shard) in padded_outputs.iter().zip(outputs.iter_mut()) {
        shard[whole..whole + half].copy_from_slice(&padded[..half]);
        shard[whole + half..].copy_from_slice(&padded[32..32 + half]);
    }
}

/// # Safety
/// 64 bytes must be accessible at every output and at every input that `source` names, all distinct.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn chunk_16<const R: usize>(
    outputs: [*mut u8; R],
    source: impl Fn(usize) -> *const u8,
    width: usize,
    tables: &[Nibbles16; ROWS * COLUMNS],
    overwrite: bool,
) {
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    if !overwrite {
        for r in 0..R {
            // SAFETY: promised by the caller.
            sums[r] = unsafe { [load(outputs[r]), load(outputs[r].add(32))] };
        }
    }
    for c in 0..width {
        let input = source(c);
        // SAFETY: promised by the caller.
        let (low, high) = unsafe { (load(input), load(input.add(32))) };
        let ([n0, n1], [n2, n3]) = (nibbles(low), nibbles(high));
        for (r, sum) in sums.iter_mut().enumerate() {
            let table = tables[c * R + r].0.as_ptr();
            for (n, indices) in [n0, n1, n2, n3].into_iter().enumerate() {
                // SAFETY: a table has four entries of 32 bytes.
                let (low, high) = unsafe {
                    (
                        broadcast(table.add(32 * n)),
                        broadcast(table.add(32 * n + 16)),
                    )
                };
                sum[0] = _mm256_xor_si256(sum[0], _mm256_shuffle_epi8(low, indices));
                sum[1] = _mm256_xor_si256(sum[1], _mm256_shuffle_epi8(high, indices));
            }
        }
    }
    for r in 0..R {
        // SAFETY: promised by the caller.
        unsafe {
            store(outputs[r], sums[r][0]);
            store(outputs[r].add(32), sums[r][1]);
        }
    }
}
