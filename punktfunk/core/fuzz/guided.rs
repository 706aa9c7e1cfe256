//! Runs one of the bodies under libFuzzer: `FUZZ_TARGET` names it. `nox -s fuzz -- --guided` starts it (ADR 0238).
//!
//! With `FUZZ_SEEDS` the body's seeds are written into that folder before libFuzzer reads it.

#![no_main]

#[path = "mod.rs"]
mod bodies;

use std::path::Path;
use std::process::exit;
use std::sync::OnceLock;

use bodies::{BODIES, Body};
use libfuzzer_sys::fuzz_target;

static CHOSEN: OnceLock<&Body> = OnceLock::new();

/// Choose the body and hand libFuzzer its seeds; ends the process where that cannot be.
fn begin() {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(body) = BODIES.iter().find(|body| body.name == name) else {
        let names = BODIES.map(|body| body.name).join(", ");
        eprintln!("FUZZ_TARGET={name:?} is no body; set it to one of {names}");
        exit(2);
    };
    if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
        for (number, seed) in (body.seeds)().into_iter().enumerate() {
            let file = Path::new(&folder).join(format!("seed-{number}"));
            if let Err(error) = std::fs::write(&file, seed) {
                eprintln!("cannot write the seed {}: {error}", file.display());
                exit(2);
            }
        }
    }
    CHOSEN.get_or_init(|| body);
}

fuzz_target!(
    init: begin(),
    |bytes: &[u8]| {
        let body = CHOSEN.get().expect("libFuzzer initialises before the first input");
        (body.run)(bytes);
    }
);
