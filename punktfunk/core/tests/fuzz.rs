//! Feeds mutations of each fuzz body's seeds to it: promise P1.
//!
//! `cargo test` runs a fixed number of cases from a fixed seed. `FUZZ_SECONDS=60` runs each body for that long from a
//! seed of the clock; `FUZZ_SEED=n` chooses the seed, and a failure prints the one to repeat it with. `FUZZ_TARGET=name`
//! runs that body alone.

#[path = "../fuzz/mod.rs"]
mod bodies;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bodies::{BODIES, Body};

const CASES: u64 = 400;
const SEED: u64 = 0x70_66;
/// How often a run by time says how far it is.
const NEWS: Duration = Duration::from_secs(20);
/// Longest input; the longest seeds are streams of about 6 KiB.
const MAX_BYTES: usize = 8192;

/// SplitMix64: one number a case, and the stream within it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// One to eight edits of a seed.
fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(input.len() + 1);
        let length = random.below(16).min(input.len() - at);
        match random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => {
                input[at] = [0, 1, 127, 128, 254, 255, 16, 64][random.below(8)]
            }
            2 if at < input.len() => input[at] = random.next() as u8,
            3 => drop(input.drain(at..at + length)),
            4 => {
                let copied = input[at..at + length].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, copied);
            }
            5 if length >= 4 => {
                let word = [0, 1, u32::MAX, 1 << 31, 65535, 65536][random.below(6)];
                input[at..at + 4].copy_from_slice(&u32::to_le_bytes(word));
            }
            6 => input.truncate(at),
            7 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let piece = other[from..].iter().take(64).copied().collect::<Vec<_>>();
                input.splice(at..at, piece);
            }
            _ => {}
        }
    }
    input.truncate(MAX_BYTES);
    input
}

/// Run one body; returns how many cases.
fn fuzz(body: &Body, seed: u64, mut done: impl FnMut(u64, Duration) -> bool) -> u64 {
    let seeds = (body.seeds)();
    seeds.iter().for_each(|input| (body.run)(input));
    (body.run)(&[]);
    let begin = Instant::now();
    let mut case = 0;
    while !done(case, begin.elapsed()) {
        let case_seed = seed.wrapping_add(case);
        let input = mutate(&seeds, &mut Random(case_seed));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (body.run)(&input))) {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            println!(
                "body {} failed; repeat with FUZZ_SEED={case_seed}; its input is {hex}",
                body.name
            );
            resume_unwind(panic);
        }
        case += 1;
    }
    case
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().expect("a number of seconds or a seed"))
}

#[test]
fn no_bytes_break_a_body() {
    let seconds = number("FUZZ_SECONDS");
    let seed = number("FUZZ_SEED").unwrap_or_else(|| match seconds {
        None => SEED,
        Some(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(SEED, |time| time.as_nanos() as u64),
    });
    let target = std::env::var("FUZZ_TARGET").ok();
    let chosen: Vec<&Body> = BODIES
        .iter()
        .filter(|body| target.as_deref().is_none_or(|name| name == body.name))
        .collect();
    assert!(!chosen.is_empty(), "no body is called {target:?}");
    if let Some(seconds) = seconds {
        let names: Vec<&str> = chosen.iter().map(|body| body.name).collect();
        println!("bodies of the core, {seconds} s each: {}", names.join(", "));
    }
    for body in chosen {
        let begin = Instant::now();
        let cases = match seconds {
            None => fuzz(body, seed, |case, _| case >= CASES),
            Some(seconds) => {
                let mut next = NEWS;
                fuzz(body, seed, |case, spent| {
                    if spent >= next {
                        next = spent + NEWS;
                        let spent = spent.as_secs();
                        println!("{:>15}: {case} cases in {spent} of {seconds} s", body.name);
                    }
                    spent >= Duration::from_secs(seconds)
                })
            }
        };
        println!(
            "{:>15}: {cases} cases in {:.1} s from FUZZ_SEED={seed}",
            body.name,
            begin.elapsed().as_secs_f64()
        );
    }
}

#[test]
fn mutation_reaches_past_the_first_checks() {
    // A body that is never reached cannot fail: some mutations must still parse, open or be delivered.
    let mut random = Random(SEED);
    let header = BODIES.iter().find(|body| body.name == "header").unwrap();
    let seeds = (header.seeds)();
    let parsed = (0..200)
        .filter(|_| {
            punktfunk_core::wire::punktfunk1::Header::parse(&mutate(&seeds, &mut random)).is_ok()
        })
        .count();
    assert!((20..200).contains(&parsed), "{parsed} of 200 headers parse");
}
