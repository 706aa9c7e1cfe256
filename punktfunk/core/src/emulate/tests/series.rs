//! Traces, changes and replaced specs.

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
fn a_packet_that_waited_is_sent_at_the_rates_of_its_own_time() {
    // The first takes until 2 ms. Of the second's 1000 bytes half leave in a ms, half in 4.
    let json = r#"{"rate_kbps":4000,"changes":[{"at_ms":3,"set":{"rate_kbps":1000}}]}"#;
    let mut link = model(json, 1);
    assert_eq!(arrival(&link.offer(5_000, 972)), 2_005_000);
    assert_eq!(arrival(&link.offer(5_000, 972)), 7_005_000);
    // The same after the spec was replaced: its times count from then.
    let mut link = model("{}", 1);
    link.offer(5_000, 972);
    link.set_spec(&spec(json), 10_005_000).unwrap();
    assert_eq!(arrival(&link.offer(10_005_000, 972)), 12_005_000);
    assert_eq!(arrival(&link.offer(10_005_000, 972)), 17_005_000);
    // 724 bytes at 1049 kbit/s end within the last tick before 5521449 ns, when the rate ends for ever.
    let json = r#"{"rate_kbps":1049,"trace":[{"at_ms":5.521449,"rate_kbps":0}]}"#;
    let mut link = model(json, 1);
    assert_eq!(arrival(&link.offer(0, 696)), 5_521_449);
    assert_eq!(link.offer(0, 0).outcome, Outcome::QueueDropped);
}

#[test]
fn an_outage_without_an_end_drops_what_it_meets() {
    let dropped = |json| model(json, 1).offer(0, 972).outcome == Outcome::QueueDropped;
    assert!(dropped(
        r#"{"trace":[{"at_ms":0,"rate_kbps":0},{"at_ms":7,"delay_us":1}],"trace_repeat":true}"#
    ));
    assert!(dropped(
        r#"{"trace":[{"at_ms":0,"rate_kbps":0}],"changes":[{"at_ms":5,"set":{"rate_kbps":9}}]}"#
    ));
    assert!(!dropped(
        r#"{"trace":[{"at_ms":0,"rate_kbps":0},{"at_ms":7,"rate_kbps":1}],"trace_repeat":true}"#
    ));
    // Before the outage all is well.
    let json = r#"{"trace":[{"at_ms":1,"rate_kbps":0}]}"#;
    assert_eq!(arrival(&model(json, 1).offer(0, 972)), 0);
}

#[test]
fn what_would_leave_after_the_end_of_the_clock_is_dropped() {
    // 65535 bytes a packet at 1 kbit/s: the 34361st would end more than 2^64 / 1024 ns after the start.
    let mut link = model(r#"{"rate_kbps":1,"queue_packets":1000000}"#, 1);
    let packet_ns = 65_535 * 8_000_000;
    for n in 1..=34_360 {
        assert_eq!(arrival(&link.offer(0, 65_507)), n * packet_ns);
    }
    assert_eq!(link.offer(0, 65_507).outcome, Outcome::QueueDropped);
}

#[test]
fn nothing_overtakes_the_queue_when_the_rate_is_lifted() {
    let mut link = model(r#"{"rate_kbps":8000}"#, 1);
    let sent: Vec<_> = (0..3).map(|_| arrival(&link.offer(0, 972))).collect();
    assert_eq!(sent, [1_000_000, 2_000_000, 3_000_000]);
    link.set_spec(&spec("{}"), 500_000).unwrap();
    assert_eq!(arrival(&link.offer(500_000, 972)), 3_000_000);
    assert_eq!(arrival(&link.offer(3_000_001, 972)), 3_000_001);
}

#[test]
fn a_timeline_begins_when_it_is_started_or_with_the_first_packet() {
    let json = r#"{"changes":[{"at_ms":1,"set":{"delay_us":500}}]}"#;
    let mut link = model(json, 1);
    link.start(3_000);
    assert_eq!(arrival(&link.offer(1_002_999, 10)), 1_002_999);
    assert_eq!(arrival(&link.offer(1_003_000, 10)), 1_503_000);
    let mut link = model(json, 1);
    link.offer(3_000, 10);
    link.start(900_000);
    assert_eq!(arrival(&link.offer(1_003_000, 10)), 1_503_000);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let json = r#"{"delay_us":2,"changes":[{"at_ms":5,"set":{"delay_us":3}}]}"#;
    let mut link = model(json, 1);
    link.start(0);
    assert_eq!(arrival(&link.offer(5_000_000, 10)), 5_003_000);
    assert_eq!(arrival(&link.offer(4_000_000, 10)), 5_003_000);
}

#[test]
fn a_refused_spec_leaves_the_old_one_in_force() {
    let mut link = model(r#"{"delay_us":7}"#, 1);
    let wrong = LinkSpec {
        duplicate: 2.0,
        ..LinkSpec::default()
    };
    assert!(link.set_spec(&wrong, 0).is_err());
    assert_eq!(arrival(&link.offer(1, 10)), 7_001);
}

#[test]
fn the_last_point_of_a_repeated_trace_lasts_as_long_as_the_one_before_it() {
    // 3, 7 and again 7 ms.
    let json = r#"{"trace":[{"at_ms":0,"delay_us":1},{"at_ms":3,"delay_us":2},{"at_ms":10,"delay_us":3}],
                   "trace_repeat":true,"jitter_reorder":true}"#;
    let mut link = model(json, 1);
    link.start(0);
    for (at_us, delay_us) in [
        (0, 1),
        (2_999, 1),
        (3_000, 2),
        (9_999, 2),
        (10_000, 3),
        (16_999, 3),
        (17_000, 1),
        (20_000, 2),
        (33_999, 3),
        (34_000, 1),
        (37_000, 2),
    ] {
        let sent = arrival(&link.offer(at_us * 1000, 10));
        assert_eq!(sent, (at_us + delay_us) * 1000, "at {at_us} us");
    }
}

#[test]
fn a_point_keeps_what_it_does_not_name_and_the_spec_holds_before_the_first() {
    let json = r#"{"delay_us":9,"jitter_reorder":true,"changes":[{"at_ms":4,"set":{"delay_us":8,"duplicate":1}}],
        "trace":[{"at_ms":1,"delay_us":7.0016},{"at_ms":2,"loss_p":1},{"at_ms":3,"loss_p":0,"rate_kbps":8000}]}"#;
    let mut link = model(json, 1);
    assert_eq!(arrival(&link.offer(0, 972)), 9_000);
    // Times are rounded to the nanosecond.
    assert_eq!(arrival(&link.offer(1_000_000, 972)), 1_007_002);
    assert_eq!(link.offer(2_000_000, 972).outcome, Outcome::Lost);
    assert_eq!(arrival(&link.offer(3_000_000, 972)), 4_007_002);
    // A change of what the trace names has no effect, of something else it has.
    let doubled = link.offer(4_000_000, 972);
    assert_eq!(arrival(&doubled), 5_007_002);
    assert!(doubled.duplicated);
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
fn specs_survive_json() {
    let all = r#"{"rate_kbps":1,"loss":{"kind":"gilbert_elliott","p":0.1,"r":0.2},"reorder":{"p":0.1,"extra_us":5.5},
        "trace":[{"at_ms":0.5,"rate_kbps":0}],"changes":[{"at_ms":1,"set":{"rate_kbps":null}}]}"#;
    let spec = spec(all);
    assert_eq!(
        LinkSpec::from_json(&serde_json::to_string(&spec).unwrap()).unwrap(),
        spec
    );
}
