//! GameStream's packets of video and sound, from anybody.

use punktfunk_core::audio::{AudioCipher, AudioReceiver, AudioSender};
use punktfunk_core::config::Receiving;
use punktfunk_core::flags::{FLAG_KEY, FLAG_PICTURE};
use punktfunk_core::session::{ClientSession, HostSession, HostSettings};
use punktfunk_core::wire::gamestream::{GameStreamConfig, HEAD_BYTES, Stamp};

const MS: u64 = 1_000_000;
const MEMORY_CAP: usize = 64 << 10;
/// Of the smallest packets, so that an input holds frames of several.
const PACKET_BYTES: usize = 64;
const KEY: [u8; 16] = *b"fuzz key, secret";

fn config(key: Option<[u8; 16]>) -> GameStreamConfig {
    GameStreamConfig {
        packet_size: PACKET_BYTES - 16,
        key,
        receiving: Receiving {
            memory_cap_bytes: MEMORY_CAP,
            ..Receiving::default()
        },
        ..GameStreamConfig::default()
    }
}

/// Datagrams of one length one after another; the last is what is left. The books balance, memory stays under its cap and comes
/// back, and no frame is longer than the wire could say. What an encrypted stream takes was sealed with its key.
pub fn video(bytes: &[u8]) {
    for (key, length) in [(None, PACKET_BYTES), (Some(KEY), PACKET_BYTES + 32)] {
        let config = config(key);
        let mut client = ClientSession::gamestream(&config, true).unwrap();
        let mut now = 0;
        for datagram in bytes.chunks(length) {
            if let Ok(stamp) = Stamp::parse(datagram) {
                let mut head: [u8; HEAD_BYTES] = *datagram.first_chunk().unwrap();
                stamp.write(&mut head);
                assert_eq!(Stamp::parse(&head), Ok(stamp));
            }
            client.receive(&mut datagram.to_vec(), now);
            client.advance(now);
            while let Some(frame) = client.poll_frame() {
                assert!(frame.data.len() <= config.limits().max_frame_bytes);
            }
            assert!(client.stats().memory_bytes as usize <= MEMORY_CAP);
            now += MS;
        }
        client.settle(None, now);
        while client.poll_frame().is_some() {}
        let stats = client.stats();
        let rejected = client.rejections().total();
        assert_eq!(
            stats.packets_received,
            stats.packets_used + stats.packets_late + stats.packets_duplicate + rejected
        );
        assert_eq!(
            stats.frames_complete,
            stats.frames_decodable + stats.frames_undecodable
        );
        assert_eq!(stats.memory_bytes, 0);
    }
}

/// Frames of one packet and of several, of each kind of stream.
pub fn streams() -> Vec<Vec<u8>> {
    let stream = |key, flags: u32| {
        let settings = HostSettings::default();
        let mut host = HostSession::gamestream(config(key), &settings).unwrap();
        let mut packets = Vec::new();
        let mut now = MS;
        for bytes in [20, 200, 300] {
            host.submit(&vec![7; bytes], now, FLAG_PICTURE | flags, now)
                .unwrap();
            while let Some(due) = host.transmitter.next_timeout() {
                now = now.max(due);
                while let Some(train) = host.transmitter.poll_transmit(now) {
                    packets.extend_from_slice(train.bytes);
                    let count = train.packets;
                    host.transmitter.sent(now, count, 0);
                }
            }
            now += 16 * MS;
        }
        packets
    };
    vec![
        stream(None, FLAG_KEY),
        stream(None, 0),
        stream(Some(KEY), FLAG_KEY),
    ]
}

/// Datagrams behind a byte of their length. What is heard is in order, each once; every datagram and packet has one fate.
pub fn audio(bytes: &[u8]) {
    for cipher in [None, Some(AudioCipher::new(KEY, -2))] {
        let mut receiver = AudioReceiver::new(cipher);
        let (mut left, mut next, mut heard) = (bytes, None, 0_u64);
        let mut hear = |receiver: &mut AudioReceiver| {
            while let Some(sound) = receiver.poll() {
                assert!(next.is_none_or(|next| sound.sequence == next + sound.gap));
                assert!(sound.data.len() <= 255);
                next = Some(sound.sequence + 1);
                heard += 1;
            }
        };
        while let Some((&length, rest)) = left.split_first() {
            let (datagram, rest) = rest.split_at(usize::from(length).min(rest.len()));
            receiver.receive(datagram);
            hear(&mut receiver);
            left = rest;
        }
        receiver.settle();
        hear(&mut receiver);
        let s = receiver.stats();
        assert_eq!(
            s.received,
            s.data + s.fec + s.rejected + s.late + s.duplicate
        );
        assert_eq!(s.delivered, heard);
        assert!(s.recovered <= s.delivered && s.undecryptable <= s.lost && s.strayed <= s.rejected);
    }
}

/// Three blocks of sound, plain and encrypted.
pub fn sounds() -> Vec<Vec<u8>> {
    let stream = |cipher| {
        let mut sender = AudioSender::new(cipher, 5).unwrap();
        let packets = (0..12_u8).flat_map(|n| sender.packet(&[n; 20]).unwrap());
        packets
            .flat_map(|packet| [vec![packet.len() as u8], packet].concat())
            .collect()
    };
    vec![stream(None), stream(Some(AudioCipher::new(KEY, -2)))]
}
