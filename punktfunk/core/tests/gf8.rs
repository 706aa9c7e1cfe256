//! GF(2^8): each kernel beside the naive one over the whole field, what shards lie between; and of both fields the kernel
//! that the environment names.

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use punktfunk_core::fec::{self, Codec, Scheme, Shards, codec_with_kernel, kernels, naive};

/// What lies between shards, and where shards are to come.
const CANARY: u8 = 0x5A;

/// Shards at a stride, canaries between them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Strided {
    bytes: Vec<u8>,
    shard_bytes: usize,
    stride: usize,
}

impl Strided {
    fn new(count: usize, shard_bytes: usize, gap: usize) -> Self {
        Self {
            bytes: vec![CANARY; count * (shard_bytes + gap)],
            shard_bytes,
            stride: shard_bytes + gap,
        }
    }

    fn of(shards: &[Vec<u8>], gap: usize) -> Self {
        let mut strided = Self::new(shards.len(), shards[0].len(), gap);
        for (i, shard) in shards.iter().enumerate() {
            strided.bytes[i * strided.stride..][..shard.len()].copy_from_slice(shard);
        }
        strided
    }
}

/// Encode, and compare with what the naive code has made.
fn check_encoding(codec: &dyn Codec, data: &Strided, parity: &[Vec<u8>], gap: usize) -> bool {
    let (k, m) = (data.bytes.len() / data.stride, parity.len());
    let mut made = Strided::new(m, data.shard_bytes, gap);
    codec
        .encode_strided(
            k,
            m,
            data.shard_bytes,
            Shards::strided(&data.bytes, data.stride),
            &mut made.bytes,
            made.stride,
        )
        .unwrap();
    made == Strided::of(parity, gap)
}

fn random(count: usize, bytes: usize, seed: u64) -> Vec<Vec<u8>> {
    let byte = |n: usize| (seed.wrapping_mul(n as u64 | 1) >> 29) as u8 ^ (n >> 3) as u8;
    (0..count)
        .map(|i| (0..bytes).map(|n| byte(i * bytes + n)).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// All of the field, tails of all lengths of a register and several steps before them, any stride.
    #[test]
    fn every_kernel_makes_and_rebuilds_what_the_naive_code_does(
        (k, m, lost) in (1..=255_usize).prop_flat_map(|k| (Just(k), 1..=(256 - k).min(50)))
            .prop_flat_map(|(k, m)| {
                let lost = subsequence((0..k).collect::<Vec<usize>>(), 1..=k.min(m));
                (Just(k), Just(m), lost)
            }),
        shard_bytes in prop_oneof![1..=70_usize, 1..=600_usize],
        (gap, order, seed) in (0..40_usize, any::<Index>(), any::<u64>()),
    ) {
        let shards = random(k, shard_bytes, seed);
        let parity = naive::encode(Scheme::Gf8, &shards, m);
        let data = Strided::of(&shards, gap);
        // Any of the recovery shards, in any order.
        let first = order.index(m);
        let recovery: Vec<(usize, &[u8])> =
            (0..m).map(|n| (first + 7 * n) % m).scan(vec![false; m], |seen, j| {
                Some((!std::mem::replace(&mut seen[j], true)).then_some((j, &parity[j][..])))
            }).flatten().collect();
        prop_assume!(recovery.len() >= lost.len());
        for kernel in kernels::available() {
            let codec = codec_with_kernel(Scheme::Gf8, kernel);
            prop_assert!(check_encoding(&*codec, &data, &parity, gap), "({},{}) {}", k, m, kernel.name);
            let mut block = data.clone();
            let mut present = vec![true; k];
            for &i in &lost {
                block.bytes[i * data.stride..][..shard_bytes].fill(CANARY);
                present[i] = false;
            }
            let rebuilt = codec.reconstruct_strided(
                k, m, shard_bytes, &mut block.bytes, data.stride, &mut present, &recovery,
            );
            prop_assert_eq!(rebuilt, Ok(lost.len()));
            prop_assert!(block == data, "({},{}) {:?} {}", k, m, &lost, kernel.name);
            prop_assert!(present.iter().all(|here| *here));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Each number of outputs at a time, and each way to end a shard: whole steps of registers and what is left behind them,
    /// or fewer bytes than a step or than a register has.
    #[test]
    fn every_kernel_ends_shards_of_each_length_with_each_number_of_outputs(
        (k, m) in (1..=14_usize, 1..=14_usize),
        shard_bytes in prop_oneof![1..=70_usize, 1..=1400_usize],
        (gap, seed) in (0..3_usize, any::<u64>()),
    ) {
        let shards = random(k, shard_bytes, seed);
        let parity = naive::encode(Scheme::Gf8, &shards, m);
        let data = Strided::of(&shards, gap);
        let lost = k.min(m);
        let recovery: Vec<(usize, &[u8])> =
            parity.iter().map(Vec::as_slice).enumerate().rev().collect();
        for kernel in kernels::available() {
            let codec = codec_with_kernel(Scheme::Gf8, kernel);
            prop_assert!(check_encoding(&*codec, &data, &parity, gap), "({},{}) {}", k, m, kernel.name);
            let mut block = data.clone();
            for i in 0..lost {
                block.bytes[i * data.stride..][..shard_bytes].fill(CANARY);
            }
            let mut present: Vec<bool> = (0..k).map(|i| i >= lost).collect();
            let rebuilt = codec.reconstruct_strided(
                k, m, shard_bytes, &mut block.bytes, data.stride, &mut present, &recovery,
            );
            prop_assert_eq!(rebuilt, Ok(lost));
            prop_assert!(block == data, "({},{}) {} bytes, {}", k, m, shard_bytes, kernel.name);
        }
    }
}

#[test]
fn threads_that_share_a_codec_make_each_its_own_blocks() {
    let codec = codec_with_kernel(Scheme::Gf8, kernels::best());
    std::thread::scope(|scope| {
        for first in 0..4 {
            let codec = &*codec;
            scope.spawn(move || {
                for n in 0..60 {
                    // The same numbers of recovery shards in all threads, with more and more data shards.
                    let (k, m) = (1 + 3 * n, 1 + (n * 7 + first) % 30);
                    let shards = random(k, 33, n as u64);
                    let parity = naive::encode(Scheme::Gf8, &shards, m);
                    assert!(
                        check_encoding(codec, &Strided::of(&shards, 0), &parity, 0),
                        "({k},{m})"
                    );
                }
            });
        }
    });
}

/// Run alone in a process whose environment names a kernel.
const CHILD: &str = "the_codec_of_the_program_makes_the_naive_recovery_shards";

#[test]
fn the_codec_of_the_program_makes_the_naive_recovery_shards() {
    if let Ok(wanted) = std::env::var(kernels::VARIABLE) {
        assert_eq!(kernels::best().name, wanted);
    }
    let shards = random(50, 334, 5);
    for scheme in [Scheme::Gf8, Scheme::Gf16] {
        let parity = naive::encode(scheme, &shards, 10);
        let data = Strided::of(&shards, 3);
        assert!(
            check_encoding(fec::codec(scheme), &data, &parity, 5),
            "{scheme}"
        );
    }
}

#[test]
fn the_environment_forces_each_kernel_and_refuses_others() {
    let run = |name: &str| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD])
            .env(kernels::VARIABLE, name)
            .output()
            .unwrap()
    };
    for kernel in kernels::available() {
        let output = run(kernel.name);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}: {text}", kernel.name);
        assert!(text.contains("1 passed"), "{text}");
    }
    assert!(!run("mmx").status.success());
}
