//! GF(2^8) Cauchy code (spec 5.1): polynomial 0x11D, generator 2, `M[j][i] = 1 / ((m + i) + j)`.
//!
//! Recovery shards and missing shards alike are sums of products, one for each of `k` shards: [`dot`] makes them,
//! by factors that [`tables`] keeps for each `m` and [`decode`] computes for each loss. No call allocates, but for
//! the first of an `m` and of a thread.

mod decode;
pub(super) mod dot;
mod tables;

use super::kernels::Kernel;
use super::{Codec, FecError, Scheme, Shards, check_encode, check_reconstruct};
use dot::Dot;
use tables::Tables;

/// Elements of the field, and so the most shards of a block.
const ELEMENTS: usize = 256;
/// Most shards that can be lost, and so be rebuilt from as many.
const HALF: usize = ELEMENTS / 2;
/// Data shards of blocks that are rebuilt with less room: a block that has lost one or two takes half a microsecond, and to
/// clear the room for 256 is a fifth of it.
const FEW: usize = HALF / 2;

/// The GF(2^8) codec: up to 256 shards of any length. Rows depend on `m`, so the recovery shards for `m = 2`
/// are not the first two of those for `m = 3`.
pub struct Gf8 {
    kernel: &'static Kernel,
    tables: Tables,
}

impl Gf8 {
    /// A codec that multiplies with this kernel; [`super::codec`] picks the fastest.
    #[must_use]
    pub const fn with_kernel(kernel: &'static Kernel) -> Self {
        Self {
            kernel,
            tables: Tables::new(),
        }
    }
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
        let mut shards: [&[u8]; ELEMENTS] = [&[]; ELEMENTS];
        for (i, shard) in shards[..k].iter_mut().enumerate() {
            *shard = match data.last {
                Some(last) if i == k - 1 => &last[..shard_bytes],
                _ => &data.bytes[i * data.stride..][..shard_bytes],
            };
        }
        let dot = self.kernel.gf8;
        let table = self.tables.of(dot, k, m);
        let mut rooms = parity.chunks_mut(parity_stride);
        for group in dot.groups(m) {
            let mut rows: [&mut [u8]; dot::ROWS] = Default::default();
            for (row, room) in rows.iter_mut().zip(rooms.by_ref().take(group.len())) {
                *row = &mut room[..shard_bytes];
            }
            let factors = table.factors(&group, k);
            dot.multiply(&mut rows[..group.len()], &shards[..k], factors);
        }
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
        let recovery = &recovery[..missing];
        let dot = self.kernel.gf8;
        let shards = data
            .chunks_mut(data_stride)
            .map(|room| &mut room[..shard_bytes]);
        let shards = shards.zip(&present[..k]);
        if k <= FEW {
            rebuild::<FEW, FEW>(dot, (k, m), shards, recovery);
        } else if k <= HALF {
            rebuild::<HALF, HALF>(dot, (k, m), shards, recovery);
        } else {
            rebuild::<ELEMENTS, HALF>(dot, (k, m), shards, recovery);
        }
        present[..k].fill(true);
        Ok(missing)
    }
}

/// Compute the data shards that are not present, `LOST` at most of `MOST`, from the others and as many recovery shards.
fn rebuild<'a, const MOST: usize, const LOST: usize>(
    dot: &Dot,
    (k, m): (usize, usize),
    mut shards: impl Iterator<Item = (&'a mut [u8], &'a bool)>,
    recovery: &[(usize, &'a [u8])],
) {
    let mut outputs: [&mut [u8]; LOST] = std::array::from_fn(|_| Default::default());
    let mut places = decode::Places::<MOST>::new(k, m);
    let inputs: [&[u8]; MOST] = std::array::from_fn(|i| match shards.next() {
        Some((shard, true)) => shard,
        Some((shard, false)) => {
            let output = places.replaced();
            let (j, instead) = recovery[output];
            places.replace(i, j);
            outputs[output] = shard;
            instead
        }
        None => &[],
    });
    let weights = places.weights(dot.interpolation);
    decode::with_room(|room| {
        for group in dot.groups(recovery.len()) {
            let factors = weights.factors(group.clone(), dot, room);
            dot.multiply(&mut outputs[group], &inputs[..k], factors);
        }
    });
}
