//! The GF(2^16) code beside `reed-solomon-simd` in one process, in turns: medians of seven and what they spread.
//!
//! `cargo bench --bench rivals`, or `cargo bench --bench rivals -- encode/1000+200` for the rows whose name holds that, or
//! `-- 35+7` for a block that is not in the table; `-- --json FILE` keeps the figures. Times are CPU seconds of this thread,
//! so that a busy machine takes turns away from both alike; throughput is data bytes of the block.

use std::hint::black_box;

use punktfunk_core::fec::{Scheme, codec_with_kernel, kernels};
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

mod clock;
mod race;

use race::{Options, Row, compare};

const SHARD_BYTES: usize = 1200;
/// Data and recovery shards.
const BLOCKS: [(usize, usize); 5] = [(50, 10), (200, 50), (1000, 200), (4000, 800), (20000, 4000)];

fn pattern(count: usize) -> Vec<u8> {
    (0..count * SHARD_BYTES)
        .map(|n| (n * 7 + n / SHARD_BYTES * 31) as u8)
        .collect()
}

fn encode(name: String, k: usize, m: usize) -> Row {
    let data = pattern(k);
    let codec = codec_with_kernel(Scheme::Gf16, kernels::best());
    let mut rival = ReedSolomonEncoder::new(k, m, SHARD_BYTES).unwrap();
    let (mut a, mut b) = (vec![0; m * SHARD_BYTES], vec![0; m * SHARD_BYTES]);
    let wanted = race::target("ratio", &name);
    let row = compare(
        name,
        data.len(),
        wanted,
        &mut || {
            codec
                .encode(k, m, SHARD_BYTES, black_box(&data), &mut a)
                .unwrap();
        },
        &mut || {
            for shard in black_box(&data).chunks(SHARD_BYTES) {
                rival.add_original_shard(shard).unwrap();
            }
            for (out, shard) in b
                .chunks_mut(SHARD_BYTES)
                .zip(rival.encode().unwrap().recovery_iter())
            {
                out.copy_from_slice(shard);
            }
        },
    );
    assert!(a == b, "{}: recovery shards differ", row.name);
    row
}

/// The losses lie evenly over the block, and the first recovery shards are here.
fn decode(name: String, k: usize, m: usize, lost: usize) -> Row {
    let is_lost = |i: usize| i * lost / k != (i + 1) * lost / k;
    let data = pattern(k);
    let codec = codec_with_kernel(Scheme::Gf16, kernels::best());
    let parity = reed_solomon_simd::encode(k, m, data.chunks(SHARD_BYTES)).unwrap();
    let recovery: Vec<(usize, &[u8])> = parity
        .iter()
        .take(lost)
        .enumerate()
        .map(|(j, shard)| (j, &shard[..]))
        .collect();
    let mut block = data.clone();
    for (shard, _) in block
        .chunks_mut(SHARD_BYTES)
        .zip(0..)
        .filter(|&(_, i)| is_lost(i))
    {
        shard.fill(0);
    }
    let mut present: Vec<bool> = (0..k).map(|i| !is_lost(i)).collect();
    let mut rival = ReedSolomonDecoder::new(k, m, SHARD_BYTES).unwrap();
    let mut room = data.clone();
    let wanted = race::target("ratio", &name);
    let row = compare(
        name,
        data.len(),
        wanted,
        &mut || {
            for (i, here) in present.iter_mut().enumerate() {
                *here = !is_lost(i);
            }
            codec
                .reconstruct_strided(
                    k,
                    m,
                    SHARD_BYTES,
                    black_box(&mut block),
                    SHARD_BYTES,
                    &mut present,
                    &recovery,
                )
                .unwrap();
        },
        &mut || {
            for (i, shard) in black_box(&data)
                .chunks(SHARD_BYTES)
                .enumerate()
                .filter(|(i, _)| !is_lost(*i))
            {
                rival.add_original_shard(i, shard).unwrap();
            }
            for &(j, shard) in &recovery {
                rival.add_recovery_shard(j, shard).unwrap();
            }
            for (i, shard) in rival.decode().unwrap().restored_original_iter() {
                room[i * SHARD_BYTES..][..SHARD_BYTES].copy_from_slice(shard);
            }
        },
    );
    assert!(
        block == data && room == data,
        "{}: rebuilt shards differ",
        row.name
    );
    row
}

/// What `35+7` says.
fn block(word: &str) -> Option<(usize, usize)> {
    let (k, m) = word.split_once('+')?;
    Some((k.parse().ok()?, m.parse().ok()?))
}

fn main() {
    let options = Options::parse();
    println!(
        "kernel {}, {SHARD_BYTES}-byte shards, medians of {} in turns, GB/s of data by CPU time of the thread; the rival is reed-solomon-simd",
        kernels::best().name,
        race::ROUNDS
    );
    println!("{}", Row::HEAD);
    let mut rows = vec![];
    let other = block(&options.filter);
    let blocks = other.as_ref().map_or(&BLOCKS[..], std::slice::from_ref);
    for &(k, m) in blocks {
        let decoded = |lost| format!("gf16/decode/{k}+{m}/{lost} lost");
        let (few, all) = (k.div_ceil(100).min(m), m.min(k));
        let works: [(String, &dyn Fn(String) -> Row); 3] = [
            (format!("gf16/encode/{k}+{m}"), &|name| encode(name, k, m)),
            (decoded(few), &|name| decode(name, k, m, few)),
            (decoded(all), &|name| decode(name, k, m, all)),
        ];
        for (name, work) in works {
            if other.is_some() || name.contains(&options.filter) {
                let row = work(name);
                println!("{}", row.line());
                rows.push(row);
            }
        }
    }
    options.keep(kernels::best().name, &rows);
}
