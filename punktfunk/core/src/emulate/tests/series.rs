//! Traces, changes, replaced specs, and specs that are refused.

use super::*;

#[test]
fn a_rate_change_in_mid_packet_is_integrated() {
    // 1000 bytes: half of it in 1 ms at 4 Mbit/s, the rest in 4 ms at 1 Mbit/s.
    let json = r#"{"rate_kbps":4000,"changes":[{"at_ms":1,"set":{"rate_kbps":1000}}]}"#;
    assert_eq!(arrival(&model(json, 1).offer(0, 972)), 5_000_000);
    // An outage of 2 ms in the middle.
    let json =
        r#"{"rate_kbps":4000,"trace":[{"at_ms":1,"rate_kbps":0},{"at_ms":3,"rate_kbps":4000}]}"#;
    assert_eq!(arrival(&model(json, 1).offer(0, 972)), 4_000_000);
    // An outage for ever.
    let json = r#"{"rate_kbps":4000,"trace":[{"at_ms":1,"rate_kbps":0}]}"#;
    assert_eq!(model(json, 1).offer(0, 972).outcome, Outcome::QueueDropped);
}

#[test]
fn a_repeated_trace_starts_over() {
    let json = r#"{"trace":[{"at_ms":0,"delay_us":1000},{"at_ms":10,"delay_us":2000}],
                   "trace_repeat":true,"jitter_reorder":true}"#;
    let mut link = model(json, 1);
    let delays_us: Vec<u64> = (0..8)
        .map(|i| (arrival(&link.offer(i * 5_000_000, 10)) - i * 5_000_000) / 1000)
        .collect();
    assert_eq!(delays_us, [1000, 1000, 2000, 2000, 1000, 1000, 2000, 2000]);
}

#[test]
fn changes_build_on_each_other_and_count_from_the_first_packet() {
    let json = r#"{"changes":[{"at_ms":1,"set":{"delay_us":500}},
                              {"at_ms":2,"set":{"loss":{"kind":"independent","p":1.0}}},
                              {"at_ms":3,"set":{"loss":{"kind":"none"}}}]}"#;
    let mut link = model(json, 1);
    let t0 = 777_000_000_000;
    assert_eq!(arrival(&link.offer(t0, 10)), t0);
    assert_eq!(arrival(&link.offer(t0 + 1_000_000, 10)), t0 + 1_500_000);
    assert_eq!(link.offer(t0 + 2_000_000, 10).outcome, Outcome::Lost);
    assert_eq!(arrival(&link.offer(t0 + 3_000_000, 10)), t0 + 3_500_000);
}

#[test]
fn trace_loss_replaces_the_spec_loss() {
    let json = r#"{"loss":{"kind":"periodic","every":2},"trace":[{"at_ms":1,"loss_p":0.0}]}"#;
    let mut link = model(json, 1);
    assert_eq!(link.offer(0, 10).outcome, Outcome::Lost);
    link.offer(0, 10);
    assert_eq!(link.offer(1_000_000, 10).outcome, Outcome::Delivered);
}

#[test]
fn a_replaced_spec_keeps_numbers_and_queue_and_restarts_its_trace() {
    let mut link = model(r#"{"rate_kbps":8000}"#, 1);
    assert_eq!(arrival(&link.offer(0, 972)), 1_000_000);
    assert_eq!(arrival(&link.offer(0, 972)), 2_000_000);
    let next = spec(r#"{"rate_kbps":8000,"changes":[{"at_ms":5,"set":{"delay_us":100000}}]}"#);
    link.set_spec(&next, 500_000).unwrap();
    let verdict = link.offer(500_000, 972);
    assert_eq!((verdict.index, arrival(&verdict)), (2, 3_000_000));
    assert_eq!(arrival(&link.offer(5_499_999, 972)), 6_499_999);
    assert_eq!(arrival(&link.offer(6_500_000, 972)), 107_500_000);
}

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
fn specs_survive_json() {
    let all = r#"{"rate_kbps":1,"loss":{"kind":"gilbert_elliott","p":0.1,"r":0.2},"reorder":{"p":0.1,"extra_us":5.5},
        "trace":[{"at_ms":0.5,"rate_kbps":0}],"changes":[{"at_ms":1,"set":{"rate_kbps":null}}]}"#;
    let spec = spec(all);
    assert_eq!(
        LinkSpec::from_json(&serde_json::to_string(&spec).unwrap()).unwrap(),
        spec
    );
}
