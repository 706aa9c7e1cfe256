//! Nibble tables, one byte or element at a time: for machines without a kernel of their own.

use super::{Kernel, NIBBLES_8, NIBBLES_16, check, parts};

pub(super) static KERNEL: Kernel = Kernel {
    name: "scalar",
    cost: 65,
    gf8: mul_add_8,
    gf16: mul_add_16,
};

fn mul_add_8(outputs: &mut [&mut [u8]], inputs: &[&[u8]], coefficients: &[u8], overwrite: bool) {
    check(outputs, inputs, coefficients);
    let height = outputs.len();
    for (r, output) in outputs.iter_mut().enumerate() {
        if overwrite {
            output.fill(0);
        }
        for (c, input) in inputs.iter().enumerate() {
            let table = &NIBBLES_8[usize::from(coefficients[c * height + r])];
            for (out, &byte) in output.iter_mut().zip(*input) {
                *out ^= table[usize::from(byte & 15)] ^ table[16 + usize::from(byte >> 4)];
            }
        }
    }
}

fn mul_add_16(outputs: &mut [&mut [u8]], inputs: &[&[u8]], coefficients: &[u16], overwrite: bool) {
    check(outputs, inputs, coefficients);
    let height = outputs.len();
    for (r, output) in outputs.iter_mut().enumerate() {
        if overwrite {
            output.fill(0);
        }
        for (c, input) in inputs.iter().enumerate() {
            let table = table(coefficients[c * height + r]);
            for (out, chunk) in output.chunks_mut(64).zip(input.chunks(64)) {
                let half = chunk.len() / 2;
                for e in 0..half {
                    let (low, high) = (usize::from(chunk[e]), usize::from(chunk[half + e]));
                    let product = table[low & 15]
                        ^ table[16 + (low >> 4)]
                        ^ table[32 + (high & 15)]
                        ^ table[48 + (high >> 4)];
                    let [low, high] = product.to_le_bytes();
                    out[e] ^= low;
                    out[half + e] ^= high;
                }
            }
        }
    }
}

/// Products of `coefficient` with every value of each nibble.
fn table(coefficient: u16) -> [u16; 64] {
    let parts = parts(&NIBBLES_16, coefficient);
    std::array::from_fn(|entry| {
        let at = entry / 16 * 32 + entry % 16;
        parts.iter().fold(0, |sum, part| {
            sum ^ u16::from_le_bytes([part.0[at], part.0[at + 16]])
        })
    })
}
