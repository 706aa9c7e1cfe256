//! Nothing is allocated for a block once its thread has met one of its size (GF(2^16)) or of as many recovery shards
//! (GF(2^8)), nor for trains that sockets send and receive, nor for a frame at either end of a stream at rest, by the system
//! allocator's count.

#[path = "support/allocation.rs"]
mod allocation;

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

use allocation::{CALLS, LIVE, PEAK};
use punktfunk_core::fec::{Codec, Scheme, codec_with_kernel, kernels};
use punktfunk_core::session::{
    ClientSession, FLAG_KEY, FLAG_PICTURE, HostSession, HostSettings, StreamConfig,
};
use punktfunk_core::transport::udp::{EdgeOptions, Received, UdpEdge};
use punktfunk_core::wire::gamestream::GameStreamConfig;

const SHARD_BYTES: usize = 1200;

/// Bytes that were taken from the system meanwhile, at the most.
fn taken(work: impl FnOnce()) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    work();
    PEAK.get() - before
}

/// Encode and rebuild a block twice; the second time takes nothing from the system.
fn is_free_the_second_time(codec: &dyn Codec, (k, m, lost): (usize, usize, usize), kernel: &str) {
    let data: Vec<u8> = (0..k * SHARD_BYTES)
        .map(|n| ((n * 31) >> 3) as u8)
        .collect();
    let mut block = data.clone();
    let mut parity = vec![0; m * SHARD_BYTES];
    let mut present = vec![true; k];
    for met in [false, true] {
        let encoding = taken(|| {
            codec.encode(k, m, SHARD_BYTES, &data, &mut parity).unwrap();
        });
        let recovery: Vec<(usize, &[u8])> = parity.chunks(SHARD_BYTES).enumerate().collect();
        present[..lost].fill(false);
        block[..lost * SHARD_BYTES].fill(0);
        let decoding = taken(|| {
            let rebuilt = codec.reconstruct_strided(
                k,
                m,
                SHARD_BYTES,
                &mut block,
                SHARD_BYTES,
                &mut present,
                &recovery,
            );
            assert_eq!(rebuilt, Ok(lost));
        });
        assert!(block == data);
        if met {
            assert_eq!((encoding, decoding), (0, 0), "({k},{m}) {lost} {kernel}");
        }
    }
}

#[test]
fn a_block_of_gf16_is_encoded_and_rebuilt_without_an_allocation() {
    // One loss, few, all, and low rate.
    for shape in [(35, 7, 1), (100, 20, 3), (1000, 200, 200), (20, 90, 20)] {
        for kernel in kernels::available() {
            let codec = codec_with_kernel(Scheme::Gf16, kernel);
            is_free_the_second_time(&*codec, shape, kernel.name);
        }
    }
}

#[test]
fn a_block_of_gf8_is_encoded_and_rebuilt_without_an_allocation() {
    for kernel in kernels::available() {
        let codec = codec_with_kernel(Scheme::Gf8, kernel);
        for (k, m, lost) in [(50, 10, 1), (50, 10, 10), (128, 128, 128), (200, 40, 4)] {
            is_free_the_second_time(&*codec, (k, m, lost), kernel.name);
            // Frames of a stream differ by a few data shards.
            let data = vec![1; (k - 1) * SHARD_BYTES];
            let mut parity = vec![0; m * SHARD_BYTES];
            let fewer = taken(|| {
                codec
                    .encode(k - 1, m, SHARD_BYTES, &data, &mut parity)
                    .unwrap();
            });
            assert_eq!(fewer, 0, "({k},{m}) {}", kernel.name);
        }
    }
}

#[test]
fn trains_are_sent_and_received_without_an_allocation() {
    for (gso, gro) in [(true, true), (false, false)] {
        let options = EdgeOptions {
            gso,
            gro,
            ..EdgeOptions::default()
        };
        let bound = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (from, to) = (bound(), bound());
        from.connect(to.local_addr().unwrap()).unwrap();
        to.connect(from.local_addr().unwrap()).unwrap();
        let edge = |socket: &UdpSocket| UdpEdge::new(socket.as_raw_fd(), &options).unwrap();
        let (mut out, mut back) = (edge(&from), edge(&to));
        let train = vec![7; 150 * SHARD_BYTES];
        for met in [false, true] {
            let (mut bytes, mut dropped) = (0, 0);
            let taken = taken(|| {
                dropped = out.send_train(&train, SHARD_BYTES).packets_dropped;
                while bytes < train.len() {
                    let got = back.receive(Some(Duration::from_secs(5)), |datagram| {
                        bytes += datagram.bytes.len();
                    });
                    if got == Received::TimedOut {
                        break;
                    }
                }
            });
            assert_eq!((bytes, dropped), (train.len(), 0));
            if met {
                assert_eq!(taken, 0, "gso {gso}, gro {gro}");
            }
        }
    }
}

/// Frames of one block and of several, in turn.
const FRAMES: [usize; 3] = [20_000, 41_667, 400_000];
const FRAME_NS: u64 = 16_666_667;
/// Frames until the loss window of 64 has been left by some of each size in each place.
const WARM: usize = 400;
const KEY: Option<[u8; 16]> = Some([7; 16]);

fn settings() -> HostSettings {
    HostSettings {
        record_frames: false,
        ..HostSettings::default()
    }
}

/// Stream until nothing is new any more, then count how often host and client ask for memory. Every tenth packet is lost, so that
/// frames are rebuilt as well.
fn a_stream_at_rest_is_free(mut host: HostSession, mut client: ClientSession, name: &str) {
    let access_units = FRAMES.map(|bytes| vec![42_u8; bytes]);
    let mut packets = Vec::new();
    let (mut now_ns, mut number) = (0, 0);
    for (frame, access_unit) in access_units.iter().cycle().take(WARM + 99).enumerate() {
        now_ns += FRAME_NS;
        packets.clear();
        let mut segment = 0;
        let before = CALLS.get();
        host.submit(access_unit, now_ns, FLAG_PICTURE | FLAG_KEY, now_ns)
            .unwrap();
        while let Some(due_ns) = host.transmitter.next_timeout() {
            now_ns = now_ns.max(due_ns);
            while let Some(train) = host.transmitter.poll_transmit(now_ns) {
                packets.extend_from_slice(train.bytes);
                segment = train.segment;
                let packets = train.packets;
                host.transmitter.sent(now_ns, packets, 0);
            }
        }
        let sent = CALLS.get();
        for packet in packets.chunks_exact_mut(segment) {
            number += 1;
            if number % 10 != 0 {
                client.receive(packet, now_ns);
            }
        }
        client.advance(now_ns);
        let whole = client.poll_frame().expect("20 % of recovery shards");
        assert!(*whole.data == access_unit[..]);
        drop(whole);
        let asked = (sent - before, CALLS.get() - sent);
        if frame >= WARM {
            assert_eq!(asked, (0, 0), "host, client: {name}, frame {frame}");
        }
    }
    assert!(client.stats().data_shards_recovered > 0, "{name}");
}

#[test]
fn a_frame_of_punktfunk1_at_rest_allocates_nothing_at_either_end() {
    for (scheme, max_block_shards) in [
        (Scheme::Gf16, 4096),
        (Scheme::Gf16, 100),
        (Scheme::Gf8, 128),
    ] {
        for key in [None, KEY] {
            let config = StreamConfig {
                scheme,
                max_block_shards,
                key,
                ..StreamConfig::default()
            };
            let host = HostSession::new(config.clone(), &settings()).unwrap();
            let client = ClientSession::new(config, false).unwrap();
            let name = format!("{scheme} {max_block_shards} {key:?}");
            a_stream_at_rest_is_free(host, client, &name);
        }
    }
}

#[test]
fn a_frame_of_gamestream_at_rest_allocates_nothing_at_either_end() {
    for key in [None, KEY] {
        let config = GameStreamConfig {
            key,
            ..GameStreamConfig::default()
        };
        let client = ClientSession::gamestream(&config, false).unwrap();
        let host = HostSession::gamestream(config, &settings()).unwrap();
        a_stream_at_rest_is_free(host, client, &format!("{key:?}"));
    }
}
