//! What the page on FEC (`docs/explanation/fec.md`) draws and says: the time of both codes by losses and by recovery shards, how
//! much of it does not depend on the shards' size, and what is left to do when a block's last shard has come.
//!
//! `cargo bench --bench curves`, or `cargo bench --bench curves -- --json FILE` to keep the figures. Times are CPU
//! microseconds of this thread.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::hint::black_box;

use punktfunk_core::fec::{Codec, Scheme, codec_with_kernel, kernels};
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

mod clock;

const SHARD_BYTES: usize = 1200;
const BOTH: [Scheme; 2] = [Scheme::Gf8, Scheme::Gf16];
const ROUNDS: usize = 5;
/// CPU seconds of a round.
const ROUND: f64 = 0.004;
/// The block of both codes whose curves are drawn.
const DRAWN: (usize, usize) = (200, 40);
/// Blocks of frames from 30 Mbit/s to 2.3 Gbit/s at 60 frames a second.
const BLOCKS: [(usize, usize); 4] = [(50, 10), (200, 50), (1000, 200), (4000, 800)];
/// Erasure patterns that a cache of them is taken to hold.
const KEPT: usize = 64;

/// CPU microseconds of each of some works, medians of rounds in turns.
fn times<const N: usize>(mut works: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut rounds = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (work, taken) in works.iter_mut().zip(&mut rounds) {
            taken.push(clock::time(*work, ROUND) * 1e6);
        }
    }
    rounds.map(median)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn pattern(count: usize, shard_bytes: usize) -> Vec<u8> {
    (0..count * shard_bytes)
        .map(|n| (n * 7 + n / shard_bytes * 31) as u8)
        .collect()
}

/// A block that shards are missing of, with what replaces them.
struct Block<'a> {
    codec: &'a dyn Codec,
    k: usize,
    m: usize,
    shard_bytes: usize,
    data: Vec<u8>,
    parity: Vec<u8>,
    present: Vec<bool>,
}

impl<'a> Block<'a> {
    fn new(codec: &'a dyn Codec, (k, m): (usize, usize), shard_bytes: usize) -> Self {
        let data = pattern(k, shard_bytes);
        let mut parity = vec![0; m * shard_bytes];
        codec.encode(k, m, shard_bytes, &data, &mut parity).unwrap();
        Self {
            codec,
            k,
            m,
            shard_bytes,
            data,
            parity,
            present: vec![true; k],
        }
    }

    /// Rebuild what is not present of these, from these recovery shards.
    fn rebuild(&mut self, present: &[bool], recovery: &[usize]) {
        self.present.copy_from_slice(present);
        let parity: Vec<(usize, &[u8])> = recovery
            .iter()
            .map(|&j| (j, &self.parity[j * self.shard_bytes..][..self.shard_bytes]))
            .collect();
        self.codec
            .reconstruct_strided(
                self.k,
                self.m,
                self.shard_bytes,
                black_box(&mut self.data),
                self.shard_bytes,
                &mut self.present,
                &parity,
            )
            .unwrap();
    }
}

/// The losses lie evenly over the block.
fn evenly(k: usize, lost: usize) -> Vec<bool> {
    (0..k).map(|i| i * lost / k == (i + 1) * lost / k).collect()
}

/// Time of both codes and of `reed-solomon-simd` to rebuild so many shards, the first recovery shards here.
fn rebuild(codecs: &[Box<dyn Codec>; 2], (k, m): (usize, usize), lost: usize) -> [f64; 3] {
    let present = evenly(k, lost);
    let first: Vec<usize> = (0..lost).collect();
    let [mut a, mut b] = [0, 1].map(|n| Block::new(&*codecs[n], (k, m), SHARD_BYTES));
    let (data, parity) = (b.data.clone(), b.parity.clone());
    let mut library = ReedSolomonDecoder::new(k, m, SHARD_BYTES).unwrap();
    let mut room = vec![0; SHARD_BYTES];
    times([
        &mut || a.rebuild(&present, &first),
        &mut || b.rebuild(&present, &first),
        &mut || {
            for (i, shard) in data.chunks(SHARD_BYTES).enumerate() {
                if present[i] {
                    library.add_original_shard(i, shard).unwrap();
                }
            }
            for (j, shard) in parity.chunks(SHARD_BYTES).take(lost).enumerate() {
                library.add_recovery_shard(j, shard).unwrap();
            }
            for (_, shard) in library.decode().unwrap().restored_original_iter() {
                room.copy_from_slice(shard);
            }
        },
    ])
}

/// Time of both codes and of `reed-solomon-simd` to encode.
fn encode(codecs: &[Box<dyn Codec>; 2], (k, m): (usize, usize)) -> [f64; 3] {
    let data = pattern(k, SHARD_BYTES);
    let mut rooms = [const { Vec::new() }; 3];
    rooms.fill(vec![0; m * SHARD_BYTES]);
    let [mut a, mut b, mut c] = rooms;
    let mut library = ReedSolomonEncoder::new(k, m, SHARD_BYTES).unwrap();
    let ours = |codec: &dyn Codec, room: &mut [u8]| {
        codec
            .encode(k, m, SHARD_BYTES, black_box(&data), room)
            .unwrap();
    };
    times([
        &mut || ours(&*codecs[0], &mut a),
        &mut || ours(&*codecs[1], &mut b),
        &mut || {
            for shard in data.chunks(SHARD_BYTES) {
                library.add_original_shard(shard).unwrap();
            }
            let recovered = library.encode().unwrap();
            for (out, shard) in c.chunks_mut(SHARD_BYTES).zip(recovered.recovery_iter()) {
                out.copy_from_slice(shard);
            }
        },
    ])
}

/// Time to rebuild a block of shards of 1200 bytes, and of two: what lists, factors and checks take.
fn fixed(codec: &dyn Codec, (k, m): (usize, usize), lost: usize) -> [f64; 2] {
    let present = evenly(k, lost);
    let first: Vec<usize> = (0..lost).collect();
    let [mut whole, mut small] = [SHARD_BYTES, 2].map(|bytes| Block::new(codec, (k, m), bytes));
    times([&mut || whole.rebuild(&present, &first), &mut || {
        small.rebuild(&present, &first)
    }])
}

/// Random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ z >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// What arrives of a block over a link that loses packets independently of each other: data shards, and as many
    /// recovery shards as are wanted; nothing if that is too few.
    fn arrivals(&mut self, k: usize, m: usize, loss: f64) -> Option<(Vec<bool>, Vec<usize>)> {
        let present: Vec<bool> = (0..k).map(|_| self.unit() >= loss).collect();
        let lost = present.iter().filter(|here| !**here).count();
        let recovery: Vec<usize> = (0..m).filter(|_| self.unit() >= loss).take(lost).collect();
        (recovery.len() == lost).then_some((present, recovery))
    }
}

struct Left {
    /// Share of blocks that have to be rebuilt.
    rebuilt: f64,
    /// What is left to do at the last arrival, over all blocks: median and 99 %.
    median: f64,
    p99: f64,
    longest: f64,
    /// Share of rebuilt blocks whose pattern was one of the last [`KEPT`].
    repeated: f64,
}

/// What is left to do when the last shard that is needed has come.
fn left(codec: &dyn Codec, (k, m): (usize, usize), loss: f64) -> Left {
    let mut random = Random(1);
    let mut block = Block::new(codec, (k, m), SHARD_BYTES);
    let mut taken: Vec<f64> = Vec::new();
    let mut last = VecDeque::new();
    let (mut lossy, mut repeats) = (0, 0);
    while taken.len() < 400 {
        let Some((present, recovery)) = random.arrivals(k, m, loss) else {
            continue;
        };
        if recovery.is_empty() {
            taken.push(0.0);
            continue;
        }
        lossy += 1;
        let mut work = || block.rebuild(&present, &recovery);
        taken.push(clock::time(&mut work, 20e-6) * 1e6);
        let pattern = (present, recovery);
        if let Some(at) = last.iter().position(|other| *other == pattern) {
            last.remove(at);
            repeats += 1;
        }
        last.push_back(pattern);
        if last.len() > KEPT {
            last.pop_front();
        }
    }
    taken.sort_by(f64::total_cmp);
    let count = taken.len();
    Left {
        rebuilt: f64::from(lossy) / count as f64,
        median: taken[count / 2],
        p99: taken[count * 99 / 100],
        longest: taken[count - 1],
        repeated: f64::from(repeats) / f64::from(lossy.max(1)),
    }
}

fn main() {
    let mut file = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--json" => file = Some(arguments.next().expect("--json wants a file")),
            _ => panic!("{argument}: this bench knows --json FILE alone"),
        }
    }
    let kernel = kernels::best();
    let codecs = BOTH.map(|scheme| codec_with_kernel(scheme, kernel));
    let mut json = format!(
        "{{\"kernel\": \"{}\", \"shard_bytes\": {SHARD_BYTES}",
        kernel.name
    );
    println!(
        "kernel {}, {SHARD_BYTES}-byte shards, CPU microseconds of this thread, medians of {ROUNDS} in turns",
        kernel.name
    );

    let (k, m) = DRAWN;
    println!("\n| {k}+{m}, lost | GF(2^8) | GF(2^16) | reed-solomon-simd |\n|---|---|---|---|");
    let mut rows = Vec::new();
    for lost in [1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 36, 40] {
        let [a, b, c] = rebuild(&codecs, DRAWN, lost);
        println!("| {lost} | {a:.2} | {b:.2} | {c:.2} |");
        rows.push(format!("[{lost}, {a:.3}, {b:.3}, {c:.3}]"));
    }
    list(&mut json, "rebuild", &rows);

    println!(
        "\n| {k} data, recovery | GF(2^8) | GF(2^16) | reed-solomon-simd |\n|---|---|---|---|"
    );
    rows.clear();
    for m in [1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 56] {
        let [a, b, c] = encode(&codecs, (k, m));
        println!("| {m} | {a:.2} | {b:.2} | {c:.2} |");
        rows.push(format!("[{m}, {a:.3}, {b:.3}, {c:.3}]"));
    }
    list(&mut json, "encode", &rows);

    println!(
        "\n| code | block, lost | all | lists, factors and checks | share |\n|---|---|---|---|---|"
    );
    rows.clear();
    for (k, m, lost) in [
        (50, 10, 1),
        (50, 10, 10),
        (200, 40, 4),
        (200, 40, 40),
        (1000, 200, 10),
        (1000, 200, 200),
    ] {
        for (scheme, codec) in BOTH.iter().zip(&codecs) {
            if codec.supports(k, m) {
                let [all, lists] = fixed(&**codec, (k, m), lost);
                let share = 100.0 * lists / all;
                println!("| {scheme} | {k}+{m}, {lost} | {all:.2} | {lists:.2} | {share:.0} % |");
                rows.push(format!(
                    "[\"{scheme}\", {k}, {m}, {lost}, {all:.3}, {lists:.3}]"
                ));
            }
        }
    }
    list(&mut json, "fixed", &rows);

    println!(
        "\n| code | block | packets lost | blocks to rebuild | left at the last arrival: median, p99, longest | pattern one of the last {KEPT} |\n|---|---|---|---|---|---|"
    );
    rows.clear();
    for (k, m) in BLOCKS {
        for loss in [0.01, 0.05] {
            for (scheme, codec) in BOTH.iter().zip(&codecs) {
                if codec.supports(k, m) {
                    let of = left(&**codec, (k, m), loss);
                    println!(
                        "| {scheme} | {k}+{m} | {:.0} % | {:.1} % | {:.2}, {:.2}, {:.2} | {:.1} % |",
                        100.0 * loss,
                        100.0 * of.rebuilt,
                        of.median,
                        of.p99,
                        of.longest,
                        100.0 * of.repeated,
                    );
                    rows.push(format!(
                        "[\"{scheme}\", {k}, {m}, {loss}, {:.4}, {:.3}, {:.3}, {:.3}, {:.4}]",
                        of.rebuilt, of.median, of.p99, of.longest, of.repeated
                    ));
                }
            }
        }
    }
    list(&mut json, "left", &rows);
    json.push_str("\n}\n");
    if let Some(file) = file {
        std::fs::write(&file, json).unwrap_or_else(|error| panic!("cannot write {file}: {error}"));
    }
}

fn list(json: &mut String, name: &str, rows: &[String]) {
    write!(json, ",\n\"{name}\": [\n  {}\n]", rows.join(",\n  ")).expect("a string grows");
}
