//! Products of the distances from points to a set of points, as logarithms.

use crate::fec::field::Field;
use crate::fec::field16::Field16;

const GROUP: u32 = Field16::GROUP;

/// A set of points, and what is computed of it.
#[derive(Default)]
pub(super) struct Locator {
    /// The points whose distances are factors, or divisors if true.
    pub(super) points: Vec<(u16, bool)>,
    /// Walsh transform of the logarithms of the points below `walsh.len()`.
    walsh: Vec<u32>,
    sums: Vec<u32>,
}

/// Distances whose logarithms are added up one by one in the time that two Walsh transforms spend on eight pairs.
///
/// `cargo test --release --lib -- --ignored --nocapture where_walsh` measures it.
const DIRECT: usize = 20;

impl Locator {
    pub(super) const fn new() -> Self {
        Self {
            points: Vec::new(),
            walsh: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// Get ready to answer about `questions` points below `limit`, a power of two, as all points are.
    pub(super) fn prepare(&mut self, limit: usize, questions: usize) {
        self.sums.clear();
        let layers = limit.ilog2() as usize;
        if self.points.len() * questions <= limit * layers * DIRECT / 16 {
            return;
        }
        if self.walsh.len() != limit {
            self.walsh.clear();
            self.walsh.push(0);
            self.walsh.extend((1..limit).map(Field16::log));
            walsh(&mut self.walsh);
        }
        self.sums.resize(limit, 0);
        for &(point, divides) in &self.points {
            self.sums[usize::from(point)] = if divides { GROUP - 1 } else { 1 };
        }
        walsh(&mut self.sums);
        // The transform is its own inverse but for a factor of `limit`, and 2^16 is 1 modulo 65535.
        let shift = 16 - layers;
        for (sum, walsh) in self.sums.iter_mut().zip(&self.walsh) {
            *sum = reduce(reduce(*sum * *walsh) << shift);
        }
        walsh(&mut self.sums);
    }

    /// Logarithm, below the group's order, of the product of the distances from `point` to the others of the set.
    pub(super) fn log(&self, point: usize) -> u32 {
        if let Some(&sum) = self.sums.get(point) {
            return sum % GROUP;
        }
        let sum: u64 = self
            .points
            .iter()
            .map(|&(other, divides)| (usize::from(other) ^ point, divides))
            .filter(|&(distance, _)| distance != 0)
            .map(|(distance, divides)| {
                let log = Field16::log(distance);
                u64::from(if divides { GROUP - log } else { log })
            })
            .sum();
        u32::try_from(sum % u64::from(GROUP)).expect("below the group order")
    }
}

/// A number below 2^32 to one of 16 bits that is the same modulo 65535.
const fn reduce(number: u32) -> u32 {
    let once = (number & 0xFFFF) + (number >> 16);
    (once & 0xFFFF) + (once >> 16)
}

/// Walsh transform modulo 65535, of numbers up to that.
fn walsh(values: &mut [u32]) {
    let mut apart = 1;
    while apart < values.len() {
        for block in values.chunks_exact_mut(2 * apart) {
            let (a, b) = block.split_at_mut(apart);
            for (a, b) in a.iter_mut().zip(b) {
                let (sum, difference) = (*a + *b, *a + GROUP - *b);
                *a = (sum & 0xFFFF) + (sum >> 16);
                *b = (difference & 0xFFFF) + (difference >> 16);
            }
        }
        apart *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways against products in the field, at points of the set and at others.
    #[test]
    fn products_are_those_of_the_distances_whichever_way_they_are_computed() {
        for (limit, count) in [(2_usize, 1_u16), (64, 7), (1024, 200), (65536, 300)] {
            let points: Vec<(u16, bool)> = (0..count)
                .map(|n| (n * 3 % u16::try_from(limit - 1).unwrap(), n % 3 == 0))
                .collect();
            let mut points = points;
            points.sort_unstable();
            points.dedup_by_key(|(point, _)| *point);
            for questions in [0, usize::MAX >> 16] {
                let mut locator = Locator::new();
                locator.points.clone_from(&points);
                locator.prepare(limit, questions);
                assert_eq!(locator.sums.is_empty(), questions == 0);
                for point in (0..limit).step_by(limit.div_ceil(61)) {
                    let (mut over, mut under) = (1, 1);
                    for &(other, divides) in &points {
                        let distance = other ^ u16::try_from(point).unwrap();
                        let side = if divides { &mut under } else { &mut over };
                        if distance != 0 {
                            *side = crate::fec::naive::multiply_16(*side, distance);
                        }
                    }
                    let product = Field16::exp(locator.log(point));
                    assert_eq!(
                        crate::fec::naive::multiply_16(product, under),
                        over,
                        "{limit} {point}"
                    );
                }
            }
        }
    }

    #[test]
    #[ignore = "measures: prints the distances added in the time of eight pairs of two Walsh transforms"]
    fn where_walsh_transforms_begin_to_be_faster() {
        for limit in [64_usize, 256, 2048, 8192, 32768] {
            let count = limit.isqrt();
            let time = |questions: usize| {
                let mut locator = Locator::new();
                locator.points = (0..count)
                    .map(|n| (u16::try_from(n).unwrap(), false))
                    .collect();
                let mut best = f64::MAX;
                for _ in 0..50 {
                    let start = std::time::Instant::now();
                    for _ in 0..10 {
                        locator.prepare(limit, questions);
                        let sum: u32 = (0..count).map(|n| locator.log(limit - 1 - n)).sum();
                        std::hint::black_box(sum);
                    }
                    best = best.min(start.elapsed().as_secs_f64());
                }
                best
            };
            let pairs = limit / 2 * limit.ilog2() as usize;
            let of_pair = time(usize::MAX >> 20) / pairs as f64;
            let of_distance = time(0) / (count * count) as f64;
            println!("{limit}: {:.1}", 8.0 * of_pair / of_distance);
        }
    }
}
