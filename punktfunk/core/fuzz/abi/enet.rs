//! ENet's endpoint.

use std::ptr;

use punktfunk_core::abi::{
    PunktfunkAddress, PunktfunkDatagram, PunktfunkEnet, PunktfunkEnetConfig, PunktfunkEnetEvent,
    PunktfunkStatus, punktfunk_enet_abandon, punktfunk_enet_admit, punktfunk_enet_connect,
    punktfunk_enet_disconnect, punktfunk_enet_free, punktfunk_enet_next_timeout,
    punktfunk_enet_open, punktfunk_enet_poll_datagram, punktfunk_enet_poll_event,
    punktfunk_enet_receive, punktfunk_enet_refuse, punktfunk_enet_send, punktfunk_enet_tick,
};

use super::{sized, struct_of, told};
use crate::bodies::enet;
use crate::bodies::input::Input;

const MS: u64 = 1_000_000;
/// What makes a peer of the first who asked: that it got our answer, which was sent at 0.
const ACK: &[u8] = &[0x80, 0, 0, 1, 1, 0xff, 0, 1, 0, 1, 0, 0];

/// A configuration, behind the two bytes of its size, then a script of calls on the endpoint.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let config = sized(&mut input);
    let mut endpoint = ptr::null_mut();
    // SAFETY: the struct has the bytes that it says.
    let status = told(unsafe { punktfunk_enet_open(config.as_ptr().cast(), &mut endpoint) });
    assert_eq!(status == PunktfunkStatus::Ok, !endpoint.is_null());
    if endpoint.is_null() {
        return;
    }
    let mut script = Script {
        endpoint,
        now_ns: 0,
        peers: Vec::new(),
    };
    while !input.is_empty() {
        script.step(&mut input);
    }
    // SAFETY: a handle that is freed once.
    unsafe { punktfunk_enet_free(endpoint) };
}

/// One of two addresses, or whatever the input says.
fn address(input: &mut Input) -> PunktfunkAddress {
    let host = match input.byte() % 4 {
        0 | 1 => 7,
        2 => 8,
        _ => {
            return PunktfunkAddress {
                ip: input.array(),
                family: input.word() % 8,
                port: input.word(),
                scope: input.long(),
                path: input.array(),
            };
        }
    };
    let mut ip = [0; 16];
    ip[..4].copy_from_slice(&[198, 51, 100, host]);
    PunktfunkAddress {
        ip,
        family: 4,
        port: 50123,
        ..PunktfunkAddress::default()
    }
}

struct Script {
    endpoint: *mut PunktfunkEnet,
    now_ns: u64,
    /// Those that events told of, and those that we connect to.
    peers: Vec<u64>,
}

impl Script {
    fn step(&mut self, input: &mut Input) {
        let step = input.byte();
        self.now_ns = self.now_ns.saturating_add(u64::from(step / 10) * 40 * MS);
        let (endpoint, now_ns) = (self.endpoint, self.now_ns);
        let peer = |input: &mut Input| {
            let at = usize::from(input.byte());
            self.peers
                .get(at % self.peers.len().max(1))
                .copied()
                .unwrap_or(at as u64)
        };
        // SAFETY: a live handle, and bytes and values that are there.
        unsafe {
            match step % 10 {
                0 => {
                    let (data, from) = (input.long(), address(input));
                    let from = if data % 2 == 0 {
                        &raw const from
                    } else {
                        ptr::null()
                    };
                    told(punktfunk_enet_admit(endpoint, data, from));
                }
                1 => {
                    told(punktfunk_enet_refuse(endpoint, input.long()));
                }
                2 => {
                    let (to, mut key) = (address(input), 0);
                    let data = input.long();
                    let status = told(punktfunk_enet_connect(
                        endpoint, &to, data, now_ns, &mut key,
                    ));
                    if status == PunktfunkStatus::Ok {
                        self.peers.push(key);
                    }
                }
                3 | 4 => {
                    let (from, datagram) = (address(input), input.piece());
                    let (data, len) = (datagram.as_ptr(), datagram.len());
                    told(punktfunk_enet_receive(endpoint, data, len, &from, now_ns));
                }
                5 => {
                    told(punktfunk_enet_tick(endpoint, now_ns));
                }
                6 => {
                    let (to, channel, delivery) = (peer(input), input.byte(), input.byte() % 4);
                    let (payload, delivery) = (input.piece(), u32::from(delivery));
                    let (data, len) = (payload.as_ptr(), payload.len());
                    told(punktfunk_enet_send(
                        endpoint, to, channel, data, len, delivery, now_ns,
                    ));
                }
                7 => {
                    let to = peer(input);
                    told(if input.byte().is_multiple_of(2) {
                        punktfunk_enet_disconnect(endpoint, to, 7, now_ns)
                    } else {
                        punktfunk_enet_abandon(endpoint, to, 7, now_ns)
                    });
                }
                8 => self.send(),
                _ => self.hear(),
            }
            let mut at_ns = 0;
            told(punktfunk_enet_next_timeout(endpoint, &mut at_ns));
        }
    }

    fn send(&self) {
        let mut to = PunktfunkAddress::default();
        let mut datagram = PunktfunkDatagram {
            data: ptr::null(),
            len: 0,
        };
        // SAFETY: a live handle and structs that are there; what a poll hands out lives until the next call.
        unsafe {
            while told(punktfunk_enet_poll_datagram(
                self.endpoint,
                &mut datagram,
                &mut to,
            )) == PunktfunkStatus::Ok
            {
                let sent = std::slice::from_raw_parts(datagram.data, datagram.len);
                std::hint::black_box(sent.iter().fold(0_u8, |sum, byte| sum ^ byte));
                assert!(to.family == 4 || to.family == 6);
            }
        }
    }

    fn hear(&mut self) {
        let mut event = PunktfunkEnetEvent {
            kind: 0,
            channel: 0,
            peer: 0,
            data: 0,
            cause: 0,
            payload: ptr::null(),
            len: 0,
            from: PunktfunkAddress::default(),
        };
        // SAFETY: as above.
        unsafe {
            while told(punktfunk_enet_poll_event(self.endpoint, &mut event)) == PunktfunkStatus::Ok
            {
                assert!((1..=3).contains(&event.kind) && event.cause <= 3);
                if event.kind == 1 && !self.peers.contains(&event.peer) {
                    self.peers.push(event.peer);
                }
                assert!(
                    self.peers.contains(&event.peer),
                    "of a peer that nothing told of"
                );
                assert_eq!(event.kind == 2, !event.payload.is_null());
                if event.kind == 2 {
                    let message = std::slice::from_raw_parts(event.payload, event.len);
                    std::hint::black_box(message.iter().fold(0_u8, |sum, byte| sum ^ byte));
                }
            }
        }
    }
}

/// A peer that we let in and that says something, with what a stock peer sends; and one that we connect to.
pub fn seeds() -> Vec<Vec<u8>> {
    let config = struct_of(&[16, 2, 4, 1], &[]);
    assert_eq!(config.len(), 2 + size_of::<PunktfunkEnetConfig>());
    let received = |datagram: &[u8]| [&[3, 0, datagram.len() as u8][..], datagram].concat();
    let admitted = [&[0][..], &enet::SESSION.to_le_bytes(), &[0]].concat();
    let greeting = received(&enet::connect(enet::SESSION));
    let served = |conversation: &[u8]| {
        let mut script = [&config[..], &admitted, &greeting, &[8], &received(ACK)].concat();
        let mut rest = Input(conversation);
        while !rest.is_empty() {
            script.extend(received(rest.piece()));
        }
        script.extend(b"\x09\x06\x00\x00\x00\x04abcd\x08\x37\x35\x35\x08\x07\x00\x00\x08\x09");
        script
    };
    let mut seeds: Vec<Vec<u8>> = enet::conversations()
        .iter()
        .map(|said| served(said))
        .collect();
    let connecting = b"\x02\x00\x07\x00\x00\x00\x08\x06\x00\x01\x01\x02ab\x37\x35\x08\x35\x08\x07\x00\x01\x08\x09";
    seeds.push([&config[..], connecting].concat());
    seeds
}
