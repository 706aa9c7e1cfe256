//! The codecs of the C ABI.

use super::{PunktfunkStatus, guard};
use crate::fec::{self, Codec, FecError, Scheme};

fn codec(scheme: u32) -> Result<&'static dyn Codec, PunktfunkStatus> {
    match scheme {
        0 => Ok(fec::codec(Scheme::Gf8)),
        1 => Ok(fec::codec(Scheme::Gf16)),
        _ => Err(PunktfunkStatus::InvalidArg),
    }
}

/// Length in bytes of `count` shards, if the scheme can carry them and an allocation could hold them.
fn length(
    codec: &dyn Codec,
    (k, m): (usize, usize),
    shards: usize,
    bytes: usize,
) -> Result<usize, PunktfunkStatus> {
    if !codec.supports(k, m) {
        return Err(PunktfunkStatus::Fec);
    }
    match shards.checked_mul(bytes) {
        Some(length) if isize::try_from(length).is_ok() => Ok(length),
        _ => Err(PunktfunkStatus::InvalidArg),
    }
}

/// Refuse two buffers that share a byte: they could be no two slices.
fn check_apart(
    one: *const u8,
    bytes_of_one: usize,
    other: *const u8,
    bytes_of_other: usize,
) -> Result<(), PunktfunkStatus> {
    let (one, other) = (one.addr(), other.addr());
    let apart =
        one.saturating_add(bytes_of_one) <= other || other.saturating_add(bytes_of_other) <= one;
    if apart || bytes_of_one == 0 || bytes_of_other == 0 {
        Ok(())
    } else {
        Err(PunktfunkStatus::InvalidArg)
    }
}

fn status(error: FecError) -> PunktfunkStatus {
    match error {
        FecError::Geometry { .. } | FecError::TooFewShards { .. } => PunktfunkStatus::Fec,
        FecError::ShardBytes(_) | FecError::Buffer { .. } | FecError::Recovery(_) => {
            PunktfunkStatus::InvalidArg
        }
    }
}

/// Compute `recovery_shards` recovery shards of `data_shards` contiguous data shards of `shard_bytes` each.
///
/// `scheme` is 0 for GF(2^8), 1 for GF(2^16). `PUNKTFUNK_STATUS_FEC` for more shards than the scheme carries,
/// `PUNKTFUNK_STATUS_INVALID_ARG` where `data` and `recovery` overlap; nothing is changed then.
///
/// # Safety
/// `data` must be readable for `data_shards * shard_bytes` bytes and `recovery` writable for `recovery_shards *
/// shard_bytes`; they must not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_fec_encode(
    scheme: u32,
    data_shards: usize,
    recovery_shards: usize,
    shard_bytes: usize,
    data: *const u8,
    recovery: *mut u8,
) -> PunktfunkStatus {
    guard(|| {
        if data.is_null() || recovery.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        let (codec, shards) = (codec(scheme)?, (data_shards, recovery_shards));
        let data_bytes = length(codec, shards, data_shards, shard_bytes)?;
        let recovery_bytes = length(codec, shards, recovery_shards, shard_bytes)?;
        check_apart(data, data_bytes, recovery, recovery_bytes)?;
        // SAFETY: promised by the caller; the lengths are those that the contract names, and none overlap.
        let (data, recovery) = unsafe {
            (
                std::slice::from_raw_parts(data, data_bytes),
                std::slice::from_raw_parts_mut(recovery, recovery_bytes),
            )
        };
        codec
            .encode(data_shards, recovery_shards, shard_bytes, data, recovery)
            .map_err(status)
    })
}

/// Rebuild the missing data shards of a block in place.
///
/// `shards` holds all data and then all recovery shards, `present` one byte for each, 0 for a shard that did not
/// arrive. Bytes of `present` that stand for rebuilt data shards become 1. `PUNKTFUNK_STATUS_FEC` if fewer than
/// `data_shards` are present, `PUNKTFUNK_STATUS_INVALID_ARG` if `shards` and `present` overlap; nothing is changed then.
///
/// # Safety
/// `shards` must be writable for `(data_shards + recovery_shards) * shard_bytes` bytes and `present` for
/// `data_shards + recovery_shards`; they must not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_fec_decode(
    scheme: u32,
    data_shards: usize,
    recovery_shards: usize,
    shard_bytes: usize,
    shards: *mut u8,
    present: *mut u8,
) -> PunktfunkStatus {
    guard(|| {
        if shards.is_null() || present.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        let codec = codec(scheme)?;
        let counts = (data_shards, recovery_shards);
        let total = length(
            codec,
            counts,
            data_shards.saturating_add(recovery_shards),
            1,
        )?;
        let bytes = length(codec, counts, total, shard_bytes)?;
        check_apart(shards, bytes, present, total)?;
        // SAFETY: promised by the caller; the lengths are those that the contract names, and none overlap.
        let (shards, flags) = unsafe {
            (
                std::slice::from_raw_parts_mut(shards, bytes),
                std::slice::from_raw_parts_mut(present, total),
            )
        };
        let mut present: Vec<bool> = flags.iter().map(|flag| *flag != 0).collect();
        codec
            .reconstruct(
                data_shards,
                recovery_shards,
                shard_bytes,
                shards,
                &mut present,
            )
            .map_err(status)?;
        for (flag, here) in flags.iter_mut().zip(present) {
            *flag = u8::from(here);
        }
        Ok(())
    })
}
