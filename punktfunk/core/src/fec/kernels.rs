//! Shard multiplication kernels, picked at run time. All make the same bytes as [`super::naive`].

use std::sync::LazyLock;

use super::cauchy::MulAdd;
use super::{gf8, gf16};

/// One implementation of the multiply-and-add of both fields.
pub struct Kernel {
    /// What it is built on, for reports and benchmarks.
    pub name: &'static str,
    pub(crate) gf8: MulAdd<u8>,
    pub(crate) gf16: MulAdd<u16>,
}

static SCALAR: Kernel = Kernel {
    name: "scalar",
    gf8: scalar::mul_add_8,
    gf16: scalar::mul_add_16,
};

/// All kernels that this machine can run, the slowest first.
#[must_use]
pub fn available() -> &'static [&'static Kernel] {
    static AVAILABLE: LazyLock<Vec<&'static Kernel>> = LazyLock::new(|| vec![&SCALAR]);
    &AVAILABLE
}

/// The fastest kernel that this machine can run.
#[must_use]
pub fn best() -> &'static Kernel {
    available()[available().len() - 1]
}

mod scalar {
    use super::{gf8, gf16};

    pub(super) fn mul_add_8(
        outputs: &mut [&mut [u8]],
        inputs: &[&[u8]],
        coefficients: &[u8],
        overwrite: bool,
    ) {
        let height = outputs.len();
        for (r, output) in outputs.iter_mut().enumerate() {
            if overwrite {
                output.fill(0);
            }
            for (c, input) in inputs.iter().enumerate() {
                let coefficient = coefficients[c * height + r];
                for (out, byte) in output.iter_mut().zip(*input) {
                    *out ^= gf8::multiply(coefficient, *byte);
                }
            }
        }
    }

    pub(super) fn mul_add_16(
        outputs: &mut [&mut [u8]],
        inputs: &[&[u8]],
        coefficients: &[u16],
        overwrite: bool,
    ) {
        let height = outputs.len();
        for (r, output) in outputs.iter_mut().enumerate() {
            if overwrite {
                output.fill(0);
            }
            for (c, input) in inputs.iter().enumerate() {
                let coefficient = coefficients[c * height + r];
                for (out, chunk) in output.chunks_mut(64).zip(input.chunks(64)) {
                    let half = chunk.len() / 2;
                    for e in 0..half {
                        let [low, high] = gf16::multiply(
                            coefficient,
                            u16::from_le_bytes([chunk[e], chunk[half + e]]),
                        )
                        .to_le_bytes();
                        out[e] ^= low;
                        out[half + e] ^= high;
                    }
                }
            }
        }
    }
}
