//! The code of GameStream's sound (gamestream section 9.1): four data shards, two recovery shards, a fixed matrix over the same
//! GF(2^8). Any four of the six rebuild a block.

use super::field8::{GROUP, exp, log, multiply};
use super::kernels;

/// Data shards of a block.
pub const DATA: usize = 4;
/// Recovery shards of a block.
pub const PARITY: usize = 2;

const MATRIX: [[u8; DATA]; PARITY] = [[0x77, 0x40, 0x38, 0x0E], [0xC7, 0xA7, 0x0D, 0x6C]];

/// Return the recovery shards of four data shards of one length.
///
/// # Panics
/// If the lengths differ.
#[must_use]
pub fn encode(data: [&[u8]; DATA]) -> [Vec<u8>; PARITY] {
    let mut parity = [const { Vec::new() }; PARITY];
    for (row, shard) in parity.iter_mut().enumerate() {
        shard.resize(data[0].len(), 0);
        combine(shard, &data, &MATRIX[row]);
    }
    parity
}

/// Rebuild the data shards that are missing of a block's data and recovery shards; return which, or nothing where fewer than
/// four are there or lengths differ.
pub fn rebuild(shards: &mut [Option<Vec<u8>>; DATA + PARITY]) -> Vec<usize> {
    let lost: Vec<usize> = (0..DATA).filter(|&i| shards[i].is_none()).collect();
    let rows: Vec<usize> = (0..PARITY)
        .filter(|&r| shards[DATA + r].is_some())
        .collect();
    let mut lengths = shards.iter().flatten().map(Vec::len);
    let bytes = lengths.next().unwrap_or(0);
    if lost.is_empty() || rows.len() < lost.len() || lengths.any(|other| other != bytes) {
        return Vec::new();
    }
    // What the recovery shards hold beyond the data that is there.
    let known: Vec<usize> = (0..DATA).filter(|i| !lost.contains(i)).collect();
    let syndromes: Vec<Vec<u8>> = rows
        .iter()
        .take(lost.len())
        .filter_map(|&row| {
            let mut inputs = vec![shards[DATA + row].as_deref()?];
            inputs.extend(known.iter().filter_map(|&i| shards[i].as_deref()));
            let mut coefficients = vec![1];
            coefficients.extend(known.iter().map(|&i| MATRIX[row][i]));
            let mut syndrome = vec![0; bytes];
            combine(&mut syndrome, &inputs, &coefficients);
            Some(syndrome)
        })
        .collect();
    let inputs: Vec<&[u8]> = syndromes.iter().map(Vec::as_slice).collect();
    for (at, &index) in lost.iter().enumerate() {
        let mut shard = vec![0; bytes];
        combine(&mut shard, &inputs, &solution(&rows, &lost, at));
        shards[index] = Some(shard);
    }
    lost
}

/// What each syndrome contributes to lost shard `at`: a row of the inverse of the one or two equations.
fn solution(rows: &[usize], lost: &[usize], at: usize) -> Vec<u8> {
    let m = |row: usize, column: usize| MATRIX[rows[row]][lost[column]];
    if lost.len() == 1 {
        return vec![inverse(m(0, 0))];
    }
    let determinant = multiply(m(0, 0), m(1, 1)) ^ multiply(m(0, 1), m(1, 0));
    let scale = inverse(determinant);
    let other = 1 - at;
    vec![multiply(m(1, other), scale), multiply(m(0, other), scale)]
}

fn inverse(element: u8) -> u8 {
    exp(GROUP - log(element))
}

/// `output = sum over i of coefficients[i] * inputs[i]`.
fn combine(output: &mut [u8], inputs: &[&[u8]], coefficients: &[u8]) {
    let dot = kernels::best().gf8;
    let factors: Vec<u64> = coefficients.iter().map(|&c| dot.factor(c)).collect();
    dot.multiply(&mut [output], inputs, &factors);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: usize) -> [Option<Vec<u8>>; DATA + PARITY] {
        let data: Vec<Vec<u8>> = (0..DATA)
            .map(|i| (0..bytes).map(|c| (31 * i + 7 * c + 1) as u8).collect())
            .collect();
        let parity = encode([&data[0], &data[1], &data[2], &data[3]]);
        let mut shards = data.into_iter().chain(parity).map(Some);
        std::array::from_fn(|_| shards.next().flatten())
    }

    #[test]
    fn recovery_shards_are_those_of_the_vector() {
        let hex = |shard: &Option<Vec<u8>>| -> String {
            let bytes = shard.as_deref().unwrap_or_default();
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let shards = block(8);
        assert_eq!(hex(&shards[4]), "0dd019a4d3520429");
        assert_eq!(hex(&shards[5]), "06f63b04b010ab5d");
    }

    #[test]
    fn any_four_of_the_six_rebuild_a_block_and_three_never_do() {
        for bytes in [1, 80, 1376] {
            let whole = block(bytes);
            for kept in 0_u32..64 {
                let mut shards = whole.clone();
                for i in (0..6).filter(|i| kept & 1 << i == 0) {
                    shards[i] = None;
                }
                let before = shards.clone();
                let lost: Vec<usize> = (0..4).filter(|&i| shards[i].is_none()).collect();
                let rebuilt = rebuild(&mut shards);
                if kept.count_ones() >= 4 {
                    assert_eq!((rebuilt, &shards[..4]), (lost, &whole[..4]));
                } else {
                    assert_eq!((rebuilt, &shards), (Vec::new(), &before));
                }
            }
        }
    }

    #[test]
    fn nothing_is_rebuilt_of_shards_of_different_lengths() {
        let mut shards = block(80);
        shards[0] = None;
        shards[5] = Some(vec![0; 79]);
        assert_eq!(rebuild(&mut shards), Vec::<usize>::new());
        assert_eq!(rebuild(&mut [const { None }; 6]), Vec::<usize>::new());
    }
}
