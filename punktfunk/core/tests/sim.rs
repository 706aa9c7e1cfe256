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

/// GameStream over the same link: the same balances, the same digest, and recovery where every block has enough.
#[test]
fn a_gamestream_run_balances_repeats_and_recovers_what_its_blocks_can() {
    for key in [None, Some("000102030405060708090a0b0c0d0e0f")] {
        // 73 packets a frame and 15 of recovery: one of 6 lost is 14 or 15 of 88, one of 5 is 17 or 18.
        for (period, intact) in [(None, 50), (Some(8), 50), (Some(6), 50), (Some(5), 0)] {
            let mut spec = classic("gf8", period);
            spec["gamestream"] = json!({"packet_size": 1392, "fec_percent": 20, "key": key});
            let (outcome, ledger) = run(&spec);
            assert_eq!(
                ledger["frames"]["intact"], intact,
                "1/{period:?}: {ledger:#}"
            );
            assert_eq!(ledger["frames"]["corrupt"], 0);
            assert_eq!(ledger["host"]["packets_sealed"], 50 * 88);
            assert_eq!(run(&spec).0.digest, outcome.digest);
        }
    }
}

#[test]
fn a_lost_frame_of_gamestream_asks_for_a_key_frame_and_gets_it() {
    let mut spec = classic("gf8", None);
    spec["gamestream"] = json!({"fec_percent": 0});
    spec["key_interval"] = json!(1000);
    spec["recovery_rtt_us"] = json!(10_000);
    // The first packet of the eleventh frame.
    spec["link"]["loss"] = json!({"kind": "periodic", "every": 100_000, "offset": 730});
    let (_, ledger) = run(&spec);
    let client = &ledger["client"];
    assert_eq!(client["packets_lost"], 1, "{ledger:#}");
    assert_eq!(client["frames_unrecoverable"], 1);
    let kept_back = client["frames_undecodable"].as_u64().unwrap();
    assert!((1..=4).contains(&kept_back), "{ledger:#}");
    assert_eq!(ledger["frames"]["intact"], 49 - kept_back);
}
