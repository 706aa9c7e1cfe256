//! Bytes that the specification fixes, read from the same files as the Python golden tests.

use std::collections::HashMap;

use punktfunk_core::crypto::{Direction, Opener, Sealer};
use punktfunk_core::fec::{self, Scheme, kernels};
use punktfunk_core::flags::{FLAG_KEY, FLAG_PICTURE};
use punktfunk_core::packetize::punktfunk1::{EmissionOrder, Punktfunk1Packetizer};
use punktfunk_core::packetize::{Outgoing, Packetizer};
use punktfunk_core::session::StreamConfig;
use sha2::{Digest, Sha256};

const GF8: &str = include_str!("../../../tests/golden/vectors/gf8_vectors.txt");
const GF16: &str = include_str!("../../../tests/golden/vectors/gf16_vectors.txt");
const WIRE: &str = include_str!("../../../tests/golden/vectors/wire_vectors.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// Byte `b` of shard `i` is `31 i + 7 b` (spec 5.1).
fn pattern(k: usize, shard_bytes: usize) -> Vec<u8> {
    (0..k * shard_bytes)
        .map(|n| (31 * (n / shard_bytes) + 7 * (n % shard_bytes)) as u8)
        .collect()
}

/// Geometry, digest and, where the file has them, the recovery shards of each vector.
fn vectors(text: &str) -> Vec<(usize, usize, usize, String, Vec<String>)> {
    let mut vectors = Vec::new();
    for line in text.lines() {
        if line.starts_with("k=") {
            let fields: HashMap<&str, &str> = line
                .split_whitespace()
                .filter_map(|word| word.split_once('='))
                .collect();
            let number = |name: &str| fields[name].parse().unwrap();
            let digest = line
                .split_once("sha256(")
                .unwrap()
                .1
                .split_once('=')
                .unwrap()
                .1;
            let digest = digest.split_whitespace().next().unwrap().to_owned();
            vectors.push((
                number("k"),
                number("m"),
                number("bytes"),
                digest,
                Vec::new(),
            ));
        } else if let Some((label, shard)) = line.trim().split_once(' ')
            && (label.starts_with('P') || label.starts_with('R'))
        {
            vectors.last_mut().unwrap().4.push(shard.to_owned());
        }
    }
    vectors
}

#[test]
fn every_recovery_shard_of_the_specification_is_reproduced_by_every_kernel() {
    for (scheme, text, count) in [(Scheme::Gf8, GF8, 8), (Scheme::Gf16, GF16, 14)] {
        let vectors = vectors(text);
        assert_eq!(vectors.len(), count);
        for kernel in kernels::available() {
            for (k, m, shard_bytes, digest, shards) in &vectors {
                let mut parity = vec![0xAA; m * shard_bytes];
                let data = pattern(*k, *shard_bytes);
                let codec = fec::codec_with_kernel(scheme, kernel);
                codec
                    .encode(*k, *m, *shard_bytes, &data, &mut parity)
                    .unwrap();
                assert_eq!(
                    hex(&Sha256::digest(&parity)),
                    *digest,
                    "{} {scheme} ({k},{m})",
                    kernel.name
                );
                for (shard, expected) in parity.chunks(*shard_bytes).zip(shards) {
                    assert_eq!(hex(shard), *expected, "{} {scheme} ({k},{m})", kernel.name);
                }
            }
        }
    }
}

#[test]
fn four_bytes_have_the_two_recovery_bytes_of_the_specification() {
    let mut parity = [0; 2];
    fec::codec(Scheme::Gf8)
        .encode(4, 2, 1, &[10, 20, 30, 40], &mut parity)
        .unwrap();
    assert_eq!(parity, [136, 0]);
}

const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// The reference host's synthetic frame (spec 4.7).
fn test_frame(index: u32, bytes: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..bytes)
        .map(|i| (i as u32).wrapping_add(index) as u8)
        .collect();
    frame[..4].copy_from_slice(&index.to_le_bytes());
    frame
}

/// The packets that a host sends for its first frame.
fn packets(
    key: Option<[u8; 16]>,
    shard_bytes: usize,
    access_unit: &[u8],
    pts_ns: u64,
) -> Vec<Vec<u8>> {
    let config = StreamConfig {
        key,
        shard_bytes,
        ..StreamConfig::default()
    };
    let percent = config.fec_percent;
    let frame = Punktfunk1Packetizer::new(config, EmissionOrder::default(), None)
        .unwrap()
        .packetize(
            Outgoing {
                data: access_unit,
                pts_ns,
                flags: FLAG_PICTURE | FLAG_KEY,
                age_ns: None,
            },
            percent,
        )
        .unwrap();
    frame
        .buffer
        .chunks_exact(frame.stride)
        .map(<[u8]>::to_vec)
        .collect()
}

#[test]
fn packets_of_the_small_frame_are_the_specifications_bytes_plain_and_sealed() {
    let fields: HashMap<&str, &str> = WIRE
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let access_unit = test_frame(7, 40);
    assert_eq!(hex(&access_unit), fields["frame"]);
    let pts_ns = 0x0102_0304_0506_0708;
    let plain = packets(None, 32, &access_unit, pts_ns);
    let mut sealed = packets(Some(KEY), 32, &access_unit, pts_ns);
    let opener = Opener::new(KEY, *b"pkf1", Direction::HostToClient);
    assert_eq!((plain.len(), sealed.len()), (3, 3));
    for (n, sealed) in sealed.iter_mut().enumerate() {
        assert_eq!(hex(&plain[n]), fields[format!("plain{n}").as_str()]);
        assert_eq!(hex(sealed), fields[format!("wire{n}").as_str()]);
        assert_eq!(
            opener.open_in_place(sealed),
            Ok((n as u64, &mut plain[n].clone()[..]))
        );
    }
}

#[test]
fn the_reference_hosts_first_synthetic_frame_has_the_recorded_digests() {
    let access_unit = test_frame(0, 65536);
    let plain = packets(None, 1200, &access_unit, 0);
    assert_eq!(plain.len(), 66);
    let digest = hex(&Sha256::digest(plain.concat()));
    assert_eq!(
        digest,
        "1274b36e4991009dd197c5c5b5f884f0f0fddd44383f2c7340bab971b0f0c583"
    );
    let sealed = packets(Some(KEY), 1200, &access_unit, 0);
    assert!(sealed.iter().all(|packet| packet.len() == 1264));
    let digest = hex(&Sha256::digest(sealed.concat()));
    assert_eq!(
        digest,
        "bf9ebb43644713546cbcf0ae10ffcc385759ff316a4b11e33ddaa5a3ad7ec450"
    );
}

#[test]
fn client_packets_carry_the_direction_bit_in_their_salt() {
    let plain = unhex("c80200000000f4ffffff22000000cdab0000");
    let line = WIRE
        .lines()
        .find(|line| line.starts_with("client->host seal"))
        .unwrap();
    let mut sealer = Sealer::new(KEY, *b"pkf1", Direction::ClientToHost);
    let mut packet = vec![0; plain.len() + 24];
    packet[8..8 + plain.len()].copy_from_slice(&plain);
    sealer.seal_in_place(0, &mut packet).unwrap();
    assert_eq!(hex(&packet), line.rsplit(' ').next().unwrap());
}

#[test]
fn geometries_are_those_of_the_worked_examples() {
    let mut seen = 0;
    for line in WIRE.lines().filter(|line| line.starts_with("geometry")) {
        let (shard_bytes, percent) = if line.contains("1452") {
            (1452, 10)
        } else {
            (1200, 20)
        };
        let after = |name: &str| line.split_once(name).unwrap().1;
        let bytes: usize = after("n=").split(' ').next().unwrap().parse().unwrap();
        let config = StreamConfig {
            shard_bytes,
            fec_percent: percent,
            ..StreamConfig::default()
        };
        let geometry = config.limits().geometry(bytes, percent);
        let blocks: Vec<_> = geometry.blocks().map(|block| (block.k, block.m)).collect();
        assert_eq!(
            format!("{blocks:?}"),
            after("blocks=").split(" packets").next().unwrap()
        );
        let packets: usize = blocks.iter().map(|(k, m)| k + m).sum();
        assert_eq!(packets.to_string(), after("packets="));
        seen += 1;
    }
    assert_eq!(seen, 10);
}
