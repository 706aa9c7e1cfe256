//! The only socket code.
pub mod clock;
pub mod loopback;
pub mod udp;
pub mod wake;
