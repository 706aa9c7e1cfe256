//! Nibble tables, one byte at a time: for machines without a kernel of their own.

use super::super::transform::lanes::portable;
use super::{Kernel, NIBBLES_8, check};

pub(super) static KERNEL: Kernel = Kernel {
    name: "scalar",
    gf8: mul_add_8,
    passes: &portable::PASSES,
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
