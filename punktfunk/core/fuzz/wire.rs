//! Headers, sealed packets and sequence numbers.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use std::time::Duration;

use punktfunk_core::crypto::{Direction, Opener};
use punktfunk_core::fec::Scheme;
use punktfunk_core::flags::{FLAG_KEY, FLAG_PICTURE};
use punktfunk_core::reject::Reject;
use punktfunk_core::replay::ReplayWindow;
use punktfunk_core::session::StreamConfig;
use punktfunk_core::wire::punktfunk1::{HEADER_BYTES, Header, MAGIC, MAX_FRAME_BYTES, VERSION};

/// What the vectors were sealed with: 00 01 .. 0f.
const VECTORS_KEY: [u8; 16] = 0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f_u128.to_be_bytes();

/// A header that parses says the bytes it came from, and what the limits let through is within them.
pub fn header(bytes: &[u8]) {
    let header = match Header::parse(bytes) {
        Ok(header) => header,
        Err(reason) => return assert!(matches!(reason, Reject::TooShort | Reject::Magic)),
    };
    let mut written = [0; HEADER_BYTES];
    header.write(&mut written);
    assert_eq!(written, bytes[..HEADER_BYTES]);
    for (scheme, shard_bytes, max_block) in [
        (Scheme::Gf8, 1024, 64),
        (Scheme::Gf16, 1200, 4096),
        (Scheme::Gf16, 32, 65000),
    ] {
        let limits = StreamConfig {
            scheme,
            shard_bytes,
            max_block_shards: max_block,
            fec_percent: 25,
            ..StreamConfig::default()
        }
        .limits();
        let shard = header.shard(bytes, shard_bytes);
        if let Ok(shard) = shard.and_then(|shard| shard.within(&limits)) {
            assert_eq!(shard.payload, &bytes[HEADER_BYTES..][..shard_bytes]);
            let (k, m) = (
                usize::from(header.data_shards),
                usize::from(header.recovery_shards),
            );
            assert!(k >= 1 && k <= max_block && k + m <= scheme.max_shards());
            assert!(
                usize::from(header.shard_index) < k + m && header.block_index < header.block_count
            );
            assert!(bytes.len() >= HEADER_BYTES + shard_bytes);
            assert!(header.frame_bytes as usize <= MAX_FRAME_BYTES);
        }
    }
}

pub fn headers() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (shard_bytes, k, m) in [(1200_u16, 55, 11), (1024, 64, 16), (32, 2, 1)] {
        let header = Header {
            pts_ns: 1,
            frame_index: 2,
            stream_seq: 3,
            frame_bytes: u32::from(shard_bytes) * u32::from(k),
            user_flags: FLAG_PICTURE | FLAG_KEY,
            block_index: 0,
            block_count: 1,
            data_shards: k,
            recovery_shards: m,
            shard_index: k,
            shard_bytes,
            version: VERSION,
            fec_scheme: 1,
            flags: 1,
        };
        let mut packet = vec![0; HEADER_BYTES + usize::from(shard_bytes)];
        header.write(packet.first_chunk_mut().unwrap());
        assert_eq!(packet[36], MAGIC);
        seeds.push(packet);
    }
    seeds.extend(of_vectors("plain"));
    seeds
}

/// Of all bytes only the packets of the vectors open, and only as what was sent.
pub fn open(bytes: &[u8]) {
    let mut packet = bytes.to_vec();
    let opener = Opener::new(VECTORS_KEY, *b"pkf1", Direction::HostToClient);
    let opened = opener
        .open_in_place(&mut packet)
        .map(|(seq, plain)| (seq, plain.to_vec()));
    match sealed().iter().position(|packet| packet == bytes) {
        Some(n) => assert_eq!(opened, Ok((n as u64, of_vectors("plain")[n].clone()))),
        None => assert!(opened.is_err(), "a forgery was opened"),
    }
}

/// Packets 0 to 2 of the vectors' first frame, as `wire` or as `plain`.
pub fn of_vectors(kind: &str) -> Vec<Vec<u8>> {
    static FOUND: LazyLock<HashMap<&str, Vec<Vec<u8>>>> = LazyLock::new(|| {
        let text = include_str!("../../../tests/golden/vectors/wire_vectors.txt");
        let find = |name: String| {
            let hex = text.lines().find_map(|line| line.strip_prefix(&name));
            hex.expect("the vectors have it")
                .trim()
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect()
        };
        let packets = |kind| (0..3).map(|n| find(format!("{kind}{n} "))).collect();
        ["wire", "plain"].map(|kind| (kind, packets(kind))).into()
    });
    FOUND[kind].clone()
}

pub fn sealed() -> Vec<Vec<u8>> {
    of_vectors("wire")
}

/// The window agrees with a set that forgets nothing, whatever order numbers come in.
pub fn replay(bytes: &[u8]) {
    let mut window = ReplayWindow::new(0, Duration::ZERO);
    let (memory, reach) = (window.memory_bytes(), window.packets());
    let (mut seen, mut highest, mut head) = (HashSet::new(), None::<u64>, 0_u64);
    for step in bytes.chunks_exact(3) {
        let distance = u64::from(u16::from_le_bytes([step[1], step[2]]));
        head = match step[0] % 4 {
            0 => head.wrapping_add(distance),
            1 => head.wrapping_sub(distance),
            2 => head.wrapping_add(distance << 40),
            _ => head.wrapping_add(1),
        };
        let in_reach = highest.is_none_or(|highest| head > highest || highest - head < reach);
        let fresh = in_reach && seen.insert(head);
        assert_eq!(
            window.check_and_set(head),
            fresh,
            "{head} with highest {highest:?}"
        );
        highest = highest.max(Some(head));
    }
    assert_eq!(window.memory_bytes(), memory);
}

pub fn sequences() -> Vec<Vec<u8>> {
    vec![
        [3, 0, 0].repeat(200),
        [0, 255, 3, 1, 254, 3, 3, 0, 0].repeat(40),
        [2, 255, 255, 1, 1, 0].repeat(60),
    ]
}
