//! The only socket code.
pub mod udp;
