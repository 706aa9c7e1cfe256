//! GameStream through the C ABI: a C program that streams over a lossy link, sockets, and hostile arguments.

#[path = "../support/c_program.rs"]
mod c_program;
mod control;
mod sound;

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use c_program::{crate_dir, run_c, run_source};
use punktfunk_core::abi::PunktfunkStatus::{
    BadPacket, InvalidArg, Io, NoFrame, NullPointer, Ok as Done, Unsupported,
};
use punktfunk_core::abi::*;

#[test]
fn a_c_program_streams_video_sound_and_control_over_a_link_that_loses_packets() {
    let said = run_c("gamestream", "include");
    assert!(said.contains("video: 4 of 4 frames"), "{said}");
    assert!(said.contains("sound: 48 of 48 packets"), "{said}");
    assert!(said.contains("control: 20 of 20 messages"), "{said}");
}

#[test]
fn the_program_of_the_how_to_does_what_it_says() {
    let page = crate_dir().join("../../docs/how-to/use-the-core-from-c.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, code) = page.split_once("```c\n").unwrap();
    let (code, behind) = code.split_once("```\n").unwrap();
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("how_to.c");
    std::fs::write(&source, code).unwrap();
    let said = run_source(&source, "include");
    assert_eq!(said, "frame 1, 100000 bytes, intact\n");
    assert!(behind.contains(said.trim_end()));
}

fn config(role: u32) -> PunktfunkGameStreamConfig {
    PunktfunkGameStreamConfig {
        struct_size: size_of::<PunktfunkGameStreamConfig>() as u32,
        role,
        codec: 0,
        packet_size: 1392,
        fec_percent: 20,
        min_fec: 2,
        rate_kbps: 0,
        encrypt: 1,
        key: *b"0123456789abcdef",
        origin_ns: 0,
    }
}

fn open(config: &PunktfunkGameStreamConfig) -> Result<*mut PunktfunkSession, PunktfunkStatus> {
    let mut session = ptr::null_mut();
    // SAFETY: both are live.
    match unsafe { punktfunk_gamestream_open(config, &mut session) } {
        Done => Ok(session),
        status => {
            assert!(session.is_null());
            Err(status)
        }
    }
}

const NO_FRAME: PunktfunkFrame = PunktfunkFrame {
    data: ptr::null(),
    len: 0,
    frame_index: 0,
    pts_ns: 0,
    flags: 0,
};
const NO_PACKETS: PunktfunkPackets = PunktfunkPackets {
    data: ptr::null(),
    packet_bytes: 0,
    packets: 0,
};

#[test]
fn configurations_out_of_range_are_refused_and_not_truncated() {
    let changes: [fn(&mut PunktfunkGameStreamConfig); 11] = [
        |c| c.struct_size = 55,
        |c| c.struct_size = 4097,
        |c| c.role = 2,
        |c| c.codec = 3,
        |c| c.packet_size = 1393,
        |c| c.packet_size = 32,
        |c| c.packet_size = 1 << 31,
        |c| c.fec_percent = 256,
        |c| c.min_fec = 256,
        |c| c.key = [0; 16],
        |c| c.role = u32::MAX,
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut wrong = config(0);
        change(&mut wrong);
        assert_eq!(open(&wrong), Err(InvalidArg), "change {n}");
    }
}

#[test]
fn a_longer_struct_of_a_later_version_is_taken_unless_it_asks_for_what_this_build_has_not() {
    #[repr(C)]
    struct Later {
        now: PunktfunkGameStreamConfig,
        more: u64,
    }
    let mut later = Later {
        now: PunktfunkGameStreamConfig {
            struct_size: 64,
            ..config(1)
        },
        more: 0,
    };
    let mut session = ptr::null_mut();
    // SAFETY: the struct has the 64 bytes that it says.
    unsafe {
        let pointer = (&raw const later).cast();
        assert_eq!(punktfunk_gamestream_open(pointer, &mut session), Done);
        punktfunk_session_free(session);
        later.more = 1;
        let pointer = (&raw const later).cast();
        let refused = punktfunk_gamestream_open(pointer, &mut session);
        assert_eq!(refused, Unsupported);
    }
}

#[test]
fn null_and_the_wrong_role_are_statuses() {
    let (host, client) = (open(&config(0)).unwrap(), open(&config(1)).unwrap());
    let none: *mut PunktfunkSession = ptr::null_mut();
    let (mut frame, mut packets, mut at, mut wanted) = (NO_FRAME, NO_PACKETS, 0_u64, 0_u32);
    let byte = 7_u8;
    // SAFETY: NULL is what is tested; the rest is live.
    unsafe {
        let void = ptr::null_mut();
        assert_eq!(punktfunk_gamestream_open(ptr::null(), void), NullPointer);
        assert_eq!(punktfunk_gamestream_open(&config(0), void), NullPointer);
        assert_eq!(punktfunk_gamestream_start(&config(0), 0, void), NullPointer);
        assert_eq!(punktfunk_session_open(ptr::null(), void), NullPointer);
        for session in [none, client] {
            let refused = if session.is_null() {
                NullPointer
            } else {
                InvalidArg
            };
            let status = punktfunk_host_poll_packets(session, 0, &mut packets);
            assert_eq!(status, refused);
            assert_eq!(punktfunk_host_set_rate(session, 1000, 20), refused);
            assert_eq!(
                punktfunk_host_submit_frame(session, &byte, 1, 0, 1),
                refused
            );
        }
        for session in [none, host] {
            let refused = if session.is_null() {
                NullPointer
            } else {
                InvalidArg
            };
            assert_eq!(punktfunk_client_receive(session, &byte, 1, 0), refused);
            assert_eq!(punktfunk_client_advance(session, 0), refused);
            assert_eq!(punktfunk_client_poll_frame(session, &mut frame), refused);
            let status = punktfunk_client_take_recovery_request(session, 0, 0, &mut wanted);
            assert_eq!(status, refused);
        }
        let none_of_it = ptr::null_mut();
        assert_eq!(
            punktfunk_host_poll_packets(host, 0, none_of_it),
            NullPointer
        );
        let status = punktfunk_client_take_recovery_request(client, 0, 0, ptr::null_mut());
        assert_eq!(status, NullPointer);
        assert_eq!(punktfunk_session_next_timeout(none, &mut at), NullPointer);
        assert_eq!(punktfunk_session_next_timeout(host, &mut at), NoFrame);
        assert_eq!(punktfunk_host_submit_frame(host, &byte, 1, 0, 5), Done);
        assert_eq!(
            punktfunk_session_next_timeout(host, ptr::null_mut()),
            NullPointer
        );
        assert_eq!(
            punktfunk_client_receive(client, ptr::null(), 1, 0),
            NullPointer
        );
        assert_eq!(
            punktfunk_client_receive(client, ptr::null(), 0, 0),
            BadPacket
        );
        let long = vec![0x90_u8; 65_536];
        let status = punktfunk_client_receive(client, long.as_ptr(), 65_536, 0);
        assert_eq!(status, InvalidArg);
        let status = punktfunk_client_receive(client, long.as_ptr(), 65_535, 0);
        assert_eq!(status, BadPacket);
        assert_eq!(punktfunk_host_set_rate(host, 0, 20), InvalidArg);
        assert_eq!(punktfunk_host_set_rate(host, 1000, 256), InvalidArg);
        punktfunk_session_free(host);
        punktfunk_session_free(client);
    }
}

#[test]
fn a_session_of_either_wire_is_driven_alike_and_a_clock_that_goes_back_does_no_harm() {
    let mut pairs = vec![(open(&config(0)).unwrap(), open(&config(1)).unwrap(), 1)];
    let native = PunktfunkConfig {
        struct_size: 64,
        role: 0,
        phase: 2,
        fec_scheme: 1,
        fec_percent: 20,
        max_data_per_block: 4096,
        shard_payload: 1200,
        encrypt: 1,
        key: *b"0123456789abcdef",
        salt: *b"pkf1",
        loopback_drop_period: 0,
        max_frame_bytes: 0,
    };
    let (mut host, mut client) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: all are live.
    unsafe {
        assert_eq!(punktfunk_session_open(&native, &mut host), Done);
        let peer = PunktfunkConfig { role: 1, ..native };
        assert_eq!(punktfunk_session_open(&peer, &mut client), Done);
    }
    pairs.push((host, client, 0));
    let unit: Vec<u8> = (0..90_000).map(|i| (i % 251) as u8).collect();
    for (host, client, first) in pairs {
        let (mut frame, mut wanted, mut due) = (NO_FRAME, 0, 0);
        for n in 0..3_u64 {
            carry(host, client, &unit, 1_000_000_000 - n * 100, false);
            // SAFETY: the handle is live, and a poll's bytes are until its next one.
            unsafe {
                assert_eq!(punktfunk_client_advance(client, 0), Done);
                assert_eq!(punktfunk_client_poll_frame(client, &mut frame), Done);
                let data = std::slice::from_raw_parts(frame.data, frame.len);
                assert!(data == unit && u64::from(frame.frame_index) == first + n);
            }
        }
        let (sent, received) = (stats(host), stats(client));
        assert!(sent.packets_sent > 200 && sent.packets_sent == received.packets_received);
        assert_eq!(sent.bytes_sent, received.bytes_received);
        // One is lost whole, and the next waits for it until the latest time that anybody has said.
        carry(host, client, &unit[..100], 1_100_000_000, true);
        carry(host, client, &unit[..100], 1_110_000_000, false);
        // SAFETY: the handles are live, and each is freed once.
        unsafe {
            assert_eq!(punktfunk_client_advance(client, 0), Done);
            assert_eq!(punktfunk_client_poll_frame(client, &mut frame), NoFrame);
            assert_eq!(punktfunk_session_next_timeout(client, &mut due), Done);
            assert!(due > 1_110_000_000);
            let status = punktfunk_client_take_recovery_request(client, due, 0, &mut wanted);
            assert_eq!(status, Done);
            assert_eq!(punktfunk_client_advance(client, 0), Done);
            assert_eq!(punktfunk_client_poll_frame(client, &mut frame), Done);
            assert_eq!(u64::from(frame.frame_index), first + 4);
            punktfunk_session_free(host);
            punktfunk_session_free(client);
        }
    }
}

fn stats(session: *mut PunktfunkSession) -> PunktfunkStats {
    let mut stats = PunktfunkStats::default();
    // SAFETY: the handle is live.
    assert_eq!(unsafe { punktfunk_get_stats(session, &mut stats) }, Done);
    stats
}

/// Have a host send an access unit from `now` on, and its client get the packets, or none of them.
fn carry(
    host: *mut PunktfunkSession,
    client: *mut PunktfunkSession,
    unit: &[u8],
    mut now: u64,
    lost: bool,
) {
    let (mut packets, mut due) = (NO_PACKETS, 0);
    // SAFETY: the handles are live, and a poll's packets are until the next call on its handle.
    unsafe {
        assert_eq!(punktfunk_host_set_rate(host, 50_000, 30), Done);
        let status = punktfunk_host_submit_frame(host, unit.as_ptr(), unit.len(), now, 5);
        assert_eq!(status, Done);
        while punktfunk_session_next_timeout(host, &mut due) == Done {
            now = now.max(due);
            while punktfunk_host_poll_packets(host, now, &mut packets) == Done {
                let bytes = packets.packets * packets.packet_bytes;
                let train = std::slice::from_raw_parts(packets.data, bytes);
                for packet in train.chunks_exact(packets.packet_bytes) {
                    let (data, len) = (packet.as_ptr(), packet.len());
                    if !lost {
                        assert_eq!(punktfunk_client_receive(client, data, len, now), Done);
                    }
                }
            }
        }
    }
}

#[test]
fn sessions_on_sockets_deliver_what_was_submitted() {
    let sockets = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let [near, far] = &sockets;
    near.connect(far.local_addr().unwrap()).unwrap();
    far.connect(near.local_addr().unwrap()).unwrap();
    let stream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut host, mut client) = (ptr::null_mut(), ptr::null_mut());
    let unit: Vec<u8> = (0..50_000).map(|i| (i % 241) as u8).collect();
    let mut frame = NO_FRAME;
    // SAFETY: everything is live; the sessions have duplicates of the descriptors.
    unsafe {
        for (role, wrong) in [(0, -1), (1, -1), (0, stream.as_raw_fd())] {
            let status = punktfunk_gamestream_start(&config(role), wrong, &mut host);
            assert!(status == Io && host.is_null());
        }
        let status = punktfunk_gamestream_start(&config(1), far.as_raw_fd(), &mut client);
        assert_eq!(status, Done);
        let status = punktfunk_gamestream_start(&config(0), near.as_raw_fd(), &mut host);
        assert_eq!(status, Done);
        drop(sockets);
        // They drive themselves.
        let mut packets = NO_PACKETS;
        assert_eq!(
            punktfunk_host_poll_packets(host, 0, &mut packets),
            InvalidArg
        );
        assert_eq!(punktfunk_client_advance(client, 0), InvalidArg);
        let status = punktfunk_host_submit_frame(host, unit.as_ptr(), unit.len(), 90, 5);
        assert_eq!(status, Done);
        let deadline = Instant::now() + Duration::from_secs(10);
        while punktfunk_client_poll_frame(client, &mut frame) == NoFrame {
            assert!(Instant::now() < deadline, "a frame over loopback");
            std::thread::yield_now();
        }
        assert!(std::slice::from_raw_parts(frame.data, frame.len) == unit);
        let mut wanted = 7;
        let status = punktfunk_client_take_recovery_request(client, 0, 0, &mut wanted);
        assert_eq!((status, wanted, frame.frame_index), (Done, 0, 1));
        punktfunk_session_free(host);
        punktfunk_session_free(client);
    }
}
