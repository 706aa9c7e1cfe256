//! Factors on discrete logarithms, a byte at a time. Those of 0 count as 0: a difference of 0 is left out.

use super::super::super::field8::{GROUP, exp, log};
use super::super::ELEMENTS;
use super::super::dot::Dot;
use super::{Interpolation, Sides};

/// `a` and `b` are their logarithms.
pub(in crate::fec::gf8) static INTERPOLATION: Interpolation = Interpolation { quotients, factors };

fn quotients(points: &[u8], above: &[u8], below: &[u8], quotients: &mut [u8]) {
    let mut sums = [0; ELEMENTS];
    // At most 128 shards are lost, and as many replace them: sums are below 2^16.
    for &other in above {
        for (sum, &point) in sums.iter_mut().zip(points) {
            *sum += log(point ^ other);
        }
    }
    for &other in below {
        for (sum, &point) in sums.iter_mut().zip(points) {
            *sum += GROUP - log(point ^ other);
        }
    }
    for (quotient, sum) in quotients.iter_mut().zip(sums) {
        *quotient = (sum % GROUP) as u8;
    }
}

fn factors(dot: &Dot, inputs: Sides, outputs: Sides, words: &mut [u64]) {
    let rows = outputs.count;
    let sides = outputs.points.iter().zip(outputs.quotients);
    for (row, (&output, &a)) in sides.enumerate() {
        let scale = u16::from(a) + GROUP;
        let columns = inputs
            .points
            .iter()
            .zip(inputs.quotients)
            .take(inputs.count);
        for (column, (&input, &b)) in words.chunks_exact_mut(rows).zip(columns) {
            column[row] = dot.factor(exp(scale + u16::from(b) - log(input ^ output)));
        }
    }
}
