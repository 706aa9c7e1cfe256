//! The model against arithmetic and against its own distributions.

mod limits;
mod series;
mod state;

use super::*;

fn spec(json: &str) -> LinkSpec {
    LinkSpec::from_json(json).unwrap()
}

fn model(json: &str, seed: u64) -> LinkModel {
    LinkModel::new(&spec(json), seed, 0).unwrap()
}

/// Fates of `n` packets of 1200 bytes that arrive every `gap_ns`.
fn run(model: &mut LinkModel, n: u64, gap_ns: u64) -> Vec<Verdict> {
    (0..n).map(|i| model.offer(i * gap_ns, 1200)).collect()
}

fn arrival(verdict: &Verdict) -> u64 {
    verdict.deliveries()[0].at_ns
}

/// Six standard deviations of a binomial count: beyond it once in 5e8.
fn assert_binomial(count: u64, n: u64, p: f64) {
    let sd = (n as f64 * p * (1.0 - p)).sqrt();
    let off = (count as f64 - n as f64 * p).abs();
    assert!(
        off <= 6.0 * sd,
        "{count} of {n}, expected {} +- {sd}",
        n as f64 * p
    );
}

#[test]
fn a_perfect_link_delivers_everything_at_once() {
    let mut link = model("{}", 1);
    for (i, verdict) in run(&mut link, 100, 7).iter().enumerate() {
        assert_eq!(verdict.index, i as u64);
        assert_eq!(verdict.outcome, Outcome::Delivered);
        assert_eq!(arrival(verdict), i as u64 * 7);
        assert_eq!(verdict.deliveries().len(), 1);
    }
    assert_eq!(link.counters().in_flight(), 100);
}

#[test]
fn periodic_loss_drops_exactly_every_nth() {
    let mut link = model(r#"{"loss":{"kind":"periodic","every":8,"offset":3}}"#, 1);
    for verdict in run(&mut link, 800, 10) {
        let lost = verdict.outcome == Outcome::Lost;
        assert_eq!(lost, verdict.index % 8 == 3);
    }
    assert_eq!(link.counters().dropped_loss, 100);
}

#[test]
fn independent_loss_duplication_and_corruption_meet_their_probabilities() {
    let json = r#"{"loss":{"kind":"independent","p":0.02},"duplicate":0.01,"corrupt":0.03}"#;
    let mut link = model(json, 5);
    let n = 400_000;
    let verdicts = run(&mut link, n, 10);
    let counters = link.counters();
    assert_binomial(counters.dropped_loss, n, 0.02);
    let kept = n - counters.dropped_loss;
    assert_binomial(counters.duplicated, kept, 0.01);
    assert_binomial(counters.corrupted, kept + counters.duplicated, 0.03);
    for verdict in verdicts {
        for delivery in verdict.deliveries() {
            if let Some(corrupt) = delivery.corrupt {
                assert!(matches!(corrupt, Corruption::Checksum(bit) if bit < 9600));
            }
        }
    }
}

#[test]
fn gilbert_elliott_has_its_stationary_loss_and_burst_length() {
    let (p, r) = (0.01, 0.2);
    let json = r#"{"loss":{"kind":"gilbert_elliott","p":0.01,"r":0.2}}"#;
    let mut link = model(json, 11);
    let n = 2_000_000;
    let (mut bursts, mut lost, mut before) = (0u64, 0u64, false);
    for verdict in run(&mut link, n, 10) {
        let is_lost = verdict.outcome == Outcome::Lost;
        lost += u64::from(is_lost);
        bursts += u64::from(is_lost && !before);
        before = is_lost;
    }
    // The loss count of the chain has n pi (1-pi) (2-p-r)/(p+r) variance; burst lengths are geometric(r).
    let stationary = p / (p + r);
    let sd = (n as f64 * stationary * (1.0 - stationary) * (2.0 - p - r) / (p + r)).sqrt();
    assert!(
        (lost as f64 - n as f64 * stationary).abs() < 6.0 * sd,
        "{lost}"
    );
    let mean = lost as f64 / bursts as f64;
    let mean_sd = ((1.0 - r) / (r * r) / bursts as f64).sqrt();
    assert!((mean - 1.0 / r).abs() < 6.0 * mean_sd, "{mean}");
}

#[test]
fn gilbert_elliott_starts_in_its_stationary_distribution() {
    let spec = spec(r#"{"loss":{"kind":"gilbert_elliott","p":0.001,"r":0.003}}"#);
    let lost = (0..20_000)
        .filter(|&seed| {
            let mut link = LinkModel::new(&spec, seed, 0).unwrap();
            link.offer(0, 100).outcome == Outcome::Lost
        })
        .count() as u64;
    assert_binomial(lost, 20_000, 0.25);
}

#[test]
fn the_rate_is_exact_and_the_queue_drops_its_tail() {
    // 8 Mbit/s and 972 + 28 bytes: a packet a millisecond.
    let mut link = model(r#"{"rate_kbps":8000,"queue_packets":5}"#, 1);
    let verdicts: Vec<_> = (0..10).map(|_| link.offer(1_000, 972)).collect();
    for (i, verdict) in verdicts.iter().enumerate() {
        if i < 6 {
            // one in transmission and five that wait
            assert_eq!(arrival(verdict), 1_000 + 1_000_000 * (i as u64 + 1));
        } else {
            assert_eq!(verdict.outcome, Outcome::QueueDropped);
        }
    }
    assert_eq!(link.counters().dropped_queue, 4);
    assert_eq!(link.counters().queue_max_ns, 5_000_000);
    // At 2 ms the second one is in transmission, so there is room for one more.
    assert_eq!(arrival(&link.offer(1_001_000, 972)), 1_000 + 7_000_000);
    assert_eq!(link.offer(1_001_000, 972).outcome, Outcome::QueueDropped);
}

#[test]
fn rounding_does_not_build_up() {
    // 10 Gbit/s and 3 bytes: 2.4 ns a packet.
    let mut link = model(
        r#"{"rate_kbps":10000000,"overhead_bytes":0,"queue_packets":1000000}"#,
        1,
    );
    let last = (0..1_000_000)
        .map(|_| arrival(&link.offer(0, 3)))
        .last()
        .unwrap();
    assert!((2_400_000..=2_401_000).contains(&last), "{last}");
}

#[test]
fn the_queue_limit_in_bytes_counts_what_waits() {
    let mut link = model(r#"{"rate_kbps":8000,"queue_bytes":2500}"#, 1);
    let outcomes: Vec<_> = (0..5).map(|_| link.offer(0, 972).outcome).collect();
    use Outcome::{Delivered, QueueDropped};
    assert_eq!(
        outcomes,
        [Delivered, Delivered, Delivered, QueueDropped, QueueDropped]
    );
    assert_eq!(link.offer(0, 400).outcome, Delivered);
}

#[test]
fn jitter_keeps_order_unless_told_otherwise() {
    for (reorder, distribution) in [
        (false, "uniform"),
        (false, "normal"),
        (false, "pareto"),
        (true, "uniform"),
        (true, "normal"),
        (true, "pareto"),
    ] {
        let json = format!(
            r#"{{"delay_us":5000,"jitter_us":1000,"jitter_reorder":{reorder},"jitter_distribution":"{distribution}"}}"#
        );
        let mut link = model(&json, 3);
        let arrivals: Vec<u64> = run(&mut link, 5_000, 100_000).iter().map(arrival).collect();
        assert_eq!(arrivals.is_sorted(), !reorder, "{json}");
    }
}

#[test]
fn jitter_distributions_have_their_moments() {
    let n = 200_000u64;
    // (name, mean, standard deviation) in us for jitter_us = 1000
    for (name, mean, sd) in [
        ("uniform", 0.0, 1000.0 / 3f64.sqrt()),
        ("normal", 0.0, 1000.0),
        // Lomax with shape 3 and scale 2: variance 3 (scale 2, less what the cut takes)
        ("pareto", 1000.0, 1000.0 * 3f64.sqrt()),
    ] {
        let json = format!(
            r#"{{"delay_us":50000,"jitter_us":1000,"jitter_reorder":true,"jitter_distribution":"{name}"}}"#
        );
        let mut link = model(&json, 17);
        let extra: Vec<f64> = run(&mut link, n, 1_000)
            .iter()
            .enumerate()
            .map(|(i, v)| (arrival(v) - i as u64 * 1_000) as f64 / 1e3 - 50_000.0)
            .collect();
        let m = extra.iter().sum::<f64>() / n as f64;
        let v = extra.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / n as f64;
        assert!(
            (m - mean).abs() < 6.0 * sd / (n as f64).sqrt() + 0.01,
            "{name} mean {m}"
        );
        let slack = if name == "pareto" { 0.2 } else { 0.02 };
        assert!(
            (v.sqrt() / sd - 1.0).abs() < slack,
            "{name} sd {}",
            v.sqrt()
        );
    }
}

#[test]
fn delay_plus_jitter_is_never_negative() {
    let json = r#"{"delay_us":10,"jitter_us":1000,"jitter_reorder":true}"#;
    for (i, verdict) in run(&mut model(json, 1), 1000, 1000).iter().enumerate() {
        assert!(arrival(verdict) >= i as u64 * 1000);
    }
}

#[test]
fn held_back_packets_are_overtaken_and_counted_on_arrival() {
    let json = r#"{"delay_us":1000,"reorder":{"p":0.1,"extra_us":500}}"#;
    let mut link = model(json, 9);
    let mut arrivals: Vec<_> = run(&mut link, 10_000, 100_000)
        .iter()
        .map(|v| (arrival(v), v.index, v.deliveries()[0]))
        .collect();
    let held = arrivals
        .iter()
        .filter(|(at, index, _)| at - index * 100_000 == 1_500_000)
        .count() as u64;
    assert_binomial(held, 10_000, 0.1);
    arrivals.sort_by_key(|&(at, index, _)| (at, index));
    for (_, index, delivery) in &arrivals {
        link.arrived(*index, delivery, 1200);
    }
    let counters = link.counters();
    // A held packet is not overtaken when the next five are held too.
    assert!(
        (held - 5..=held).contains(&counters.reordered),
        "{counters:?}"
    );
    assert_eq!(counters.in_flight(), 0);
    assert_eq!(counters.delivered, 10_000);
}

#[test]
fn the_balance_holds_with_everything_on() {
    let json = r#"{"rate_kbps":50000,"queue_packets":20,"delay_us":3000,"jitter_us":800,"jitter_reorder":true,
        "loss":{"kind":"gilbert_elliott","p":0.02,"r":0.3,"good":0.001},"duplicate":0.05,"corrupt":0.02,
        "reorder":{"p":0.03,"extra_us":900}}"#;
    let mut link = model(json, 21);
    let mut arrivals = Vec::new();
    for verdict in run(&mut link, 20_000, 190_000) {
        arrivals.extend(
            verdict
                .deliveries()
                .iter()
                .map(|d| (d.at_ns, verdict.index, *d)),
        );
    }
    let scheduled = arrivals.len() as u64;
    assert_eq!(link.counters().in_flight(), scheduled);
    assert!(link.counters().dropped_queue > 0);
    arrivals.sort_by_key(|&(at, index, _)| (at, index));
    for (_, index, delivery) in &arrivals {
        link.arrived(*index, delivery, 1200);
    }
    let c = link.counters();
    assert_eq!(c.link_in + c.duplicated, c.dropped_total() + c.delivered);
    assert_eq!(c.delivered, scheduled);
    assert_eq!(c.delivered_bytes, scheduled * 1200);
    assert_eq!(c.checksum_dropped, c.corrupted);
}

#[test]
fn verdicts_do_not_depend_on_timing() {
    let json = r#"{"loss":{"kind":"gilbert_elliott","p":0.02,"r":0.3},"duplicate":0.01,"corrupt":0.01,
                   "corrupt_mode":"payload"}"#;
    let fates = |gap| {
        run(&mut model(json, 7), 20_000, gap)
            .iter()
            .map(|v| {
                (
                    v.outcome,
                    v.duplicated,
                    v.deliveries().iter().map(|d| d.corrupt).collect(),
                )
            })
            .collect::<Vec<(Outcome, bool, Vec<_>)>>()
    };
    assert_eq!(fates(0), fates(12_345));
}

#[test]
fn directions_and_seeds_differ() {
    let spec = spec(r#"{"loss":{"kind":"independent","p":0.5}}"#);
    let fates = |seed, direction| {
        let mut link = LinkModel::new(&spec, seed, direction).unwrap();
        (0..256)
            .map(|_| link.offer(0, 1).outcome)
            .collect::<Vec<_>>()
    };
    assert_ne!(fates(1, 0), fates(1, 1));
    assert_ne!(fates(1, 0), fates(2, 0));
    assert_eq!(fates(1, 0), fates(1, 0));
}

#[test]
fn what_passes_unshaped_takes_no_number() {
    let mut link = model(
        r#"{"delay_us":250,"loss":{"kind":"independent","p":1.0}}"#,
        1,
    );
    assert_eq!(link.pass(1_000), 251_000);
    assert_eq!(link.offer(2_000, 10).index, 0);
    assert_eq!(link.counters().link_in, 1);
}
