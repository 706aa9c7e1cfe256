//! Datagrams of any kind at an ENet endpoint, from a peer that is connected and from strangers.

use std::net::SocketAddr;

use punktfunk_core::enet::{Endpoint, Event, MAX_MESSAGE_BYTES};

pub const SESSION: u32 = 0x7e6f_02e3;
const MS: u64 = 1_000_000;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

pub fn connect(data: u32) -> Vec<u8> {
    words(&[
        0x8fff_0001,
        0x82ff_0001,
        0x0000_ffff,
        900,
        65536,
        48,
        0,
        0,
        5000,
        2,
        2,
        99,
        data,
    ])
}

/// A length byte before each datagram; where it is odd, a stranger sends it. Whatever comes, there are no more peers than
/// there may be, no message is longer than it may be, and none is of a connection that was not told of before.
pub fn datagrams(bytes: &[u8]) {
    let peer = SocketAddr::from(([198, 51, 100, 7], 50123));
    let stranger = SocketAddr::from(([203, 0, 113, 9], 4));
    let mut endpoint = Endpoint::new(2, 4, 1).unwrap();
    let mut now = 0;
    let mut known = Vec::new();
    let path = Default::default();
    endpoint.feed(&connect(SESSION), peer, path, now, |data, _| {
        data == SESSION
    });
    let (verify, ..) = endpoint.next_datagram().unwrap();
    let mut ack = words(&[0x8000_0001, 0x01ff_0001]);
    ack.extend_from_slice(&[0, 1, verify[2], verify[3]]);
    let mut rest = bytes;
    let mut next = Some(&ack[..]);
    let mut from = peer;
    while let Some(datagram) = next {
        now += MS;
        let mut events = endpoint.feed(datagram, from, path, now, |data, _| data == SESSION);
        events.extend(endpoint.tick(now));
        for event in events {
            match event {
                Event::Connected { peer, .. } => known.push(peer),
                Event::Received { peer, payload, .. } => {
                    assert!(known.contains(&peer) && payload.len() <= MAX_MESSAGE_BYTES as usize);
                }
                Event::Disconnected { peer, .. } => {
                    assert!(known.contains(&peer));
                    known.retain(|&other| other != peer);
                }
            }
        }
        assert!(endpoint.peers() <= 2);
        assert!(endpoint.next_timeout().is_none_or(|due| due >= now));
        while let Some((sent, ..)) = endpoint.next_datagram() {
            assert!(sent.len() <= 900);
        }
        next = rest.split_first().map(|(&length, behind)| {
            from = if length % 2 == 1 { stranger } else { peer };
            let (datagram, behind) = behind.split_at(behind.len().min(usize::from(length)));
            rest = behind;
            datagram
        });
    }
}

fn framed(datagrams: &[Vec<u8>]) -> Vec<u8> {
    datagrams
        .iter()
        .flat_map(|datagram| [&[datagram.len() as u8], &datagram[..]].concat())
        .collect()
}

/// Of each command one or two, as a stock peer sends them.
pub fn conversations() -> Vec<Vec<u8>> {
    let of = |hex: &str| -> Vec<u8> {
        let digits: String = hex.split_whitespace().collect();
        digits
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    let reliable = of("80000262 86000001 0004 61626364");
    let behind = of("80000262 86000003 0002 6162 07000003 0001 0002 6162");
    let unsequenced = of("0000 49050000 0001 0002 6162");
    let halves = of("80000263 88010001 0001 0002 00000002 00000000 00000004 00000000 6162");
    let other = of("80000263 88010002 0001 0002 00000002 00000001 00000004 00000002 6364");
    let limits = of("80000264 8aff0002 00010000 00010000 8bff0003 00001388 00000002 00000002");
    let ping = of("80000265 85ff0004");
    let leave = of("80000266 84ff0005 00000007");
    vec![
        framed(&[reliable, behind, ping.clone()]),
        framed(&[halves, other, unsequenced]),
        framed(&[limits, ping, leave]),
        framed(&[connect(SESSION), connect(7)]),
    ]
}
