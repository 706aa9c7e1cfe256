//! Bit matrices by `gf2p8affineqb`, without AVX-512.

use super::super::gf8::dot;
use super::super::transform::lanes::gfni256;
use super::Kernel;

static KERNEL: Kernel = Kernel {
    name: "avx2-gfni",
    gf8: &dot::gfni256::DOT,
    passes: &gfni256::PASSES,
};

/// The kernel, if this machine has AVX2 and GFNI.
pub(super) fn detect() -> Option<&'static Kernel> {
    let found = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("gfni");
    found.then_some(&KERNEL)
}
