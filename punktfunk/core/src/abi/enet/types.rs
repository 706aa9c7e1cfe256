//! The structs and numbers of ENet in the C ABI.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::abi::PunktfunkStatus;
use crate::abi::sized::Growing;
use crate::enet::Path;

/// Event: a peer is there. `data` is its number, `from` where it is.
pub const ENET_CONNECTED: u32 = 1;
/// Event: a message, `payload` on `channel`.
pub const ENET_RECEIVED: u32 = 2;
/// Event: a peer is gone, or a connection did not come about. `data` is the peer's word, `cause` who ended it.
pub const ENET_DISCONNECTED: u32 = 3;
/// Cause: the peer said so.
pub const ENET_BY_PEER: u32 = 1;
/// Cause: it was disconnected from here, and knows.
pub const ENET_BY_US: u32 = 2;
/// Cause: nothing was heard of it for ten seconds.
pub const ENET_BY_SILENCE: u32 = 3;
/// Delivery: acknowledged and in order on its channel.
pub const ENET_RELIABLE: u32 = 0;
/// Delivery: lost, or in order on its channel.
pub const ENET_UNRELIABLE: u32 = 1;
/// Delivery: lost, or in any order.
pub const ENET_UNSEQUENCED: u32 = 2;

/// What an endpoint is made with. Set all of it to 0 first, then `struct_size` to `sizeof(PunktfunkEnetConfig)`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PunktfunkEnetConfig {
    /// Bytes of this struct as the caller knows it.
    pub struct_size: u32,
    /// Most connections, 1 to 255.
    pub peers: u32,
    /// Most channels of each, 1 to 255.
    pub channels: u32,
    /// Makes the numbers by which its connections are known: any, another each time.
    pub seed: u32,
}

const _: () = assert!(size_of::<PunktfunkEnetConfig>() == 16);

// SAFETY: four integers of four bytes.
unsafe impl Growing for PunktfunkEnetConfig {
    const FIRST_BYTES: usize = 16;
}

/// Where a peer is.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PunktfunkAddress {
    /// The address in network order; one of IPv4 has the first four bytes.
    pub ip: [u8; 16],
    /// 4 or 6.
    pub family: u16,
    /// The port.
    pub port: u16,
    /// Interface of a link-local address of IPv6, else 0.
    pub scope: u32,
    /// Whatever the caller wants back with each datagram to this peer, such as which of its own addresses it came to.
    pub path: [u8; 24],
}

/// What happened. `payload` belongs to the endpoint and is valid until the next call on its handle.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PunktfunkEnetEvent {
    /// `PUNKTFUNK_ENET_CONNECTED`, `_RECEIVED` or `_DISCONNECTED`.
    pub kind: u32,
    /// Channel of a message.
    pub channel: u32,
    /// Names the connection, and no other one ever.
    pub peer: u64,
    /// What CONNECT or DISCONNECT carried.
    pub data: u32,
    /// `PUNKTFUNK_ENET_BY_PEER`, `_BY_US` or `_BY_SILENCE`.
    pub cause: u32,
    /// First byte of a message, else NULL.
    pub payload: *const u8,
    /// Bytes of it.
    pub len: usize,
    /// Where a peer is that has connected; without path.
    pub from: PunktfunkAddress,
}

impl PunktfunkAddress {
    /// # Safety
    /// `address` must be NULL or readable.
    pub(super) unsafe fn read(address: *const Self) -> Result<(SocketAddr, Path), PunktfunkStatus> {
        if address.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        // SAFETY: not NULL, and promised readable by the caller.
        let Self {
            ip,
            family,
            port,
            scope,
            path,
        } = unsafe { address.read_unaligned() };
        let remote = match family {
            4 => SocketAddr::from((Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]), port)),
            6 => SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into(),
            _ => return Err(PunktfunkStatus::InvalidArg),
        };
        Ok((remote, path))
    }

    pub(super) fn of(remote: SocketAddr, path: Path) -> Self {
        let mut told = Self {
            port: remote.port(),
            path,
            ..Self::default()
        };
        match remote {
            SocketAddr::V4(remote) => {
                told.family = 4;
                told.ip[..4].copy_from_slice(&remote.ip().octets());
            }
            SocketAddr::V6(remote) => {
                told.family = 6;
                told.ip = remote.ip().octets();
                told.scope = remote.scope_id();
            }
        }
        told
    }
}

impl PunktfunkEnetEvent {
    /// An event of a connection, with nothing else in it.
    pub(super) fn of_kind(kind: u32, peer: u64) -> Self {
        Self {
            kind,
            channel: 0,
            peer,
            data: 0,
            cause: 0,
            payload: std::ptr::null(),
            len: 0,
            from: PunktfunkAddress::default(),
        }
    }
}
