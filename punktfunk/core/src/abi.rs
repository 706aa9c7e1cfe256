//! The versioned C ABI.
