//! GameStream's video at 1 MiB a frame (packetSize 1392, 20 % of recovery, four blocks of 191 + 39), without sockets.
//!
//! `whole` packetizes the frame, protects and, where said so, encrypts it, and a client's session puts it together again, from all
//! packets or without every tenth. `parity alone` is the rival: the same recovery shards by `reed-solomon-erasure`, GF(2^8) and
//! Vandermonde, with its SIMD code, and nothing else. Times are CPU times of the thread.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use punktfunk_core::flags::{FLAG_KEY, FLAG_PICTURE};
use punktfunk_core::packetize::gamestream::{GameStreamPacketizer, blocks};
use punktfunk_core::packetize::{Outgoing, Packetizer};
use punktfunk_core::session::ClientSession;
use punktfunk_core::transport::clock::thread_cpu_ns;
use punktfunk_core::wire::gamestream::{GameStreamConfig, SHORT_HEADER_BYTES};
use reed_solomon_erasure::galois_8::ReedSolomon;

const FRAME_BYTES: usize = 1 << 20;
const PERCENT: u32 = 20;
const FRAME_NS: u64 = 16_666_667;

fn config(key: Option<[u8; 16]>) -> GameStreamConfig {
    GameStreamConfig {
        key,
        ..GameStreamConfig::default()
    }
}

/// A host's packetizer and a client's session.
struct Wire {
    packetizer: GameStreamPacketizer,
    client: ClientSession,
    now_ns: u64,
}

impl Wire {
    fn new(key: Option<[u8; 16]>) -> Self {
        let packetizer = GameStreamPacketizer::new(config(key));
        let client = ClientSession::gamestream(&config(key), false);
        Self {
            packetizer: packetizer.expect("the parameters are right"),
            client: client.expect("the parameters are right"),
            now_ns: 0,
        }
    }

    /// One frame to its packets, and those of them that arrive to the frame; returns the packets.
    fn frame(&mut self, access_unit: &[u8], every: usize) -> u32 {
        self.now_ns += FRAME_NS;
        let unit = Outgoing {
            data: access_unit,
            pts_ns: self.now_ns,
            flags: FLAG_PICTURE | FLAG_KEY,
            age_ns: Some(1_000_000),
        };
        let sealed = self.packetizer.packetize(unit, PERCENT);
        let mut frame = sealed.expect("the frame is not too long");
        for (number, packet) in frame.buffer.chunks_exact_mut(frame.stride).enumerate() {
            if number % every != every - 1 {
                self.client.receive(packet, self.now_ns);
            }
        }
        self.client.advance(self.now_ns);
        let whole = self.client.poll_frame().expect("the frame is whole");
        assert_eq!(whole.data.len(), access_unit.len());
        black_box(whole);
        frame.packets
    }
}

fn cpu(mut work: impl FnMut(), times: u64) -> Duration {
    let begin_ns = thread_cpu_ns();
    for _ in 0..times {
        work();
    }
    Duration::from_nanos(thread_cpu_ns() - begin_ns)
}

fn frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gamestream 1 MiB");
    group.throughput(Throughput::Bytes(FRAME_BYTES as u64));
    let access_unit: Vec<u8> = (0..FRAME_BYTES).map(|i| (i * 31 % 251) as u8).collect();
    for (name, key, every) in [
        ("whole", None, usize::MAX),
        ("whole, 10 % lost", None, 10),
        ("whole, encrypted", Some([7; 16]), usize::MAX),
        ("whole, encrypted, 10 % lost", Some([7; 16]), 10),
    ] {
        let mut wire = Wire::new(key);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| cpu(|| _ = wire.frame(&access_unit, every), times));
        });
    }
    let mut packetizer = Wire::new(None).packetizer;
    group.bench_function("packetize alone", |bencher| {
        let unit = Outgoing {
            data: &access_unit,
            pts_ns: 1,
            flags: FLAG_PICTURE,
            age_ns: None,
        };
        bencher
            .iter_custom(|times| cpu(|| _ = black_box(packetizer.packetize(unit, PERCENT)), times));
    });

    let limits = config(None).limits();
    let packets = (FRAME_BYTES + SHORT_HEADER_BYTES).div_ceil(limits.payload_bytes());
    let blocks: Vec<_> = blocks(packets, PERCENT, 2).expect("it fits").collect();
    assert_eq!(
        blocks.iter().map(|b| (b.k, b.m)).collect::<Vec<_>>()[..3],
        [(191, 39); 3]
    );
    let mut coded: Vec<_> = blocks
        .iter()
        .map(|block| {
            let shards = vec![vec![7_u8; limits.shard_bytes]; block.k + block.m];
            (
                ReedSolomon::new(block.k, block.m).expect("it is a block"),
                shards,
            )
        })
        .collect();
    group.bench_function("parity alone, reed-solomon-erasure", |bencher| {
        let mut encode = || {
            for (code, shards) in &mut coded {
                code.encode(&mut *shards).expect("the shards are alike");
            }
        };
        bencher.iter_custom(|times| cpu(&mut encode, times));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .sample_size(20);
    targets = frame
}
criterion_main!(benches);
