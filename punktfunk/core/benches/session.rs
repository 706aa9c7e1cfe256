//! What a session costs a packet, without sockets: a host that seals and paces, a client that opens and reassembles.
//!
//! Frames are of 20 and of 500 Mbit/s at 60 Hz in shards of 1200 bytes with 20 % of recovery shards. The client gets all packets
//! of a frame, or all but every tenth, so that a code rebuilds some. Times are CPU times of the thread, which other programs
//! disturb less than the clock on the wall.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use punktfunk_core::session::{
    ClientSession, FLAG_KEY, FLAG_PICTURE, HostSession, HostSettings, StreamConfig,
};
use punktfunk_core::transport::clock::thread_cpu_ns;

const FRAMES: [(&str, usize); 2] = [("20 Mbit/s", 41_667), ("500 Mbit/s", 1_041_667)];
/// Frames that are made beforehand, so that making them does not count.
const BATCH_BYTES: usize = 2 << 20;
const FRAME_NS: u64 = 16_666_667;
const KEYS: [(&str, Option<[u8; 16]>); 2] = [("plain", None), ("sealed", Some([7; 16]))];

fn config(key: Option<[u8; 16]>) -> StreamConfig {
    StreamConfig {
        key,
        ..StreamConfig::default()
    }
}

struct Host {
    session: HostSession,
    now_ns: u64,
}

impl Host {
    fn new(key: Option<[u8; 16]>) -> Self {
        let settings = HostSettings {
            record_frames: false,
            ..HostSettings::default()
        };
        let session = HostSession::new(config(key), &settings);
        Self {
            session: session.expect("the parameters are right"),
            now_ns: 0,
        }
    }

    /// Submit a frame and hand all its packets to `each`.
    fn frame(&mut self, access_unit: &[u8], mut each: impl FnMut(&[u8])) {
        self.now_ns += FRAME_NS;
        self.session
            .submit(
                access_unit,
                self.now_ns,
                FLAG_PICTURE | FLAG_KEY,
                self.now_ns,
            )
            .expect("the frame is not too long");
        let mut now_ns = self.now_ns;
        while let Some(due_ns) = self.session.transmitter.next_timeout() {
            now_ns = now_ns.max(due_ns);
            while let Some(train) = self.session.transmitter.poll_transmit(now_ns) {
                train.bytes.chunks_exact(train.segment).for_each(&mut each);
                let packets = train.packets;
                self.session.transmitter.sent(now_ns, packets, 0);
            }
        }
    }
}

fn send(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send");
    for (rate, bytes) in FRAMES {
        for (protection, key) in KEYS {
            let access_unit = vec![42; bytes];
            let mut host = Host::new(key);
            let mut packets = 0;
            host.frame(&access_unit, |_| packets += 1);
            group.throughput(Throughput::Elements(packets));
            group.bench_function(format!("{rate} {protection}"), |bencher| {
                bencher.iter_custom(|frames| {
                    let begin_ns = thread_cpu_ns();
                    for _ in 0..frames {
                        host.frame(&access_unit, |packet| {
                            black_box(packet);
                        });
                    }
                    Duration::from_nanos(thread_cpu_ns() - begin_ns)
                });
            });
        }
    }
}

fn receive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive");
    for (rate, bytes) in FRAMES {
        for (protection, key) in KEYS {
            for (name, every) in [("", usize::MAX), (", 10 % lost", 10)] {
                let access_unit = vec![42; bytes];
                let mut host = Host::new(key);
                let mut client =
                    ClientSession::new(config(key), false).expect("the parameters are right");
                let mut frame = || {
                    let (mut packets, mut number) = (Vec::new(), 0);
                    host.frame(&access_unit, |packet| {
                        number += 1;
                        if number % every != 0 {
                            packets.push(packet.to_vec());
                        }
                    });
                    (packets, host.now_ns)
                };
                group.throughput(Throughput::Elements(frame().0.len() as u64));
                client.resume(1, (bytes.div_ceil(1200) * 6).div_ceil(5) as u32);
                group.bench_function(format!("{rate} {protection}{name}"), |bencher| {
                    bencher.iter_custom(|frames| {
                        let (mut left, mut spent_ns) = (frames, 0);
                        while left > 0 {
                            // As many as the clock is worth asking for.
                            let batch = left.min(BATCH_BYTES.div_ceil(bytes) as u64);
                            let mut packets: Vec<_> = (0..batch).map(|_| frame()).collect();
                            let begin_ns = thread_cpu_ns();
                            for (packets, now_ns) in &mut packets {
                                for packet in packets {
                                    client.receive(packet, *now_ns);
                                }
                                client.advance(*now_ns);
                                black_box(client.poll_frame()).expect("the frame is whole");
                            }
                            spent_ns += thread_cpu_ns() - begin_ns;
                            left -= batch;
                        }
                        Duration::from_nanos(spent_ns)
                    });
                });
            }
        }
    }
}

criterion_group!(benches, send, receive);
criterion_main!(benches);
