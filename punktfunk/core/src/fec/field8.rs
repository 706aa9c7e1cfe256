//! The field GF(2^8): polynomial 0x11D, generator 2 (punktfunk/1 section 5.1).

/// x^8 + x^4 + x^3 + x^2 + 1.
const POLYNOMIAL: u16 = 0x11D;
/// Order of the multiplicative group: the modulus of logarithms.
pub(super) const GROUP: u16 = 255;

struct Tables {
    log: [u8; 256],
    /// Three times all elements and then some, so that sums of three logarithms need no reduction, and a mask no check.
    exp: [u8; 1024],
}

static TABLES: Tables = tables();

const fn tables() -> Tables {
    let mut tables = Tables {
        log: [0; 256],
        exp: [0; 1024],
    };
    let mut element = 1_u16;
    let mut log = 0;
    while log < 255 {
        let mut turn = log;
        while turn < 1024 {
            tables.exp[turn] = element as u8;
            turn += 255;
        }
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
    TABLES_CONST.exp[log]
}

/// The same tables for constant evaluation, which may not read a `static`.
const TABLES_CONST: Tables = tables();

/// Discrete logarithm of an element; 0 for 0, which has none.
#[inline]
pub(super) fn log(element: u8) -> u16 {
    u16::from(TABLES.log[usize::from(element)])
}

/// Element of a logarithm below three times [`GROUP`].
#[inline]
pub(super) fn exp(log: u16) -> u8 {
    TABLES.exp[usize::from(log) % TABLES.exp.len()]
}
