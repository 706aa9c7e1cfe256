//! The only socket code.
pub mod clock;
pub mod udp;
pub mod wake;
