//! Video of GameStream in the C ABI: sessions like those of punktfunk/1, which a configuration of their own begins.

use std::ffi::c_int;

use super::config::Role;
use super::session::{End, PunktfunkSession, hand_out, host_settings};
use super::sized::{self, Growing};
use super::{PunktfunkStatus, guard};
use crate::config::Receiving;
use crate::session::host::HostSettings;
use crate::session::{ClientSession, HostSession};
use crate::stream::{ClientOptions, ClientStream, HostOptions, HostStream};
use crate::wire::gamestream::{Codec, GameStreamConfig};

/// What both ends of a stream of GameStream video agree on, and which of them a session is. Set all of it to 0 first, then
/// `struct_size` to `sizeof(PunktfunkGameStreamConfig)`: later versions add fields at the end, and 0 is what there was before.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PunktfunkGameStreamConfig {
    /// Bytes of this struct as the caller knows it.
    pub struct_size: u32,
    /// 0 host, 1 client.
    pub role: u32,
    /// 0 H.264, 1 HEVC, 2 AV1.
    pub codec: u32,
    /// `x-nv-video[0].packetSize`, as the client announced it; a multiple of 16.
    pub packet_size: u32,
    /// Host: recovery packets in per cent of a block's data packets, 0 to 255.
    pub fec_percent: u32,
    /// Host: fewest recovery packets of a protected block (`minRequiredFecPackets`), 0 to 255.
    pub min_fec: u32,
    /// Host: rate of the access units in kbit/s, which pacing stays above; 0 means 20000.
    pub rate_kbps: u32,
    /// Not 0: video is encrypted with `key`.
    pub encrypt: u32,
    /// AES-128 key (`rikey`); not all zero if `encrypt` is set.
    pub key: [u8; 16],
    /// Host: the `pts_ns` that has RTP timestamp 0. A client's `pts_ns` count from there, in steps of 1/90000 s.
    pub origin_ns: u64,
}

const _: () = assert!(size_of::<PunktfunkGameStreamConfig>() == 56);

// SAFETY: integers alone: eight of four bytes, sixteen of one, one of eight at 48; no padding.
unsafe impl Growing for PunktfunkGameStreamConfig {
    const FIRST_BYTES: usize = 56;
}

/// One end of a stream before it is driven by anybody.
enum Session {
    Host(Box<HostSession>),
    Client(Box<ClientSession>),
}

impl PunktfunkGameStreamConfig {
    /// Make the session that this stands for. Values out of range are refused, never truncated.
    fn session(&self) -> Result<Session, PunktfunkStatus> {
        let invalid = PunktfunkStatus::InvalidArg;
        let codec = match self.codec {
            0 => Codec::H264,
            1 => Codec::Hevc,
            2 => Codec::Av1,
            _ => return Err(invalid),
        };
        if self.fec_percent > 255 {
            return Err(invalid);
        }
        let config = GameStreamConfig {
            packet_size: self.packet_size as usize,
            fec_percent: self.fec_percent,
            min_fec: u8::try_from(self.min_fec).map_err(|_| invalid)?,
            key: (self.encrypt != 0).then_some(self.key),
            codec,
            origin_ns: self.origin_ns,
            receiving: Receiving {
                // As for punktfunk/1: callers see every complete frame and judge for themselves.
                hold_undecodable: false,
                ..Receiving::default()
            },
        };
        match Role::parse(self.role)? {
            Role::Host => {
                let mut settings: HostSettings = host_settings();
                if self.rate_kbps != 0 {
                    settings.rate_kbps = self.rate_kbps;
                }
                let session = HostSession::gamestream(config, &settings).map_err(|_| invalid)?;
                Ok(Session::Host(Box::new(session)))
            }
            Role::Client => {
                let session = ClientSession::gamestream(&config, false).map_err(|_| invalid)?;
                Ok(Session::Client(Box::new(session)))
            }
        }
    }
}

/// Make a session of GameStream video that its caller drives, without socket, thread or clock: see
/// `punktfunk_host_poll_packets` and `punktfunk_client_receive`.
///
/// # Safety
/// `config` must be NULL or point to a struct of `struct_size` bytes, `session` NULL or writable. It is set only when
/// `PUNKTFUNK_STATUS_OK` is returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_gamestream_open(
    config: *const PunktfunkGameStreamConfig,
    session: *mut *mut PunktfunkSession,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let config = unsafe { sized::read(config)? };
        // SAFETY: likewise.
        unsafe {
            hand_out(session, || {
                Ok(match config.session()? {
                    Session::Host(host) => End::DrivenHost(host),
                    Session::Client(client) => End::DrivenClient(client),
                })
            })
        }
    })
}

/// Start a session of GameStream video on a connected UDP socket, with a thread of its own. The session takes a duplicate of
/// `socket`; a host's is bound to the port that its client pinged and connected to where the ping came from.
///
/// # Safety
/// `config` must be NULL or point to a struct of `struct_size` bytes, `session` NULL or writable. It is set only when
/// `PUNKTFUNK_STATUS_OK` is returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn punktfunk_gamestream_start(
    config: *const PunktfunkGameStreamConfig,
    socket: c_int,
    session: *mut *mut PunktfunkSession,
) -> PunktfunkStatus {
    guard(|| {
        // SAFETY: promised by the caller.
        let config = unsafe { sized::read(config)? };
        // SAFETY: likewise.
        unsafe {
            hand_out(session, || {
                let stream = match config.session()? {
                    Session::Host(host) => HostStream::start(*host, socket, HostOptions::default())
                        .map(|stream| End::UdpHost(Box::new(stream))),
                    Session::Client(client) => {
                        let options = ClientOptions {
                            record_frames: false,
                            ..ClientOptions::default()
                        };
                        ClientStream::with_session(*client, socket, options).map(End::UdpClient)
                    }
                };
                stream.map_err(|_| PunktfunkStatus::Io)
            })
        }
    })
}
