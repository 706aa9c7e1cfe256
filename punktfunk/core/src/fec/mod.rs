//! Forward error correction: two codes behind one trait (punktfunk/1 section 5).
//!
//! Both codes are systematic and MDS: a block of `k` data shards gets `m` recovery shards, and any `k` of the
//! `k + m` rebuild it. Both are generalised Cauchy codes: that over GF(2^8) is computed in its closed form (`gf8`), that
//! over GF(2^16) by transforms (`transform`).

pub mod audio;
mod field;
mod field16;
mod field8;
mod gf16;
mod gf8;
pub mod kernels;
pub mod naive;
#[cfg(test)]
mod tests;
mod transform;

use std::fmt;
use std::sync::LazyLock;

use thiserror::Error;

pub use gf8::Gf8;
pub use gf16::Gf16;

/// Which code a session uses; the Welcome message carries it (punktfunk/1 section 2.1, offset 22).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// GF(2^8) Cauchy code, the same bytes as nanors (spec 5.1).
    Gf8,
    /// GF(2^16) Leopard code, the same bytes as `reed-solomon-simd` (spec 5.2).
    Gf16,
}

impl Scheme {
    /// Most shards, data and recovery together, that a session may put into one block (spec 4.6).
    #[must_use]
    pub const fn max_shards(self) -> usize {
        match self {
            Self::Gf8 => 255,
            Self::Gf16 => 65535,
        }
    }

    /// The byte that stands for this scheme in the Welcome and in the packet header.
    #[must_use]
    pub const fn wire(self) -> u8 {
        match self {
            Self::Gf8 => 0,
            Self::Gf16 => 1,
        }
    }

    /// The scheme that a wire byte stands for: 1 is GF(2^16), anything else is read as GF(2^8) (spec 2.1).
    #[must_use]
    pub const fn from_wire(byte: u8) -> Self {
        if byte == 1 { Self::Gf16 } else { Self::Gf8 }
    }

    /// `"gf8"` or `"gf16"`, as in configuration files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gf8 => "gf8",
            Self::Gf16 => "gf16",
        }
    }

    /// The inverse of [`Scheme::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "gf8" => Some(Self::Gf8),
            "gf16" => Some(Self::Gf16),
            _ => None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a block could not be encoded or rebuilt. Nothing has been written to the shards then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FecError {
    /// No data shards, or more shards than the field has room for.
    #[error("{data} data and {recovery} recovery shards are more than the code can carry")]
    Geometry {
        /// Data shards asked for.
        data: usize,
        /// Recovery shards asked for.
        recovery: usize,
    },
    /// Shards are empty, or of an odd length that 16-bit elements do not divide.
    #[error("the code cannot carry shards of {0} bytes")]
    ShardBytes(usize),
    /// A buffer or a list of flags is too short for the geometry, or a stride is below the shard size.
    #[error(
        "a buffer of {have} bytes or entries cannot hold the {need} that the geometry asks for"
    )]
    Buffer {
        /// What the geometry asks for.
        need: usize,
        /// What was given.
        have: usize,
    },
    /// Fewer than `k` distinct shards are present.
    #[error("{have} shards are present and {need} are needed")]
    TooFewShards {
        /// Distinct shards needed: `k`.
        need: usize,
        /// Distinct shards present.
        have: usize,
    },
    /// A recovery shard's index is not below `m`, or occurs twice, or its length is not the shard size.
    #[error("recovery shard {0} is out of range, repeated or of the wrong length")]
    Recovery(usize),
}

/// Where the data shards of a block lie that is encoded: at a stride in one buffer, the last of them in another if
/// [`Shards::with_last`] says so.
///
/// An access unit that ends within a shard is encoded where it lies, and the one shard that lacks bytes is filled up elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards<'a> {
    bytes: &'a [u8],
    stride: usize,
    last: Option<&'a [u8]>,
}

impl<'a> Shards<'a> {
    /// Shard `i` at `i * stride`; the last one needs no bytes behind it.
    #[must_use]
    pub const fn strided(bytes: &'a [u8], stride: usize) -> Self {
        Self {
            bytes,
            stride,
            last: None,
        }
    }

    /// The same, but for the last shard of the block, which begins with `last`: that of the stride, if there is one, is not read.
    #[must_use]
    pub const fn with_last(self, last: &'a [u8]) -> Self {
        Self {
            last: Some(last),
            ..self
        }
    }

    /// Check that `count` shards, at least one, are here.
    fn check(&self, count: usize, shard_bytes: usize) -> Result<(), FecError> {
        let Some(last) = self.last else {
            return check_strided(count, shard_bytes, self.stride, self.bytes.len());
        };
        check_strided(count - 1, shard_bytes, self.stride, self.bytes.len())?;
        check_length(shard_bytes, last.len())
    }
}

/// A block code. Implementations hold no state of a block and may be used from any thread.
///
/// `k` is the number of data shards, `m` that of recovery shards, and every shard of a block has `shard_bytes`
/// bytes. Shard `i` of a strided buffer lies at `i * stride .. i * stride + shard_bytes`; the bytes between
/// shards (headers, room for tags) are neither read nor written, and the last shard needs no bytes behind it.
pub trait Codec: Send + Sync {
    /// The scheme that this codec implements.
    fn scheme(&self) -> Scheme;

    /// Whether a block of `k` data and `m` recovery shards can be encoded. `m` may be 0.
    fn supports(&self, k: usize, m: usize) -> bool;

    /// Compute the `m` recovery shards of `k` data shards; they go to a buffer with a stride, as inside of wire packets.
    ///
    /// To packetize without a copy, hand the data where it lies in the access unit, and a buffer of packets from the first byte
    /// of its first recovery shard on, with the packet size as stride. What recovery shards held before does not matter.
    ///
    /// # Errors
    /// [`FecError::Geometry`], [`FecError::ShardBytes`] or [`FecError::Buffer`].
    fn encode_strided(
        &self,
        k: usize,
        m: usize,
        shard_bytes: usize,
        data: Shards<'_>,
        parity: &mut [u8],
        parity_stride: usize,
    ) -> Result<(), FecError>;

    /// Rebuild the missing data shards in place from any sufficient set of recovery shards.
    ///
    /// `data` holds `k` shards at `data_stride` (an access unit under assembly has `data_stride ==
    /// shard_bytes`); `present` has `k` entries. `recovery` lists `(recovery index 0..m, shard)` in any order
    /// without repetition; those beyond the number of missing shards are not read. Rebuilt entries of
    /// `present` become true. Returns how many shards were rebuilt: 0 and no work if none was missing.
    ///
    /// # Errors
    /// All variants of [`FecError`]; `data` and `present` are then as before.
    #[allow(clippy::too_many_arguments)] // a buffer with a stride, its flags and what rebuilds it are seven
    fn reconstruct_strided(
        &self,
        k: usize,
        m: usize,
        shard_bytes: usize,
        data: &mut [u8],
        data_stride: usize,
        present: &mut [bool],
        recovery: &[(usize, &[u8])],
    ) -> Result<usize, FecError>;

    /// [`Codec::encode_strided`] on contiguous shards: `k * shard_bytes` in, `m * shard_bytes` out.
    ///
    /// # Errors
    /// As [`Codec::encode_strided`].
    fn encode(
        &self,
        k: usize,
        m: usize,
        shard_bytes: usize,
        data: &[u8],
        parity: &mut [u8],
    ) -> Result<(), FecError> {
        let data = Shards::strided(data, shard_bytes);
        self.encode_strided(k, m, shard_bytes, data, parity, shard_bytes)
    }

    /// [`Codec::reconstruct_strided`] on `k + m` contiguous shards, data first, with `k + m` flags.
    ///
    /// Recovery shards are not rebuilt and their flags stay as they are.
    ///
    /// # Errors
    /// As [`Codec::reconstruct_strided`].
    fn reconstruct(
        &self,
        k: usize,
        m: usize,
        shard_bytes: usize,
        shards: &mut [u8],
        present: &mut [bool],
    ) -> Result<usize, FecError> {
        if !self.supports(k, m) {
            return Err(FecError::Geometry {
                data: k,
                recovery: m,
            });
        }
        check_shard_bytes(self.scheme(), shard_bytes)?;
        check_length((k + m) * shard_bytes, shards.len())?;
        check_length(k + m, present.len())?;
        let (data, parity) = shards.split_at_mut(k * shard_bytes);
        let (data_present, parity_present) = present.split_at_mut(k);
        let recovery: Vec<(usize, &[u8])> = parity
            .chunks_exact(shard_bytes)
            .zip(parity_present.iter())
            .take(m)
            .enumerate()
            .filter(|(_, (_, here))| **here)
            .map(|(j, (shard, _))| (j, shard))
            .collect();
        self.reconstruct_strided(
            k,
            m,
            shard_bytes,
            data,
            shard_bytes,
            data_present,
            &recovery,
        )
    }
}

/// The codec of a scheme with the fastest kernel of this machine.
#[must_use]
pub fn codec(scheme: Scheme) -> &'static dyn Codec {
    static GF8: LazyLock<Gf8> = LazyLock::new(|| Gf8::with_kernel(kernels::best()));
    static GF16: LazyLock<Gf16> = LazyLock::new(|| Gf16::with_kernel(kernels::best()));
    match scheme {
        Scheme::Gf8 => &*GF8,
        Scheme::Gf16 => &*GF16,
    }
}

/// A codec that is bound to one kernel: for tests that compare kernels and benchmarks that time them.
#[must_use]
pub fn codec_with_kernel(scheme: Scheme, kernel: &'static kernels::Kernel) -> Box<dyn Codec> {
    match scheme {
        Scheme::Gf8 => Box::new(Gf8::with_kernel(kernel)),
        Scheme::Gf16 => Box::new(Gf16::with_kernel(kernel)),
    }
}

fn check_length(need: usize, have: usize) -> Result<(), FecError> {
    if have < need {
        Err(FecError::Buffer { need, have })
    } else {
        Ok(())
    }
}

fn check_shard_bytes(scheme: Scheme, shard_bytes: usize) -> Result<(), FecError> {
    // 64 MiB is the largest frame of the wire, so no shard is larger and products stay far from overflow.
    if shard_bytes == 0
        || shard_bytes > 64 << 20
        || (scheme == Scheme::Gf16 && !shard_bytes.is_multiple_of(2))
    {
        return Err(FecError::ShardBytes(shard_bytes));
    }
    Ok(())
}

/// Check that `count` shards fit into `have` bytes at `stride`.
fn check_strided(
    count: usize,
    shard_bytes: usize,
    stride: usize,
    have: usize,
) -> Result<(), FecError> {
    if count == 0 {
        return Ok(());
    }
    check_length(shard_bytes, stride)?;
    let need = (count - 1)
        .checked_mul(stride)
        .and_then(|offset| offset.checked_add(shard_bytes))
        .unwrap_or(usize::MAX);
    check_length(need, have)
}

fn check_encode(
    codec: &dyn Codec,
    (k, m, shard_bytes): (usize, usize, usize),
    data: &Shards<'_>,
    (parity_bytes, parity_stride): (usize, usize),
) -> Result<(), FecError> {
    if !codec.supports(k, m) {
        return Err(FecError::Geometry {
            data: k,
            recovery: m,
        });
    }
    check_shard_bytes(codec.scheme(), shard_bytes)?;
    data.check(k, shard_bytes)?;
    check_strided(m, shard_bytes, parity_stride, parity_bytes)
}

/// Check what a reconstruction was given; `Ok` is the number of missing data shards.
fn check_reconstruct(
    codec: &dyn Codec,
    (k, m, shard_bytes): (usize, usize, usize),
    (data_bytes, data_stride): (usize, usize),
    present: &[bool],
    recovery: &[(usize, &[u8])],
) -> Result<usize, FecError> {
    if !codec.supports(k, m) {
        return Err(FecError::Geometry {
            data: k,
            recovery: m,
        });
    }
    check_shard_bytes(codec.scheme(), shard_bytes)?;
    check_strided(k, shard_bytes, data_stride, data_bytes)?;
    check_length(k, present.len())?;
    let missing = present[..k].iter().filter(|here| !**here).count();
    if missing == 0 {
        return Ok(0);
    }
    // A bit for each recovery shard, of which a block has up to 65535: nothing is allocated.
    let (mut few, mut many);
    let seen: &mut [u64] = if m <= 256 {
        few = [0_u64; 4];
        &mut few
    } else {
        many = [0_u64; 1024];
        &mut many
    };
    for &(j, shard) in recovery {
        if j >= m || shard.len() != shard_bytes || seen[j / 64] >> (j % 64) & 1 == 1 {
            return Err(FecError::Recovery(j));
        }
        seen[j / 64] |= 1 << (j % 64);
    }
    if recovery.len() < missing {
        return Err(FecError::TooFewShards {
            need: k,
            have: k - missing + recovery.len(),
        });
    }
    Ok(missing)
}
