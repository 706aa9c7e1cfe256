//! Encode and decode by geometry, for every kernel of this machine, next to `reed-solomon-simd` in the same run.
//!
//! `cargo bench --bench fec`, or `cargo bench --bench fec -- encode/35+7` for one geometry. Throughput is data
//! bytes of the block.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use punktfunk_core::fec::{Scheme, codec_with_kernel, kernels};

const SHARD_BYTES: usize = 1200;
/// (data, recovery): 1080p60 at 20 Mbit/s; the reference's synthetic frame; half of and a whole largest block.
const GEOMETRIES: [(usize, usize); 6] = [
    (35, 7),
    (55, 11),
    (200, 40),
    (512, 103),
    (1000, 200),
    (4096, 820),
];

fn shards(count: usize) -> Vec<u8> {
    (0..count * SHARD_BYTES)
        .map(|n| (n * 7 + n / SHARD_BYTES * 31) as u8)
        .collect()
}

fn encode(criterion: &mut Criterion) {
    for (k, m) in GEOMETRIES {
        let mut group = criterion.benchmark_group(format!("encode/{k}+{m}"));
        group.throughput(Throughput::Bytes((k * SHARD_BYTES) as u64));
        let data = shards(k);
        let mut parity = vec![0; m * SHARD_BYTES];
        for scheme in [Scheme::Gf8, Scheme::Gf16] {
            for kernel in kernels::available() {
                let codec = codec_with_kernel(scheme, kernel);
                if !codec.supports(k, m) {
                    continue;
                }
                group.bench_function(BenchmarkId::new(scheme.name(), kernel.name), |bencher| {
                    bencher.iter(|| {
                        codec
                            .encode(k, m, SHARD_BYTES, black_box(&data), &mut parity)
                            .unwrap()
                    });
                });
            }
        }
        let mut rival = reed_solomon_simd::ReedSolomonEncoder::new(k, m, SHARD_BYTES).unwrap();
        group.bench_function("reed-solomon-simd", |bencher| {
            bencher.iter(|| {
                for shard in data.chunks(SHARD_BYTES) {
                    rival.add_original_shard(shard).unwrap();
                }
                for (out, shard) in parity
                    .chunks_mut(SHARD_BYTES)
                    .zip(rival.encode().unwrap().recovery_iter())
                {
                    out.copy_from_slice(shard);
                }
            });
        });
        group.finish();
    }
}

fn decode(criterion: &mut Criterion) {
    for (k, m) in GEOMETRIES {
        let mut losses = vec![1, k.div_ceil(50), k.div_ceil(20), m];
        losses.dedup();
        for lost in losses {
            let mut group = criterion.benchmark_group(format!("decode/{k}+{m}/{lost} lost"));
            group.throughput(Throughput::Bytes((k * SHARD_BYTES) as u64));
            let data = shards(k);
            // The losses lie evenly over the block.
            let is_lost = |i: usize| i * lost / k != (i + 1) * lost / k;
            for scheme in [Scheme::Gf8, Scheme::Gf16] {
                for kernel in kernels::available() {
                    let codec = codec_with_kernel(scheme, kernel);
                    if !codec.supports(k, m) {
                        continue;
                    }
                    let mut block = data.clone();
                    block.resize((k + m) * SHARD_BYTES, 0);
                    let (front, parity) = block.split_at_mut(k * SHARD_BYTES);
                    codec.encode(k, m, SHARD_BYTES, front, parity).unwrap();
                    group.bench_function(BenchmarkId::new(scheme.name(), kernel.name), |bencher| {
                        bencher.iter(|| {
                            let mut present: Vec<bool> =
                                (0..k + m).map(|i| i >= k || !is_lost(i)).collect();
                            codec
                                .reconstruct(k, m, SHARD_BYTES, black_box(&mut block), &mut present)
                                .unwrap()
                        });
                    });
                }
            }
            let parity = reed_solomon_simd::encode(k, m, data.chunks(SHARD_BYTES)).unwrap();
            let mut rival = reed_solomon_simd::ReedSolomonDecoder::new(k, m, SHARD_BYTES).unwrap();
            let mut room = vec![0; SHARD_BYTES];
            group.bench_function("reed-solomon-simd", |bencher| {
                bencher.iter(|| {
                    for (i, shard) in data
                        .chunks(SHARD_BYTES)
                        .enumerate()
                        .filter(|(i, _)| !is_lost(*i))
                    {
                        rival.add_original_shard(i, shard).unwrap();
                    }
                    for (j, shard) in parity.iter().take(lost).enumerate() {
                        rival.add_recovery_shard(j, shard).unwrap();
                    }
                    for (_, shard) in rival.decode().unwrap().restored_original_iter() {
                        room.copy_from_slice(shard);
                    }
                });
            });
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700))
        .sample_size(20);
    targets = encode, decode
}
criterion_main!(benches);
