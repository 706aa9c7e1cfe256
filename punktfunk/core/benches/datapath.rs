//! Where the CPU time of a packet goes between an access unit and an access unit, sockets included.
//!
//! `cargo bench --bench datapath [-- --shard 1200 --frame 4166667 --fec 20 --trains 51]`. One thread is host and client in
//! turns over loopback, where the kernel's part of the receiver runs in the sender's call, as over veth. Times are CPU times
//! of this thread, so that a busy machine disturbs little but the caches. Prints, judges nothing.

mod clock;

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

use clock::cpu;
use punktfunk_core::pacing::PacerConfig;
use punktfunk_core::session::{
    ClientSession, FLAG_KEY, FLAG_PICTURE, HostSession, HostSettings, StreamConfig,
};
use punktfunk_core::transport::udp::{EdgeOptions, Received, UdpEdge};

const ROUNDS: usize = 31;

struct Options {
    shard_bytes: usize,
    frame_bytes: usize,
    fec_percent: u32,
    train_packets: u32,
}

impl Options {
    /// From the command line, where cargo puts a `--bench` of its own.
    fn read() -> Self {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let of = |name: &str, default: usize| {
            let at = words.iter().position(|word| word == name);
            at.map_or(default, |at| {
                let value = words.get(at + 1).and_then(|value| value.parse().ok());
                value.unwrap_or_else(|| panic!("{name} wants a number"))
            })
        };
        Self {
            shard_bytes: of("--shard", 1200),
            frame_bytes: of("--frame", 4_166_667),
            fec_percent: of("--fec", 20) as u32,
            train_packets: of("--trains", 64) as u32,
        }
    }

    fn config(&self, key: Option<[u8; 16]>, fec_percent: u32) -> StreamConfig {
        StreamConfig {
            key,
            fec_percent,
            shard_bytes: self.shard_bytes,
            ..StreamConfig::default()
        }
    }

    /// Everything that is submitted may leave at once.
    fn settings(&self) -> HostSettings {
        HostSettings {
            record_frames: false,
            pacer: PacerConfig {
                burst_packets: 1 << 20,
                train_packets: self.train_packets,
                ..PacerConfig::default()
            },
            ..HostSettings::default()
        }
    }
}

/// Both ends of a stream on two sockets.
struct Stream {
    host: HostSession,
    client: ClientSession,
    out: UdpEdge,
    back: UdpEdge,
    now_ns: u64,
}

/// Seconds a packet.
struct Round {
    submit: f64,
    send: f64,
    receive: f64,
    release: f64,
    calls: f64,
}

impl Stream {
    fn new(options: &Options, key: Option<[u8; 16]>, fec_percent: u32) -> Self {
        let bound = || UdpSocket::bind("127.0.0.1:0").expect("loopback is up");
        let (from, to) = (bound(), bound());
        let connect = |socket: &UdpSocket, peer: &UdpSocket| {
            socket
                .connect(peer.local_addr().unwrap())
                .expect("both are bound");
        };
        connect(&from, &to);
        connect(&to, &from);
        let edge = |socket: &UdpSocket| {
            UdpEdge::new(socket.as_raw_fd(), &EdgeOptions::default()).expect("a UDP socket")
        };
        let config = options.config(key, fec_percent);
        Self {
            host: HostSession::new(config.clone(), &options.settings()).expect("valid parameters"),
            client: ClientSession::new(config, false).expect("valid parameters"),
            out: edge(&from),
            back: edge(&to),
            now_ns: 1,
        }
    }

    /// One frame from end to end; `open` hands its datagrams to the client, else they are dropped unread.
    fn frame(&mut self, access_unit: &[u8], open: bool) -> Round {
        self.now_ns += 4_166_667;
        let now_ns = self.now_ns;
        let begin = cpu();
        self.host
            .submit(access_unit, now_ns, FLAG_PICTURE | FLAG_KEY, now_ns)
            .expect("not too long");
        let submitted = cpu();
        let (mut receive, mut packets, mut waiting) = (0.0, 0_u32, 0);
        let calls = self.back.counters().receive_calls;
        let mut send = submitted;
        let mut sending = 0.0;
        loop {
            let train = self.host.transmitter.poll_transmit(now_ns);
            let count = train.as_ref().map_or(0, |train| train.packets);
            if let Some(train) = train {
                let outcome = self.out.send_train(train.bytes, train.segment);
                assert_eq!(outcome.packets_dropped, 0);
                self.host.transmitter.sent(now_ns, count, 0);
            }
            packets += count;
            waiting += count;
            // As much as waits where two ends run side by side.
            if waiting < 256 && count > 0 {
                continue;
            }
            let sent = cpu();
            sending += sent - send;
            while waiting > 0 {
                let client = &mut self.client;
                let got = self.back.receive(Some(Duration::from_secs(1)), |datagram| {
                    if open {
                        client.receive(datagram.bytes, now_ns);
                    }
                });
                let Received::Packets(got) = got else {
                    panic!("{waiting} of {packets} packets are missing");
                };
                waiting -= got as u32;
            }
            send = cpu();
            receive += send - sent;
            if count == 0 {
                break;
            }
        }
        let received = cpu();
        if open {
            self.client.advance(now_ns);
            let frame = self.client.poll_frame().expect("the frame is whole");
            assert_eq!(frame.data.len(), access_unit.len());
        }
        let each = f64::from(packets);
        Round {
            submit: (submitted - begin) / each,
            send: sending / each,
            receive: receive / each,
            release: (cpu() - received) / each,
            calls: each / (self.back.counters().receive_calls - calls) as f64,
        }
    }
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let options = Options::read();
    let access_unit: Vec<u8> = (0..options.frame_bytes)
        .map(|n| (n ^ (n >> 9)) as u8)
        .collect();
    println!(
        "ns a packet, medians of {ROUNDS} frames of {} bytes in shards of {}, {} % FEC where there is any, trains of {} at most",
        options.frame_bytes, options.shard_bytes, options.fec_percent, options.train_packets
    );
    println!(
        "{:24} {:>8} {:>8} {:>8} {:>8} {:>8} {:>10}",
        "", "submit", "send", "receive", "release", "all", "pkts/recv"
    );
    let key = Some([7; 16]);
    let cases = [
        ("copied alone", None, 0, false),
        ("and FEC", None, options.fec_percent, false),
        ("and placed", None, options.fec_percent, true),
        ("and sealed, opened", key, options.fec_percent, true),
    ];
    let mut streams: Vec<_> = cases
        .iter()
        .map(|&(_, key, fec, _)| Stream::new(&options, key, fec))
        .collect();
    let mut rounds: Vec<Vec<Round>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 0..=ROUNDS {
        for ((stream, rounds), (_, _, _, open)) in streams.iter_mut().zip(&mut rounds).zip(cases) {
            let got = stream.frame(&access_unit, open);
            // The first meets empty pools.
            if round > 0 {
                rounds.push(got);
            }
        }
    }
    for ((name, ..), rounds) in cases.iter().zip(&rounds) {
        let ns = |of: fn(&Round) -> f64| median(rounds, of) * 1e9;
        let parts = [
            ns(|r| r.submit),
            ns(|r| r.send),
            ns(|r| r.receive),
            ns(|r| r.release),
        ];
        println!(
            "{name:24} {:8.1} {:8.1} {:8.1} {:8.1} {:8.1} {:10.1}",
            parts[0],
            parts[1],
            parts[2],
            parts[3],
            parts.iter().sum::<f64>(),
            median(rounds, |r| r.calls)
        );
    }
}
