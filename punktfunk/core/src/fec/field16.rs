//! The field GF(2^16) in Leopard's Cantor basis (punktfunk/1 section 5.2).

use std::sync::LazyLock;

use super::field::Field;

/// Feedback polynomial of the register whose states define the discrete logarithm.
const POLYNOMIAL: u32 = 0x1002D;
/// Cantor basis: bit `i` of an element selects `BASIS[i]`.
pub(super) const BASIS: [u16; 16] = [
    0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012, 0x6C98, 0x10D8, 0x6A72, 0xB900,
    0xFDB8, 0xFB34, 0xFF38, 0x991E,
];
const GROUP: u32 = 65535;

struct Tables {
    log: Vec<u16>,
    exp: Vec<u16>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut register_log = vec![0_u16; 65536];
    let mut state = 1_u32;
    for log in 0..65535_u16 {
        register_log[state as usize] = log;
        state <<= 1;
        if state & 0x10000 != 0 {
            state ^= POLYNOMIAL;
        }
    }
    let mut tables = Tables {
        log: vec![0; 65536],
        exp: vec![0; 65535],
    };
    for element in 1..=65535_u16 {
        let mut in_register = 0;
        for (bit, basis) in BASIS.iter().enumerate() {
            if element >> bit & 1 == 1 {
                in_register ^= basis;
            }
        }
        let log = register_log[usize::from(in_register)];
        tables.log[usize::from(element)] = log;
        tables.exp[usize::from(log)] = element;
    }
    tables
});

/// Product of two elements.
pub(super) fn multiply(a: u16, b: u16) -> u16 {
    if a == 0 || b == 0 {
        return 0;
    }
    let log = u32::from(TABLES.log[usize::from(a)]) + u32::from(TABLES.log[usize::from(b)]);
    TABLES.exp[(log % GROUP) as usize]
}

/// The field of 65536 elements.
pub(super) struct Field16;

impl Field for Field16 {
    type Element = u16;
    const GROUP: u32 = GROUP;

    fn log(element: usize) -> u32 {
        u32::from(TABLES.log[element])
    }

    fn exp(log: u32) -> u16 {
        TABLES.exp[log as usize]
    }
}
