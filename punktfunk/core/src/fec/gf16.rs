//! GF(2^16) Leopard code (spec 5.2) in its closed form, with the transform for large blocks.

use super::cauchy::{Field, Matrix};
use super::field16::Field16;
use super::kernels::Kernel;
use super::{Codec, FecError, Scheme, check_encode, check_reconstruct, transform};

/// The GF(2^16) codec: up to 65536 positions, shards of any even length.
///
/// A shard's 16-bit elements lie in chunks of 64 bytes, 32 low bytes before their 32 high bytes; a tail of `t`
/// bytes is `t / 2` low bytes before `t / 2` high bytes.
pub struct Gf16 {
    kernel: &'static Kernel,
}

impl Gf16 {
    /// A codec that multiplies with this kernel; [`super::codec`] picks the fastest.
    #[must_use]
    pub const fn with_kernel(kernel: &'static Kernel) -> Self {
        Self { kernel }
    }
}

/// The code is high rate (recovery shards at the low points) or low rate (data shards there).
fn is_high_rate(k: usize, m: usize) -> bool {
    let (data, recovery) = (k.next_power_of_two(), m.next_power_of_two());
    data > recovery || (data == recovery && k <= m)
}

fn matrix(k: usize, m: usize) -> Matrix<Field16> {
    if is_high_rate(k, m) {
        let chunk = m.next_power_of_two();
        let scale = (0..k).map(|i| Field16::log((chunk + i) / chunk)).collect();
        Matrix::new(0, chunk, Vec::new(), scale)
    } else {
        let chunk = k.next_power_of_two();
        let scale = (0..m).map(|j| Field16::log((chunk + j) / chunk)).collect();
        Matrix::new(chunk, 0, scale, Vec::new())
    }
}

impl Codec for Gf16 {
    fn scheme(&self) -> Scheme {
        Scheme::Gf16
    }

    fn supports(&self, k: usize, m: usize) -> bool {
        // The transform's rule; without recovery shards there is nothing to transform.
        (1..=65535).contains(&k)
            && m <= 65535
            && (m == 0 || k.next_power_of_two().min(m.next_power_of_two()) + k.max(m) <= 65536)
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
        if transform::encodes_faster(k, m, self.kernel.cost) {
            transform::encode(&data, &mut parity)
        } else {
            matrix(k, m).encode(self.kernel.gf16, &data, &mut parity);
            Ok(())
        }
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
        let recovery = &recovery[..missing];
        if transform::decodes_faster(k, m, missing, self.kernel.cost) {
            transform::reconstruct(k, m, &known, &mut lost, recovery)?;
        } else {
            matrix(k, m).reconstruct(self.kernel.gf16, &known, &mut lost, recovery);
        }
        present[..k].fill(true);
        Ok(missing)
    }
}
