//! The reference that the fast paths are held against: bit-by-bit multiplication and the formulas of the spec,
//! sharing no table and no code with them. Slow; for tests and fuzzing.

use super::Scheme;

/// Product in GF(2^8), polynomial 0x11D, by shift and add.
#[must_use]
pub fn multiply_8(a: u8, b: u8) -> u8 {
    let mut product = 0_u16;
    for bit in 0..8 {
        if b >> bit & 1 == 1 {
            product ^= u16::from(a) << bit;
        }
    }
    for bit in (8..15).rev() {
        if product >> bit & 1 == 1 {
            product ^= 0x11D << (bit - 8);
        }
    }
    product.to_le_bytes()[0]
}

/// Element of the Cantor basis to polynomial coefficients: a linear map.
fn to_polynomial(element: u16) -> u16 {
    (0..16)
        .filter(|bit| element >> bit & 1 == 1)
        .fold(0, |sum, bit| sum ^ super::field16::BASIS[bit])
}

/// The map to polynomials as rows (image, preimage) in echelon form, one for each leading bit: elimination over GF(2).
const ECHELON: [(u16, u16); 16] = {
    let mut rows = [(0_u16, 0_u16); 16];
    let mut bit = 0;
    while bit < 16 {
        let (mut image, mut preimage) = (super::field16::BASIS[bit], 1_u16 << bit);
        while image != 0 {
            let lead = image.ilog2() as usize;
            if rows[lead].0 == 0 {
                rows[lead] = (image, preimage);
                break;
            }
            image ^= rows[lead].0;
            preimage ^= rows[lead].1;
        }
        bit += 1;
    }
    rows
};

/// The inverse map.
fn from_polynomial(polynomial: u16) -> u16 {
    let (mut rest, mut element) = (polynomial, 0);
    for (lead, row) in ECHELON.iter().enumerate().rev() {
        if rest >> lead & 1 == 1 {
            rest ^= row.0;
            element ^= row.1;
        }
    }
    element
}

/// Product in GF(2^16) in the Cantor basis: map to polynomials, multiply modulo 0x1002D, map back.
#[must_use]
pub fn multiply_16(a: u16, b: u16) -> u16 {
    let (a, b) = (to_polynomial(a), to_polynomial(b));
    let mut product = 0_u32;
    for bit in 0..16 {
        if b >> bit & 1 == 1 {
            product ^= u32::from(a) << bit;
        }
    }
    for bit in (16..31).rev() {
        if product >> bit & 1 == 1 {
            product ^= 0x1002D << (bit - 16);
        }
    }
    from_polynomial((product & 0xFFFF) as u16)
}

/// Inverse by Fermat: `a^(2^bits - 2)`. Zero maps to zero.
fn invert(scheme: Scheme, a: u16) -> u16 {
    let bits = if scheme == Scheme::Gf8 { 8 } else { 16 };
    let (mut result, mut power) = (1, a);
    for _ in 1..bits {
        power = multiply(scheme, power, power);
        result = multiply(scheme, result, power);
    }
    if a == 0 { 0 } else { result }
}

fn multiply(scheme: Scheme, a: u16, b: u16) -> u16 {
    match scheme {
        Scheme::Gf8 => u16::from(multiply_8(a.to_le_bytes()[0], b.to_le_bytes()[0])),
        Scheme::Gf16 => multiply_16(a, b),
    }
}

/// Products by one constant. They are linear in the other factor, so that those of the powers of two make up all.
struct Products([u16; 16]);

impl Products {
    fn by(scheme: Scheme, constant: u16) -> Self {
        Self(std::array::from_fn(|bit| {
            multiply(scheme, constant, 1 << bit)
        }))
    }

    fn of(&self, element: u16) -> u16 {
        let bits = (0..16).filter(|bit| element >> bit & 1 == 1);
        bits.fold(0, |sum, bit| sum ^ self.0[bit])
    }
}

/// Coefficient of data shard `i` in recovery shard `j`, straight from spec 5.1 and 5.2.
///
/// # Panics
/// If a number is outside of the field.
#[must_use]
pub fn coefficient(scheme: Scheme, k: usize, m: usize, j: usize, i: usize) -> u16 {
    let element = |number: usize| u16::try_from(number).expect("a field element");
    match scheme {
        Scheme::Gf8 => invert(scheme, element((m + i) ^ j)),
        Scheme::Gf16 => {
            let (kk, mm) = (k.next_power_of_two(), m.next_power_of_two());
            if kk > mm || (kk == mm && k <= m) {
                multiply(
                    scheme,
                    element((mm + i) / mm),
                    invert(scheme, element(j ^ (mm + i))),
                )
            } else {
                multiply(
                    scheme,
                    element((kk + j) / kk),
                    invert(scheme, element(i ^ (kk + j))),
                )
            }
        }
    }
}

/// Shard bytes to field elements.
fn elements(scheme: Scheme, shard: &[u8]) -> Vec<u16> {
    match scheme {
        Scheme::Gf8 => shard.iter().map(|&byte| u16::from(byte)).collect(),
        Scheme::Gf16 => shard
            .chunks(64)
            .flat_map(|chunk| {
                let (low, high) = chunk.split_at(chunk.len() / 2);
                low.iter()
                    .zip(high)
                    .map(|(&l, &h)| u16::from_le_bytes([l, h]))
            })
            .collect(),
    }
}

/// Field elements to shard bytes.
fn bytes(scheme: Scheme, elements: &[u16]) -> Vec<u8> {
    match scheme {
        Scheme::Gf8 => elements
            .iter()
            .map(|element| element.to_le_bytes()[0])
            .collect(),
        Scheme::Gf16 => elements
            .chunks(32)
            .flat_map(|chunk| {
                let low = chunk.iter().map(|element| element.to_le_bytes()[0]);
                low.chain(chunk.iter().map(|element| element.to_le_bytes()[1]))
            })
            .collect(),
    }
}

/// The `m` recovery shards of equally long data shards.
#[must_use]
pub fn encode(scheme: Scheme, data: &[Vec<u8>], m: usize) -> Vec<Vec<u8>> {
    let k = data.len();
    let data: Vec<Vec<u16>> = data.iter().map(|shard| elements(scheme, shard)).collect();
    (0..m)
        .map(|j| {
            let mut sum = vec![0; data[0].len()];
            for (i, shard) in data.iter().enumerate() {
                let products = Products::by(scheme, coefficient(scheme, k, m, j, i));
                for (out, &element) in sum.iter_mut().zip(shard) {
                    *out ^= products.of(element);
                }
            }
            bytes(scheme, &sum)
        })
        .collect()
}

/// All data shards from any `k` shards `(index 0..k + m, shard)`, by elimination; `None` if there are fewer.
///
/// # Panics
/// If the `k` by `k` system is singular, which the code does not allow.
#[must_use]
pub fn decode(
    scheme: Scheme,
    k: usize,
    m: usize,
    received: &[(usize, Vec<u8>)],
) -> Option<Vec<Vec<u8>>> {
    let mut system: Vec<(Vec<u16>, Vec<u16>)> = received
        .iter()
        .take(k)
        .map(|(index, shard)| {
            let row = (0..k)
                .map(|i| match index.checked_sub(k) {
                    None => u16::from(*index == i),
                    Some(j) => coefficient(scheme, k, m, j, i),
                })
                .collect();
            (row, elements(scheme, shard))
        })
        .collect();
    if system.len() < k {
        return None;
    }
    for column in 0..k {
        let pivot = (column..k)
            .find(|&r| system[r].0[column] != 0)
            .expect("any k rows are independent");
        system.swap(column, pivot);
        let scaled = Products::by(scheme, invert(scheme, system[column].0[column]));
        let (row, values) = &mut system[column];
        row.iter_mut()
            .chain(values.iter_mut())
            .for_each(|e| *e = scaled.of(*e));
        let (row, values) = system[column].clone();
        for (r, (other, other_values)) in system.iter_mut().enumerate() {
            let factor = other[column];
            if r == column || factor == 0 {
                continue;
            }
            let products = Products::by(scheme, factor);
            other
                .iter_mut()
                .zip(&row)
                .chain(other_values.iter_mut().zip(&values))
                .for_each(|(a, &b)| *a ^= products.of(b));
        }
    }
    Some(
        system
            .into_iter()
            .map(|(_, values)| bytes(scheme, &values))
            .collect(),
    )
}
