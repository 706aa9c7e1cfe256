//! GF(2^8) Cauchy code (spec 5.1): polynomial 0x11D, generator 2, `M[j][i] = 1 / ((m + i) + j)`.

use super::cauchy::{Field, Matrix};
use super::kernels::Kernel;
use super::{Codec, FecError, Scheme, check_encode, check_reconstruct};

/// x^8 + x^4 + x^3 + x^2 + 1.
const POLYNOMIAL: u16 = 0x11D;
/// Elements of the field, and so the most shards of a block.
const ELEMENTS: usize = 256;

struct Tables {
    log: [u8; 256],
    exp: [u8; 255],
}

static TABLES: Tables = tables();

const fn tables() -> Tables {
    let mut tables = Tables {
        log: [0; 256],
        exp: [0; 255],
    };
    let mut element = 1_u16;
    let mut log = 0;
    while log < 255 {
        tables.exp[log] = element as u8;
        tables.log[element as usize] = log as u8;
        element <<= 1;
        if element & 0x100 != 0 {
            element ^= POLYNOMIAL;
        }
        log += 1;
    }
    tables
}

/// Product of two elements.
pub(super) const fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    let log = TABLES_CONST.log[a as usize] as usize + TABLES_CONST.log[b as usize] as usize;
    TABLES_CONST.exp[log % 255]
}

/// The same tables for constant evaluation, which may not read a `static`.
const TABLES_CONST: Tables = tables();

/// The field of 256 elements.
pub(super) struct Field8;

impl Field for Field8 {
    type Element = u8;
    const GROUP: u32 = 255;

    fn log(element: usize) -> u32 {
        u32::from(TABLES.log[element])
    }

    fn exp(log: u32) -> u8 {
        TABLES.exp[log as usize]
    }
}

/// The GF(2^8) codec: up to 256 shards of any length. Rows depend on `m`, so the recovery shards for `m = 2`
/// are not the first two of those for `m = 3`.
pub struct Gf8 {
    kernel: &'static Kernel,
}

impl Gf8 {
    /// A codec that multiplies with this kernel; [`super::codec`] picks the fastest.
    #[must_use]
    pub const fn with_kernel(kernel: &'static Kernel) -> Self {
        Self { kernel }
    }
}

fn matrix(m: usize) -> Matrix<Field8> {
    Matrix::new(0, m, Vec::new(), Vec::new())
}

impl Codec for Gf8 {
    fn scheme(&self) -> Scheme {
        Scheme::Gf8
    }

    fn supports(&self, k: usize, m: usize) -> bool {
        (1..=ELEMENTS).contains(&k) && m <= ELEMENTS - k
    }

    fn encode_strided(
        &self,
        k: usize,
        m: usize,
        shard_bytes: usize,
        data: &[u8],
        data_stride: usize,
        parity: &mut [u8],
        parity_stride: usize,
    ) -> Result<(), FecError> {
        check_encode(
            self,
            (k, m, shard_bytes),
            (data.len(), data_stride),
            (parity.len(), parity_stride),
        )?;
        if m == 0 {
            return Ok(());
        }
        let data: Vec<&[u8]> = (0..k)
            .map(|i| &data[i * data_stride..][..shard_bytes])
            .collect();
        let mut parity: Vec<&mut [u8]> = parity
            .chunks_mut(parity_stride)
            .take(m)
            .map(|room| &mut room[..shard_bytes])
            .collect();
        matrix(m).encode(self.kernel.gf8, &data, &mut parity);
        Ok(())
    }

    fn reconstruct_strided(
        &self,
        k: usize,
        m: usize,
        shard_bytes: usize,
        data: &mut [u8],
        data_stride: usize,
        present: &mut [bool],
        recovery: &[(usize, &[u8])],
    ) -> Result<usize, FecError> {
        let missing = check_reconstruct(
            self,
            (k, m, shard_bytes),
            (data.len(), data_stride),
            present,
            recovery,
        )?;
        if missing == 0 {
            return Ok(0);
        }
        let (known, mut lost) = super::split(k, shard_bytes, data, data_stride, present);
        matrix(m).reconstruct(self.kernel.gf8, &known, &mut lost, &recovery[..missing]);
        present[..k].fill(true);
        Ok(missing)
    }
}
