//! The C ABI: its header, a C program that is linked against the static library, and hostile arguments.

#[path = "support/c_program.rs"]
mod c_program;

use std::ffi::CString;
use std::path::Path;
use std::process::Command;
use std::ptr;
use std::time::{Duration, Instant};

use c_program::{crate_dir, run_c};
use punktfunk_core::abi::{
    ABI_VERSION, PunktfunkConfig, PunktfunkFrame, PunktfunkSession, PunktfunkStats,
    PunktfunkStatus, punktfunk_abi_version, punktfunk_client_poll_frame, punktfunk_fec_decode,
    punktfunk_fec_encode, punktfunk_get_stats, punktfunk_host_submit_frame, punktfunk_session_free,
    punktfunk_session_new, punktfunk_test_loopback_pair,
};

#[test]
fn the_committed_header_is_the_generated_one() {
    let config = cbindgen::Config::from_file(crate_dir().join("cbindgen.toml")).unwrap();
    let builder = cbindgen::Builder::new()
        .with_config(config)
        .with_src(crate_dir().join("src/abi/mod.rs"));
    let mut generated = Vec::new();
    builder.generate().unwrap().write(&mut generated);
    let committed = crate_dir().join("include/punktfunk_core.h");
    if std::env::var_os("PUNKTFUNK_RENEW_HEADER").is_some() {
        std::fs::write(&committed, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(committed).unwrap();
    assert!(
        committed.as_bytes() == generated,
        "include/punktfunk_core.h is stale; see its first lines for how to renew it"
    );
}

#[test]
fn a_c_program_moves_four_frames_over_a_link_that_loses_every_eighth_packet() {
    let said = run_c("loopback", "include");
    assert!(said.contains("4 of 4 frames"), "{said}");
}

/// `tests/c/abi2` has the header as version 2 was first published; it is never renewed.
#[test]
fn a_c_program_that_knows_the_first_header_of_this_version_works_as_it_did() {
    assert_eq!(ABI_VERSION, 2, "keep a header of the new version as well");
    let said = run_c("loopback", "tests/c/abi2");
    assert!(said.contains("4 of 4 frames"), "{said}");
}

#[test]
fn the_header_is_valid_cpp() {
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("header.cpp");
    std::fs::write(&source, "#include \"punktfunk_core.h\"\nint main() { return punktfunk_abi_version() == 2 ? 0 : 1; }\n")
        .unwrap();
    let checked = Command::new("cc")
        .args([
            "-x",
            "c++",
            "-fsyntax-only",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-I",
        ])
        .arg(crate_dir().join("include"))
        .arg(&source)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    // A machine may have a C compiler without its C++ front end; the header is then checked as C alone.
    assert!(
        checked.status.success() || said.contains("cc1plus"),
        "{said}"
    );
}

fn config(role: u32) -> PunktfunkConfig {
    PunktfunkConfig {
        struct_size: size_of::<PunktfunkConfig>() as u32,
        role,
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
    }
}

fn pair(
    host: &PunktfunkConfig,
    client: &PunktfunkConfig,
) -> Result<[*mut PunktfunkSession; 2], PunktfunkStatus> {
    let mut handles = [ptr::null_mut(); 2];
    let [first, second] = &mut handles;
    // SAFETY: all four pointers are live.
    match unsafe { punktfunk_test_loopback_pair(host, client, first, second) } {
        PunktfunkStatus::Ok => Ok(handles),
        status => {
            assert!(handles.iter().all(|handle| handle.is_null()));
            Err(status)
        }
    }
}

fn empty_frame() -> PunktfunkFrame {
    PunktfunkFrame {
        data: ptr::null(),
        len: 0,
        frame_index: 0,
        pts_ns: 0,
        flags: 0,
    }
}

/// Poll until a frame comes or `patience` has passed; its bytes and fields.
fn poll(client: *mut PunktfunkSession, patience: Duration) -> Option<(Vec<u8>, PunktfunkFrame)> {
    let deadline = Instant::now() + patience;
    loop {
        let mut frame = empty_frame();
        // SAFETY: the handle is live and the frame's data valid until the next poll.
        match unsafe { punktfunk_client_poll_frame(client, &mut frame) } {
            PunktfunkStatus::Ok => {
                // SAFETY: as above.
                let data = unsafe { std::slice::from_raw_parts(frame.data, frame.len) };
                return Some((data.to_vec(), frame));
            }
            PunktfunkStatus::NoFrame if Instant::now() < deadline => std::thread::yield_now(),
            PunktfunkStatus::NoFrame => return None,
            status => panic!("{status:?}"),
        }
    }
}

fn stats(session: *mut PunktfunkSession) -> PunktfunkStats {
    let mut stats = PunktfunkStats::default();
    // SAFETY: the handle is live.
    let status = unsafe { punktfunk_get_stats(session, &mut stats) };
    assert_eq!(status, PunktfunkStatus::Ok);
    stats
}

fn submit(host: *mut PunktfunkSession, data: &[u8], pts_ns: u64, flags: u32) -> PunktfunkStatus {
    // SAFETY: the handle and the slice are live.
    unsafe { punktfunk_host_submit_frame(host, data.as_ptr(), data.len(), pts_ns, flags) }
}

fn free(handles: [*mut PunktfunkSession; 2]) {
    for handle in handles {
        // SAFETY: each handle is freed once.
        unsafe { punktfunk_session_free(handle) };
    }
}

#[test]
fn counters_of_a_lossy_pair_add_up() {
    let host_config = PunktfunkConfig {
        loopback_drop_period: 10,
        ..config(0)
    };
    let handles = pair(&host_config, &config(1)).unwrap();
    let data: Vec<u8> = (0..100_000).map(|i| (i % 251) as u8).collect();
    for n in 0..5_u64 {
        assert_eq!(
            submit(handles[0], &data, n * 16_666_667, 5),
            PunktfunkStatus::Ok
        );
        let (received, frame) = poll(handles[1], Duration::from_secs(5)).unwrap();
        assert!(received == data);
        assert_eq!(
            (u64::from(frame.frame_index), frame.pts_ns, frame.flags),
            (n, n * 16_666_667, 5)
        );
    }
    let (host, client) = (stats(handles[0]), stats(handles[1]));
    // 84 data and 17 recovery shards a frame; packets 0, 10, 20 ... 500 of 505 are lost.
    assert_eq!(
        (host.frames_submitted, host.packets_sent, host.bytes_sent),
        (5, 505, 505 * 1264)
    );
    assert_eq!(
        (
            client.frames_completed,
            client.frames_dropped,
            client.packets_dropped
        ),
        (5, 0, 0)
    );
    assert_eq!(
        (client.packets_received, client.bytes_received),
        (454, 454 * 1264)
    );
    assert!(client.fec_recovered_shards > 0);
    free(handles);
}

#[test]
fn sessions_over_udp_deliver_what_was_submitted() {
    // Two ports that are free now; the sockets go away before the sessions bind them.
    let ports: Vec<u16> = [0, 0]
        .map(|_: i32| std::net::UdpSocket::bind("127.0.0.1:0").unwrap())
        .iter()
        .map(|socket| socket.local_addr().unwrap().port())
        .collect();
    let address = |port: u16| CString::new(format!("127.0.0.1:{port}")).unwrap();
    let (host_address, client_address) = (address(ports[0]), address(ports[1]));
    // SAFETY: configurations and strings are live.
    let (client, host) = unsafe {
        (
            punktfunk_session_new(&config(1), client_address.as_ptr(), host_address.as_ptr()),
            punktfunk_session_new(&config(0), host_address.as_ptr(), client_address.as_ptr()),
        )
    };
    assert!(!client.is_null() && !host.is_null());
    let data: Vec<u8> = (0..50_000).map(|i| (i % 241) as u8).collect();
    assert_eq!(submit(host, &data, 42, 5), PunktfunkStatus::Ok);
    let (received, frame) = poll(client, Duration::from_secs(10)).expect("a frame over loopback");
    assert!(received == data && frame.pts_ns == 42);
    assert_eq!(stats(client).frames_completed, 1);
    free([host, client]);
}

#[test]
fn configurations_out_of_range_are_refused_and_not_truncated() {
    let changes: [fn(&mut PunktfunkConfig); 11] = [
        |c| c.struct_size = 63,
        |c| c.role = 2,
        |c| c.phase = 3,
        |c| c.fec_scheme = 2,
        |c| c.fec_percent = 256,
        |c| c.max_data_per_block = 65536 + 64,
        |c| c.max_data_per_block = 0,
        |c| c.shard_payload = 1201,
        |c| c.shard_payload = 9154,
        |c| c.key = [0; 16],
        |c| c.max_frame_bytes = (64 << 20) + 1,
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut wrong = config(0);
        change(&mut wrong);
        assert_eq!(
            pair(&wrong, &config(1)),
            Err(PunktfunkStatus::InvalidArg),
            "change {n}"
        );
    }
    assert_eq!(
        pair(&config(1), &config(0)),
        Err(PunktfunkStatus::InvalidArg),
        "roles exchanged"
    );
    // A struct of a later version is longer.
    free(
        pair(
            &PunktfunkConfig {
                struct_size: 128,
                ..config(0)
            },
            &config(1),
        )
        .unwrap(),
    );
}

#[test]
fn null_and_the_wrong_role_are_statuses() {
    let null = ptr::null_mut();
    let handles = pair(&config(0), &config(1)).unwrap();
    let mut frame = empty_frame();
    let address = CString::new("127.0.0.1:nine").unwrap();
    // SAFETY: NULL is what is tested; the rest is live.
    unsafe {
        assert_eq!(
            punktfunk_host_submit_frame(null, null.cast(), 0, 0, 0),
            PunktfunkStatus::NullPointer
        );
        assert_eq!(
            punktfunk_host_submit_frame(handles[0], ptr::null(), 1, 0, 0),
            PunktfunkStatus::NullPointer
        );
        assert_eq!(
            punktfunk_host_submit_frame(handles[1], ptr::null(), 0, 0, 0),
            PunktfunkStatus::InvalidArg
        );
        assert_eq!(
            punktfunk_client_poll_frame(handles[0], &mut frame),
            PunktfunkStatus::InvalidArg
        );
        assert_eq!(
            punktfunk_client_poll_frame(handles[1], &mut frame),
            PunktfunkStatus::NoFrame
        );
        assert_eq!(
            punktfunk_client_poll_frame(handles[1], ptr::null_mut()),
            PunktfunkStatus::NullPointer
        );
        assert_eq!(
            punktfunk_get_stats(handles[1], ptr::null_mut()),
            PunktfunkStatus::NullPointer
        );
        assert!(punktfunk_session_new(&config(0), address.as_ptr(), address.as_ptr()).is_null());
        assert!(punktfunk_session_new(&config(0), ptr::null(), ptr::null()).is_null());
        punktfunk_session_free(null);
    }
    assert_eq!(submit(handles[0], &[0; 8], 0, 5), PunktfunkStatus::Ok);
    assert_eq!(poll(handles[1], Duration::ZERO).unwrap().0, [0; 8]);
    free(handles);
}

#[test]
fn an_empty_access_unit_arrives_as_an_empty_frame() {
    let handles = pair(&config(0), &config(1)).unwrap();
    assert_eq!(submit(handles[0], &[], 1, 5), PunktfunkStatus::Ok);
    assert!(
        poll(handles[1], Duration::from_secs(1))
            .unwrap()
            .0
            .is_empty()
    );
    free(handles);
}

#[test]
fn the_codecs_rebuild_a_block_through_pointers() {
    assert_eq!(punktfunk_abi_version(), ABI_VERSION);
    for scheme in [0, 1] {
        let mut shards: Vec<u8> = (0..6 * 64).map(|i| (i * 7) as u8).collect();
        let original = shards.clone();
        let (data, recovery) = shards.split_at_mut(4 * 64);
        let mut present = [1_u8, 0, 0, 1, 1, 1];
        // SAFETY: the buffers have the sizes that the geometry says.
        unsafe {
            let status =
                punktfunk_fec_encode(scheme, 4, 2, 64, data.as_ptr(), recovery.as_mut_ptr());
            assert_eq!(status, PunktfunkStatus::Ok);
            data[64..192].fill(0);
            let status =
                punktfunk_fec_decode(scheme, 4, 2, 64, shards.as_mut_ptr(), present.as_mut_ptr());
            assert_eq!(status, PunktfunkStatus::Ok);
            assert_eq!(shards[..256], original[..256]);
            assert_eq!(present, [1; 6]);
            present[..3].fill(0);
            let status =
                punktfunk_fec_decode(scheme, 4, 2, 64, shards.as_mut_ptr(), present.as_mut_ptr());
            assert_eq!(
                (status, present),
                (PunktfunkStatus::Fec, [0, 0, 0, 1, 1, 1])
            );
            let byte = shards.as_mut_ptr();
            assert_eq!(
                punktfunk_fec_encode(scheme, 0, 2, 64, byte, byte),
                PunktfunkStatus::Fec
            );
            assert_eq!(
                punktfunk_fec_encode(scheme, 4, 2, usize::MAX, byte, byte),
                PunktfunkStatus::InvalidArg
            );
            assert_eq!(
                punktfunk_fec_encode(2, 4, 2, 64, byte, byte),
                PunktfunkStatus::InvalidArg
            );
            let null = ptr::null_mut();
            assert_eq!(
                punktfunk_fec_encode(scheme, 4, 2, 64, null, byte),
                PunktfunkStatus::NullPointer
            );
        }
    }
}

/// One that begins where the other ends is beside it.
#[test]
fn buffers_of_the_codecs_that_share_a_byte_are_refused_and_left_alone() {
    const SHARD_BYTES: usize = 64;
    let refused = PunktfunkStatus::InvalidArg;
    for scheme in [0, 1] {
        let mut bytes = vec![7_u8; 12 * SHARD_BYTES];
        let before = bytes.clone();
        let first = bytes.as_mut_ptr();
        let at = |n: usize| first.wrapping_add(n);
        // SAFETY: all that is named lies in `bytes`.
        let encode = |data: usize, recovery: usize| unsafe {
            punktfunk_fec_encode(scheme, 4, 2, SHARD_BYTES, at(data), at(recovery))
        };
        // SAFETY: likewise.
        let decode = |shards: usize, present: usize| unsafe {
            punktfunk_fec_decode(scheme, 4, 2, SHARD_BYTES, at(shards), at(present))
        };
        let data = 3 * SHARD_BYTES;
        let (begin, end) = (data - 2 * SHARD_BYTES, data + 4 * SHARD_BYTES);
        for recovery in [begin + 1, data, data + SHARD_BYTES, end - 1] {
            assert_eq!(encode(data, recovery), refused, "{scheme} {recovery}");
        }
        let (begin_of_flags, end_of_block) = (data - 6, data + 6 * SHARD_BYTES);
        for present in [begin_of_flags + 1, data, end_of_block - 1] {
            assert_eq!(decode(data, present), refused, "{scheme} {present}");
        }
        assert!(bytes == before);
        for present in [begin_of_flags, end_of_block] {
            assert_eq!(
                decode(data, present),
                PunktfunkStatus::Ok,
                "{scheme} {present}"
            );
        }
        for recovery in [begin, end] {
            assert_eq!(
                encode(data, recovery),
                PunktfunkStatus::Ok,
                "{scheme} {recovery}"
            );
        }
    }
}

/// Callers whose buffer is a byte shorter than they say. Only `nox -s sanitize` runs these, one at a time, and fails where it is not
/// told of each, by each kernel: so it would hear of a kernel that goes a byte too far.
mod broken_contracts {
    use super::*;

    /// A block of three and two shards, of which data or recovery is `short` bytes too short.
    fn encode(scheme: u32, short_data: usize, short_recovery: usize) {
        const SHARD_BYTES: usize = 66;
        let data = vec![7_u8; 3 * SHARD_BYTES - short_data].into_boxed_slice();
        let mut recovery = vec![0_u8; 2 * SHARD_BYTES - short_recovery].into_boxed_slice();
        let (from, to) = (data.as_ptr(), recovery.as_mut_ptr());
        // SAFETY: none: the contract is broken, and the tool that watches ends the program for it.
        let status = unsafe { punktfunk_fec_encode(scheme, 3, 2, SHARD_BYTES, from, to) };
        assert_eq!(status, PunktfunkStatus::Ok);
    }

    #[test]
    #[ignore = "breaks its contract, for nox -s sanitize"]
    fn gf8_reads_a_byte_beyond_its_data() {
        encode(0, 1, 0);
    }

    #[test]
    #[ignore = "breaks its contract, for nox -s sanitize"]
    fn gf8_writes_a_byte_beyond_its_recovery() {
        encode(0, 0, 1);
    }

    #[test]
    #[ignore = "breaks its contract, for nox -s sanitize"]
    fn gf16_reads_a_byte_beyond_its_data() {
        encode(1, 1, 0);
    }

    #[test]
    #[ignore = "breaks its contract, for nox -s sanitize"]
    fn gf16_writes_a_byte_beyond_its_recovery() {
        encode(1, 0, 1);
    }
}
