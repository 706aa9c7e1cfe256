//! Nibble tables, without GFNI.

use super::super::gf8::dot;
use super::super::transform::lanes::avx2;
use super::Kernel;

static KERNEL: Kernel = Kernel {
    name: "avx2",
    gf8: &dot::avx2::DOT,
    passes: &avx2::PASSES,
};

/// The kernel, if this machine has AVX2.
pub(super) fn detect() -> Option<&'static Kernel> {
    is_x86_feature_detected!("avx2").then_some(&KERNEL)
}
