//! Whole client sessions under hostile and faulty links.

use punktfunk_core::fec::Scheme;
use punktfunk_core::flags::{FLAG_KEY, FLAG_PICTURE};
use punktfunk_core::session::{ClientSession, HostSession, HostSettings, StreamConfig};
use punktfunk_core::stats::ClientStats;

const MEMORY_CAP: usize = 64 << 10;
const FRAME_NS: u64 = 16_666_667;

fn config(scheme: Scheme, key: Option<[u8; 16]>) -> StreamConfig {
    StreamConfig {
        scheme,
        key,
        fec_percent: 40,
        max_block_shards: 8,
        shard_bytes: 32,
        max_frame_bytes: 4096,
        loss_window_frames: 8,
        memory_cap_bytes: MEMORY_CAP,
        ..StreamConfig::default()
    }
}

fn access_unit(frame: u32) -> Vec<u8> {
    (0..100 + 130 * (frame % 5))
        .map(|i| (i * 7 + frame * 13) as u8)
        .collect()
}

/// The packets of frames 0 to 11, in sending order.
fn packets(config: StreamConfig) -> Vec<Vec<u8>> {
    let mut host = HostSession::new(config, &HostSettings::default()).unwrap();
    let mut packets = Vec::new();
    let mut now = 0;
    for frame in 0..12 {
        now = now.max(u64::from(frame) * FRAME_NS);
        let key = if frame % 6 == 0 { FLAG_KEY } else { 0 };
        let flags = FLAG_PICTURE | key;
        host.submit(&access_unit(frame), now, flags, now).unwrap();
        while let Some(at) = host.transmitter.next_timeout() {
            now = now.max(at);
            while let Some(train) = host.transmitter.poll_transmit(now) {
                packets.extend(train.bytes.chunks_exact(train.segment).map(<[u8]>::to_vec));
                let sent = train.packets;
                host.transmitter.sent(now, sent, 0);
            }
        }
    }
    packets
}

/// Drain the session and check its memory and order; returns the last index that was released.
fn drain(
    client: &mut ClientSession,
    mut last: Option<u32>,
    check: impl Fn(u32, &[u8]),
) -> Option<u32> {
    while let Some(frame) = client.poll_frame() {
        assert!(
            last.is_none_or(|last| frame.index > last),
            "released out of order"
        );
        check(frame.index, &frame.data);
        last = Some(frame.index);
    }
    assert!(
        client.stats().memory_peak_bytes <= MEMORY_CAP as u64,
        "memory above its cap"
    );
    last
}

fn balance(stats: &ClientStats, rejected: u64) {
    assert_eq!(
        stats.packets_received,
        stats.packets_used + stats.packets_late + stats.packets_duplicate + rejected
    );
    assert_eq!(
        stats.data_shards_missing,
        stats.data_shards_recovered + stats.data_shards_unrecoverable
    );
    assert_eq!(
        stats.frames_complete,
        stats.frames_decodable + stats.frames_undecodable
    );
}

/// Datagrams without protection, each behind a length byte: anything may be in them. Nothing panics, memory stays
/// under its cap, and the books balance.
pub fn plain(bytes: &[u8]) {
    for scheme in [Scheme::Gf8, Scheme::Gf16] {
        let mut client = ClientSession::new(config(scheme, None), true).unwrap();
        let (mut rest, mut now, mut last) = (bytes, 0_u64, None);
        while let Some((&length, tail)) = rest.split_first() {
            let (datagram, tail) = tail.split_at(usize::from(length).min(tail.len()));
            client.receive(&mut datagram.to_vec(), now);
            now += 400_000 * (u64::from(length) % 7);
            client.advance(now);
            // Frame numbers wrap in what is made up, so that only the count of what is released can be checked.
            drop(last.take());
            while let Some(frame) = client.poll_frame() {
                assert!(frame.data.len() <= 4096);
                last = Some(frame);
            }
            assert!(
                client.stats().memory_peak_bytes <= MEMORY_CAP as u64,
                "memory above its cap"
            );
            rest = tail;
        }
        drop(last);
        client.settle(None, now);
        balance(&client.stats(), client.rejections().total());
    }
}

pub fn streams() -> Vec<Vec<u8>> {
    let framed = |packets: Vec<Vec<u8>>| -> Vec<u8> {
        packets
            .iter()
            .flat_map(|packet| [&[packet.len() as u8][..], packet].concat())
            .collect()
    };
    vec![
        framed(packets(config(Scheme::Gf8, None))),
        framed(packets(config(Scheme::Gf16, None))),
        framed(super::wire::of_vectors("plain")),
    ]
}

/// Two bytes a packet of a real, sealed stream say what the link does to it: deliver, lose, repeat, damage, cut, hold
/// back, replay an old one. What is released is what was submitted, in order, once; the rest is accounted for.
pub fn link(bytes: &[u8]) {
    let config = config(Scheme::Gf16, Some(*b"fuzz key, secret"));
    let sent = packets(config.clone());
    let mut client = ClientSession::new(config, true).unwrap();
    let mut held: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut last = None;
    let mut now = 0;
    for (n, packet) in sent.iter().enumerate() {
        now += 200_000;
        let (fate, argument) = match bytes.get(2 * n..2 * n + 2) {
            Some(pair) => (pair[0] % 10, usize::from(pair[1])),
            None => (0, 0),
        };
        let mut changed = packet.clone();
        let mut arriving: Vec<Vec<u8>> = match fate {
            0..=3 => vec![changed],
            4 => vec![],
            5 => vec![changed.clone(), changed],
            6 => {
                changed[argument % packet.len()] ^= 1 << (argument % 8);
                vec![changed]
            }
            7 => vec![packet[..argument % packet.len()].to_vec()],
            8 => {
                held.push((n + argument % 64, changed));
                vec![]
            }
            _ => vec![changed, sent[argument % (n + 1)].clone()],
        };
        held.retain_mut(|(due, packet)| {
            let here = *due <= n;
            if here {
                arriving.push(std::mem::take(packet));
            }
            !here
        });
        for datagram in &mut arriving {
            client.receive(datagram, now);
        }
        client.advance(now);
        last = drain(&mut client, last, |index, data| {
            assert!(
                data == access_unit(index),
                "frame {index} is not what was submitted"
            );
        });
    }
    client.settle(Some((12, sent.len() as u64)), now + 1_000_000_000);
    drain(&mut client, last, |index, data| {
        assert!(
            data == access_unit(index),
            "frame {index} is not what was submitted"
        );
    });
    let stats = client.stats();
    balance(&stats, client.rejections().total());
    assert_eq!(
        stats.frames_complete + stats.frames_unrecoverable + stats.frames_expired,
        12
    );
}

pub fn faults() -> Vec<Vec<u8>> {
    vec![
        [0, 0].repeat(200),
        [0, 0, 0, 0, 4, 0, 8, 20].repeat(60),
        [6, 9, 0, 0, 9, 3, 5, 0, 7, 30].repeat(40),
    ]
}
