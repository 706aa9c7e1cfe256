//! GameStream's video at 1 MiB a frame (packetSize 1392, 20 % of recovery, four blocks of 191 + 39), without sockets.
//!
//! `whole` packetizes the frame, protects and, where said so, encrypts it, and a client's session puts it together again, from all
//! packets or without every tenth. The rival makes the same recovery shards by `reed-solomon-erasure`, GF(2^8) and Vandermonde, with its
//! SIMD code, and nothing else. Both in turns in one process, by CPU time of the thread. `cargo bench --bench gamestream`, or `-- lost` for
//! the rows whose name holds that; `-- --json FILE` keeps the figures.

use std::hint::black_box;

use punktfunk_core::fec::kernels;
use punktfunk_core::flags::{FLAG_KEY, FLAG_PICTURE};
use punktfunk_core::packetize::gamestream::{GameStreamPacketizer, blocks};
use punktfunk_core::packetize::{Outgoing, Packetizer};
use punktfunk_core::session::ClientSession;
use punktfunk_core::wire::gamestream::{GameStreamConfig, SHORT_HEADER_BYTES};
use reed_solomon_erasure::galois_8::ReedSolomon;

mod clock;
mod race;

use race::{Options, Row, compare};

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

    /// One frame to its packets, and those of them that arrive to the frame, where any do.
    fn frame(&mut self, access_unit: &[u8], every: Option<usize>) {
        self.now_ns += FRAME_NS;
        let unit = Outgoing {
            data: access_unit,
            pts_ns: self.now_ns,
            flags: FLAG_PICTURE | FLAG_KEY,
            age_ns: Some(1_000_000),
        };
        let sealed = self.packetizer.packetize(unit, PERCENT);
        let mut frame = sealed.expect("the frame is not too long");
        let Some(every) = every else {
            black_box(frame);
            return;
        };
        for (number, packet) in frame.buffer.chunks_exact_mut(frame.stride).enumerate() {
            if number % every != every - 1 {
                self.client.receive(packet, self.now_ns);
            }
        }
        self.client.advance(self.now_ns);
        let whole = self.client.poll_frame().expect("the frame is whole");
        assert_eq!(whole.data.len(), access_unit.len());
        black_box(whole);
    }
}

/// The parity of a frame's blocks by the other library.
struct Parity(Vec<(ReedSolomon, Vec<Vec<u8>>)>);

impl Parity {
    fn new() -> Self {
        let limits = config(None).limits();
        let packets = (FRAME_BYTES + SHORT_HEADER_BYTES).div_ceil(limits.payload_bytes());
        let blocks: Vec<_> = blocks(packets, PERCENT, 2).expect("it fits").collect();
        assert_eq!(
            blocks.iter().map(|b| (b.k, b.m)).collect::<Vec<_>>()[..3],
            [(191, 39); 3]
        );
        let block = |k, m| {
            let code = ReedSolomon::new(k, m).expect("it is a block");
            (code, vec![vec![7_u8; limits.shard_bytes]; k + m])
        };
        Self(blocks.iter().map(|b| block(b.k, b.m)).collect())
    }

    fn encode(&mut self) {
        for (code, shards) in &mut self.0 {
            code.encode(&mut *shards).expect("the shards are alike");
        }
        black_box(&self.0);
    }
}

fn main() {
    let options = Options::parse();
    println!(
        "kernel {}, GB/s of access units, medians of {} in turns by CPU time of the thread; the rival is the parity of reed-solomon-erasure alone",
        kernels::best().name,
        race::ROUNDS
    );
    println!("{}", Row::HEAD);
    let access_unit: Vec<u8> = (0..FRAME_BYTES).map(|i| (i * 31 % 251) as u8).collect();
    let mut parity = Parity::new();
    let mut rows = vec![];
    for (name, key, every) in [
        ("whole", None, Some(usize::MAX)),
        ("whole, 10 % lost", None, Some(10)),
        ("whole, encrypted", Some([7; 16]), Some(usize::MAX)),
        ("whole, encrypted, 10 % lost", Some([7; 16]), Some(10)),
        ("packetize alone", None, None),
    ] {
        let name = format!("gamestream/1 MiB, {name}");
        if !name.contains(&options.filter) {
            continue;
        }
        let mut wire = Wire::new(key);
        let wanted = race::target("ratio", &name);
        let row = compare(
            name,
            FRAME_BYTES,
            wanted,
            &mut || wire.frame(&access_unit, every),
            &mut || parity.encode(),
        );
        println!("{}", row.line());
        rows.push(row);
    }
    options.keep(kernels::best().name, &rows);
}
