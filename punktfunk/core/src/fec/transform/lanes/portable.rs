//! Nibble tables, an element at a time: for machines without lanes of their own.

use super::super::passes::passes;
use super::{Lanes, nibble_factor, padded, unpadded};

#[derive(Clone, Copy)]
struct Portable;

passes!(Portable, radix_log: 2, factor: nibble_factor);

impl Lanes for Portable {
    type Pair = [u8; 64];
    const COLUMN: usize = 64;
    const FACTOR_WORDS: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> [u8; 64] {
        [0; 64]
    }

    #[inline(always)]
    unsafe fn read(at: *const u8) -> [u8; 64] {
        // SAFETY: promised by the caller; an array of bytes has no alignment.
        unsafe { at.cast::<[u8; 64]>().read() }
    }

    #[inline(always)]
    unsafe fn write(at: *mut u8, pair: [u8; 64]) {
        // SAFETY: as in `read`.
        unsafe { at.cast::<[u8; 64]>().write(pair) };
    }

    #[inline(always)]
    unsafe fn gather(at: *const u8, bytes: usize) -> [u8; 64] {
        // SAFETY: promised by the caller.
        unsafe { padded(at, bytes) }
    }

    #[inline(always)]
    unsafe fn scatter(at: *mut u8, bytes: usize, pair: [u8; 64]) {
        // SAFETY: promised by the caller.
        unsafe { unpadded(at, bytes, &pair) };
    }

    #[inline(always)]
    unsafe fn add(a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        std::array::from_fn(|n| a[n] ^ b[n])
    }

    #[inline(always)]
    unsafe fn multiply(pair: [u8; 64], factor: *const u64) -> [u8; 64] {
        // SAFETY: promised by the caller: 16 words are readable.
        let table = unsafe { &*factor.cast::<[u8; 128]>() };
        let mut product = [0; 64];
        for n in 0..32 {
            let (low, high) = (usize::from(pair[n]), usize::from(pair[32 + n]));
            let entries = [
                low & 15,
                32 + (low >> 4),
                64 + (high & 15),
                96 + (high >> 4),
            ];
            product[n] = entries.iter().fold(0, |sum, &entry| sum ^ table[entry]);
            product[32 + n] = entries
                .iter()
                .fold(0, |sum, &entry| sum ^ table[16 + entry]);
        }
        product
    }
}
