//! GF(2^16) Leopard code (spec 5.2), by transforms.

use super::kernels::Kernel;
use super::transform::{self, Received, Strided};
use super::{Codec, FecError, Scheme, Shards, check_encode, check_reconstruct};

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
        data: Shards<'_>,
        parity: &mut [u8],
        parity_stride: usize,
    ) -> Result<(), FecError> {
        check_encode(
            self,
            (k, m, shard_bytes),
            &data,
            (parity.len(), parity_stride),
        )?;
        if m == 0 {
            return Ok(());
        }
        let parity = Strided {
            first: parity.as_mut_ptr(),
            stride: parity_stride,
        };
        // SAFETY: kernels are handed out where they run; `check_encode` has held both buffers to the geometry, and no
        // other reference to what is written exists.
        unsafe { transform::encode(self.kernel.passes, (k, m, shard_bytes), data, parity) };
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
        let received = Received {
            data: Strided {
                first: data.as_mut_ptr(),
                stride: data_stride,
            },
            present: &present[..k],
            recovery,
            missing,
        };
        // SAFETY: kernels are handed out where they run; `check_reconstruct` has held the buffer to the geometry and
        // recovery shards to their size and to distinct indices.
        unsafe { transform::reconstruct(self.kernel.passes, (k, m, shard_bytes), &received) };
        present[..k].fill(true);
        Ok(missing)
    }
}
