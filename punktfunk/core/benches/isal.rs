//! The GF(2^8) code beside Intel's ISA-L in one process, in turns: medians of seven and what they spread.
//!
//! `PUNKTFUNK_ISAL=/path/to/libisal.so.2 cargo bench --bench isal`, or `nox -s bench -- isal`, which takes the library
//! out of the wheel of pyeclib. A word behind `--` takes rows whose name holds it; `--json FILE` keeps the figures. Times
//! are CPU seconds of this thread, so that a busy machine takes turns away from both alike; throughput is data bytes of
//! the block. Each kernel runs beside ISA-L's of the same instructions; the fastest is judged.
//!
//! ISA-L encodes by tables that are ready. It decodes in two ways: by tables that are ready (`dot`), and as its users do
//! for a loss (`decode`): the matrix of `k` shards that are here inverted, tables made, products summed. Ours always
//! works out the factors of the loss.

use std::ffi::{CString, c_char, c_int, c_void};
use std::hint::black_box;

use punktfunk_core::fec::{Codec, Scheme, codec_with_kernel, kernels, naive};

mod clock;
mod race;

use race::{Options, Row};

const SHARD_BYTES: usize = 1200;
const GEOMETRIES: [(usize, usize); 3] = [(50, 10), (100, 20), (200, 40)];

type Tables = unsafe extern "C" fn(k: c_int, rows: c_int, matrix: *const u8, tables: *mut u8);
type Encode = unsafe extern "C" fn(
    bytes: c_int,
    k: c_int,
    rows: c_int,
    tables: *const u8,
    data: *const *const u8,
    coding: *const *mut u8,
);
type Invert = unsafe extern "C" fn(matrix: *mut u8, inverse: *mut u8, k: c_int) -> c_int;

/// ISA-L with the instructions of one kernel of ours.
#[derive(Clone, Copy)]
struct Isal {
    tables: Tables,
    encode: Encode,
    invert: Invert,
}

impl Isal {
    /// # Panics
    /// If the library lacks a function: ISA-L 2.31 or newer, with its symbols, has all.
    fn load(library: &str, kernel: &str) -> Self {
        let (tables, encode) = match kernel {
            "avx512-gfni" => ("ec_init_tables_gfni", "ec_encode_data_avx512_gfni"),
            "avx2-gfni" => ("ec_init_tables_gfni", "ec_encode_data_avx2_gfni"),
            "avx2" => ("ec_init_tables_base", "ec_encode_data_avx2"),
            _ => ("ec_init_tables_base", "ec_encode_data_base"),
        };
        let path = CString::new(library).expect("a path without zeros");
        // SAFETY: the path ends with a zero.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null(), "cannot load {library} as a library");
        let symbol = |name: &str| -> *mut c_void {
            let name = CString::new(name).expect("a name without zeros");
            // SAFETY: the handle is open for good; the name ends with a zero.
            let at = unsafe { libc::dlsym(handle, name.as_ptr().cast::<c_char>()) };
            assert!(!at.is_null(), "{library} has no {name:?}");
            at
        };
        // SAFETY: these are the functions' types in ISA-L's erasure_code.h.
        unsafe {
            Self {
                tables: std::mem::transmute::<*mut c_void, Tables>(symbol(tables)),
                encode: std::mem::transmute::<*mut c_void, Encode>(symbol(encode)),
                invert: std::mem::transmute::<*mut c_void, Invert>(symbol("gf_invert_matrix")),
            }
        }
    }

    /// Tables of a matrix of `k` columns, in `room`.
    fn tables(&self, k: usize, matrix: &[u8], room: &mut Vec<u8>) {
        room.resize(32 * matrix.len(), 0);
        let rows = (matrix.len() / k) as c_int;
        // SAFETY: the matrix has `rows * k` coefficients, and a table of each has 32 bytes at most.
        unsafe { (self.tables)(k as c_int, rows, matrix.as_ptr(), room.as_mut_ptr()) };
    }

    /// Sums of products, into shards that lie one behind the other.
    fn encode(&self, tables: &[u8], data: &[*const u8], coding: &mut [u8]) {
        let rows: Vec<*mut u8> = coding
            .chunks_mut(SHARD_BYTES)
            .map(<[u8]>::as_mut_ptr)
            .collect();
        // SAFETY: every shard has SHARD_BYTES bytes, and the tables are of `rows * k` coefficients.
        unsafe {
            (self.encode)(
                SHARD_BYTES as c_int,
                data.len() as c_int,
                rows.len() as c_int,
                tables.as_ptr(),
                data.as_ptr(),
                rows.as_ptr(),
            );
        }
    }

    /// The inverse of a `k` by `k` matrix, which is destroyed.
    fn invert(&self, k: usize, matrix: &mut [u8], inverse: &mut [u8]) {
        // SAFETY: both have `k * k` coefficients.
        let failed =
            unsafe { (self.invert)(matrix.as_mut_ptr(), inverse.as_mut_ptr(), k as c_int) };
        assert_eq!(failed, 0, "the matrix of any k shards can be inverted");
    }
}

/// The coefficients of recovery shards, row by row: what single bytes of 1 are encoded to.
fn coefficients(k: usize, m: usize) -> Vec<u8> {
    let mut matrix = vec![0; m * k];
    for i in 0..k {
        let unit: Vec<Vec<u8>> = (0..k).map(|at| vec![u8::from(at == i)]).collect();
        for (j, shard) in naive::encode(Scheme::Gf8, &unit, m).iter().enumerate() {
            matrix[j * k + i] = shard[0];
        }
    }
    matrix
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count * SHARD_BYTES)
        .map(|n| (n * 7 + n / SHARD_BYTES * 31) as u8)
        .collect()
}

/// One geometry, with a kernel of ours and ISA-L's like it.
struct Race<'a> {
    isal: Isal,
    codec: &'a dyn Codec,
    kernel: &'static str,
    judged: bool,
    k: usize,
    m: usize,
}

impl Race<'_> {
    /// The name of a row: with the kernel's where it is not the fastest, which is judged.
    fn name(&self, work: &str) -> String {
        let kernel = if self.judged { "" } else { self.kernel };
        let slash = if self.judged { "" } else { "/" };
        format!("gf8/{work}/{}+{}{slash}{kernel}", self.k, self.m)
    }

    fn encode(&self) -> Row {
        let (k, m) = (self.k, self.m);
        let data = pattern(k);
        let (mut a, mut b) = (vec![0; m * SHARD_BYTES], vec![0; m * SHARD_BYTES]);
        let shards: Vec<*const u8> = data.chunks(SHARD_BYTES).map(<[u8]>::as_ptr).collect();
        let mut tables = Vec::new();
        self.isal.tables(k, &coefficients(k, m), &mut tables);
        let name = self.name("encode");
        let wanted = race::target("ratio", &name);
        let row = race::compare(
            name,
            data.len(),
            wanted,
            &mut || {
                let data = black_box(&data);
                self.codec.encode(k, m, SHARD_BYTES, data, &mut a).unwrap();
            },
            &mut || self.isal.encode(&tables, black_box(&shards), &mut b),
        );
        assert!(a == b, "{}: recovery shards differ", row.name);
        row
    }

    /// The losses lie evenly over the block, and the first recovery shards are here.
    fn decode(&self, lost: usize, with_inversion: bool) -> Row {
        let (k, m) = (self.k, self.m);
        let is_lost = |i: usize| i * lost / k != (i + 1) * lost / k;
        let data = pattern(k);
        let mut parity = vec![0; m * SHARD_BYTES];
        self.codec
            .encode(k, m, SHARD_BYTES, &data, &mut parity)
            .unwrap();
        let recovery: Vec<(usize, &[u8])> =
            parity.chunks(SHARD_BYTES).enumerate().take(lost).collect();
        let mut block = data.clone();
        let arrived: Vec<bool> = (0..k).map(|i| !is_lost(i)).collect();
        let mut present = arrived.clone();
        for (shard, here) in block.chunks_mut(SHARD_BYTES).zip(&present) {
            if !here {
                shard.fill(0);
            }
        }

        // What ISA-L's users keep of a loss: the rows of the shards that are here, and the shards.
        let coefficients = coefficients(k, m);
        let known: Vec<usize> = (0..k).filter(|&i| !is_lost(i)).collect();
        let gone: Vec<usize> = (0..k).filter(|&i| is_lost(i)).collect();
        let mut here = vec![0; k * k];
        for (row, &i) in known.iter().enumerate() {
            here[row * k + i] = 1;
        }
        here[known.len() * k..].copy_from_slice(&coefficients[..lost * k]);
        let shards: Vec<*const u8> = known
            .iter()
            .map(|&i| data[i * SHARD_BYTES..].as_ptr())
            .chain(recovery.iter().map(|(_, shard)| shard.as_ptr()))
            .collect();
        let (mut scratch, mut inverse) = (here.clone(), vec![0; k * k]);
        let (mut rows, mut tables) = (vec![0; lost * k], Vec::new());
        let mut prepare = |tables: &mut Vec<u8>| {
            scratch.copy_from_slice(&here);
            self.isal.invert(k, &mut scratch, &mut inverse);
            for (row, &i) in rows.chunks_mut(k).zip(&gone) {
                row.copy_from_slice(&inverse[i * k..][..k]);
            }
            self.isal.tables(k, &rows, tables);
        };
        prepare(&mut tables);
        let mut room = vec![0; lost * SHARD_BYTES];

        let work = if with_inversion { "decode" } else { "dot" };
        let name = format!("{}/{lost} lost", self.name(work));
        let wanted = race::target("ratio", &name);
        let row = race::compare(
            name,
            data.len(),
            wanted,
            &mut || {
                present.copy_from_slice(&arrived);
                let block = black_box(&mut block);
                self.codec
                    .reconstruct_strided(
                        k,
                        m,
                        SHARD_BYTES,
                        block,
                        SHARD_BYTES,
                        &mut present,
                        &recovery,
                    )
                    .unwrap();
            },
            &mut || {
                if with_inversion {
                    prepare(&mut tables);
                }
                self.isal.encode(&tables, black_box(&shards), &mut room);
            },
        );
        assert!(block == data, "{}: ours was not rebuilt", row.name);
        let rebuilt = room.chunks(SHARD_BYTES).zip(&gone);
        for (shard, &i) in rebuilt {
            assert!(
                shard == &data[i * SHARD_BYTES..][..SHARD_BYTES],
                "{}: ISA-L's was not rebuilt",
                row.name
            );
        }
        row
    }
}

fn main() {
    let options = Options::parse();
    let Ok(library) = std::env::var("PUNKTFUNK_ISAL") else {
        println!(
            "not judged: PUNKTFUNK_ISAL names no library of ISA-L; `nox -s bench -- isal` fetches one and sets it"
        );
        return;
    };
    println!(
        "{SHARD_BYTES}-byte shards, medians of {} in turns, GB/s of data by CPU time of the thread; rival: ISA-L",
        race::ROUNDS
    );
    println!("{}", Row::HEAD);
    let fastest = kernels::best();
    let mut rows = Vec::new();
    for kernel in kernels::available().iter().rev() {
        let codec = codec_with_kernel(Scheme::Gf8, kernel);
        let isal = Isal::load(&library, kernel.name);
        for (k, m) in GEOMETRIES {
            let race = Race {
                isal,
                codec: &*codec,
                kernel: kernel.name,
                judged: kernel.name == fastest.name,
                k,
                m,
            };
            let few = k.div_ceil(50);
            let works: [(&str, &dyn Fn() -> Row); 5] = [
                ("encode", &|| race.encode()),
                ("decode", &|| race.decode(few, true)),
                ("decode", &|| race.decode(m, true)),
                ("dot", &|| race.decode(few, false)),
                ("dot", &|| race.decode(m, false)),
            ];
            for (work, run) in works {
                if race.name(work).contains(&options.filter) {
                    let row = run();
                    println!("{}", row.line());
                    rows.push(row);
                }
            }
        }
    }
    options.keep(fastest.name, &rows);
}
