//! Specs at the limits, and specs that are refused.

use super::*;

#[test]
fn wrong_specs_are_refused_by_name() {
    for (json, expected) in [
        ("nonsense", "expected"),
        (r#"{"dellay_us":1}"#, "dellay_us"),
        (r#"{"delay_us":"1"}"#, "invalid type"),
        (r#"{"loss":{"kind":"none","p":1}}"#, "unknown field `p`"),
        (r#"{"loss":{"kind":"burst"}}"#, "burst"),
        (
            r#"{"duplicate":1.5}"#,
            "duplicate is 1.5, must be between 0 and 1",
        ),
        (r#"{"delay_us":-1}"#, "delay_us is -1"),
        (r#"{"rate_kbps":0}"#, "rate_kbps is 0"),
        (r#"{"queue_packets":0}"#, "queue_packets is 0"),
        (
            r#"{"loss":{"kind":"periodic","every":4,"offset":4}}"#,
            "loss.offset is 4",
        ),
        (
            r#"{"loss":{"kind":"periodic","every":0}}"#,
            "loss.every is 0",
        ),
        (
            r#"{"loss":{"kind":"gilbert_elliott","p":0,"r":0}}"#,
            "not both 0",
        ),
        (
            r#"{"trace":[{"at_ms":1},{"at_ms":1}]}"#,
            "trace: at_ms must grow",
        ),
        (
            r#"{"trace":[{"at_ms":0}],"trace_repeat":true}"#,
            "at least two points",
        ),
        (
            r#"{"trace":[{"at_ms":1},{"at_ms":2}],"trace_repeat":true}"#,
            "starts at 0 ms",
        ),
        (
            r#"{"trace":[{"at_ms":0,"loss_p":2}]}"#,
            "trace[0].loss_p is 2",
        ),
        (
            r#"{"changes":[{"at_ms":1,"set":{"corrupt":7}}]}"#,
            "changes[0].set.corrupt is 7",
        ),
        (r#"{"changes":[{"at_ms":1,"set":{"nope":7}}]}"#, "nope"),
        (
            r#"{"changes":[{"at_ms":1,"set":{"changes":[]}}]}"#,
            "cannot set",
        ),
    ] {
        let error = LinkSpec::from_json(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn every_limit_is_allowed_and_what_is_beyond_it_is_not() {
    for (allowed, refused, key) in [
        (r#"{"rate_kbps":1}"#, r#"{"rate_kbps":0}"#, "rate_kbps"),
        (
            r#"{"rate_kbps":400000000}"#,
            r#"{"rate_kbps":400000001}"#,
            "rate_kbps",
        ),
        (
            r#"{"queue_packets":1}"#,
            r#"{"queue_packets":0}"#,
            "queue_packets",
        ),
        (
            r#"{"queue_packets":1000000}"#,
            r#"{"queue_packets":1000001}"#,
            "queue_packets",
        ),
        (
            r#"{"queue_bytes":1}"#,
            r#"{"queue_bytes":0}"#,
            "queue_bytes",
        ),
        (
            r#"{"queue_bytes":4294967296}"#,
            r#"{"queue_bytes":4294967297}"#,
            "queue_bytes",
        ),
        (
            r#"{"overhead_bytes":1500}"#,
            r#"{"overhead_bytes":1501}"#,
            "overhead_bytes",
        ),
        (
            r#"{"delay_us":60000000}"#,
            r#"{"delay_us":60000000.001}"#,
            "delay_us",
        ),
        (
            r#"{"jitter_us":60000000}"#,
            r#"{"jitter_us":60000000.001}"#,
            "jitter_us",
        ),
        (r#"{"jitter_us":0}"#, r#"{"jitter_us":-0.001}"#, "jitter_us"),
        (
            r#"{"reorder":{"p":1,"extra_us":60000000}}"#,
            r#"{"reorder":{"p":1,"extra_us":60000000.001}}"#,
            "reorder.extra_us",
        ),
        (
            r#"{"reorder":{"p":0,"extra_us":0}}"#,
            r#"{"reorder":{"p":1.001,"extra_us":0}}"#,
            "reorder.p",
        ),
        (r#"{"duplicate":1}"#, r#"{"duplicate":1.001}"#, "duplicate"),
        (r#"{"corrupt":0}"#, r#"{"corrupt":-0.001}"#, "corrupt"),
        (
            r#"{"loss":{"kind":"independent","p":1}}"#,
            r#"{"loss":{"kind":"independent","p":1.001}}"#,
            "loss.p",
        ),
        (
            r#"{"loss":{"kind":"gilbert_elliott","p":0,"r":0.1}}"#,
            r#"{"loss":{"kind":"gilbert_elliott","p":1.001,"r":0.1}}"#,
            "loss.p",
        ),
        (
            r#"{"loss":{"kind":"gilbert_elliott","p":0.1,"r":0}}"#,
            r#"{"loss":{"kind":"gilbert_elliott","p":0.1,"r":-0.001}}"#,
            "loss.r",
        ),
        (
            r#"{"loss":{"kind":"gilbert_elliott","p":1,"r":1,"bad":0,"good":1}}"#,
            r#"{"loss":{"kind":"gilbert_elliott","p":1,"r":1,"bad":1.001}}"#,
            "loss.bad",
        ),
        (
            // Half of the smallest chance there is rounds up, less is never.
            r#"{"loss":{"kind":"gilbert_elliott","p":6e-17,"r":0}}"#,
            r#"{"loss":{"kind":"gilbert_elliott","p":5e-17,"r":0}}"#,
            "loss.p and loss.r",
        ),
        (
            r#"{"loss":{"kind":"gilbert_elliott","p":1,"r":1,"good":0}}"#,
            r#"{"loss":{"kind":"gilbert_elliott","p":1,"r":1,"good":1.001}}"#,
            "loss.good",
        ),
        (
            r#"{"loss":{"kind":"periodic","every":1}}"#,
            r#"{"loss":{"kind":"periodic","every":0}}"#,
            "loss.every",
        ),
        (
            r#"{"loss":{"kind":"periodic","every":4,"offset":3}}"#,
            r#"{"loss":{"kind":"periodic","every":4,"offset":5}}"#,
            "loss.offset",
        ),
        (
            r#"{"trace":[{"at_ms":0,"rate_kbps":400000000},{"at_ms":1,"rate_kbps":0}]}"#,
            r#"{"trace":[{"at_ms":0},{"at_ms":1,"rate_kbps":400000001}]}"#,
            "trace[1].rate_kbps",
        ),
        (
            r#"{"trace":[{"at_ms":864000000,"delay_us":60000000}]}"#,
            r#"{"trace":[{"at_ms":0,"delay_us":60000001}]}"#,
            "trace[0].delay_us",
        ),
        (
            r#"{"trace":[{"at_ms":0,"loss_p":1}]}"#,
            r#"{"trace":[{"at_ms":864000000.001}]}"#,
            "trace: at_ms must be between",
        ),
        (
            r#"{"changes":[{"at_ms":0,"set":{}},{"at_ms":0.001,"set":{}}]}"#,
            r#"{"changes":[{"at_ms":1,"set":{}},{"at_ms":1,"set":{}}]}"#,
            "changes: at_ms must grow",
        ),
        (
            r#"{"changes":[{"at_ms":1,"set":{"delay_us":60000000}}]}"#,
            r#"{"changes":[{"at_ms":-0.001,"set":{}}]}"#,
            "changes: at_ms must be between",
        ),
        (
            r#"{"trace":[{"at_ms":0},{"at_ms":1}],"trace_repeat":true}"#,
            r#"{"trace_repeat":true}"#,
            "at least two points",
        ),
    ] {
        if let Err(error) = LinkSpec::from_json(allowed) {
            panic!("{allowed}: {error}");
        }
        let error = LinkSpec::from_json(refused).unwrap_err().to_string();
        assert!(error.contains(&format!(" {key}")), "{refused}: {error}");
    }
}

#[test]
fn a_trace_has_a_million_points_at_most() {
    let point = |n| TracePoint {
        at_ms: f64::from(n),
        rate_kbps: None,
        delay_us: None,
        loss_p: None,
    };
    let mut spec = LinkSpec {
        trace: (0..1_000_000).map(point).collect(),
        ..LinkSpec::default()
    };
    spec.validate().unwrap();
    spec.trace.push(point(1_000_000));
    let error = spec.validate().unwrap_err().to_string();
    assert!(error.contains("trace: more than 1000000 points"), "{error}");
}

#[test]
fn what_a_spec_becomes_over_time_carries_no_trace_of_its_own() {
    let json = r#"{"delay_us":1,"trace":[{"at_ms":0},{"at_ms":1}],"trace_repeat":true,
                   "changes":[{"at_ms":2,"set":{"delay_us":3}},{"at_ms":4,"set":{"duplicate":0.5}}]}"#;
    let plain = |delay_us, duplicate| LinkSpec {
        delay_us,
        duplicate,
        ..LinkSpec::default()
    };
    assert_eq!(
        spec(json).steps().unwrap(),
        [
            (0.0, plain(1.0, 0.0)),
            (2.0, plain(3.0, 0.0)),
            (4.0, plain(3.0, 0.5))
        ]
    );
}
