//! Promises about input that nobody sane sends: P1, P2 and P9 of the house plan; `memory.rs` has P4.

mod support;

use proptest::prelude::*;
use punktfunk_core::packetize::punktfunk1::EmissionOrder;
use punktfunk_core::session::StreamConfig;
use support::{Client, DELTA_FRAME, Host, KEY_FRAME, MS, access_unit, config};

fn plain() -> StreamConfig {
    StreamConfig {
        key: None,
        ..config()
    }
}

/// What a link may do to one packet.
#[derive(Clone, Debug)]
enum Fate {
    Deliver,
    Lose,
    Twice,
    /// Overtaken by this many later packets.
    Hold(usize),
    Damage(usize),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        10 => Just(Fate::Deliver),
        2 => Just(Fate::Lose),
        1 => Just(Fate::Twice),
        2 => (1usize..60).prop_map(Fate::Hold),
        1 => (0usize..164).prop_map(Fate::Damage),
    ]
}

/// The packets that arrive, and whether each is a true one.
fn through_the_link(sent: &[Vec<u8>], fates: &[Fate]) -> Vec<Vec<u8>> {
    let mut arrivals: Vec<(usize, Vec<u8>)> = Vec::new();
    for (i, (packet, fate)) in sent.iter().zip(fates.iter().cycle()).enumerate() {
        match fate {
            Fate::Deliver => arrivals.push((i, packet.clone())),
            Fate::Lose => {}
            Fate::Twice => arrivals.extend([(i, packet.clone()), (i, packet.clone())]),
            Fate::Hold(by) => arrivals.push((i + by, packet.clone())),
            Fate::Damage(at) => {
                let mut damaged = packet.clone();
                let at = at % damaged.len();
                damaged[at] ^= 0x10;
                arrivals.push((i, damaged));
            }
        }
    }
    arrivals.sort_by_key(|a| a.0);
    arrivals.into_iter().map(|a| a.1).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// P2 and P9: whatever the link does, what is released is what was sent, in order, once; the rest is counted.
    #[test]
    fn what_is_released_is_what_was_sent_and_the_rest_is_counted(
        sizes in prop::collection::vec(0usize..9000, 1..20),
        fates in prop::collection::vec(fate(), 1..400),
        keys in prop::collection::vec(any::<bool>(), 1..8),
        order in prop::bool::ANY,
    ) {
        let order = if order { EmissionOrder::DataFirst } else { EmissionOrder::Blocks };
        let mut host = Host::ordered(config(), order);
        let mut client = Client::new(config());
        let mut sent = Vec::new();
        for (i, &bytes) in sizes.iter().enumerate() {
            let flags = if i == 0 || keys[i % keys.len()] { KEY_FRAME } else { DELTA_FRAME };
            sent.extend(host.frame(&access_unit(i as u32, bytes), flags));
        }
        let mut released = Vec::new();
        for packet in through_the_link(&sent, &fates) {
            client.take(&packet);
            released.extend(client.pass(MS / 10));
        }
        client.session.settle(Some((sizes.len() as u64, sent.len() as u64)), client.now);
        released.extend(client.frames());
        let mut next = 0;
        for frame in &released {
            prop_assert!(frame.index >= next, "released out of order");
            prop_assert_eq!(frame.gap, frame.index - next);
            next = frame.index + 1;
            let original = access_unit(frame.index, sizes[frame.index as usize]);
            prop_assert!(*frame.data == original[..], "frame {} differs", frame.index);
        }
        client.assert_balanced(sizes.len() as u64);
        let stats = client.stats();
        prop_assert_eq!(stats.frames_released, released.len() as u64);
        prop_assert_eq!(stats.frames_decodable, stats.frames_released);
        drop(released);
        prop_assert_eq!(client.stats().memory_bytes, 0);
    }

    /// P9: no sequence of true packets, in any order and any number of times, delivers a frame twice.
    #[test]
    fn a_replay_of_anything_at_any_time_delivers_nothing_twice(
        picks in prop::collection::vec(0usize..90, 0..600),
    ) {
        let mut host = Host::new(config());
        let sent: Vec<_> = (0..6).flat_map(|i| host.numbered(i, KEY_FRAME)).collect();
        let mut client = Client::new(config());
        let mut seen = std::collections::BTreeSet::new();
        for &pick in &picks {
            client.take(&sent[pick]);
            for frame in client.pass(MS) {
                prop_assert!(seen.insert(frame.index), "frame {} twice", frame.index);
            }
        }
        let distinct: std::collections::BTreeSet<_> = picks.iter().collect();
        let stats = client.stats();
        prop_assert_eq!(
            stats.packets_used + stats.packets_late,
            distinct.len() as u64,
            "every packet counts once"
        );
    }

    /// P1: bytes from the network change nothing but counters.
    #[test]
    fn arbitrary_bytes_are_dropped_and_counted(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..60),
        long in 2000usize..3000,
        encrypted in any::<bool>(),
    ) {
        let config = if encrypted { config() } else { plain() };
        let mut host = Host::new(config.clone());
        let mut client = Client::new(config);
        for datagram in &datagrams {
            client.take(datagram);
        }
        client.take(&vec![0xC9; long]);
        let stats = client.stats();
        prop_assert_eq!(stats.packets_received, datagrams.len() as u64 + 1);
        prop_assert_eq!(stats.packets_used, 0);
        prop_assert_eq!(client.session.rejections().total(), stats.packets_received);
        // And the stream goes on as if nothing had been.
        prop_assert_eq!(client.take_all(&host.numbered(0, KEY_FRAME)).len(), 1);
    }

    /// P1: nor do mutations of true packets, which a stream with encryption does not open at all.
    #[test]
    fn a_mutated_packet_reaches_nothing_behind_the_seal(
        which in 0usize..15,
        flips in prop::collection::vec((0usize..164, 1u8..=255), 1..8),
        cut in 0usize..165,
    ) {
        let mut host = Host::new(config());
        let mut client = Client::new(config());
        let packets = host.numbered(0, KEY_FRAME);
        let mut mutated = packets[which].clone();
        for (at, bits) in flips {
            mutated[at] ^= bits;
        }
        mutated.truncate(cut.max(1));
        prop_assume!(mutated != packets[which]);
        client.take(&mutated);
        prop_assert_eq!(client.session.rejections().total(), 1);
        prop_assert_eq!(client.stats().memory_peak_bytes, 0);
        prop_assert_eq!(client.take_all(&packets).len(), 1);
    }
}
