//! Whole runs of the simulation.

use punktfunk_core::sim::{SimOutcome, simulate};
use serde_json::{Value, json};

fn run(spec: &Value) -> (SimOutcome, Value) {
    let outcome = simulate(&spec.to_string()).expect("a valid specification");
    let ledger: Value = serde_json::from_str(&outcome.ledger_json).expect("JSON");
    for (name, balance) in ledger["balances"].as_object().expect("balances") {
        assert_eq!(balance, 0, "{name} of {spec}: {ledger:#}");
    }
    (outcome, ledger)
}

fn classic(scheme: &str, period: Option<u32>) -> Value {
    let loss = match period {
        None => json!({"kind": "none"}),
        Some(every) => json!({"kind": "periodic", "every": every, "offset": 0}),
    };
    json!({
        "stream": {"scheme": scheme, "fec_percent": 25, "max_block_shards": 64, "shard_bytes": 1024},
        "link": {"loss": loss},
        "frames": 50,
        "frame_bytes": {"kind": "constant", "bytes": 100_000},
        "content": "classic",
    })
}

#[test]
fn the_classic_sweep_gives_the_counts_of_section_10_1() {
    for scheme in ["gf8", "gf16"] {
        for (period, expected) in [
            (None, 50),
            (Some(32), 50),
            (Some(16), 50),
            (Some(8), 50),
            (Some(6), 50),
            (Some(4), 0),
            (Some(3), 0),
            (Some(2), 0),
        ] {
            let (_, ledger) = run(&classic(scheme, period));
            assert_eq!(
                ledger["frames"]["intact"], expected,
                "{scheme} 1/{period:?}: {ledger:#}"
            );
            assert_eq!(ledger["frames"]["corrupt"], 0);
            assert_eq!(ledger["host"]["packets_sealed"], 50 * 123);
        }
    }
}
