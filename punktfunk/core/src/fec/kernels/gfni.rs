//! Bit matrices by `gf2p8affineqb`, with AVX-512.

use super::super::gf8::dot;
use super::super::transform::lanes::gfni512;
use super::Kernel;

static KERNEL: Kernel = Kernel {
    name: "avx512-gfni",
    gf8: &dot::gfni512::DOT,
    passes: &gfni512::PASSES,
};

/// The kernel, if this machine has GFNI and AVX-512 with byte masks; the factors of a loss are computed by AVX2.
pub(super) fn detect() -> Option<&'static Kernel> {
    let found = is_x86_feature_detected!("gfni")
        && is_x86_feature_detected!("avx2")
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
