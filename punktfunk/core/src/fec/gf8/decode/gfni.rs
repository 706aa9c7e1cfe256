//! Factors by `gf2p8mulb`, 32 points at a time.
//!
//! The instruction multiplies in the field of another polynomial, 0x11B, and inverts there. Fields of 256 elements are
//! isomorphic: differences are mapped to that field by a bit matrix, and products from there by its inverse.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_gf2p8affine_epi64_epi8, _mm_gf2p8affineinv_epi64_epi8, _mm_gf2p8mul_epi8,
    _mm_loadu_si128, _mm_set1_epi8, _mm_set1_epi64x, _mm_storeu_si128, _mm_xor_si128,
    _mm256_cmpeq_epi8, _mm256_gf2p8affine_epi64_epi8, _mm256_gf2p8affineinv_epi64_epi8,
    _mm256_gf2p8mul_epi8, _mm256_loadu_si256, _mm256_permute2x128_si256, _mm256_set_epi64x,
    _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_storeu_si256, _mm256_sub_epi8, _mm256_unpackhi_epi8,
    _mm256_unpacklo_epi8, _mm256_xor_si256,
};

use super::super::super::kernels::matrix;
use super::super::dot::{Dot, ROWS};
use super::{Interpolation, PADDED, Sides};

/// `a` and `b` are their images in the other field. The words are bit matrices, as the kernels that have GFNI want them.
pub(in crate::fec::gf8) static INTERPOLATION: Interpolation = Interpolation { quotients, factors };

/// Product in the field of 0x11B.
const fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut product) = (a as u16, 0);
    let mut bit = 0;
    while bit < 8 {
        if b >> bit & 1 == 1 {
            product ^= a;
        }
        a <<= 1;
        if a & 0x100 != 0 {
            a ^= 0x11B;
        }
        bit += 1;
    }
    product as u8
}

/// Powers of an element of that field which is a root of this code's polynomial, x^8 + x^4 + x^3 + x^2 + 1: the images of 2^0 to 2^7.
const POWERS: [u8; 8] = {
    let mut root = 2;
    loop {
        let mut powers = [1; 9];
        let mut n = 1;
        while n <= 8 {
            powers[n] = multiply(powers[n - 1], root);
            n += 1;
        }
        if powers[8] ^ powers[4] ^ powers[3] ^ powers[2] ^ powers[0] == 0 {
            let [a, b, c, d, e, f, g, h, _] = powers;
            break [a, b, c, d, e, f, g, h];
        }
        root += 1;
    }
};

/// The map to the other field.
const THERE: u64 = matrix(POWERS);

/// The map from it: what each of its bits is the image of.
const BACK: u64 = {
    let mut images = [0; 8];
    let mut element = 0;
    while element < 256 {
        let (mut image, mut bit) = (0, 0);
        while bit < 8 {
            if element >> bit & 1 == 1 {
                image ^= POWERS[bit];
            }
            bit += 1;
        }
        if image.is_power_of_two() {
            images[image.trailing_zeros() as usize] = element as u8;
        }
        element += 1;
    }
    matrix(images)
};

/// The matrix that changes nothing: byte `n` has bit `7 - n`.
const UNITS: u64 = 0x0102_0408_1020_4080;

/// # Safety
/// See [`super::Quotients`]; the features are AVX2 and GFNI.
#[target_feature(enable = "avx2,gfni")]
unsafe fn quotients(points: &[u8], above: &[u8], below: &[u8], quotients: &mut [u8]) {
    let points = points.chunks_exact(PADDED);
    for (points, quotients) in points.zip(quotients.chunks_exact_mut(PADDED)) {
        // SAFETY: both have 32 bytes; loads and stores are unaligned.
        unsafe {
            let points = _mm256_loadu_si256(points.as_ptr().cast());
            let divisors = product(points, below);
            let inverses =
                _mm256_gf2p8affineinv_epi64_epi8::<0>(divisors, _mm256_set1_epi64x(UNITS as i64));
            let quotient = _mm256_gf2p8mul_epi8(product(points, above), inverses);
            _mm256_storeu_si256(quotients.as_mut_ptr().cast(), quotient);
        }
    }
}

/// Images of the products of each point's differences to all others but itself.
#[inline]
#[target_feature(enable = "avx2,gfni")]
fn product(points: __m256i, others: &[u8]) -> __m256i {
    let there = _mm256_set1_epi64x(THERE as i64);
    let mut product = _mm256_set1_epi8(1);
    for &other in others {
        let difference = _mm256_xor_si256(points, _mm256_set1_epi8(other as i8));
        // What is equal is all ones, which is -1: subtracted from 0 it is 1.
        let equal = _mm256_cmpeq_epi8(difference, _mm256_setzero_si256());
        let difference = _mm256_sub_epi8(difference, equal);
        product = _mm256_gf2p8mul_epi8(
            product,
            _mm256_gf2p8affine_epi64_epi8::<0>(difference, there),
        );
    }
    product
}

/// # Safety
/// See [`super::Factors`]; the features are AVX2 and GFNI.
#[target_feature(enable = "avx2,gfni")]
unsafe fn factors(_: &Dot, inputs: Sides, outputs: Sides, words: &mut [u64]) {
    let rows = outputs.count;
    let (points, a) = (first(outputs.points), first(outputs.quotients));
    // Images of the factors of some columns.
    let mut images = [0; PADDED * ROWS + 16];
    for from in (0..inputs.count).step_by(PADDED) {
        let columns = PADDED.min(inputs.count - from);
        if rows <= 2 {
            let (inputs, b) = (&inputs.points[from..], &inputs.quotients[from..]);
            few(inputs, b, outputs, &mut images);
        } else {
            // A column is written as a whole register, the next one over its end.
            for n in 0..columns {
                let (input, b) = (inputs.points[from + n], inputs.quotients[from + n]);
                let difference = _mm_xor_si128(points, _mm_set1_epi8(input as i8));
                let image = _mm_gf2p8mul_epi8(
                    _mm_gf2p8mul_epi8(a, _mm_set1_epi8(b as i8)),
                    inverse(difference),
                );
                let to = &mut images[n * rows..][..16];
                // SAFETY: 16 bytes; the store is unaligned.
                unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), image) };
            }
        }
        let words = &mut words[from * rows..];
        let padded = (columns * rows).next_multiple_of(4);
        spread(&images, &mut words[..padded]);
    }
}

/// [`factors`] of one or two outputs for 32 columns: by rows, which are put together at the end.
#[inline]
#[target_feature(enable = "avx2,gfni")]
fn few(inputs: &[u8], b: &[u8], outputs: Sides, images: &mut [u8]) {
    let (inputs, b, images) = (&inputs[..PADDED], &b[..PADDED], &mut images[..2 * PADDED]);
    // SAFETY: 32 bytes each; loads are unaligned.
    let (inputs, b) = unsafe {
        (
            _mm256_loadu_si256(inputs.as_ptr().cast()),
            _mm256_loadu_si256(b.as_ptr().cast()),
        )
    };
    let row = |r: usize| {
        let (point, a) = (outputs.points[r] as i8, outputs.quotients[r] as i8);
        let differences = _mm256_gf2p8affine_epi64_epi8::<0>(
            _mm256_xor_si256(inputs, _mm256_set1_epi8(point)),
            _mm256_set1_epi64x(THERE as i64),
        );
        let inverses =
            _mm256_gf2p8affineinv_epi64_epi8::<0>(differences, _mm256_set1_epi64x(UNITS as i64));
        _mm256_gf2p8mul_epi8(_mm256_gf2p8mul_epi8(b, _mm256_set1_epi8(a)), inverses)
    };
    let (first, second) = (row(0), row(outputs.count - 1));
    let [first, second] = if outputs.count == 1 {
        [first, second]
    } else {
        // Each half of either register has eight columns.
        let (even, odd) = (
            _mm256_unpacklo_epi8(first, second),
            _mm256_unpackhi_epi8(first, second),
        );
        [
            _mm256_permute2x128_si256::<0x20>(even, odd),
            _mm256_permute2x128_si256::<0x31>(even, odd),
        ]
    };
    // SAFETY: twice 32 bytes; stores are unaligned.
    unsafe {
        _mm256_storeu_si256(images.as_mut_ptr().cast(), first);
        _mm256_storeu_si256(images.as_mut_ptr().add(PADDED).cast(), second);
    }
}

/// Images of the inverses of differences.
#[inline]
#[target_feature(enable = "avx2,gfni")]
fn inverse(differences: __m128i) -> __m128i {
    let images = _mm_gf2p8affine_epi64_epi8::<0>(differences, _mm_set1_epi64x(THERE as i64));
    _mm_gf2p8affineinv_epi64_epi8::<0>(images, _mm_set1_epi64x(UNITS as i64))
}

/// The first bytes of a register; what is behind them is 0.
#[inline]
#[target_feature(enable = "avx2")]
fn first(bytes: &[u8]) -> __m128i {
    let bytes: [u8; 16] = std::array::from_fn(|n| bytes.get(n).copied().unwrap_or(0));
    // SAFETY: 16 bytes; the load is unaligned.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// Write the bit matrix of each element, given its image.
#[inline]
#[target_feature(enable = "avx2,gfni")]
fn spread(images: &[u8], words: &mut [u64]) {
    // A register is four matrices, and each byte of a matrix is made of the element eight times.
    let each = _mm256_set_epi64x(
        0x0303_0303_0303_0303,
        0x0202_0202_0202_0202,
        0x0101_0101_0101_0101,
        0,
    );
    let powers = _mm256_set1_epi64x(i64::from_be_bytes(POWERS));
    let (back, units) = (
        _mm256_set1_epi64x(BACK as i64),
        _mm256_set1_epi64x(UNITS as i64),
    );
    for (images, words) in images.chunks_exact(4).zip(words.chunks_exact_mut(4)) {
        let four = i32::from_ne_bytes([images[0], images[1], images[2], images[3]]);
        let elements = _mm256_shuffle_epi8(_mm256_set1_epi32(four), each);
        // Byte `n` is the element times `2^(7 - n)`: a column of the matrix. The instruction transposes it.
        let columns = _mm256_gf2p8mul_epi8(elements, powers);
        let columns = _mm256_gf2p8affine_epi64_epi8::<0>(columns, back);
        let matrices = _mm256_gf2p8affine_epi64_epi8::<0>(units, columns);
        // SAFETY: four words; the store is unaligned.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), matrices) };
    }
}
