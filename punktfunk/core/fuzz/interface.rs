//! What callers hand over: JSON specifications and C configurations.

use std::ptr;

use punktfunk_core::abi::{
    PunktfunkConfig, PunktfunkFrame, PunktfunkGameStreamConfig, PunktfunkPackets, PunktfunkStatus,
    punktfunk_client_advance, punktfunk_client_poll_frame, punktfunk_client_receive,
    punktfunk_gamestream_open, punktfunk_host_poll_packets, punktfunk_host_submit_frame,
    punktfunk_session_free, punktfunk_test_loopback_pair,
};
use punktfunk_core::emulate::{LinkModel, LinkSpec};
use punktfunk_core::sim::SimSpec;

/// A link that parses can be built and asked; a simulation that parses can say its frames' sizes.
pub fn specifications(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(link) = LinkSpec::from_json(text) {
        let mut model = LinkModel::new(&link, 1, 0).expect("what was validated can be built");
        for n in 0..50 {
            let now = n * 100_000;
            for delivery in model.offer(now, 1250).deliveries() {
                assert!(delivery.at_ns >= now, "delivered before it was sent");
            }
        }
        let counters = model.counters();
        assert_eq!(counters.link_in, 50);
        assert_eq!(
            counters.link_in + counters.duplicated,
            counters.dropped_total() + counters.delivered + counters.in_flight()
        );
    }
    if let Ok(sim) = SimSpec::from_json(text) {
        let _ = sim.frame_bytes(0);
    }
}

pub fn documents() -> Vec<Vec<u8>> {
    [
        r#"{"rate_kbps":50000,"queue_packets":100,"delay_us":500.0,"jitter_us":100.0,"jitter_distribution":"normal","loss":{"kind":"gilbert_elliott","p":0.01,"r":0.3}}"#,
        r#"{"loss":{"kind":"periodic","every":8},"reorder":{"p":0.1,"extra_us":200.0},"duplicate":0.1,"corrupt":0.05,"corrupt_mode":"payload"}"#,
        r#"{"trace":[{"at_ms":0,"rate_kbps":1000},{"at_ms":3.5,"loss_p":0.5}],"trace_repeat":true,"changes":[{"at_ms":1,"set":{"delay_us":900}}]}"#,
        r#"{"stream":{"scheme":"gf8","max_block_shards":64,"shard_bytes":1024,"fec_percent":25},"link":{"loss":{"kind":"independent","p":0.02}},"seed":1,"frames":10,"fps":60.0,"frame_bytes":{"kind":"constant","bytes":1000}}"#,
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

/// Any 64 bytes as a configuration: a pair or a status.
pub fn c_config(bytes: &[u8]) {
    let Some(fields) = bytes.first_chunk::<64>() else {
        return;
    };
    // SAFETY: the struct is made of integers alone, so that any bytes are one.
    let mut config: PunktfunkConfig = unsafe { ptr::read_unaligned(fields.as_ptr().cast()) };
    config.struct_size = 64;
    let peer = PunktfunkConfig { role: 1, ..config };
    let (mut host, mut client) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: all pointers are live.
    let status = unsafe { punktfunk_test_loopback_pair(&config, &peer, &mut host, &mut client) };
    assert!(
        matches!(status, PunktfunkStatus::Ok | PunktfunkStatus::InvalidArg),
        "{status:?}"
    );
    assert_eq!(
        status == PunktfunkStatus::Ok,
        !host.is_null() && !client.is_null()
    );
    // SAFETY: NULL or handles that are freed once.
    unsafe {
        punktfunk_session_free(host);
        punktfunk_session_free(client);
    }
}

pub fn c_configs() -> Vec<Vec<u8>> {
    let of = |words: [u32; 8]| {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend_from_slice(b"0123456789abcdefpkf1\x08\0\0\0");
        bytes.extend_from_slice(&1_000_000_u64.to_le_bytes());
        bytes
    };
    vec![
        of([64, 0, 1, 0, 25, 64, 1024, 0]),
        of([64, 0, 2, 1, 20, 4096, 1200, 1]),
    ]
}

/// Any 56 bytes as a configuration, what is behind them as an access unit of its host and as datagrams of its client: the client
/// gets the unit from the host, and of the rest a status each.
pub fn c_gamestream(bytes: &[u8]) {
    let Some((fields, rest)) = bytes.split_first_chunk::<56>() else {
        return;
    };
    // SAFETY: the struct is made of integers alone, so that any bytes are one.
    let mut config: PunktfunkGameStreamConfig =
        unsafe { ptr::read_unaligned(fields.as_ptr().cast()) };
    config.struct_size = 56;
    let ends = [0, 1].map(|role| {
        let (config, mut session) = (
            PunktfunkGameStreamConfig { role, ..config },
            ptr::null_mut(),
        );
        // SAFETY: both are live.
        let status = unsafe { punktfunk_gamestream_open(&config, &mut session) };
        assert_eq!(status == PunktfunkStatus::Ok, !session.is_null());
        assert!(matches!(
            status,
            PunktfunkStatus::Ok | PunktfunkStatus::InvalidArg
        ));
        session
    });
    let [host, client] = ends;
    assert_eq!(host.is_null(), client.is_null());
    if !host.is_null() {
        // SAFETY: the handles are live, and what a poll hands out is until the next call on its handle.
        unsafe {
            for datagram in rest.chunks(100) {
                let (data, len) = (datagram.as_ptr(), datagram.len());
                let status = punktfunk_client_receive(client, data, len, 1);
                assert!(matches!(
                    status,
                    PunktfunkStatus::Ok | PunktfunkStatus::BadPacket
                ));
            }
            let unit = &rest[..rest.len().min(400)];
            let status = punktfunk_host_submit_frame(host, unit.as_ptr(), unit.len(), 1, 5);
            assert_eq!(status, PunktfunkStatus::Ok);
            let mut packets = PunktfunkPackets {
                data: ptr::null(),
                packet_bytes: 0,
                packets: 0,
            };
            while punktfunk_host_poll_packets(host, u64::MAX / 2, &mut packets)
                == PunktfunkStatus::Ok
            {
                for n in 0..packets.packets {
                    let packet = packets.data.add(n * packets.packet_bytes);
                    punktfunk_client_receive(client, packet, packets.packet_bytes, 2);
                }
            }
            assert_eq!(punktfunk_client_advance(client, 3), PunktfunkStatus::Ok);
            let mut frame = PunktfunkFrame {
                data: ptr::null(),
                len: 0,
                frame_index: 0,
                pts_ns: 0,
                flags: 0,
            };
            while punktfunk_client_poll_frame(client, &mut frame) == PunktfunkStatus::Ok {
                std::hint::black_box(std::slice::from_raw_parts(frame.data, frame.len));
            }
        }
    }
    // SAFETY: NULL or handles that are freed once.
    unsafe {
        punktfunk_session_free(host);
        punktfunk_session_free(client);
    }
}

pub fn c_gamestreams() -> Vec<Vec<u8>> {
    let of = |words: [u32; 8]| {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend_from_slice(b"0123456789abcdef\x08\0\0\0\0\0\0\0");
        bytes.extend((0..500).map(|n| n as u8));
        bytes
    };
    vec![
        of([56, 0, 0, 1392, 20, 2, 0, 0]),
        of([56, 0, 2, 64, 255, 255, 1, 1]),
    ]
}
