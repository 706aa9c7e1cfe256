//! The versioned C ABI (punktfunk/1 section 9): opaque sessions and plain structs over the core, for both wires.
//!
//! It grows without breaking what was linked before (ADR 0175): nothing that a version has is changed, moved or taken away, new
//! groups of functions get a bit in [`punktfunk_abi_features`], and structs that may grow begin with their size.
//!
//! `include/punktfunk_core.h` is generated from these files and held against them by a test. Handles are freed by
//! their owner, frame data is borrowed until the next poll, and no panic crosses into C.

mod audio;
mod config;
mod driven;
mod enet;
mod fec;
mod gamestream;
mod session;
mod sized;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use audio::{
    PunktfunkAudio, PunktfunkAudioStats, PunktfunkDatagram, PunktfunkGameStreamAudioConfig,
    PunktfunkSound, punktfunk_audio_free, punktfunk_audio_get_stats, punktfunk_audio_poll_datagram,
    punktfunk_audio_poll_sound, punktfunk_audio_receive, punktfunk_audio_settle,
    punktfunk_audio_submit, punktfunk_gamestream_audio_open,
};
pub use config::{PunktfunkConfig, PunktfunkFrame, PunktfunkStats};
pub use driven::{
    PunktfunkPackets, punktfunk_client_advance, punktfunk_client_receive,
    punktfunk_client_take_recovery_request, punktfunk_host_poll_packets, punktfunk_host_set_rate,
    punktfunk_session_next_timeout, punktfunk_session_open,
};
pub use enet::{
    PunktfunkAddress, PunktfunkEnet, PunktfunkEnetConfig, PunktfunkEnetEvent,
    punktfunk_enet_abandon, punktfunk_enet_admit, punktfunk_enet_connect,
    punktfunk_enet_disconnect, punktfunk_enet_free, punktfunk_enet_next_timeout,
    punktfunk_enet_open, punktfunk_enet_poll_datagram, punktfunk_enet_poll_event,
    punktfunk_enet_receive, punktfunk_enet_refuse, punktfunk_enet_send, punktfunk_enet_tick,
};
pub use fec::{punktfunk_fec_decode, punktfunk_fec_encode};
pub use gamestream::{
    PunktfunkGameStreamConfig, punktfunk_gamestream_open, punktfunk_gamestream_start,
};
pub use session::{
    PunktfunkSession, punktfunk_client_poll_frame, punktfunk_get_stats,
    punktfunk_host_submit_frame, punktfunk_session_free, punktfunk_session_new,
    punktfunk_test_loopback_pair,
};

/// Version of the C ABI; peers compare it in the Hello (punktfunk/1 section 2.1).
///
/// It rises only when something that was there works otherwise or is gone. What is new is a feature.
pub const ABI_VERSION: u32 = 2;

/// Feature: sessions that their caller drives, `punktfunk_session_open` and what goes with it.
pub const FEATURE_DRIVEN: u64 = 1;
/// Feature: GameStream's video, `punktfunk_gamestream_open` and `punktfunk_gamestream_start`.
pub const FEATURE_GAMESTREAM_VIDEO: u64 = 2;
/// Feature: GameStream's sound, `punktfunk_gamestream_audio_open` and `punktfunk_audio_*`.
pub const FEATURE_GAMESTREAM_AUDIO: u64 = 4;
/// Feature: ENet, the transport of GameStream's control stream, `punktfunk_enet_*`.
pub const FEATURE_ENET: u64 = 8;

const FEATURES: u64 =
    FEATURE_DRIVEN | FEATURE_GAMESTREAM_VIDEO | FEATURE_GAMESTREAM_AUDIO | FEATURE_ENET;

/// Outcome of a call. Later versions may have more of them, for calls that are new; all but `PUNKTFUNK_STATUS_OK` are negative.
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
    /// No frame is ready, or no packet, or nothing else that was asked for.
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
    /// As much waits already as there may be; fetch or try again later.
    Full = -11,
    /// A defect in the core; the handle must not be used any more, only freed.
    Panic = -99,
}

/// Version of this interface.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_abi_version() -> u32 {
    ABI_VERSION
}

/// What this build has beyond the first of its version: the sum of `PUNKTFUNK_FEATURE_*`. A library without this function has
/// none of them.
#[unsafe(no_mangle)]
pub extern "C" fn punktfunk_abi_features() -> u64 {
    FEATURES
}

/// The bytes that a caller points to; NULL is fine for none.
///
/// # Safety
/// `data` must be readable for `len` bytes, if it is not NULL, and not change while they are used.
unsafe fn bytes_of<'a>(data: *const u8, len: usize) -> Result<&'a [u8], PunktfunkStatus> {
    match (data.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(PunktfunkStatus::NullPointer),
        (_, len) if isize::try_from(len).is_err() => Err(PunktfunkStatus::InvalidArg),
        // SAFETY: not NULL, and promised readable by the caller.
        _ => Ok(unsafe { std::slice::from_raw_parts(data, len) }),
    }
}

/// Give a caller a value.
///
/// # Safety
/// `to` must be NULL or writable.
unsafe fn write_to<T>(to: *mut T, value: T) -> Result<(), PunktfunkStatus> {
    if to.is_null() {
        return Err(PunktfunkStatus::NullPointer);
    }
    // SAFETY: not NULL, and promised writable by the caller.
    unsafe { to.write(value) };
    Ok(())
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
