//! The structs of the C ABI and what they mean to a session.

use super::PunktfunkStatus;
use crate::crypto;
use crate::fec::Scheme;
use crate::flags;
use crate::session::StreamConfig;
use crate::wire::punktfunk1::{self, MAX_FRAME_BYTES};

/// User flag: the frame is a picture.
pub const FLAG_PICTURE: u32 = 1;
/// User flag: the frame can be decoded without another.
pub const FLAG_KEY: u32 = 4;
/// Bytes that sealing adds to a packet: sequence number and tag.
pub const SEAL_BYTES: usize = 24;
/// Bytes of the packet header.
pub const HEADER_BYTES: usize = 40;
/// Largest UDP payload that a receiver looks at.
pub const MAX_DATAGRAM_BYTES: usize = 9216;

// The header can only say numbers that stand here; they are those of the core.
const _: () = assert!(FLAG_PICTURE == flags::FLAG_PICTURE && FLAG_KEY == flags::FLAG_KEY);
const _: () =
    assert!(SEAL_BYTES == crypto::OVERHEAD_BYTES && HEADER_BYTES == punktfunk1::HEADER_BYTES);
const _: () = assert!(MAX_DATAGRAM_BYTES == punktfunk1::MAX_DATAGRAM_BYTES);

/// Stream parameters. Set `struct_size` to `sizeof(PunktfunkConfig)`; a larger struct of a later version is fine.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PunktfunkConfig {
    /// Bytes of this struct as the caller knows it.
    pub struct_size: u32,
    /// 0 host, 1 client.
    pub role: u32,
    /// Protocol phase, 1 or 2; both put the same packets on the wire.
    pub phase: u32,
    /// 0 GF(2^8), 1 GF(2^16).
    pub fec_scheme: u32,
    /// Recovery shards in per cent of data shards, 0 to 255.
    pub fec_percent: u32,
    /// Most data shards of one block, 1 to 65535.
    pub max_data_per_block: u32,
    /// Payload bytes of every packet, even.
    pub shard_payload: u32,
    /// Not 0: seal packets with `key`.
    pub encrypt: u32,
    /// AES-128 key; not all zero if `encrypt` is set.
    pub key: [u8; 16],
    /// Base salt of the nonces.
    pub salt: [u8; 4],
    /// Loopback pair only: lose every packet whose number is a multiple of this; 0 loses none.
    pub loopback_drop_period: u32,
    /// Longest access unit; 0 means 64 MiB, the most there is.
    pub max_frame_bytes: u64,
}

/// An access unit. `data` belongs to the session and is valid until its next poll.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PunktfunkFrame {
    /// First byte.
    pub data: *const u8,
    /// Bytes.
    pub len: usize,
    /// Frame number.
    pub frame_index: u32,
    /// Capture time as the host gave it, ns.
    pub pts_ns: u64,
    /// User flags.
    pub flags: u32,
}

/// Counters of a session since its start.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PunktfunkStats {
    /// Access units that were submitted.
    pub frames_submitted: u64,
    /// Access units that arrived whole.
    pub frames_completed: u64,
    /// Frames that were given up, or dropped from the sender's queue.
    pub frames_dropped: u64,
    /// Packets that were sent.
    pub packets_sent: u64,
    /// Packets that arrived.
    pub packets_received: u64,
    /// Packets that were rejected or came too late.
    pub packets_dropped: u64,
    /// Data shards that FEC rebuilt.
    pub fec_recovered_shards: u64,
    /// Bytes that were sent, without IP and UDP headers.
    pub bytes_sent: u64,
    /// Bytes that arrived, likewise.
    pub bytes_received: u64,
}

const _: () = assert!(size_of::<PunktfunkConfig>() == 64);
const _: () = assert!(size_of::<PunktfunkStats>() == 72);
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<PunktfunkFrame>() == 40);

/// Which end of a stream a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Host,
    Client,
}

impl Role {
    pub(super) const fn parse(role: u32) -> Result<Self, PunktfunkStatus> {
        match role {
            0 => Ok(Self::Host),
            1 => Ok(Self::Client),
            _ => Err(PunktfunkStatus::InvalidArg),
        }
    }
}

impl PunktfunkConfig {
    /// Copy a caller's configuration.
    ///
    /// # Safety
    /// `config` must be NULL, or point to at least four readable bytes and to as many as they say.
    pub(super) unsafe fn read(config: *const Self) -> Result<Self, PunktfunkStatus> {
        if config.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        // SAFETY: promised by the caller. The size is read alone: an older, smaller struct may end early.
        let struct_size = unsafe { config.cast::<u32>().read_unaligned() };
        if (struct_size as usize) < size_of::<Self>() {
            return Err(PunktfunkStatus::InvalidArg);
        }
        // SAFETY: promised by the caller, who says that the struct is at least this long.
        Ok(unsafe { config.read_unaligned() })
    }

    /// The role and parameters that this stands for. Values out of range are refused, never truncated.
    pub(super) fn parse(&self) -> Result<(Role, StreamConfig), PunktfunkStatus> {
        let invalid = PunktfunkStatus::InvalidArg;
        let role = Role::parse(self.role)?;
        let scheme = match self.fec_scheme {
            0 => Scheme::Gf8,
            1 => Scheme::Gf16,
            _ => return Err(invalid),
        };
        if !(1..=2).contains(&self.phase)
            || self.fec_percent > 255
            || self.max_data_per_block > 65535
        {
            return Err(invalid);
        }
        let max_frame_bytes = match usize::try_from(self.max_frame_bytes).map_err(|_| invalid)? {
            0 => MAX_FRAME_BYTES,
            bytes => bytes,
        };
        let config = StreamConfig {
            scheme,
            fec_percent: self.fec_percent,
            max_block_shards: self.max_data_per_block as usize,
            shard_bytes: self.shard_payload as usize,
            key: (self.encrypt != 0).then_some(self.key),
            salt: self.salt,
            max_frame_bytes,
            // Callers of this interface see every complete frame and judge for themselves.
            hold_undecodable: false,
            ..StreamConfig::default()
        };
        config.validate().map_err(|_| invalid)?;
        Ok((role, config))
    }
}
