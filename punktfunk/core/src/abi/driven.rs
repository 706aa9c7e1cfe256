//! Sessions that their caller drives, of either wire: datagrams and times in, packets and frames out.
//!
//! Times are those of one monotonic clock with any origin. One that is before the last counts as the last.

use super::config::PunktfunkConfig;
use super::session::{End, PunktfunkSession, hand_out, host_settings, session_of};
use super::{PunktfunkStatus, bytes_of, guard, write_to};
use crate::session::{ClientSession, HostSession, Receipt};

/// Longest datagram that there is.
const MAX_UDP_BYTES: usize = 65_535;
/// Highest share of recovery packets that either wire can say, per cent.
const MAX_PERCENT: u32 = 255;

/// Packets that may be sent now: `packets` of `packet_bytes` each, one after another. They belong to the session and are valid
/// until the next call on its handle.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PunktfunkPackets {
    /// First byte of the first packet.
    pub data: *const u8,
    /// Bytes of each packet.
    pub packet_bytes: usize,
    /// Packets.
    pub packets: usize,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<PunktfunkPackets>() == 24);

/// Make a session of punktfunk/1 that its caller drives, without socket, thread or clock; the role stands in `config`.
///
/// # Safety
/// `config` must be NULL or point to a struct of `struct_size` bytes, `session` NULL or writable. It is set only when
/// `PUNKTFUNK_STATUS_OK` is returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_session_open(
    config: *const PunktfunkConfig,
    session: *mut *mut PunktfunkSession,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let (role, stream) = unsafe { PunktfunkConfig::read(config)? }.parse()?;
        let invalid = |_| PunktfunkStatus::InvalidArg;
        let make = || {
            Ok(match role {
                super::config::Role::Host => {
                    let host = HostSession::new(stream, &host_settings()).map_err(invalid)?;
                    End::DrivenHost(Box::new(host))
                }
                super::config::Role::Client => {
                    let client = ClientSession::new(stream, false).map_err(invalid)?;
                    End::DrivenClient(Box::new(client))
                }
            })
        };
        // SAFETY: promised by the caller.
        unsafe { hand_out(session, make) }
    })
}

/// Fetch the packets that a host may send at `now_ns`, or `PUNKTFUNK_STATUS_NO_FRAME`. Call again until there are none, then
/// when `punktfunk_session_next_timeout` says. They count as sent when the next call on the handle is made.
///
/// # Safety
/// `session` must be NULL or a live handle, `packets` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_host_poll_packets(
    session: *mut PunktfunkSession,
    now_ns: u64,
    packets: *mut PunktfunkPackets,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let session = unsafe { session_of(session)? };
        if packets.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        let now_ns = session.at(now_ns);
        let End::DrivenHost(host) = &mut session.end else {
            return Err(PunktfunkStatus::InvalidArg);
        };
        let train = host.transmitter.poll_transmit(now_ns);
        let train = train.ok_or(PunktfunkStatus::NoFrame)?;
        let told = PunktfunkPackets {
            data: train.bytes.as_ptr(),
            packet_bytes: train.segment,
            packets: train.packets as usize,
        };
        session.handed = train.packets;
        // SAFETY: promised writable by the caller.
        unsafe { write_to(packets, told) }
    })
}

/// Give a client a datagram that came at `now_ns`. `PUNKTFUNK_STATUS_BAD_PACKET` says that it was dropped and counted; it is
/// no error of the session, which goes on. Call `punktfunk_client_advance` after a batch of them.
///
/// # Safety
/// `session` must be NULL or a live handle; `datagram` must be readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_client_receive(
    session: *mut PunktfunkSession,
    datagram: *const u8,
    len: usize,
    now_ns: u64,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let (session, datagram) = unsafe { (session_of(session)?, bytes_of(datagram, len)?) };
        if len > MAX_UDP_BYTES {
            return Err(PunktfunkStatus::InvalidArg);
        }
        let now_ns = session.at(now_ns);
        let End::DrivenClient(client) = &mut session.end else {
            return Err(PunktfunkStatus::InvalidArg);
        };
        // It is decrypted in place, and the caller's bytes are the caller's.
        session.datagram.clear();
        session.datagram.extend_from_slice(datagram);
        match client.receive(&mut session.datagram, now_ns) {
            Receipt::Placed(_) => Ok(()),
            Receipt::Rejected(_) => Err(PunktfunkStatus::BadPacket),
        }
    })
}

/// Let a client release what is complete at `now_ns` and give up what waited too long; frames are fetched with
/// `punktfunk_client_poll_frame` then. Call it after a batch of datagrams, and when `punktfunk_session_next_timeout` says.
///
/// # Safety
/// `session` must be NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_client_advance(
    session: *mut PunktfunkSession,
    now_ns: u64,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let session = unsafe { session_of(session)? };
        let now_ns = session.at(now_ns);
        let End::DrivenClient(client) = &mut session.end else {
            return Err(PunktfunkStatus::InvalidArg);
        };
        client.advance(now_ns);
        Ok(())
    })
}

/// Return when a session wants to be asked again, a host for packets, a client to advance; `PUNKTFUNK_STATUS_NO_FRAME` while
/// nothing waits.
///
/// # Safety
/// `session` must be NULL or a live handle, `at_ns` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_session_next_timeout(
    session: *mut PunktfunkSession,
    at_ns: *mut u64,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let session = unsafe { session_of(session)? };
        let next = match &session.end {
            End::DrivenHost(host) => host.transmitter.next_timeout(),
            End::DrivenClient(client) => client.next_timeout(),
            _ => return Err(PunktfunkStatus::InvalidArg),
        };
        // SAFETY: promised writable by the caller.
        unsafe { write_to(at_ns, next.ok_or(PunktfunkStatus::NoFrame)?) }
    })
}

/// Ask a client whether its host should send a key frame: `*wanted` is 1 once for each break of the references until one comes,
/// and again every `retry_ns` without one unless that is 0. Of a session with a thread, `now_ns` is not looked at.
///
/// # Safety
/// `session` must be NULL or a live handle, `wanted` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_client_take_recovery_request(
    session: *mut PunktfunkSession,
    now_ns: u64,
    retry_ns: u64,
    wanted: *mut u32,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let session = unsafe { session_of(session)? };
        if wanted.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        let now_ns = session.at(now_ns);
        let retry_ns = (retry_ns != 0).then_some(retry_ns);
        let asked = match &mut session.end {
            End::UdpClient(stream) => {
                stream.take_recovery_request(retry_ns.map(std::time::Duration::from_nanos))
            }
            End::DrivenClient(client) | End::LoopbackClient(client, _) => {
                client.take_recovery_request(now_ns, retry_ns)
            }
            _ => return Err(PunktfunkStatus::InvalidArg),
        };
        // SAFETY: promised writable by the caller.
        unsafe { write_to(wanted, u32::from(asked)) }
    })
}

/// Change what a host was configured with: the rate of its access units in kbit/s, and the share of recovery packets from the
/// next frame on, 0 to 255 per cent.
///
/// # Safety
/// `session` must be NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_host_set_rate(
    session: *mut PunktfunkSession,
    rate_kbps: u32,
    fec_percent: u32,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let session = unsafe { session_of(session)? };
        let shared = match &session.end {
            End::UdpHost(stream) => stream.session(),
            End::DrivenHost(host) | End::LoopbackHost(host, _) => host.shared(),
            _ => return Err(PunktfunkStatus::InvalidArg),
        };
        if rate_kbps == 0 || fec_percent > MAX_PERCENT {
            return Err(PunktfunkStatus::InvalidArg);
        }
        shared.set_rate(rate_kbps);
        shared.set_fec_percent(fec_percent);
        Ok(())
    })
}
