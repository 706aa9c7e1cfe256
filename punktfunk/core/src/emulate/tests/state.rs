//! What the model remembers from packet to packet: the queue, the chain, the counters; and what it draws anew.

use super::*;

/// 8 Mbit/s: 1000 bytes on the wire, 972 of payload, take a millisecond.
const MS: u64 = 1_000_000;

#[test]
fn the_queue_in_bytes_fills_to_the_byte_and_drains_as_it_sends() {
    let mut link = model(r#"{"rate_kbps":8000,"queue_bytes":2500}"#, 1);
    let mut offer = |now, size| link.offer(now, size).outcome == Outcome::Delivered;
    // One is in transmission, 2000 bytes wait, 500 are free.
    assert!(offer(0, 972) && offer(0, 972) && offer(0, 972));
    assert!(!offer(0, 473), "501 with its headers");
    assert!(offer(0, 472), "500 with its headers");
    assert!(!offer(0, 0));
    // Just before the second begins nothing has changed; then its 1000 bytes are free.
    assert!(!offer(MS - 1, 0));
    assert!(!offer(MS, 973));
    assert!(offer(MS, 972));
    assert!(!offer(MS, 0));
    // All has begun by 3.5 ms, and is sent by 4.5 ms: an idle link takes whatever comes.
    assert!(offer(4 * MS, 2472));
    assert!(
        !offer(4 * MS, 0),
        "2500 wait behind the one in transmission"
    );
    assert!(offer(10 * MS, 60_000));
    let counters = link.counters();
    assert_eq!(counters.dropped_queue, 6);
    assert_eq!(counters.link_in, 13);
    assert_eq!(counters.queue_max_ns, 3_000_000);
}

#[test]
fn a_dropped_packet_takes_no_room_and_no_time() {
    let mut link = model(r#"{"rate_kbps":8000,"queue_packets":1}"#, 1);
    link.offer(0, 972);
    link.offer(0, 972);
    for _ in 0..100 {
        assert_eq!(link.offer(0, 972).outcome, Outcome::QueueDropped);
    }
    assert_eq!(arrival(&link.offer(MS, 972)), 3 * MS);
}

fn chain(p: f64, r: f64) -> LinkSpec {
    spec(&format!(
        r#"{{"loss":{{"kind":"gilbert_elliott","p":{p},"r":{r}}}}}"#
    ))
}

/// Packets lost of the next `n`.
fn lost(link: &mut LinkModel, n: u64) -> u64 {
    let before = link.counters().dropped_loss;
    for _ in 0..n {
        link.offer(0, 100);
    }
    link.counters().dropped_loss - before
}

#[test]
fn a_burst_goes_on_over_a_pause_and_over_other_chances() {
    for seed in 0..20 {
        // Bad from the first packet on, and hardly ever good again.
        let mut link = LinkModel::new(&chain(1.0, 1e-9), seed, 0).unwrap();
        assert_eq!(lost(&mut link, 1), 1);
        link.offer(3_600_000 * MS, 100);
        assert_eq!(link.counters().dropped_loss, 2, "an hour later");
        // Half of all starts would be good with these.
        link.set_spec(&chain(1e-9, 1e-9), 0).unwrap();
        assert_eq!(lost(&mut link, 100), 100, "seed {seed}");
    }
}

#[test]
fn a_chain_that_was_left_starts_anew_from_its_stationary_state() {
    for seed in 0..20 {
        let mut link = LinkModel::new(&chain(1.0, 1e-9), seed, 0).unwrap();
        assert_eq!(lost(&mut link, 1), 1);
        link.set_spec(&spec("{}"), 0).unwrap();
        assert_eq!(lost(&mut link, 10), 0);
        // Nearly always good; a burst that went on would last a thousand packets.
        link.set_spec(&chain(1e-9, 1e-3), 0).unwrap();
        assert_eq!(lost(&mut link, 10), 0, "seed {seed}");
    }
}

#[test]
fn good_and_bad_state_lose_with_their_own_probability() {
    let json = r#"{"loss":{"kind":"gilbert_elliott","p":0.1,"r":0.3,"bad":0.5,"good":0.1}}"#;
    let (n, share) = (400_000, 0.25 * 0.5 + 0.75 * 0.1);
    let mut link = model(json, 3);
    let found = lost(&mut link, n) as f64 / n as f64;
    // Correlated by 0.6 from packet to packet, so that four times the independent variance bounds it.
    let sd = (4.0 * share * (1.0 - share) / n as f64).sqrt();
    assert!((found - share).abs() < 6.0 * sd, "{found}");
}

#[test]
fn a_copy_draws_its_own_delay_and_its_own_damage() {
    let json =
        r#"{"duplicate":1.0,"delay_us":5000,"jitter_us":1000,"jitter_reorder":true,"corrupt":0.5}"#;
    let n = 20_000;
    let mut link = model(json, 13);
    let (mut same_time, mut both, mut same_bit) = (0, 0, 0);
    for verdict in run(&mut link, n, 1000) {
        let [first, copy] = verdict.deliveries() else {
            panic!("every packet is doubled");
        };
        assert_eq!((first.copy, copy.copy), (0, 1));
        same_time += u64::from(first.at_ns == copy.at_ns);
        if let (Some(a), Some(b)) = (first.corrupt, copy.corrupt) {
            both += 1;
            same_bit += u64::from(a == b);
        }
    }
    assert!(same_time < 10, "{same_time}");
    assert_binomial(both, n, 0.25);
    // One bit of 9600.
    assert!(same_bit < 10, "{same_bit} of {both}");
    assert_eq!(link.counters().duplicated, n);
}

#[test]
fn a_copy_waits_for_the_bottleneck_too_and_its_drop_leaves_the_packet() {
    let mut link = model(r#"{"rate_kbps":8000,"queue_packets":2,"duplicate":1.0}"#, 1);
    let first = link.offer(0, 972);
    assert_eq!(
        first
            .deliveries()
            .iter()
            .map(|d| d.at_ns)
            .collect::<Vec<_>>(),
        [MS, 2 * MS]
    );
    // One place is left in the queue: the packet takes it, its copy finds none.
    let second = link.offer(0, 972);
    assert_eq!(
        (second.outcome, second.duplicated),
        (Outcome::Delivered, true)
    );
    assert_eq!(second.deliveries().len(), 1);
    let third = link.offer(0, 972);
    assert_eq!(
        (third.outcome, third.duplicated),
        (Outcome::QueueDropped, false)
    );
    let counters = link.counters();
    assert_eq!(
        (
            counters.link_in,
            counters.duplicated,
            counters.dropped_queue
        ),
        (3, 2, 2)
    );
    assert_eq!(counters.in_flight(), 3);
}

#[test]
fn every_counter_counts_its_own() {
    let mut link = model(r#"{"corrupt":1.0,"duplicate":1.0}"#, 1);
    let verdicts: Vec<_> = [100, 200, 300]
        .into_iter()
        .map(|size| (size, link.offer(0, size)))
        .collect();
    // The last two arrive first, then the first one: reordered, its copy not.
    for at in [1, 2, 0] {
        let (size, verdict) = &verdicts[at];
        for delivery in verdict.deliveries() {
            link.arrived(verdict.index, delivery, *size);
        }
    }
    link.offer(0, 50);
    link.overflowed(1);
    assert_eq!(
        link.counters(),
        LinkCounters {
            link_in: 4,
            link_in_bytes: 650,
            duplicated: 4,
            dropped_loss: 0,
            dropped_queue: 0,
            dropped_overflow: 1,
            corrupted: 8,
            checksum_dropped: 6,
            reordered: 1,
            delivered: 6,
            delivered_bytes: 1200,
            queue_max_ns: 0,
        }
    );
    assert_eq!(link.counters().in_flight(), 1);
    assert_eq!(link.counters().dropped_total(), 1);
}

#[test]
fn reports_name_every_counter_with_its_own_value() {
    let counters = LinkCounters {
        link_in: 1000,
        link_in_bytes: 2,
        duplicated: 300,
        dropped_loss: 5,
        dropped_queue: 70,
        dropped_overflow: 11,
        corrupted: 13,
        checksum_dropped: 17,
        reordered: 19,
        delivered: 23,
        delivered_bytes: 29,
        queue_max_ns: 31,
    };
    assert_eq!(
        counters.pairs(),
        [
            ("link_in", 1000),
            ("link_in_bytes", 2),
            ("duplicated", 300),
            ("dropped_loss", 5),
            ("dropped_queue", 70),
            ("dropped_overflow", 11),
            ("dropped_total", 86),
            ("corrupted", 13),
            ("checksum_dropped", 17),
            ("reordered", 19),
            ("delivered", 23),
            ("delivered_bytes", 29),
            ("in_flight", 1191),
            ("queue_max_ns", 31),
        ]
    );
}

#[test]
fn every_bit_of_a_packet_can_flip_and_an_empty_one_has_none() {
    for (mode, corruption) in [
        ("checksum", Corruption::Checksum as fn(u32) -> Corruption),
        ("payload", Corruption::Payload),
    ] {
        let json = format!(r#"{{"corrupt":1,"corrupt_mode":"{mode}"}}"#);
        let mut link = model(&json, 1);
        let mut flipped = [false; 24];
        // One of 24 is missing after 2000 once in 1e35.
        for _ in 0..2000 {
            let verdict = link.offer(0, 3);
            let bit = match verdict.deliveries()[0].corrupt {
                Some(Corruption::Checksum(bit) | Corruption::Payload(bit)) => bit,
                None => panic!("not damaged"),
            };
            assert_eq!(verdict.deliveries()[0].corrupt, Some(corruption(bit)));
            flipped[bit as usize] = true;
        }
        assert_eq!(flipped, [true; 24]);
        assert_eq!(link.offer(0, 0).deliveries()[0].corrupt, None);
        assert_eq!(link.counters().corrupted, 2000);
    }
}
