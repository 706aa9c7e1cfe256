//! The C ABI, called as its contract allows, by a caller who sends any bytes in any order.
//!
//! Buffers and structs are allocated with exactly the bytes that the contract names, so that under AddressSanitizer one byte
//! beyond them ends the run. No call may answer `PUNKTFUNK_STATUS_PANIC`.

pub mod audio;
pub mod codec;
pub mod enet;
pub mod session;

use punktfunk_core::abi::PunktfunkStatus;

use crate::bodies::input::Input;

/// Pass a status on, unless a call panicked.
fn told(status: PunktfunkStatus) -> PunktfunkStatus {
    assert_ne!(status, PunktfunkStatus::Panic);
    status
}

/// A struct that begins with its size: two bytes of the input say it, and as many bytes follow. No struct is shorter than the
/// size itself.
fn sized(input: &mut Input) -> Vec<u8> {
    let said = input.word();
    let mut bytes = input.take(usize::from(said)).to_vec();
    bytes.resize(usize::from(said).max(4), 0);
    bytes[..4].copy_from_slice(&u32::from(said).to_le_bytes());
    bytes
}

/// The input for [`sized`] that gives a struct of these 32-bit fields and what follows them.
fn struct_of(fields: &[u32], behind: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = fields.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend_from_slice(behind);
    [&(bytes.len() as u16).to_le_bytes()[..], &bytes].concat()
}
