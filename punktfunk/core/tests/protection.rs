//! Packet protection and the replay window: promise P9, replay injects nothing and a nonce never repeats.

use std::collections::HashSet;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use punktfunk_core::crypto::{CryptoError, Direction, OVERHEAD_BYTES, Opener, SEQ_BYTES, Sealer};
use punktfunk_core::replay::{MAX_PACKETS, MIN_PACKETS, ReplayWindow};

const KEY: [u8; 16] = *b"sixteen byte key";
const SALT: [u8; 4] = *b"pkf1";

fn sealed(sealer: &mut Sealer, seq: u64, plain: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; plain.len() + OVERHEAD_BYTES];
    packet[SEQ_BYTES..SEQ_BYTES + plain.len()].copy_from_slice(plain);
    sealer.seal_in_place(seq, &mut packet).unwrap();
    packet
}

/// Sequence numbers around a moving head, with repeats, jumps and stragglers.
fn arrivals() -> impl Strategy<Value = Vec<u64>> {
    let step = prop_oneof![
        8 => (0..4_u64).prop_map(|n| (true, n)),
        2 => (0..3000_u64).prop_map(|n| (false, n)),
        1 => (0..5000_u64).prop_map(|n| (true, n)),
        1 => Just((false, 0)),
    ];
    (
        prop_oneof![
            Just(0),
            any::<u32>().prop_map(u64::from),
            Just(u64::MAX - 8000)
        ],
        vec(step, 1..400),
    )
        .prop_map(|(start, steps)| {
            let mut head = start;
            steps
                .into_iter()
                .map(|(ahead, n)| {
                    if ahead {
                        head = head.saturating_add(n);
                        head
                    } else {
                        head.saturating_sub(n)
                    }
                })
                .collect()
        })
}

proptest! {
    #[test]
    fn a_sequence_number_is_accepted_once_and_only_within_the_window(arrivals in arrivals()) {
        let mut window = ReplayWindow::new(1, Duration::ZERO);
        let reach = window.packets();
        prop_assert_eq!(reach, MIN_PACKETS as u64);
        let memory = window.memory_bytes();
        let (mut seen, mut highest) = (HashSet::new(), None::<u64>);
        for seq in arrivals {
            let in_reach = highest.is_none_or(|highest| highest < seq || highest - seq < reach);
            let fresh = in_reach && seen.insert(seq);
            prop_assert_eq!(window.check_and_set(seq), fresh, "{} with highest {:?}", seq, highest);
            highest = highest.max(Some(seq));
        }
        prop_assert_eq!(window.memory_bytes(), memory);
    }

    #[test]
    fn the_window_reaches_back_over_its_time_at_its_rate_within_the_cap(
        rate in 0..5_000_000_u64, ms in 0..10_000_u64,
    ) {
        let window = ReplayWindow::new(rate, Duration::from_millis(ms));
        // Twice the window, a bit a packet.
        assert_eq!(window.memory_bytes() as u64, 2 * window.packets() / 8);
        let asked = (rate * ms / 1000).min(MAX_PACKETS as u64);
        prop_assert!(window.packets() >= asked && window.packets() <= MAX_PACKETS as u64);
        prop_assert!(window.memory_bytes() <= MAX_PACKETS / 4);
    }

    #[test]
    fn what_was_sealed_opens_to_the_same_bytes_under_the_same_number(
        plain in vec(any::<u8>(), 0..1500), seq in any::<u64>(),
    ) {
        let mut packet = sealed(&mut Sealer::new(KEY, SALT, Direction::HostToClient), seq, &plain);
        let opener = Opener::new(KEY, SALT, Direction::HostToClient);
        let (opened_seq, opened) = opener.open_in_place(&mut packet).unwrap();
        prop_assert_eq!((opened_seq, &*opened), (seq, &plain[..]));
    }

    #[test]
    fn a_packet_with_any_bit_changed_does_not_open(
        plain in vec(any::<u8>(), 0..200), bit in any::<prop::sample::Index>(),
    ) {
        let mut packet = sealed(&mut Sealer::new(KEY, SALT, Direction::HostToClient), 7, &plain);
        let bit = bit.index(packet.len() * 8);
        packet[bit / 8] ^= 1 << (bit % 8);
        let opener = Opener::new(KEY, SALT, Direction::HostToClient);
        prop_assert_eq!(opener.open_in_place(&mut packet), Err(CryptoError::Auth));
    }

    #[test]
    fn the_sealer_never_uses_a_number_twice(seqs in vec(0..50_u64, 1..60)) {
        let mut sealer = Sealer::new(KEY, SALT, Direction::HostToClient);
        let mut used = HashSet::new();
        let mut packet = [0x11; 40];
        for seq in seqs {
            let before = packet;
            let next = sealer.next_seq().unwrap();
            match sealer.seal_in_place(seq, &mut packet) {
                Ok(()) => prop_assert!(used.insert(seq) && seq >= next),
                Err(error) => {
                    prop_assert_eq!(error, CryptoError::Nonce(seq));
                    prop_assert!(seq < next);
                    prop_assert_eq!(packet, before);
                }
            }
        }
    }
}

#[test]
fn a_jump_of_any_length_forgets_what_it_passes_and_nothing_else() {
    let reach = MIN_PACKETS as u64;
    for jump in [
        1, 2, 63, 64, 65, 1023, 1024, 1025, 1984, 1985, 2047, 2048, 2049, 2112, 100_000,
    ] {
        // From every place in a word, and more than once around the ring of 2048 bits.
        for last in 2999..2999 + 64 {
            let mut window = ReplayWindow::new(1, Duration::ZERO);
            assert!((0..=last).all(|seq| window.check_and_set(seq)), "{last}");
            let head = last + jump;
            assert!(window.check_and_set(head));
            for seq in (head - reach..=head).rev() {
                let fresh = seq > last && seq != head && head - seq < reach;
                assert_eq!(window.check_and_set(seq), fresh, "{last} + {jump}: {seq}");
            }
        }
    }
}

#[test]
fn the_last_sequence_number_is_used_once_and_then_none_is_left() {
    let mut sealer = Sealer::new(KEY, SALT, Direction::HostToClient);
    let mut packet = [0; 64];
    assert_eq!(sealer.seal_in_place(u64::MAX, &mut packet), Ok(()));
    assert_eq!(sealer.next_seq(), None);
    for seq in [0, u64::MAX] {
        assert_eq!(
            sealer.seal_in_place(seq, &mut packet),
            Err(CryptoError::Nonce(seq))
        );
    }
}

#[test]
fn a_packet_of_another_key_salt_or_direction_does_not_open() {
    let packet = sealed(
        &mut Sealer::new(KEY, SALT, Direction::HostToClient),
        0,
        b"frame",
    );
    for opener in [
        Opener::new(*b"another byte key", SALT, Direction::HostToClient),
        Opener::new(KEY, *b"pkf2", Direction::HostToClient),
        Opener::new(KEY, SALT, Direction::ClientToHost),
    ] {
        assert_eq!(
            opener.open_in_place(&mut packet.clone()),
            Err(CryptoError::Auth)
        );
    }
}

#[test]
fn packets_without_room_for_number_and_tag_are_refused() {
    let opener = Opener::new(KEY, SALT, Direction::HostToClient);
    let mut sealer = Sealer::new(KEY, SALT, Direction::HostToClient);
    for length in 0..OVERHEAD_BYTES {
        let mut packet = vec![0; length];
        assert_eq!(
            sealer.seal_in_place(0, &mut packet),
            Err(CryptoError::TooShort(length))
        );
        assert_eq!(
            opener.open_in_place(&mut packet),
            Err(CryptoError::TooShort(length))
        );
    }
    // A refusal for length uses up no number.
    assert_eq!(sealer.next_seq(), Some(0));
    assert_eq!(sealed(&mut sealer, 0, b"").len(), OVERHEAD_BYTES);
}

#[test]
fn keys_stay_out_of_debug_output() {
    let sealer = format!("{:?}", Sealer::new(KEY, SALT, Direction::HostToClient));
    let opener = format!("{:?}", Opener::new(KEY, SALT, Direction::HostToClient));
    for text in [sealer, opener] {
        assert!(text.contains("Key(..)"), "{text}");
    }
}
