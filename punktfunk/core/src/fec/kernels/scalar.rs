//! Nibble tables, one byte at a time: for machines without a kernel of their own.

use super::super::gf8::dot;
use super::super::transform::lanes::portable;
use super::Kernel;

pub(super) static KERNEL: Kernel = Kernel {
    name: "scalar",
    gf8: &dot::portable::DOT,
    passes: &portable::PASSES,
};
