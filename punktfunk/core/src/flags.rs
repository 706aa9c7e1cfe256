//! What a frame says about itself: the flags that a caller hands over with an access unit and gets back with it.
//!
//! The numbers are those that punktfunk/1 carries as user flags; another wire maps its own to them.

/// A picture; every frame of video has it (punktfunk/1 section 4.4).
pub const FLAG_PICTURE: u32 = 0x01;
/// A key frame: decodable without any other.
pub const FLAG_KEY: u32 = 0x04;
/// Filler of a bandwidth probe, taken out before the decoder (punktfunk/1 section 2.4).
pub const FLAG_PROBE: u32 = 0x08;
/// The decoder recovers here (punktfunk/1 section 2.5): intra refresh done, or a reference that the client is known to hold.
pub const FLAG_RECOVERY_POINT: u32 = 0x10;
/// A frame coded against an acknowledged anchor only (punktfunk/1 section 2.5).
pub const FLAG_RECOVERY_ANCHOR: u32 = 0x20;
/// A frame with any of these can be decoded whatever was lost before it.
pub const FLAGS_DECODABLE: u32 = FLAG_KEY | FLAG_RECOVERY_POINT | FLAG_RECOVERY_ANCHOR;
