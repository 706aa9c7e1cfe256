//! ENet, the transport of GameStream's control stream, in the C ABI: an endpoint that its caller drives.
//!
//! Who may connect is a list and not a callback, so that nothing of the caller runs inside of a call.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::audio::PunktfunkDatagram;
use super::sized::{self, Growing};
use super::{PunktfunkStatus, bytes_of, guard, write_to};
use crate::enet::{Cause, Delivery, Endpoint, Event, Path, SendError};

/// Numbers of sessions that may wait for their client.
const MAX_ADMITTED: usize = 255;
/// Events that may wait to be fetched: with so many nothing more is taken in, and peers repeat what they sent.
const MAX_EVENTS: usize = 256;
/// Longest datagram that there is.
const MAX_UDP_BYTES: usize = 65_535;

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

/// A host of any number of peers. Calls on one handle must not overlap.
pub struct PunktfunkEnet {
    endpoint: Endpoint,
    admitted: Vec<(u32, Option<IpAddr>)>,
    events: VecDeque<Event>,
    /// What the last poll handed out.
    held: Vec<u8>,
    now_ns: u64,
}

impl PunktfunkAddress {
    /// # Safety
    /// `address` must be NULL or readable.
    unsafe fn read(address: *const Self) -> Result<(SocketAddr, Path), PunktfunkStatus> {
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

    fn of(remote: SocketAddr, path: Path) -> Self {
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

impl PunktfunkEnet {
    /// The time of a call: it never goes back.
    fn at(&mut self, now_ns: u64) -> u64 {
        self.now_ns = self.now_ns.max(now_ns);
        self.now_ns
    }

    fn need_room(&self) -> Result<(), PunktfunkStatus> {
        if self.events.len() < MAX_EVENTS {
            Ok(())
        } else {
            Err(PunktfunkStatus::Full)
        }
    }
}

/// # Safety
/// `enet` must be NULL or a live handle that no other call is using.
unsafe fn enet_of<'a>(enet: *mut PunktfunkEnet) -> Result<&'a mut PunktfunkEnet, PunktfunkStatus> {
    // SAFETY: promised by the caller.
    unsafe { enet.as_mut() }.ok_or(PunktfunkStatus::NullPointer)
}

/// Make an endpoint without socket or clock. Nobody may connect to it until `punktfunk_enet_admit` says who.
///
/// # Safety
/// `config` must be NULL or point to a struct of `struct_size` bytes, `enet` NULL or writable. It is set only when
/// `PUNKTFUNK_STATUS_OK` is returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_enet_open(
    config: *const PunktfunkEnetConfig,
    enet: *mut *mut PunktfunkEnet,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let config = unsafe { sized::read(config)? };
        if enet.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        let (peers, channels) = (config.peers as usize, config.channels as usize);
        let endpoint = Endpoint::new(peers, channels, config.seed);
        let made = Box::new(PunktfunkEnet {
            endpoint: endpoint.ok_or(PunktfunkStatus::InvalidArg)?,
            admitted: Vec::new(),
            events: VecDeque::new(),
            held: Vec::new(),
            now_ns: 0,
        });
        // SAFETY: promised writable by the caller.
        unsafe { write_to(enet, Box::into_raw(made)) }
    })
}

/// Free an endpoint, without a word to its peers; NULL is ignored.
///
/// # Safety
/// `enet` must be NULL or a handle of this interface that was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_enet_free(enet: *mut PunktfunkEnet) {
    if enet.is_null() {
        return;
    }
    guard(|| {
        // SAFETY: handles come from `Box::into_raw`, and the caller promises to free each once.
        drop(unsafe { Box::from_raw(enet) });
        Ok(())
    });
}

/// Let whoever connects with this number in, from the IP address of `from`, or from any where that is NULL. At most 255 numbers
/// are admitted: one more is `PUNKTFUNK_STATUS_FULL`.
///
/// # Safety
/// `enet` must be NULL or a live handle, `from` NULL or readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_enet_admit(
    enet: *mut PunktfunkEnet,
    data: u32,
    from: *const PunktfunkAddress,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let enet = unsafe { enet_of(enet)? };
        let from = if from.is_null() {
            None
        } else {
            // SAFETY: promised by the caller.
            Some(unsafe { PunktfunkAddress::read(from)? }.0.ip())
        };
        enet.admitted.retain(|known| known.0 != data);
        if enet.admitted.len() == MAX_ADMITTED {
            return Err(PunktfunkStatus::Full);
        }
        enet.admitted.push((data, from));
        Ok(())
    })
}

/// Let nobody in with this number any more. Connections that there are stay.
///
/// # Safety
/// `enet` must be NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_enet_refuse(
    enet: *mut PunktfunkEnet,
    data: u32,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let enet = unsafe { enet_of(enet)? };
        enet.admitted.retain(|known| known.0 != data);
        Ok(())
    })
}

/// Begin a connection; an event says what became of it. `*peer` names it. `PUNKTFUNK_STATUS_FULL` where there is no room.
///
/// # Safety
/// `enet` must be NULL or a live handle, `to` NULL or readable, `peer` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_enet_connect(
    enet: *mut PunktfunkEnet,
    to: *const PunktfunkAddress,
    data: u32,
    now_ns: u64,
    peer: *mut u64,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let (enet, (to, path)) = unsafe { (enet_of(enet)?, PunktfunkAddress::read(to)?) };
        if peer.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        let now_ns = enet.at(now_ns);
        let key = enet.endpoint.connect(to, path, data, now_ns);
        // SAFETY: promised writable by the caller.
        unsafe { write_to(peer, key.ok_or(PunktfunkStatus::Full)?) }
    })
}

/// Take a datagram. What is none of ENet, or of a stranger, is dropped and no error. `PUNKTFUNK_STATUS_FULL` while 256 events
/// wait to be fetched: it is lost then, as on a network.
///
/// # Safety
/// `enet` must be NULL or a live handle, `datagram` readable for `len` bytes, `from` NULL or readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_enet_receive(
    enet: *mut PunktfunkEnet,
    datagram: *const u8,
    len: usize,
    from: *const PunktfunkAddress,
    now_ns: u64,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let (enet, datagram, (from, path)) = unsafe {
            (
                enet_of(enet)?,
                bytes_of(datagram, len)?,
                PunktfunkAddress::read(from)?,
            )
        };
        if len > MAX_UDP_BYTES {
            return Err(PunktfunkStatus::InvalidArg);
        }
        enet.need_room()?;
        let now_ns = enet.at(now_ns);
        let PunktfunkEnet {
            endpoint,
            admitted,
            events,
            ..
        } = enet;
        let admit = |data: u32, remote: SocketAddr| {
            let of_it = |known: &(u32, Option<IpAddr>)| {
                known.0 == data && known.1.is_none_or(|ip| ip == remote.ip())
            };
            admitted.iter().any(of_it)
        };
        events.extend(endpoint.feed(datagram, from, path, now_ns, admit));
        Ok(())
    })
}

/// Do what is due: repeat, ping, give up. Call it when `punktfunk_enet_next_timeout` says. `PUNKTFUNK_STATUS_FULL` while 256 events
/// wait to be fetched.
///
/// # Safety
/// `enet` must be NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_enet_tick(
    enet: *mut PunktfunkEnet,
    now_ns: u64,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let enet = unsafe { enet_of(enet)? };
        enet.need_room()?;
        let now_ns = enet.at(now_ns);
        let happened = enet.endpoint.tick(now_ns);
        enet.events.extend(happened);
        Ok(())
    })
}

/// Return when `punktfunk_enet_tick` is due, if nothing happens before; `PUNKTFUNK_STATUS_NO_FRAME` without connections.
///
/// # Safety
/// `enet` must be NULL or a live handle, `at_ns` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_enet_next_timeout(
    enet: *mut PunktfunkEnet,
    at_ns: *mut u64,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let enet = unsafe { enet_of(enet)? };
        let next = enet.endpoint.next_timeout();
        // SAFETY: promised writable by the caller.
        unsafe { write_to(at_ns, next.ok_or(PunktfunkStatus::NoFrame)?) }
    })
}

/// Send a message. `PUNKTFUNK_STATUS_CLOSED` where the peer is not connected, `PUNKTFUNK_STATUS_INVALID_ARG` for a message that
/// does not fit a datagram, `PUNKTFUNK_STATUS_FULL` while too much waits for the peer's acknowledgement.
///
/// # Safety
/// `enet` must be NULL or a live handle; `payload` must be readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_enet_send(
    enet: *mut PunktfunkEnet,
    peer: u64,
    channel: u8,
    payload: *const u8,
    len: usize,
    delivery: u32,
    now_ns: u64,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let (enet, payload) = unsafe { (enet_of(enet)?, bytes_of(payload, len)?) };
        let delivery = match delivery {
            ENET_RELIABLE => Delivery::Reliable,
            ENET_UNRELIABLE => Delivery::Unreliable,
            ENET_UNSEQUENCED => Delivery::Unsequenced,
            _ => return Err(PunktfunkStatus::InvalidArg),
        };
        let now_ns = enet.at(now_ns);
        let sent = enet.endpoint.send(peer, channel, payload, delivery, now_ns);
        sent.map_err(|error| match error {
            SendError::NotConnected => PunktfunkStatus::Closed,
            SendError::TooLong => PunktfunkStatus::InvalidArg,
            SendError::Full => PunktfunkStatus::Full,
        })
    })
}

/// End a connection once all that was sent is acknowledged; an event follows. A peer that is gone is left alone.
///
/// # Safety
/// `enet` must be NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_enet_disconnect(
    enet: *mut PunktfunkEnet,
    peer: u64,
    data: u32,
    now_ns: u64,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let enet = unsafe { enet_of(enet)? };
        let now_ns = enet.at(now_ns);
        enet.endpoint.disconnect(peer, data, now_ns);
        Ok(())
    })
}

/// End a connection now, with one word that may get lost. No event follows.
///
/// # Safety
/// `enet` must be NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_enet_abandon(
    enet: *mut PunktfunkEnet,
    peer: u64,
    data: u32,
    now_ns: u64,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let enet = unsafe { enet_of(enet)? };
        let now_ns = enet.at(now_ns);
        enet.endpoint.abandon(peer, data, now_ns);
        Ok(())
    })
}

/// Fetch the next datagram to send and where to, or `PUNKTFUNK_STATUS_NO_FRAME`. Do so after every other call: at most 1024 wait,
/// and further ones are lost, as on a network.
///
/// # Safety
/// `enet` must be NULL or a live handle; `datagram` and `to` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_enet_poll_datagram(
    enet: *mut PunktfunkEnet,
    datagram: *mut PunktfunkDatagram,
    to: *mut PunktfunkAddress,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let enet = unsafe { enet_of(enet)? };
        if datagram.is_null() || to.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        let next = enet.endpoint.next_datagram();
        let (bytes, remote, path) = next.ok_or(PunktfunkStatus::NoFrame)?;
        enet.held = bytes;
        let told = PunktfunkDatagram {
            data: enet.held.as_ptr(),
            len: enet.held.len(),
        };
        // SAFETY: promised writable by the caller.
        unsafe {
            write_to(datagram, told)?;
            write_to(to, PunktfunkAddress::of(remote, path))
        }
    })
}

/// Fetch what happened next, or `PUNKTFUNK_STATUS_NO_FRAME`.
///
/// # Safety
/// `enet` must be NULL or a live handle, `event` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_enet_poll_event(
    enet: *mut PunktfunkEnet,
    event: *mut PunktfunkEnetEvent,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let enet = unsafe { enet_of(enet)? };
        if event.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        let next = enet.events.pop_front();
        let told = match next.ok_or(PunktfunkStatus::NoFrame)? {
            Event::Connected { peer, data, remote } => PunktfunkEnetEvent {
                data,
                from: PunktfunkAddress::of(remote, [0; 24]),
                ..of_kind(ENET_CONNECTED, peer)
            },
            Event::Received {
                peer,
                channel,
                payload,
            } => {
                enet.held = payload;
                PunktfunkEnetEvent {
                    channel: u32::from(channel),
                    payload: enet.held.as_ptr(),
                    len: enet.held.len(),
                    ..of_kind(ENET_RECEIVED, peer)
                }
            }
            Event::Disconnected { peer, data, cause } => PunktfunkEnetEvent {
                data,
                cause: match cause {
                    Cause::Peer => ENET_BY_PEER,
                    Cause::Local => ENET_BY_US,
                    Cause::Timeout => ENET_BY_SILENCE,
                },
                ..of_kind(ENET_DISCONNECTED, peer)
            },
        };
        // SAFETY: promised writable by the caller.
        unsafe { write_to(event, told) }
    })
}

fn of_kind(kind: u32, peer: u64) -> PunktfunkEnetEvent {
    PunktfunkEnetEvent {
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
