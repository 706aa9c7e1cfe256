//! Nothing is allocated for a block once its thread has met one of its size (GF(2^16)) or of as many recovery shards
//! (GF(2^8)), nor for trains that sockets send and receive, by the system allocator's count.

#[path = "support/allocation.rs"]
mod allocation;

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

use allocation::{LIVE, PEAK};
use punktfunk_core::fec::{Codec, Scheme, codec_with_kernel, kernels};
use punktfunk_core::transport::udp::{EdgeOptions, Received, UdpEdge};

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
