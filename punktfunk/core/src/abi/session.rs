//! Sessions of the C ABI: over UDP with their own threads, driven by their caller, or two that are joined in one process.
//!
//! A session knows no header, so that one handle and the calls on it are those of either wire.

use std::ffi::{CStr, c_char};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::config::Role;
use super::{
    PunktfunkConfig, PunktfunkFrame, PunktfunkStats, PunktfunkStatus, bytes_of, guard, write_to,
};
use crate::packetize::SubmitError;
use crate::session::client::Frame;
use crate::session::host::{HostSettings, SubmitStamps};
use crate::session::{ClientSession, HostSession, StreamConfig};
use crate::stream::{ClientOptions, ClientStream, HostError, HostOptions, HostStream, NextFrame};
use crate::transport::clock::monotonic_ns;
use crate::transport::loopback::Loopback;

/// One end of a stream. Calls on one handle must not overlap; different handles are independent.
pub struct PunktfunkSession {
    pub(super) end: End,
    /// What the last poll handed out.
    frame: Option<Frame>,
    /// Packets that the last call handed out; they count as sent with the next one.
    pub(super) handed: u32,
    /// The datagram that is being read, for those that follow.
    pub(super) datagram: Vec<u8>,
    /// Newest time that the caller of a driven session has said.
    now_ns: u64,
}

pub(super) enum End {
    UdpHost(Box<HostStream>),
    UdpClient(ClientStream),
    DrivenHost(Box<HostSession>),
    DrivenClient(Box<ClientSession>),
    LoopbackHost(Box<HostSession>, Arc<Mutex<Joint>>),
    LoopbackClient(Box<ClientSession>, Arc<Mutex<Joint>>),
}

/// What both ends of a loopback pair share.
pub(super) struct Joint {
    link: Loopback,
    /// Time of the pair: the clock, ahead of it by what the host's pacer would have waited.
    now_ns: u64,
}

impl Joint {
    fn advance(&mut self) -> u64 {
        self.now_ns = self.now_ns.max(monotonic_ns());
        self.now_ns
    }
}

impl PunktfunkSession {
    /// The time of a call: it never goes back.
    pub(super) fn at(&mut self, now_ns: u64) -> u64 {
        self.now_ns = self.now_ns.max(now_ns);
        self.now_ns
    }
}

fn into_handle(end: End) -> *mut PunktfunkSession {
    Box::into_raw(Box::new(PunktfunkSession {
        end,
        frame: None,
        handed: 0,
        datagram: Vec::new(),
        now_ns: 0,
    }))
}

/// Make a session and hand out its handle.
///
/// # Safety
/// `session` must be NULL or writable.
pub(super) unsafe fn hand_out(
    session: *mut *mut PunktfunkSession,
    make: impl FnOnce() -> Result<End, PunktfunkStatus>,
) -> Result<(), PunktfunkStatus> {
    if session.is_null() {
        return Err(PunktfunkStatus::NullPointer);
    }
    let handle = into_handle(make()?);
    // SAFETY: promised writable by the caller.
    unsafe { write_to(session, handle) }
}

/// No records are kept: nothing in this interface would take them.
pub(super) fn host_settings() -> HostSettings {
    HostSettings {
        record_frames: false,
        ..HostSettings::default()
    }
}

/// # Safety
/// `text` must be NULL or a NUL-terminated string.
unsafe fn address(text: *const c_char) -> Result<SocketAddr, PunktfunkStatus> {
    if text.is_null() {
        return Err(PunktfunkStatus::NullPointer);
    }
    // SAFETY: promised by the caller.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(PunktfunkStatus::InvalidArg)
}

fn start(
    role: Role,
    config: StreamConfig,
    local: SocketAddr,
    peer: SocketAddr,
) -> Result<End, PunktfunkStatus> {
    let socket = UdpSocket::bind(local).map_err(|_| PunktfunkStatus::Io)?;
    socket.connect(peer).map_err(|_| PunktfunkStatus::Io)?;
    let fd = socket.as_raw_fd();
    match role {
        Role::Host => {
            let session = HostSession::new(config, &host_settings())
                .map_err(|_| PunktfunkStatus::InvalidArg)?;
            HostStream::start(session, fd, HostOptions::default())
                .map(|stream| End::UdpHost(Box::new(stream)))
                .map_err(|_| PunktfunkStatus::Io)
        }
        Role::Client => {
            let options = ClientOptions {
                record_frames: false,
                ..ClientOptions::default()
            };
            ClientStream::start(config, fd, options)
                .map(End::UdpClient)
                .map_err(|_| PunktfunkStatus::Io)
        }
    }
}

/// Start a session over UDP between two "ip:port" addresses; the role stands in `config`. NULL if an argument is
/// wrong or the socket cannot be had.
///
/// # Safety
/// `config` must be NULL or point to a struct of `struct_size` bytes; the addresses must be NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_session_new(
    config: *const PunktfunkConfig,
    local: *const c_char,
    peer: *const c_char,
) -> *mut PunktfunkSession {
    let mut session = ptr::null_mut();
    guard(|| {
        // SAFETY: promised by the caller.
        let (config, local, peer) = unsafe {
            (
                PunktfunkConfig::read(config)?,
                address(local)?,
                address(peer)?,
            )
        };
        let (role, config) = config.parse()?;
        session = into_handle(start(role, config, local, peer)?);
        Ok(())
    });
    session
}

/// Make a host and a client that are joined in this process, without sockets or threads, for tests. Packets are lost
/// by the host configuration's `loopback_drop_period`.
///
/// # Safety
/// The configurations must be NULL or point to structs of `struct_size` bytes; `host` and `client` must be NULL or
/// writable. They are set only when `PUNKTFUNK_STATUS_OK` is returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_test_loopback_pair(
    host_config: *const PunktfunkConfig,
    client_config: *const PunktfunkConfig,
    host: *mut *mut PunktfunkSession,
    client: *mut *mut PunktfunkSession,
) -> PunktfunkStatus {
    guard(|| {
        if host.is_null() || client.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        // SAFETY: promised by the caller.
        let (host_config, client_config) = unsafe {
            (
                PunktfunkConfig::read(host_config)?,
                PunktfunkConfig::read(client_config)?,
            )
        };
        let ((host_role, host_stream), (client_role, client_stream)) =
            (host_config.parse()?, client_config.parse()?);
        if (host_role, client_role) != (Role::Host, Role::Client) {
            return Err(PunktfunkStatus::InvalidArg);
        }
        let invalid = |_| PunktfunkStatus::InvalidArg;
        let host_session = HostSession::new(host_stream, &host_settings()).map_err(invalid)?;
        let client_session = ClientSession::new(client_stream, false).map_err(invalid)?;
        let link = Loopback::new(u64::from(host_config.loopback_drop_period));
        let joint = Arc::new(Mutex::new(Joint {
            link,
            now_ns: monotonic_ns(),
        }));
        // SAFETY: not NULL, and promised writable by the caller.
        unsafe {
            *host = into_handle(End::LoopbackHost(
                Box::new(host_session),
                Arc::clone(&joint),
            ));
            *client = into_handle(End::LoopbackClient(Box::new(client_session), joint));
        }
        Ok(())
    })
}

/// End a session and free its handle; NULL is ignored.
///
/// # Safety
/// `session` must be NULL or a handle of this interface that was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_session_free(session: *mut PunktfunkSession) {
    if session.is_null() {
        return;
    }
    guard(|| {
        // SAFETY: handles come from `Box::into_raw`, and the caller promises to free each once.
        drop(unsafe { Box::from_raw(session) });
        Ok(())
    });
}

/// The session of a handle. Packets that the call before handed out are the caller's no longer: they have been sent.
///
/// # Safety
/// `session` must be NULL or a live handle that no other call is using.
pub(super) unsafe fn session_of<'a>(
    session: *mut PunktfunkSession,
) -> Result<&'a mut PunktfunkSession, PunktfunkStatus> {
    // SAFETY: promised by the caller.
    let session = unsafe { session.as_mut() }.ok_or(PunktfunkStatus::NullPointer)?;
    let handed = std::mem::take(&mut session.handed);
    if let (End::DrivenHost(host), 1..) = (&mut session.end, handed) {
        host.transmitter.sent(session.now_ns, handed, 0);
    }
    Ok(session)
}

fn submit_status(error: &SubmitError) -> PunktfunkStatus {
    match error {
        SubmitError::Fec { .. } => PunktfunkStatus::Fec,
        SubmitError::Crypto(_) => PunktfunkStatus::Crypto,
        SubmitError::TooLong { .. }
        | SubmitError::TooManyPackets { .. }
        | SubmitError::NoFiller => PunktfunkStatus::InvalidArg,
    }
}

/// Seal an access unit and send its packets, or queue them where the caller fetches them. Never waits for the network: a full
/// queue drops its oldest frame. `data` may be NULL if `len` is 0.
///
/// # Safety
/// `session` must be NULL or a live handle; `data` must be readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_host_submit_frame(
    session: *mut PunktfunkSession,
    data: *const u8,
    len: usize,
    pts_ns: u64,
    flags: u32,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let (session, access_unit) = unsafe { (session_of(session)?, bytes_of(data, len)?) };
        match &mut session.end {
            End::UdpHost(stream) => {
                match stream.submit(access_unit, pts_ns, flags, SubmitStamps::NONE) {
                    Ok(_) => Ok(()),
                    Err(HostError::Closed(_)) => Err(PunktfunkStatus::Closed),
                    Err(HostError::Submit(error)) => Err(submit_status(&error)),
                }
            }
            End::LoopbackHost(host, joint) => {
                let mut joint = joint.lock().unwrap_or_else(PoisonError::into_inner);
                send(host, &mut joint, access_unit, pts_ns, flags)
            }
            End::DrivenHost(host) => host
                .submit(access_unit, pts_ns, flags, session.now_ns)
                .map(drop)
                .map_err(|error| submit_status(&error)),
            End::UdpClient(_) | End::DrivenClient(_) | End::LoopbackClient(..) => {
                Err(PunktfunkStatus::InvalidArg)
            }
        }
    })
}

/// Submit to a loopback host and let all its packets leave, skipping what its pacer would wait.
fn send(
    host: &mut HostSession,
    joint: &mut Joint,
    access_unit: &[u8],
    pts_ns: u64,
    flags: u32,
) -> Result<(), PunktfunkStatus> {
    let now_ns = joint.advance();
    host.submit(access_unit, pts_ns, flags, now_ns)
        .map_err(|error| submit_status(&error))?;
    loop {
        while let Some(train) = host.transmitter.poll_transmit(joint.now_ns) {
            let packets = train.packets;
            train
                .bytes
                .chunks_exact(train.segment)
                .for_each(|packet| joint.link.send(packet));
            host.transmitter.sent(joint.now_ns, packets, 0);
        }
        match host.transmitter.next_timeout() {
            Some(at_ns) => joint.now_ns = joint.now_ns.max(at_ns),
            None => return Ok(()),
        }
    }
}

/// Fetch the next access unit in order, or `PUNKTFUNK_STATUS_NO_FRAME`. Does not wait. The frame's data is valid
/// until the next poll on this handle.
///
/// # Safety
/// `session` must be NULL or a live handle, `frame` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_client_poll_frame(
    session: *mut PunktfunkSession,
    frame: *mut PunktfunkFrame,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let session = unsafe { session_of(session)? };
        if frame.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        session.frame = None;
        let next = match &mut session.end {
            End::UdpClient(stream) => match stream.next_frame(Duration::ZERO) {
                Ok(NextFrame::Frame(next)) => Some(next),
                Ok(NextFrame::TimedOut) => None,
                Err(_) => return Err(PunktfunkStatus::Closed),
            },
            End::LoopbackClient(client, joint) => {
                let mut joint = joint.lock().unwrap_or_else(PoisonError::into_inner);
                receive(client, &mut joint)
            }
            End::DrivenClient(client) => client.poll_frame(),
            End::UdpHost(_) | End::DrivenHost(_) | End::LoopbackHost(..) => {
                return Err(PunktfunkStatus::InvalidArg);
            }
        };
        let next = session.frame.insert(next.ok_or(PunktfunkStatus::NoFrame)?);
        let told = PunktfunkFrame {
            data: next.data.as_ptr(),
            len: next.data.len(),
            frame_index: next.index,
            pts_ns: next.pts_ns,
            flags: next.flags,
        };
        // SAFETY: promised writable by the caller.
        unsafe { write_to(frame, told) }
    })
}

/// Let a loopback client take in what is on the link.
fn receive(client: &mut ClientSession, joint: &mut Joint) -> Option<Frame> {
    if let Some(frame) = client.poll_frame() {
        return Some(frame);
    }
    let now_ns = joint.advance();
    while let Some(mut datagram) = joint.link.receive() {
        client.receive(&mut datagram, now_ns);
        joint.link.recycle(datagram);
    }
    client.advance(now_ns);
    client.poll_frame()
}

/// Read a session's counters; those of the other role are 0.
///
/// # Safety
/// `session` must be NULL or a live handle, `stats` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_get_stats(
    session: *mut PunktfunkSession,
    stats: *mut PunktfunkStats,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let session = unsafe { session_of(session)? };
        if stats.is_null() {
            return Err(PunktfunkStatus::NullPointer);
        }
        let counted = match &session.end {
            End::UdpHost(stream) => summary(&stream.stats()),
            End::UdpClient(stream) => summary(&stream.stats()),
            End::DrivenHost(host) | End::LoopbackHost(host, _) => {
                summary(&named(host.shared().stats.entries()))
            }
            End::DrivenClient(client) | End::LoopbackClient(client, _) => {
                let mut entries = named(client.stats().entries());
                entries.extend(client.rejections().entries());
                summary(&entries)
            }
        };
        // SAFETY: promised writable by the caller.
        unsafe { write_to(stats, counted) }
    })
}

fn named(entries: Vec<(&'static str, u64)>) -> Vec<(String, u64)> {
    entries
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn summary(entries: &[(String, u64)]) -> PunktfunkStats {
    let of = |wanted: &str| {
        entries
            .iter()
            .find(|(name, _)| name == wanted)
            .map_or(0, |(_, value)| *value)
    };
    let rejected: u64 = entries
        .iter()
        .filter(|(name, _)| name.starts_with("rejected_"))
        .map(|(_, value)| value)
        .sum();
    PunktfunkStats {
        frames_submitted: of("frames_submitted"),
        frames_completed: of("frames_complete"),
        frames_dropped: of("frames_unrecoverable")
            + of("frames_expired")
            + of("frames_queue_dropped"),
        packets_sent: of("packets_sent"),
        packets_received: of("packets_received"),
        packets_dropped: rejected + of("packets_late"),
        fec_recovered_shards: of("data_shards_rebuilt"),
        bytes_sent: of("bytes_sent"),
        bytes_received: of("bytes_received"),
    }
}
