//! GameStream's audio packets as the description says them, and what a receiver makes of them under loss.

use proptest::prelude::*;
use punktfunk_core::audio::{AudioCipher, AudioError, AudioReceiver, AudioSender, Sound};

const DESCRIPTION: &str = include_str!("../../../docs/reference/wire/gamestream.md");
const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// The word behind `mark` in the description's example of sound.
fn example(mark: &str) -> Vec<u8> {
    let example = DESCRIPTION.split_once("\n[audio]").unwrap().1;
    let word = example.split_once(mark).unwrap().1.split_whitespace();
    unhex(word.into_iter().next().unwrap())
}

fn sender(cipher: Option<AudioCipher>) -> AudioSender {
    AudioSender::new(cipher, 5).unwrap()
}

fn opus(number: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|i| (number * 31 + i) as u8).collect()
}

/// The datagrams of so many packets.
fn stream(sender: &mut AudioSender, packets: u64, bytes: usize) -> Vec<Vec<u8>> {
    (0..packets)
        .flat_map(|n| sender.packet(&opus(n, bytes)).unwrap())
        .collect()
}

fn received(receiver: &mut AudioReceiver) -> Vec<Sound> {
    std::iter::from_fn(|| receiver.poll()).collect()
}

/// gamestream line 50, gamestream line 64 (appendix A).
#[test]
fn packets_are_those_of_the_examples_plain_and_encrypted() {
    let payload = example("opus ");
    for (cipher, mark) in [
        (None, "plain packet "),
        (
            Some(AudioCipher::new(KEY, 1_460_318_696)),
            "encrypted packet ",
        ),
    ] {
        let mut sender = sender(cipher);
        for _ in 0..5 {
            sender.packet(&payload).unwrap();
        }
        assert_eq!(sender.packet(&payload).unwrap(), [example(mark)]);
    }
    let mut sender = sender(None);
    stream(&mut sender, 8, 8);
    let blocks = (0..4_u8).map(|i| {
        let mut payload = [i; 8];
        payload[4..].copy_from_slice(&[4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3]);
        payload
    });
    let packets: Vec<_> = blocks.flat_map(|p| sender.packet(&p).unwrap()).collect();
    assert_eq!(packets.len(), 6);
    assert_eq!(
        packets[4..],
        [example("fec packet 0 "), example("fec packet 1 ")]
    );
}

/// gamestream line 64.
#[test]
fn packets_have_one_length_and_blocks_begin_at_multiples_of_four() {
    for cipher in [None, Some(AudioCipher::new(KEY, 7))] {
        let mut sender = sender(cipher.clone());
        let payload = if cipher.is_some() { 96 } else { 80 };
        for packets in stream(&mut sender, 40, 80).chunks(6) {
            assert!(
                packets[..4]
                    .iter()
                    .all(|p| p.len() == 12 + payload && p[1] == 97)
            );
            assert!(
                packets[4..]
                    .iter()
                    .all(|p| p.len() == 24 + payload && p[1] == 127)
            );
            let first = u16::from_be_bytes([packets[0][2], packets[0][3]]);
            assert_eq!(first % 4, 0);
            for parity in &packets[4..] {
                assert_eq!(parity[14..16], first.to_be_bytes());
                assert_eq!(parity[16..20], (u32::from(first) * 5).to_be_bytes());
            }
        }
        let wrong = sender.packet(&[0; 79]).unwrap_err();
        assert_eq!(
            wrong,
            AudioError::Length {
                bytes: 79,
                expected: 80
            }
        );
        let next = sender.packet(&[0; 80]).unwrap();
        assert_eq!(next[0][2..4], 40_u16.to_be_bytes(), "it cost no number");
    }
}

#[test]
fn what_no_client_would_take_is_refused() {
    for (cipher, limit) in [(None, 1376), (Some(AudioCipher::new(KEY, 7)), 1375)] {
        let mut sender = sender(cipher);
        assert_eq!(sender.max_opus_bytes(), limit);
        let bytes = limit + 1;
        let error = sender.packet(&vec![0; bytes]).unwrap_err();
        assert_eq!(error, AudioError::TooLong { bytes, limit });
        assert!(sender.packet(&[]).is_err());
        let packets = stream(&mut sender, 4, limit);
        assert_eq!(packets.iter().map(Vec::len).max(), Some(1400));
    }
    for wrong in [0, 1, 20, u32::MAX] {
        let error = AudioSender::new(None, wrong).unwrap_err();
        assert_eq!(error, AudioError::Duration(wrong));
    }
}

/// gamestream line 30, gamestream line 66, gamestream line 67: with a negative `rikeyid`, in packets of 10 ms, beyond where the number wraps.
#[test]
fn encrypted_sound_is_whole_beyond_the_wrap_of_its_numbers() {
    for rikeyid in [-2, i32::MIN, i32::MAX, 1_460_318_696] {
        let cipher = AudioCipher::new(KEY, rikeyid);
        let mut sender = AudioSender::new(Some(cipher.clone()), 10).unwrap();
        let mut receiver = AudioReceiver::new(Some(cipher));
        let mut next = 0;
        for number in 0..66_000 {
            for (i, datagram) in sender.packet(&opus(number, 20)).unwrap().iter().enumerate() {
                if i == 0 {
                    let milliseconds = (number as u32 * 10).to_be_bytes();
                    assert_eq!(
                        datagram[2..8],
                        [&(number as u16).to_be_bytes()[..], &milliseconds].concat()
                    );
                }
                // One of each block is lost, each in its turn.
                if i != 0 || number % 4 != number / 4 % 4 {
                    receiver.receive(datagram);
                }
            }
            for sound in received(&mut receiver) {
                assert_eq!((sound.sequence, sound.gap), (next, 0));
                assert_eq!(sound.data, opus(next, 20));
                assert_eq!(sound.recovered, next % 4 == next / 4 % 4);
                next += 1;
            }
        }
        assert_eq!(next, 66_000);
        assert_eq!(
            (receiver.stats().lost, receiver.stats().undecryptable),
            (0, 0)
        );
    }
}

/// A host that adds a counter which does not wrap: from packet 65536 on it sounds like noise (pitfall 30).
#[test]
fn a_packet_under_another_number_is_not_what_was_sent() {
    let cipher = AudioCipher::new(KEY, 3);
    let sealed = cipher.seal(0, &opus(1, 80));
    let unwrapped = AudioCipher::new(KEY, 3 + 65_536);
    assert_ne!(unwrapped.open(0, &sealed), Some(opus(1, 80)));
}

#[test]
fn sound_that_strays_from_its_stream_is_not_believed_until_there_is_more_of_it() {
    let mut sender = sender(None);
    let all = stream(&mut sender, 4096, 20);
    let mut receiver = AudioReceiver::new(None);
    all[..6].iter().for_each(|p| receiver.receive(p));
    let far = 3000 / 4 * 6;
    receiver.receive(&all[far]);
    receiver.receive(&all[far]);
    all[6..12].iter().for_each(|p| receiver.receive(p));
    assert_eq!(
        received(&mut receiver).len(),
        8,
        "one packet moved nothing, twice neither"
    );
    assert_eq!((receiver.stats().strayed, receiver.stats().lost), (2, 0));
    // An outage of 15 s.
    all[far..far + 6].iter().for_each(|p| receiver.receive(p));
    receiver.settle();
    let sounds = received(&mut receiver);
    assert_eq!((sounds[0].sequence, sounds[0].gap), (3000, 2992));
    assert_eq!(sounds.len(), 4);
    assert_eq!(receiver.stats().lost, 2992);
}

#[test]
fn blocks_of_more_than_one_length_are_counted_and_still_heard() {
    let mut one = sender(None);
    let mut other = sender(None);
    let (short, long) = (stream(&mut one, 4, 20), stream(&mut other, 4, 21));
    let mut receiver = AudioReceiver::new(None);
    for packet in [&short[0], &long[1], &short[4], &short[5]] {
        receiver.receive(packet);
    }
    receiver.settle();
    assert_eq!(
        received(&mut receiver).len(),
        2,
        "nothing is made of such a block"
    );
    let stats = receiver.stats();
    assert_eq!((stats.uneven, stats.lost, stats.recovered), (1, 2, 0));
}

/// The books: every datagram and every packet has one fate.
fn assert_balanced(receiver: &AudioReceiver) {
    let s = receiver.stats();
    let fates = s.data + s.fec + s.rejected + s.late + s.duplicate;
    assert_eq!(s.received, fates, "{s:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// gamestream line 64: two of six may be lost of any block, whichever, whether encrypted or not; what is more is said to be lost.
    #[test]
    fn any_two_of_a_block_are_recovered_and_the_order_is_kept(
        blocks in prop::collection::vec(0_u8..64, 1..60), encrypted in any::<bool>(), swaps in prop::collection::vec(0_usize..400, 0..40),
        bytes in 1..100_usize,
    ) {
        let cipher = encrypted.then(|| AudioCipher::new(KEY, -77));
        let mut sender = sender(cipher.clone());
        let all = stream(&mut sender, blocks.len() as u64 * 4, bytes);
        let keeps = |n: usize| blocks[n / 6] & 1 << (n % 6) != 0;
        let mut arrivals: Vec<_> = (0..all.len()).filter(|&n| keeps(n)).collect();
        for at in swaps {
            // Neighbours change places.
            if at + 1 < arrivals.len() {
                arrivals.swap(at, at + 1);
            }
        }
        let mut receiver = AudioReceiver::new(cipher);
        for n in &arrivals {
            receiver.receive(&all[*n]);
        }
        receiver.settle();
        assert_balanced(&receiver);
        let sounds = received(&mut receiver);
        let mut expected = Vec::new();
        for block in 0..blocks.len() {
            let here = (0..6).filter(|i| keeps(block * 6 + i)).count();
            expected.extend((0..4).filter(|i| here >= 4 || keeps(block * 6 + i)).map(|i| (block * 4 + i) as u64));
        }
        if receiver.stats().late == 0 {
            let heard: Vec<u64> = sounds.iter().map(|s| s.sequence).collect();
            prop_assert_eq!(heard, expected);
        }
        let mut next = 0;
        for sound in &sounds {
            prop_assert_eq!(sound.sequence, next + sound.gap);
            prop_assert_eq!(&sound.data, &opus(sound.sequence, bytes));
            next = sound.sequence + 1;
        }
    }
}
