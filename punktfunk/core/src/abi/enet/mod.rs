//! ENet, the transport of GameStream's control stream, in the C ABI: an endpoint that its caller drives.
//!
//! Who may connect is a list and not a callback, so that nothing of the caller runs inside of a call.

mod types;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::audio::PunktfunkDatagram;
use super::sized;
use super::{PunktfunkStatus, bytes_of, guard, write_to};
pub use types::{PunktfunkAddress, PunktfunkEnetConfig, PunktfunkEnetEvent};

use types::{
    ENET_BY_PEER, ENET_BY_SILENCE, ENET_BY_US, ENET_CONNECTED, ENET_DISCONNECTED, ENET_RECEIVED,
    ENET_RELIABLE, ENET_UNRELIABLE, ENET_UNSEQUENCED,
};

use crate::enet::{Cause, Delivery, Endpoint, Event, SendError};

/// Numbers of sessions that may wait for their client.
const MAX_ADMITTED: usize = 255;
/// Events that may wait to be fetched: with so many nothing more is taken in, and peers repeat what they sent.
const MAX_EVENTS: usize = 256;
/// Longest datagram that there is.
const MAX_UDP_BYTES: usize = 65_535;

/// A host of any number of peers. Calls on one handle must not overlap.
pub struct PunktfunkEnet {
    endpoint: Endpoint,
    admitted: Vec<(u32, Option<IpAddr>)>,
    events: VecDeque<Event>,
    /// What the last poll handed out.
    held: Vec<u8>,
    now_ns: u64,
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
                ..PunktfunkEnetEvent::of_kind(ENET_CONNECTED, peer)
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
                    ..PunktfunkEnetEvent::of_kind(ENET_RECEIVED, peer)
                }
            }
            Event::Disconnected { peer, data, cause } => PunktfunkEnetEvent {
                data,
                cause: match cause {
                    Cause::Peer => ENET_BY_PEER,
                    Cause::Local => ENET_BY_US,
                    Cause::Timeout => ENET_BY_SILENCE,
                },
                ..PunktfunkEnetEvent::of_kind(ENET_DISCONNECTED, peer)
            },
        };
        // SAFETY: promised writable by the caller.
        unsafe { write_to(event, told) }
    })
}
