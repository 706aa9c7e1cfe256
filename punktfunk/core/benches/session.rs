//! The whole pipeline of punktfunk/1 without sockets, beside its parts alone: what does joining them cost?
//!
//! The whole cuts an access unit, protects it with 25 % of recovery shards, seals its packets, opens them and puts the frame
//! together again, in a packetizer and a client's session. The parts are what of that cannot be left out, each over a whole frame and alone: the code
//! (encode, and rebuild where packets are lost), AES-128-GCM over each packet both ways, and each data byte copied into its packet and out
//! of it. `cargo bench --bench session`, or `-- gf8` for the rows whose name holds that; `-- --json FILE` keeps the figures. All in turns
//! in one process, by CPU time of the thread; MiB/s are of access units.

use std::hint::black_box;

use punktfunk_core::crypto::{Direction, OVERHEAD_BYTES, Opener, Sealer};
use punktfunk_core::fec::{self, Codec, Scheme, kernels};
use punktfunk_core::geometry::Block;
use punktfunk_core::packetize::punktfunk1::{EmissionOrder, Punktfunk1Packetizer};
use punktfunk_core::packetize::{Outgoing, Packetizer, SealedFrame};
use punktfunk_core::session::{ClientSession, FLAG_KEY, FLAG_PICTURE, StreamConfig};
use punktfunk_core::wire::punktfunk1::HEADER_BYTES;

mod clock;
#[allow(dead_code)] // rows are printed here in another form
mod race;

use race::{Options, ROUNDS, Row, spread};

const FRAMES: [(&str, usize); 4] = [
    ("20 kB", 20_000),
    ("64 KiB", 64 << 10),
    ("1 MiB", 1 << 20),
    ("4 MiB", 4 << 20),
];
const CODES: [(&str, Scheme, usize); 2] = [("gf16", Scheme::Gf16, 4096), ("gf8", Scheme::Gf8, 128)];
/// Every so many packets are lost.
const LOSSES: [(&str, usize); 2] = [("", usize::MAX), (", 10 % lost", 10)];
const PERCENT: u32 = 25;
const KEY: [u8; 16] = *b"0123456789abcdef";
const FRAME_NS: u64 = 16_666_667;
/// CPU seconds of each measure of a round, or one frame where that takes longer.
const ROUND: f64 = 0.02;

fn config(scheme: Scheme, max_block_shards: usize) -> StreamConfig {
    StreamConfig {
        scheme,
        max_block_shards,
        fec_percent: PERCENT,
        key: Some(KEY),
        ..StreamConfig::default()
    }
}

/// Both ends of a stream.
struct Whole {
    packetizer: Punktfunk1Packetizer,
    client: ClientSession,
    now_ns: u64,
    every: usize,
}

impl Whole {
    fn new(config: &StreamConfig, every: usize) -> Self {
        let packetizer = Punktfunk1Packetizer::new(config.clone(), EmissionOrder::Blocks, None);
        Self {
            packetizer: packetizer.expect("the parameters are right"),
            client: ClientSession::new(config.clone(), false).expect("as above"),
            now_ns: 0,
            every,
        }
    }

    fn packetize(&mut self, access_unit: &[u8]) -> SealedFrame {
        self.now_ns += FRAME_NS;
        let unit = Outgoing {
            data: access_unit,
            pts_ns: self.now_ns,
            flags: FLAG_PICTURE | FLAG_KEY,
            age_ns: None,
        };
        let sealed = self.packetizer.packetize(unit, PERCENT);
        sealed.expect("the frame is not too long")
    }

    /// A frame from end to end.
    fn frame(&mut self, access_unit: &[u8]) {
        let mut sealed = self.packetize(access_unit);
        for (number, packet) in sealed.buffer.chunks_exact_mut(sealed.stride).enumerate() {
            if arrives(number, self.every) {
                self.client.receive(packet, self.now_ns);
            }
        }
        self.client.advance(self.now_ns);
        let frame = self.client.poll_frame().expect("the frame is whole");
        assert_eq!(frame.data.len(), access_unit.len());
        black_box(frame);
    }
}

/// CPU seconds of a frame once its bytes are in the cache, as they are while nothing else is measured.
fn time(work: &mut dyn FnMut()) -> f64 {
    work();
    clock::time(work, ROUND)
}

/// Packet `number` of a frame is not lost.
const fn arrives(number: usize, every: usize) -> bool {
    number % every != every - 1
}

/// What of one frame's block is lost, and what its decoder is given.
struct Rebuilding {
    block: Block,
    present: Vec<bool>,
    recovery: Vec<usize>,
}

/// The parts, each with buffers of its own.
struct Parts {
    codec: &'static dyn Codec,
    shard_bytes: usize,
    stride: usize,
    every: usize,
    blocks: Vec<Rebuilding>,
    /// The access unit with the zeroes of its last shard.
    data: Vec<u8>,
    parity: Vec<u8>,
    packets: Vec<u8>,
    frame: Vec<u8>,
    sealer: Sealer,
    opener: Opener,
    number: u64,
}

impl Parts {
    const NAMES: [&'static str; 4] = ["FEC", "seal", "open", "copies"];

    fn new(config: &StreamConfig, access_unit: &[u8], every: usize) -> Self {
        let (shard_bytes, stride) = (config.shard_bytes, config.packet_bytes());
        let geometry = config.limits().geometry(access_unit.len(), PERCENT);
        let mut number = 0;
        let mut came = |count: usize| -> Vec<bool> {
            let from = number;
            number += count;
            (from..number).map(|n| arrives(n, every)).collect()
        };
        let blocks: Vec<_> = geometry
            .blocks()
            .map(|block| {
                let present = came(block.k);
                let lost = present.iter().filter(|here| !**here).count();
                let here = came(block.m);
                Rebuilding {
                    block,
                    present,
                    recovery: (0..block.m).filter(|&j| here[j]).take(lost).collect(),
                }
            })
            .collect();
        let mut data = access_unit.to_vec();
        data.resize(geometry.data_shards() * shard_bytes, 0);
        let recovery: usize = blocks.iter().map(|of| of.block.m).sum();
        Self {
            codec: fec::codec(config.scheme),
            shard_bytes,
            stride,
            every,
            frame: data.clone(),
            data,
            parity: vec![0; recovery * shard_bytes],
            packets: vec![0; number * stride],
            blocks,
            sealer: Sealer::new(KEY, config.salt, Direction::HostToClient),
            opener: Opener::new(KEY, config.salt, Direction::HostToClient),
            number: 0,
        }
    }

    /// Encode all blocks, and rebuild what is lost of them.
    fn code(&mut self) {
        let bytes = self.shard_bytes;
        let mut rest = &mut self.parity[..];
        for Rebuilding {
            block,
            present,
            recovery,
        } in &self.blocks
        {
            let Block {
                first_shard, k, m, ..
            } = *block;
            let (parity, others) = rest.split_at_mut(m * bytes);
            rest = others;
            let data = &self.data[first_shard * bytes..][..k * bytes];
            self.codec
                .encode(k, m, bytes, black_box(data), parity)
                .expect("it is a block");
            if recovery.is_empty() {
                continue;
            }
            let recovery: Vec<_> = recovery
                .iter()
                .map(|&j| (j, &parity[j * bytes..][..bytes]))
                .collect();
            let data = &mut self.frame[first_shard * bytes..][..k * bytes];
            self.codec
                .reconstruct_strided(k, m, bytes, data, bytes, &mut present.clone(), &recovery)
                .expect("enough is here");
        }
        black_box(&self.parity);
    }

    fn seal(&mut self) {
        for packet in self.packets.chunks_exact_mut(self.stride) {
            self.sealer
                .seal_in_place(self.number, packet)
                .expect("numbers rise");
            self.number += 1;
        }
    }

    /// Open what arrives. The packets hold what was sealed again, so that [`Parts::seal`] may follow.
    fn open(&mut self) {
        for (number, packet) in self.packets.chunks_exact_mut(self.stride).enumerate() {
            if arrives(number, self.every) {
                black_box(self.opener.open_in_place(packet)).expect("it was sealed so");
            }
        }
    }

    /// Copy each data shard into a packet, and as many out of packets.
    fn copy(&mut self) {
        let (bytes, at) = (self.shard_bytes, OVERHEAD_BYTES - 16 + HEADER_BYTES);
        let packets = self.packets.chunks_exact_mut(self.stride);
        for (packet, shard) in packets.zip(self.data.chunks_exact(bytes)) {
            packet[at..at + bytes].copy_from_slice(shard);
        }
        let packets = black_box(&self.packets).chunks_exact(self.stride);
        for (packet, shard) in packets.zip(self.frame.chunks_exact_mut(bytes)) {
            shard.copy_from_slice(&packet[at..at + bytes]);
        }
        black_box(&self.frame);
    }

    /// CPU seconds of each part, alone. What was opened has to be sealed before, so that `open` is the rest of both.
    fn times(&mut self) -> [f64; 4] {
        let code = time(&mut || self.code());
        let seal = time(&mut || self.seal());
        let both = time(&mut || {
            self.seal();
            self.open();
        });
        let copies = time(&mut || self.copy());
        [code, seal, both - seal, copies]
    }
}

/// The medians of what was measured, in seconds.
struct Figures {
    row: Row,
    packets: usize,
    ends: [f64; 2],
    parts: [f64; 4],
}

fn measure(name: String, config: &StreamConfig, bytes: usize, every: usize) -> Figures {
    let access_unit: Vec<u8> = (0..bytes).map(|i| (i * 31 % 251) as u8).collect();
    let mut whole = Whole::new(config, every);
    let mut parts = Parts::new(config, &access_unit, every);
    // Frames of a host alone are missing to a client, so that one is of a stream of its own.
    let mut host = Whole::new(config, every);
    // Buffers and tables are made, and the frame comes out.
    whole.frame(&access_unit);
    parts.times();
    let (mut ours, mut theirs, mut ratios) = (vec![], vec![], vec![]);
    let mut each: [Vec<f64>; 6] = Default::default();
    for _ in 0..ROUNDS {
        let all = time(&mut || whole.frame(&access_unit));
        let packetize = time(&mut || _ = black_box(host.packetize(&access_unit)));
        let alone = parts.times();
        let sum: f64 = alone.iter().sum();
        ours.push(bytes as f64 / all * 1e-9);
        theirs.push(bytes as f64 / sum * 1e-9);
        ratios.push(sum / all);
        let ends = [packetize, all - packetize];
        for (times, time) in each.iter_mut().zip(ends.into_iter().chain(alone)) {
            times.push(time);
        }
    }
    let medians = each.map(|times| spread(times)[0]);
    let [packetize, receive, code, seal, open, copies] = medians;
    // What is wanted is the most that the whole may take of the summed times of its parts.
    let wanted = race::target("parts", &name).map(|most| 1.0 / most);
    Figures {
        row: Row {
            name,
            ours: spread(ours),
            rival: spread(theirs),
            ratio: spread(ratios),
            wanted,
        },
        packets: parts.packets.len() / parts.stride,
        ends: [packetize, receive],
        parts: [code, seal, open, copies],
    }
}

impl Figures {
    const HEAD: &'static str = "| frame | MiB/s | host, client, ns a packet | parts alone: FEC, seal, open, copies, µs | whole / parts (smallest to largest) | at most | verdict |\n|---|---|---|---|---|---|---|";

    fn line(&self) -> String {
        let a_packet = self.ends.map(|end| end * 1e9 / self.packets as f64);
        let [median, least, most] = self.row.ratio;
        let (most_wanted, verdict) = match self.row.wanted {
            None => (String::from("–"), "not judged"),
            Some(wanted) if median >= wanted => (format!("{:.1}", 1.0 / wanted), "reached"),
            Some(wanted) => (format!("{:.1}", 1.0 / wanted), "missed"),
        };
        format!(
            "| {} | {:.0} | {:.0}, {:.0} | {} | {:.2} ({:.2} to {:.2}) | {most_wanted} | {verdict} |",
            self.row.name,
            self.row.ours[0] * 1e9 / f64::from(1 << 20),
            a_packet[0],
            a_packet[1],
            self.parts
                .map(|part| format!("{:.1}", part * 1e6))
                .join(", "),
            1.0 / median,
            1.0 / most,
            1.0 / least,
        )
    }
}

fn main() {
    let options = Options::parse();
    println!(
        "kernel {}, {PERCENT} % of recovery shards, AES-128-GCM, medians of {ROUNDS} in turns by CPU time of the thread; parts: {}",
        kernels::best().name,
        Parts::NAMES.join(", ")
    );
    println!("{}", Figures::HEAD);
    let mut rows = vec![];
    for (code, scheme, max_block) in CODES {
        let config = config(scheme, max_block);
        for (lost, every) in LOSSES {
            for (frame, bytes) in FRAMES {
                let name = format!("pipeline/{code}/{frame}{lost}");
                if name.contains(&options.filter) {
                    let figures = measure(name, &config, bytes, every);
                    println!("{}", figures.line());
                    rows.push(figures.row);
                }
            }
        }
    }
    options.keep(kernels::best().name, &rows);
}
