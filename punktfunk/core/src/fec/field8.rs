//! The field GF(2^8): polynomial 0x11D, generator 2 (punktfunk/1 section 5.1).

use super::cauchy::Field;

/// x^8 + x^4 + x^3 + x^2 + 1.
const POLYNOMIAL: u16 = 0x11D;

struct Tables {
    log: [u8; 256],
    exp: [u8; 255],
}

static TABLES: Tables = tables();

const fn tables() -> Tables {
    let mut tables = Tables {
        log: [0; 256],
        exp: [0; 255],
    };
    let mut element = 1_u16;
    let mut log = 0;
    while log < 255 {
        tables.exp[log] = element as u8;
        tables.log[element as usize] = log as u8;
        element <<= 1;
        if element & 0x100 != 0 {
            element ^= POLYNOMIAL;
        }
        log += 1;
    }
    tables
}

/// Product of two elements.
pub(super) const fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    let log = TABLES_CONST.log[a as usize] as usize + TABLES_CONST.log[b as usize] as usize;
    TABLES_CONST.exp[log % 255]
}

/// The same tables for constant evaluation, which may not read a `static`.
const TABLES_CONST: Tables = tables();

/// The field of 256 elements.
pub(super) struct Field8;

impl Field for Field8 {
    type Element = u8;
    const GROUP: u32 = 255;

    fn log(element: usize) -> u32 {
        u32::from(TABLES.log[element])
    }

    fn exp(log: u32) -> u8 {
        TABLES.exp[log as usize]
    }
}
