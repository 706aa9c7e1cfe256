//! GF(2^8) Cauchy code (spec 5.1): polynomial 0x11D, generator 2, `M[j][i] = 1 / ((m + i) + j)`.

use super::cauchy::Matrix;
use super::field8::Field8;
use super::kernels::Kernel;
use super::{Codec, FecError, Scheme, check_encode, check_reconstruct};

/// Elements of the field, and so the most shards of a block.
const ELEMENTS: usize = 256;

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
