//! Sessions that their caller drives, of either wire.

use std::ptr;

use punktfunk_core::abi::{
    PunktfunkConfig, PunktfunkFrame, PunktfunkGameStreamConfig, PunktfunkPackets, PunktfunkSession,
    PunktfunkStats, PunktfunkStatus, punktfunk_client_advance, punktfunk_client_poll_frame,
    punktfunk_client_receive, punktfunk_client_take_recovery_request, punktfunk_gamestream_open,
    punktfunk_get_stats, punktfunk_host_poll_packets, punktfunk_host_set_rate,
    punktfunk_host_submit_frame, punktfunk_session_free, punktfunk_session_next_timeout,
    punktfunk_session_open, punktfunk_test_loopback_pair,
};

use super::{sized, struct_of, told};
use crate::bodies::input::Input;

const ROLE_AT: usize = 4;
const ENCRYPT_AT: usize = 28;
/// What GameStream puts behind a unit of AV1 whose last packet would be too short for clients (gamestream section 7.4).
const AV1_PADDING: &[u8] = &[0x7A, 7, 0, 0, 0, 0, 0, 0, 0x80];
/// Units that a script may submit: sessions keep them all.
const MAX_UNITS: usize = 64;

/// A configuration, behind the two bytes of its size, then a script: an end is made of each role or of none, and what the host sends
/// becomes what was submitted wherever nobody forged a packet that nothing protects.
pub fn punktfunk1(bytes: &[u8]) {
    let mut input = Input(bytes);
    let configs = of_both_roles(&sized(&mut input));
    let ends = configs.each_ref().map(|config| {
        let mut session = ptr::null_mut();
        // SAFETY: the struct has the bytes that it says.
        let status = told(unsafe { punktfunk_session_open(config.as_ptr().cast(), &mut session) });
        (status, session)
    });
    drive(ends, &configs[0], input);
    let mut pair = [ptr::null_mut(); 2];
    let [host, client] = &mut pair;
    let [ours, theirs] = configs.each_ref().map(|config| config.as_ptr().cast());
    // SAFETY: likewise.
    let status = told(unsafe { punktfunk_test_loopback_pair(ours, theirs, host, client) });
    assert_eq!(status, ends[0].0);
    free(pair);
}

/// The same of GameStream.
pub fn gamestream(bytes: &[u8]) {
    let mut input = Input(bytes);
    let configs = of_both_roles(&sized(&mut input));
    let ends = configs.each_ref().map(|config| {
        let mut session = ptr::null_mut();
        // SAFETY: the struct has the bytes that it says.
        let status =
            told(unsafe { punktfunk_gamestream_open(config.as_ptr().cast(), &mut session) });
        (status, session)
    });
    drive(ends, &configs[0], input);
}

fn of_both_roles(config: &[u8]) -> [Vec<u8>; 2] {
    [0_u8, 1].map(|role| {
        let mut config = config.to_vec();
        if let Some(field) = config.get_mut(ROLE_AT..ROLE_AT + 4) {
            field.copy_from_slice(&[role, 0, 0, 0]);
        }
        config
    })
}

fn free(ends: [*mut PunktfunkSession; 2]) {
    for end in ends {
        // SAFETY: NULL, or a handle that is freed once.
        unsafe { punktfunk_session_free(end) };
    }
}

/// Let the input drive both ends, if there are any.
fn drive(ends: [(PunktfunkStatus, *mut PunktfunkSession); 2], config: &[u8], mut input: Input) {
    let [(status, host), (other, client)] = ends;
    assert_eq!(status, other);
    assert_eq!(status == PunktfunkStatus::Ok, !host.is_null());
    assert_eq!(host.is_null(), client.is_null());
    if !host.is_null() {
        let mut script = Script {
            host,
            client,
            now_ns: 0,
            units: Vec::new(),
            // What is not encrypted is whatever whoever sends it says.
            forged: config[ENCRYPT_AT..ENCRYPT_AT + 4] == [0; 4],
            trusted: true,
        };
        while !input.is_empty() {
            script.step(&mut input);
        }
        script.fetch();
    }
    free([host, client]);
}

struct Script {
    host: *mut PunktfunkSession,
    client: *mut PunktfunkSession,
    now_ns: u64,
    units: Vec<Vec<u8>>,
    /// Packets may be forged.
    forged: bool,
    /// None has been.
    trusted: bool,
}

impl Script {
    fn step(&mut self, input: &mut Input) {
        let step = input.byte();
        self.now_ns = self.now_ns.saturating_add(u64::from(step / 8) * 700_000);
        match step % 8 {
            0 => self.submit(input),
            1 => self.transmit(input),
            2 => {
                let datagram = input.piece().to_vec();
                self.trusted &= !self.forged;
                self.receive(&datagram);
            }
            3 => {
                // SAFETY: a live handle.
                let status = told(unsafe { punktfunk_client_advance(self.client, self.now_ns) });
                assert_eq!(status, PunktfunkStatus::Ok);
            }
            4 => self.fetch(),
            5 => {
                let (rate, percent) = (u32::from(input.word()), u32::from(input.word()));
                // SAFETY: a live handle.
                let status = told(unsafe { punktfunk_host_set_rate(self.host, rate, percent) });
                let legal = rate > 0 && percent <= 255;
                assert_eq!(status == PunktfunkStatus::Ok, legal, "{rate} {percent}");
            }
            6 => self.ask(),
            _ => self.confuse(input),
        }
    }

    fn submit(&mut self, input: &mut Input) {
        let (bytes, flags) = (usize::from(input.word() % 5000), input.byte());
        let n = self.units.len();
        if n == MAX_UNITS {
            return;
        }
        let unit: Vec<u8> = (0..bytes).map(|i| (i * 7 + n * 13 + 1) as u8).collect();
        let (data, flags) = (unit.as_ptr(), u32::from(flags));
        // SAFETY: a live handle, and bytes that are there.
        let status = told(unsafe {
            punktfunk_host_submit_frame(self.host, data, bytes, self.now_ns, flags)
        });
        match status {
            PunktfunkStatus::Ok => self.units.push(unit),
            PunktfunkStatus::InvalidArg | PunktfunkStatus::Full => {}
            status => panic!("{status:?}"),
        }
    }

    /// A byte a packet says what becomes of it.
    fn transmit(&mut self, input: &mut Input) {
        let mut packets = PunktfunkPackets {
            data: ptr::null(),
            packet_bytes: 0,
            packets: 0,
        };
        let now_ns = self.now_ns.saturating_add(50_000_000);
        for _ in 0..64 {
            // SAFETY: a live handle and a struct that is there.
            let status =
                told(unsafe { punktfunk_host_poll_packets(self.host, now_ns, &mut packets) });
            if status == PunktfunkStatus::NoFrame {
                return;
            }
            assert_eq!(status, PunktfunkStatus::Ok);
            let length = packets.packet_bytes * packets.packets;
            // SAFETY: what a poll hands out is there until the next call on its handle.
            let train = unsafe { std::slice::from_raw_parts(packets.data, length) };
            for packet in train.chunks_exact(packets.packet_bytes) {
                let fate = input.byte();
                match fate {
                    0..=159 => self.receive(packet),
                    160..=199 => {}
                    200..=219 => {
                        self.receive(packet);
                        self.receive(packet);
                    }
                    220..=239 => {
                        let length = packet.len() * usize::from(fate - 220) / 20;
                        self.trusted &= !self.forged;
                        self.receive(&packet[..length]);
                    }
                    240.. => {
                        let mut damaged = packet.to_vec();
                        damaged[usize::from(input.word()) % packet.len()] ^= 1 << (fate % 8);
                        self.trusted &= !self.forged;
                        self.receive(&damaged);
                    }
                }
            }
        }
    }

    fn receive(&self, datagram: &[u8]) {
        let (data, len) = (datagram.as_ptr(), datagram.len());
        // SAFETY: a live handle, and bytes that are there.
        let status = told(unsafe { punktfunk_client_receive(self.client, data, len, self.now_ns) });
        assert!(
            matches!(status, PunktfunkStatus::Ok | PunktfunkStatus::BadPacket),
            "{status:?}"
        );
    }

    fn fetch(&self) {
        let mut frame = PunktfunkFrame {
            data: ptr::null(),
            len: 0,
            frame_index: 0,
            pts_ns: 0,
            flags: 0,
        };
        loop {
            // SAFETY: a live handle and a struct that is there.
            let status = told(unsafe { punktfunk_client_poll_frame(self.client, &mut frame) });
            if status == PunktfunkStatus::NoFrame {
                return;
            }
            assert_eq!(status, PunktfunkStatus::Ok);
            // SAFETY: what a poll hands out is there until the next call on its handle.
            let unit = unsafe { std::slice::from_raw_parts(frame.data, frame.len) };
            let shorter = unit.strip_suffix(AV1_PADDING).unwrap_or(unit);
            assert!(
                !self.trusted
                    || self
                        .units
                        .iter()
                        .any(|sent| sent == unit || sent == shorter),
                "frame {} of {} bytes was not submitted",
                frame.frame_index,
                frame.len
            );
            std::hint::black_box(unit.iter().fold(0_u8, |sum, byte| sum ^ byte));
        }
    }

    /// What there is to ask.
    fn ask(&self) {
        for session in [self.host, self.client] {
            let (mut at_ns, mut wanted) = (0, 0);
            let mut stats = PunktfunkStats::default();
            // SAFETY: live handles and values that are there.
            unsafe {
                told(punktfunk_session_next_timeout(session, &mut at_ns));
                let status = told(punktfunk_client_take_recovery_request(
                    session,
                    self.now_ns,
                    1_000_000,
                    &mut wanted,
                ));
                assert_eq!(status == PunktfunkStatus::Ok, session == self.client);
                assert_eq!(
                    told(punktfunk_get_stats(session, &mut stats)),
                    PunktfunkStatus::Ok
                );
            }
            assert!(wanted <= 1);
            assert!(stats.frames_submitted <= self.units.len() as u64);
        }
    }

    /// Take one end for the other, and nothing for something.
    fn confuse(&self, input: &mut Input) {
        let bytes = input.piece();
        let (data, len) = (bytes.as_ptr(), bytes.len());
        // SAFETY: live handles or NULL, and bytes that are there.
        let refused = unsafe {
            [
                punktfunk_client_receive(self.host, data, len, self.now_ns),
                punktfunk_client_advance(self.host, self.now_ns),
                punktfunk_client_poll_frame(self.host, ptr::null_mut()),
                punktfunk_host_submit_frame(self.client, data, len, 0, 0),
                punktfunk_host_poll_packets(self.client, self.now_ns, ptr::null_mut()),
                punktfunk_host_set_rate(self.client, 1, 1),
                punktfunk_host_submit_frame(self.host, ptr::null(), 1 + len, 0, 0),
                punktfunk_client_receive(self.client, ptr::null(), 1 + len, 0),
                punktfunk_get_stats(self.client, ptr::null_mut()),
                punktfunk_get_stats(ptr::null_mut(), ptr::null_mut()),
            ]
        };
        for status in refused {
            assert!(matches!(
                status,
                PunktfunkStatus::InvalidArg | PunktfunkStatus::NullPointer
            ));
        }
    }
}

/// Frames of several sizes, packets that are lost, damaged and made up, and every question.
const SCRIPTS: [&[u8]; 2] = [
    b"\x00\x64\x00\x05\x00\x88\x13\x01\x01\0\0\0\0\0\0\0\0\x0b\x04\x06\x00\x0a\0\x01\x01\xb4\x0b\x04\x07\x03abc",
    b"\x05\x00\x20\x40\x00\x10\x00\xe8\x03\x05\x01\0\xb0\0\xd0\xf0\x11\x00\xe0\x0b\x04\x02\x28\x08\x07\x06\x05\x04\x03\x02\x01\0\0\0\0\0\0\0\0\x28\0\0\0\x05\0\0\0\0\0\x01\0\x02\0\x01\0\0\0\x20\0\xc9\x01\x01\x05\x0e\x04",
];

fn scripted(config: &[u8]) -> Vec<Vec<u8>> {
    SCRIPTS.map(|script| [config, script].concat()).to_vec()
}

pub fn punktfunk1_seeds() -> Vec<Vec<u8>> {
    let of = |fields: &[u32]| {
        let mut behind = b"0123456789abcdefpkf1\x08\0\0\0".to_vec();
        behind.extend_from_slice(&1_000_000_u64.to_le_bytes());
        let config = struct_of(fields, &behind);
        assert_eq!(config.len(), 2 + size_of::<PunktfunkConfig>());
        scripted(&config)
    };
    [
        of(&[64, 0, 1, 0, 25, 64, 1024, 0]),
        of(&[64, 0, 2, 1, 20, 4096, 1200, 1]),
        of(&[64, 0, 2, 1, 50, 8, 32, 0]),
    ]
    .concat()
}

pub fn gamestream_seeds() -> Vec<Vec<u8>> {
    let of = |fields: &[u32]| {
        let config = struct_of(fields, b"0123456789abcdef\x08\0\0\0\0\0\0\0");
        assert_eq!(config.len(), 2 + size_of::<PunktfunkGameStreamConfig>());
        scripted(&config)
    };
    [
        of(&[56, 0, 0, 1392, 20, 2, 0, 0]),
        of(&[56, 0, 2, 64, 255, 255, 1, 1]),
        of(&[56, 0, 1, 48, 20, 0, 0, 0]),
    ]
    .concat()
}
