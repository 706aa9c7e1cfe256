//! The GF(2^16) code beside `reed-solomon-simd` in one process, in turns: medians of seven and what they spread.
//!
//! `cargo bench --bench rivals`, or `cargo bench --bench rivals -- encode/1000+200` for the rows whose name begins so, or
//! `-- 35+7` for a block that is not in the table; `-- --json FILE` keeps the figures. Times are CPU seconds of this thread, so that a busy machine takes turns away
//! from both alike; throughput is data bytes of the block.

use std::fmt::Write as _;
use std::hint::black_box;

use punktfunk_core::fec::{Scheme, codec_with_kernel, kernels};
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

mod clock;

const SHARD_BYTES: usize = 1200;
const ROUNDS: usize = 7;
/// CPU seconds of a round, or one block where that takes longer.
const ROUND: f64 = 0.02;
/// (data, recovery), then the ratios that are wanted of encode, of decode at 1 % lost and of decode at m lost.
const ROWS: [((usize, usize), [f64; 3]); 5] = [
    ((50, 10), [2.0, 100.0, 20.0]),
    ((200, 50), [2.5, 40.0, 4.0]),
    ((1000, 200), [2.5, 15.0, 3.0]),
    ((4000, 800), [2.0, 8.0, 3.0]),
    ((20000, 4000), [1.5, 5.0, 2.5]),
];

/// Median, smallest and largest.
fn summary(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [
        values[values.len() / 2],
        values[0],
        values[values.len() - 1],
    ]
}

struct Row {
    name: String,
    ours: [f64; 3],
    rival: [f64; 3],
    ratio: [f64; 3],
    wanted: Option<f64>,
}

/// Time both in turns; GB/s of `bytes` and their ratio, round by round.
fn compare(
    name: String,
    bytes: usize,
    wanted: Option<f64>,
    ours: &mut dyn FnMut(),
    rival: &mut dyn FnMut(),
) -> Row {
    ours();
    rival();
    let (mut a, mut b, mut ratio) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let (mine, theirs) = (clock::time(ours, ROUND), clock::time(rival, ROUND));
        a.push(bytes as f64 / mine * 1e-9);
        b.push(bytes as f64 / theirs * 1e-9);
        ratio.push(theirs / mine);
    }
    Row {
        name,
        ours: summary(a),
        rival: summary(b),
        ratio: summary(ratio),
        wanted,
    }
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count * SHARD_BYTES)
        .map(|n| (n * 7 + n / SHARD_BYTES * 31) as u8)
        .collect()
}

fn encode(k: usize, m: usize, wanted: Option<f64>) -> Row {
    let data = pattern(k);
    let codec = codec_with_kernel(Scheme::Gf16, kernels::best());
    let mut rival = ReedSolomonEncoder::new(k, m, SHARD_BYTES).unwrap();
    let (mut a, mut b) = (vec![0; m * SHARD_BYTES], vec![0; m * SHARD_BYTES]);
    let row = compare(
        format!("encode/{k}+{m}"),
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
    assert!(a == b, "encode/{k}+{m}: recovery shards differ");
    row
}

/// The losses lie evenly over the block, and the first recovery shards are here.
fn decode(k: usize, m: usize, lost: usize, wanted: Option<f64>) -> Row {
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
    let row = compare(
        format!("decode/{k}+{m}/{lost} lost"),
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
        "decode/{k}+{m}/{lost} lost: rebuilt shards differ"
    );
    row
}

/// What `35+7` says.
fn block(word: &str) -> Option<(usize, usize)> {
    let (k, m) = word.split_once('+')?;
    Some((k.parse().ok()?, m.parse().ok()?))
}

/// Print a row, and append it to `figures` as JSON.
fn report(row: &Row, figures: &mut String) {
    let (wanted, verdict) = match row.wanted {
        None => ("–".to_owned(), "–"),
        Some(wanted) if row.ratio[0] >= wanted => (wanted.to_string(), "reached"),
        Some(wanted) => (wanted.to_string(), "missed"),
    };
    println!(
        "| {} | {:.2} | {:.2} | {:.2} ({:.2} to {:.2}) | {wanted} | {verdict} |",
        row.name, row.ours[0], row.rival[0], row.ratio[0], row.ratio[1], row.ratio[2],
    );
    let comma = if figures.is_empty() { "" } else { ",\n" };
    let target = row
        .wanted
        .map_or("null".to_owned(), |wanted| wanted.to_string());
    write!(
        figures,
        "{comma}  {{\"work\": \"{}\", \"ours\": {:?}, \"rival\": {:?}, \"ratio\": {:?}, \"target\": {target}}}",
        row.name, row.ours, row.rival, row.ratio
    )
    .expect("a string grows");
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut filter, mut json) = (String::new(), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--json" => json = Some(arguments.next().expect("--json wants a file")),
            _ => filter = argument,
        }
    }
    println!(
        "kernel {}, {SHARD_BYTES}-byte shards, medians of {ROUNDS} in turns, GB/s of data by CPU time of the thread",
        kernels::best().name
    );
    println!(
        "| work | ours | reed-solomon-simd | ratio (smallest to largest) | target | verdict |"
    );
    println!("|---|---|---|---|---|---|");
    let mut figures = String::new();
    let listed = ROWS.map(|(block, wanted)| (block, wanted.map(Some)));
    let other = block(&filter).map(|block| (block, [None; 3]));
    let rows = match other {
        Some(_) => other.as_slice(),
        None => &listed,
    };
    for &((k, m), wanted) in rows {
        let some = k.div_ceil(100).min(m);
        let works: [(String, Box<dyn Fn() -> Row>); 3] = [
            (
                format!("encode/{k}+{m}"),
                Box::new(move || encode(k, m, wanted[0])),
            ),
            (
                format!("decode/{k}+{m}/{some} lost"),
                Box::new(move || decode(k, m, some, wanted[1])),
            ),
            (
                format!("decode/{k}+{m}/{} lost", m.min(k)),
                Box::new(move || decode(k, m, m.min(k), wanted[2])),
            ),
        ];
        for (name, work) in works {
            if other.is_some() || name.starts_with(&filter) {
                report(&work(), &mut figures);
            }
        }
    }
    if let Some(file) = json {
        let kernel = kernels::best().name;
        let text = format!("{{\"kernel\": \"{kernel}\", \"rows\": [\n{figures}\n]}}\n");
        std::fs::write(&file, text).unwrap_or_else(|error| panic!("cannot write {file}: {error}"));
    }
}
