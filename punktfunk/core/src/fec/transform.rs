//! The additive-FFT path of the GF(2^16) code, by `reed-solomon-simd`: for blocks whose closed form would cost
//! more multiplications than a transform.

use std::cell::RefCell;

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use super::FecError;

thread_local! {
    // Working space of several megabytes for large blocks, kept from block to block.
    static ENCODER: RefCell<Option<ReedSolomonEncoder>> = const { RefCell::new(None) };
    static DECODER: RefCell<Option<ReedSolomonDecoder>> = const { RefCell::new(None) };
}

/// Whether the transform makes recovery shards faster than `k * m` multiplications of `cost` do.
///
/// Fitted to `benches/fec.rs`: a transform costs 4 + 2 log2(chunk) multiplications of cost 1 for each shard of the
/// longer side (117 ns at 35+7, 237 ns at 1000+200).
pub(super) fn encodes_faster(k: usize, m: usize, cost: usize) -> bool {
    let layers = k.min(m).next_power_of_two().ilog2() as usize;
    k.min(m) * cost > 4 + 2 * layers
}

/// Whether the transform rebuilds `missing` shards faster than `missing * k` multiplications of `cost` do.
///
/// Fitted likewise: 130 us for the error locator whatever the block, and 0.54 us for each of the `n` positions.
pub(super) fn decodes_faster(k: usize, m: usize, missing: usize, cost: usize) -> bool {
    let n = (k.min(m).next_power_of_two() + k.max(m)).next_power_of_two();
    missing * k * cost > 11_000 + 45 * n
}

fn refused(k: usize, m: usize) -> FecError {
    FecError::Geometry {
        data: k,
        recovery: m,
    }
}

pub(super) fn encode(data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), FecError> {
    let (k, m) = (data.len(), parity.len());
    let shard_bytes = data[0].len();
    ENCODER.with_borrow_mut(|slot| {
        let encoder = match slot {
            Some(encoder) => {
                encoder
                    .reset(k, m, shard_bytes)
                    .map_err(|_| refused(k, m))?;
                encoder
            }
            None => {
                slot.insert(ReedSolomonEncoder::new(k, m, shard_bytes).map_err(|_| refused(k, m))?)
            }
        };
        for shard in data {
            encoder
                .add_original_shard(shard)
                .map_err(|_| refused(k, m))?;
        }
        let result = encoder.encode().map_err(|_| refused(k, m))?;
        for (shard, computed) in parity.iter_mut().zip(result.recovery_iter()) {
            shard.copy_from_slice(computed);
        }
        Ok(())
    })
}

pub(super) fn reconstruct(
    k: usize,
    m: usize,
    known: &[(usize, &[u8])],
    lost: &mut [(usize, &mut [u8])],
    recovery: &[(usize, &[u8])],
) -> Result<(), FecError> {
    let shard_bytes = recovery[0].1.len();
    DECODER.with_borrow_mut(|slot| {
        let decoder = match slot {
            Some(decoder) => {
                decoder
                    .reset(k, m, shard_bytes)
                    .map_err(|_| refused(k, m))?;
                decoder
            }
            None => {
                slot.insert(ReedSolomonDecoder::new(k, m, shard_bytes).map_err(|_| refused(k, m))?)
            }
        };
        for &(i, shard) in known {
            decoder
                .add_original_shard(i, shard)
                .map_err(|_| refused(k, m))?;
        }
        for &(j, shard) in recovery {
            decoder
                .add_recovery_shard(j, shard)
                .map_err(|_| refused(k, m))?;
        }
        let result = decoder.decode().map_err(|_| refused(k, m))?;
        for (i, shard) in lost.iter_mut() {
            shard.copy_from_slice(result.restored_original(*i).ok_or_else(|| refused(k, m))?);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_changes_to_the_transform_where_its_layers_cost_less_than_the_multiplications() {
        // The shorter side's multiplications against 4 + 2 log2 of its next power of two.
        for (shorter, cost, faster) in [
            (1, 4, false),
            (1, 5, true),
            (2, 3, false),
            (3, 3, true),
            (7, 1, false),
            (12, 1, false),
            (13, 1, true),
            (200, 1, true),
        ] {
            assert_eq!(
                encodes_faster(1000, shorter, cost),
                faster,
                "{shorter} {cost}"
            );
            assert_eq!(
                encodes_faster(shorter, 1000, cost),
                faster,
                "{shorter} {cost}"
            );
        }
    }

    #[test]
    fn decoding_changes_to_the_transform_where_locator_and_positions_cost_less() {
        for (k, m, missing, cost, faster) in [
            // 8 positions: 11000 + 360.
            (4, 3, 2, 1420, false),
            (4, 3, 2, 1421, true),
            (3, 4, 2, 1893, false),
            (3, 4, 2, 1894, true),
            // 8192 positions: 379640 against 4096 for each lost shard.
            (4096, 820, 92, 1, false),
            (4096, 820, 93, 1, true),
            (4096, 820, 1, 65, false),
        ] {
            assert_eq!(
                decodes_faster(k, m, missing, cost),
                faster,
                "({k},{m}) {missing} {cost}"
            );
        }
    }
}
