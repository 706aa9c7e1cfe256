//! The versioned C ABI (punktfunk/1 section 9): opaque sessions and plain structs over the core.
//!
//! `include/punktfunk_core.h` is generated from these files and held against them by a test. Handles are freed by
//! their owner, frame data is borrowed until the next poll, and no panic crosses into C.

mod config;
mod fec;
mod session;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use config::{PunktfunkConfig, PunktfunkFrame, PunktfunkStats};
pub use fec::{punktfunk_fec_decode, punktfunk_fec_encode};
pub use session::{
    PunktfunkSession, punktfunk_client_poll_frame, punktfunk_get_stats,
    punktfunk_host_submit_frame, punktfunk_session_free, punktfunk_session_new,
    punktfunk_test_loopback_pair,
};

/// Version of the C ABI; peers compare it in the Hello (punktfunk/1 section 2.1).
pub const ABI_VERSION: u32 = 2;

/// Outcome of a call.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PunktfunkStatus {
    /// Done.
    Ok = 0,
    /// An argument is out of range, or the handle has the other role.
    InvalidArg = -1,
    /// The code refused the geometry, or too few shards are present.
    Fec = -2,
    /// Sealing failed.
    Crypto = -3,
    /// A packet was malformed.
    BadPacket = -4,
    /// No frame is ready.
    NoFrame = -5,
    /// This build cannot do it.
    Unsupported = -6,
    /// A socket could not be set up.
    Io = -7,
    /// A required pointer is NULL.
    NullPointer = -8,
    /// Time ran out.
    Timeout = -9,
    /// The session has ended.
    Closed = -10,
    /// A defect in the core; the handle must not be used any more, only freed.
    Panic = -99,
}

/// Version of this interface.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_abi_version() -> u32 {
    ABI_VERSION
}

/// Run a call; a panic becomes a status, since it must not unwind into C.
fn guard(call: impl FnOnce() -> Result<(), PunktfunkStatus>) -> PunktfunkStatus {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => PunktfunkStatus::Ok,
        Ok(Err(status)) => status,
        Err(_) => PunktfunkStatus::Panic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status() {
        assert_eq!(guard(|| panic!("planted")), PunktfunkStatus::Panic);
        assert_eq!(
            guard(|| Err(PunktfunkStatus::NoFrame)),
            PunktfunkStatus::NoFrame
        );
        assert_eq!(guard(|| Ok(())), PunktfunkStatus::Ok);
    }
}
