//! Kernels, picked at run time: sums of products of GF(2^8), and what the transform of GF(2^16) is made of. All make the
//! same bytes as [`super::naive`].

use std::sync::LazyLock;

use super::gf8::dot::Dot;
use super::transform::passes::Passes;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod gfni;
#[cfg(target_arch = "x86_64")]
mod gfni256;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub(super) use gfni::matrix;

/// One implementation of the arithmetic of both fields on shards.
pub struct Kernel {
    /// What it is built on, for reports and benchmarks.
    pub name: &'static str,
    /// Sums of products of GF(2^8).
    pub(crate) gf8: &'static Dot,
    /// Butterflies and products of GF(2^16).
    pub(crate) passes: &'static Passes,
}

/// All kernels that this machine can run, the slowest first.
#[must_use]
pub fn available() -> &'static [&'static Kernel] {
    static AVAILABLE: LazyLock<Vec<&'static Kernel>> = LazyLock::new(|| {
        let mut kernels = vec![&scalar::KERNEL];
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(avx2::detect());
            kernels.extend(gfni256::detect());
            kernels.extend(gfni::detect());
        }
        kernels
    });
    &AVAILABLE
}

/// The environment variable that names the kernel to use in place of the fastest one.
pub const VARIABLE: &str = "PUNKTFUNK_FEC_KERNEL";

/// The fastest kernel that this machine can run, or the one that [`VARIABLE`] names.
///
/// # Panics
/// If the variable names none of [`available`].
#[must_use]
pub fn best() -> &'static Kernel {
    static BEST: LazyLock<&'static Kernel> = LazyLock::new(|| {
        let name = std::env::var_os(VARIABLE);
        choose(name.as_deref()).unwrap_or_else(|refusal| panic!("{refusal}"))
    });
    &BEST
}

/// The kernel of a name, or the fastest without one.
fn choose(name: Option<&std::ffi::OsStr>) -> Result<&'static Kernel, String> {
    let kernels = available();
    let Some(name) = name else {
        return Ok(kernels[kernels.len() - 1]);
    };
    let found = kernels.iter().find(|kernel| name == kernel.name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = kernels.iter().map(|kernel| kernel.name).collect();
        format!(
            "{VARIABLE}={name:?} names no kernel that this machine can run; unset it, or set it to {}",
            names.join(", ")
        )
    })
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
        if has(&["avx2", "gfni"]) {
            expected.push("avx2-gfni");
        }
        if has(&["gfni", "avx2", "avx512f", "avx512bw", "avx512vl"]) {
            expected.push("avx512-gfni");
        }
        let names: Vec<&str> = available().iter().map(|kernel| kernel.name).collect();
        assert_eq!(names, expected);
        assert_eq!(choose(None).unwrap().name, expected[expected.len() - 1]);
    }

    #[test]
    fn a_kernel_is_chosen_by_its_name_and_by_no_other() {
        use std::ffi::OsStr;
        for kernel in available() {
            let chosen = choose(Some(OsStr::new(kernel.name))).unwrap();
            assert!(std::ptr::eq(chosen, *kernel));
        }
        for name in ["", "AVX2", "avx"] {
            let Err(refusal) = choose(Some(OsStr::new(name))) else {
                panic!("{name:?} was taken");
            };
            assert!(refusal.contains(&format!("PUNKTFUNK_FEC_KERNEL={name:?} ")));
            assert!(refusal.contains("set it to scalar"), "{refusal}");
        }
    }
}
