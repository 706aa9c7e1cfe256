//! The versioned C ABI.

/// Version of the C ABI; peers compare it in the Hello (spec section 2.1).
pub const ABI_VERSION: u32 = 2;
