//! AVX2 and GFNI without AVX-512: GF(2^16) by bit matrices, GF(2^8) by nibble tables.

use super::super::transform::lanes::gfni256;
use super::{Kernel, avx2};

static KERNEL: Kernel = Kernel {
    name: "avx2-gfni",
    gf8: avx2::mul_add_8,
    passes: &gfni256::PASSES,
};

/// The kernel, if this machine has AVX2 and GFNI.
pub(super) fn detect() -> Option<&'static Kernel> {
    let found = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("gfni");
    found.then_some(&KERNEL)
}
