//! Shard multiplication kernels, picked at run time. All make the same bytes as [`super::naive`].
//!
//! Multiplication by a constant is linear over GF(2), so the form that a kernel wants of a coefficient (tables of
//! nibbles, bit matrices) is itself linear in the coefficient: each is the sum of one entry per nibble of the
//! coefficient, out of a master table of a few KiB.

use std::sync::LazyLock;

use super::cauchy::{COLUMNS, MulAdd, ROWS};
use super::{field8, field16};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod gfni;
mod scalar;

/// One implementation of the multiply-and-add of both fields.
pub struct Kernel {
    /// What it is built on, for reports and benchmarks.
    pub name: &'static str,
    /// Time of one shard multiplication, in units of the fastest kernel's (12 ns for 1200 bytes).
    pub(crate) cost: usize,
    pub(crate) gf8: MulAdd<u8>,
    pub(crate) gf16: MulAdd<u16>,
}

/// All kernels that this machine can run, the slowest first.
#[must_use]
pub fn available() -> &'static [&'static Kernel] {
    static AVAILABLE: LazyLock<Vec<&'static Kernel>> = LazyLock::new(|| {
        let mut kernels = vec![&scalar::KERNEL];
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(avx2::detect());
            kernels.extend(gfni::detect());
        }
        kernels
    });
    &AVAILABLE
}

/// The fastest kernel that this machine can run.
#[must_use]
pub fn best() -> &'static Kernel {
    available()[available().len() - 1]
}

/// What every kernel relies on; returns the shard length.
///
/// # Panics
/// If the caller in [`super::cauchy`] broke the contract of [`MulAdd`].
fn check<E>(outputs: &[&mut [u8]], inputs: &[&[u8]], coefficients: &[E]) -> usize {
    let length = outputs[0].len();
    assert!(outputs.len() <= ROWS && inputs.len() <= COLUMNS);
    assert_eq!(coefficients.len(), outputs.len() * inputs.len());
    assert!(outputs.iter().all(|shard| shard.len() == length));
    assert!(inputs.iter().all(|shard| shard.len() == length));
    length
}

/// Products with every low nibble, then with every high nibble.
type Nibbles8 = [u8; 32];

/// Nibble tables of all coefficients.
static NIBBLES_8: [Nibbles8; 256] = {
    let mut tables = [[0; 32]; 256];
    let mut c = 0;
    while c < 256 {
        let mut n = 0;
        while n < 16 {
            tables[c][n] = field8::multiply(c as u8, n as u8);
            tables[c][16 + n] = field8::multiply(c as u8, (n as u8) << 4);
            n += 1;
        }
        c += 1;
    }
    tables
};

/// For each of an element's four nibbles, lowest first: low bytes of the 16 products, then their high bytes.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Nibbles16([u8; 128]);

/// Nibble tables of the coefficients `n << 4p` at `16 p + n`.
static NIBBLES_16: LazyLock<[Nibbles16; 64]> = LazyLock::new(|| {
    std::array::from_fn(|entry| {
        let coefficient = nibble(entry);
        let mut table = [0; 128];
        for element in 0..64 {
            let product = field16::multiply(coefficient, nibble(element)).to_le_bytes();
            let at = element / 16 * 32 + element % 16;
            table[at] = product[0];
            table[at + 16] = product[1];
        }
        Nibbles16(table)
    })
});

/// The element whose nibble `entry / 16` is `entry % 16`.
fn nibble(entry: usize) -> u16 {
    ((entry % 16) as u16) << (entry / 16 * 4)
}

/// The four entries of a master table whose sum stands for `coefficient`.
fn parts<T>(master: &[T; 64], coefficient: u16) -> [&T; 4] {
    let c = usize::from(coefficient);
    [
        &master[c & 15],
        &master[16 + (c >> 4 & 15)],
        &master[32 + (c >> 8 & 15)],
        &master[48 + (c >> 12)],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says of this machine's CPU.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn every_kernel_that_this_machine_can_run_is_there_the_fastest_last() {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let flags: Vec<&str> = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("flags")?.split_once(':'))
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        let has = |wanted: &[&str]| wanted.iter().all(|flag| flags.contains(flag));
        let mut expected = vec!["scalar"];
        if has(&["avx2"]) {
            expected.push("avx2");
        }
        if has(&["gfni", "avx512f", "avx512bw", "avx512vl"]) {
            expected.push("avx512-gfni");
        }
        let names: Vec<&str> = available().iter().map(|kernel| kernel.name).collect();
        assert_eq!(names, expected);
        assert_eq!(best().name, expected[expected.len() - 1]);
        assert!(available().is_sorted_by_key(|kernel| std::cmp::Reverse(kernel.cost)));
    }
}
