//! Nibble tables, one byte at a time: for machines without a kernel of their own.

use super::super::decode::logarithms;
use super::{Dot, NIBBLES, PLACES};

pub(in crate::fec) static DOT: Dot = Dot {
    factors: &PLACES,
    interpolation: &logarithms::INTERPOLATION,
    rows: 1,
    sums,
};

fn sums(outputs: &mut [&mut [u8]], inputs: &[&[u8]], factors: &[u64]) {
    for output in outputs {
        output.fill(0);
        for (input, &factor) in inputs.iter().zip(factors) {
            let table = &NIBBLES[usize::from(factor as u8)];
            for (out, &byte) in output.iter_mut().zip(*input) {
                *out ^= table[usize::from(byte & 15)] ^ table[16 + usize::from(byte >> 4)];
            }
        }
    }
}
