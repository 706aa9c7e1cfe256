//! Real sockets on loopback.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::super::clock::monotonic_ns;
use super::*;

fn pair(address: &str, options: &EdgeOptions) -> (UdpEdge, UdpEdge) {
    let a = UdpSocket::bind(address).unwrap();
    let b = UdpSocket::bind(address).unwrap();
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    (
        UdpEdge::new(a.as_raw_fd(), options).unwrap(),
        UdpEdge::new(b.as_raw_fd(), options).unwrap(),
    )
}

fn collect(edge: &mut UdpEdge, count: usize) -> Vec<(Vec<u8>, u64)> {
    let mut got = Vec::new();
    while got.len() < count {
        let outcome = edge.receive(Some(Duration::from_secs(5)), |d| {
            got.push((d.bytes.to_vec(), d.received_ns));
        });
        assert_ne!(outcome, Received::TimedOut, "{} of {count}", got.len());
    }
    got
}

fn train(count: usize, bytes: usize, last: usize) -> Vec<u8> {
    (0..(count - 1) * bytes + last)
        .map(|i| (i / bytes) as u8)
        .collect()
}

#[test]
fn trains_arrive_whole_with_every_mix_of_offloads() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for (gso, gro) in [(true, true), (true, false), (false, true), (false, false)] {
            let options = EdgeOptions {
                gso,
                gro,
                ..EdgeOptions::default()
            };
            let (mut a, mut b) = pair(address, &options);
            assert_eq!((a.gso(), b.gro()), (gso, gro));
            // more than one GSO call and more than one sendmmsg call, and a short last one
            let sent = train(150, 1200, 17);
            let before = monotonic_ns();
            let outcome = a.send_train(&sent, 1200);
            assert_eq!((outcome.packets_sent, outcome.packets_dropped), (150, 0));
            let got = collect(&mut b, 150);
            let joined: Vec<u8> = got.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            assert_eq!(joined, sent);
            assert_eq!(got[149].0.len(), 17);
            for (_, at) in got {
                assert!((before..=monotonic_ns()).contains(&at), "{at} {before}");
            }
            assert_eq!(a.counters().bytes_sent, sent.len() as u64);
            assert_eq!(b.counters().bytes_received, sent.len() as u64);
            assert_eq!(a.counters().send_calls, 3);
        }
    }
}

#[test]
fn packets_of_9000_bytes_go_and_come_in_trains_of_seven() {
    let options = EdgeOptions {
        max_datagram_bytes: 9216,
        ..EdgeOptions::default()
    };
    let (mut a, mut b) = pair("127.0.0.1:0", &options);
    let sent = train(20, 8972, 8972);
    let outcome = a.send_train(&sent, 8972);
    assert_eq!((outcome.packets_sent, outcome.packets_dropped), (20, 0));
    assert_eq!(a.counters().send_calls, 3);
    let got = collect(&mut b, 20);
    assert!(got.iter().all(|(bytes, _)| bytes.len() == 8972));
    let joined: Vec<u8> = got.into_iter().flat_map(|(bytes, _)| bytes).collect();
    assert_eq!(joined, sent);
    assert_eq!(b.counters().truncated, 0);
}

#[test]
fn a_refused_port_is_counted_and_survived() {
    let options = EdgeOptions::default();
    let (mut a, b) = pair("127.0.0.1:0", &options);
    drop(b);
    let before = monotonic_ns();
    for _ in 0..10 {
        a.send_train(&train(4, 100, 100), 100);
        a.receive(Some(Duration::ZERO), |_| panic!("nobody sent"));
    }
    let refusals = a.take_refusals();
    assert!(refusals.count > 1);
    assert_eq!(refusals.count, a.counters().refused);
    assert!((before..monotonic_ns()).contains(&refusals.first_ns));
    assert!((refusals.first_ns + 1..monotonic_ns()).contains(&refusals.last_ns));
    assert_eq!(a.take_refusals(), Refusals::default(), "they are told once");
}

#[test]
fn refusals_of_two_stretches_add_up() {
    let mut all = Refusals::default();
    all.add(&Refusals::default());
    assert_eq!(all, Refusals::default());
    for at_ns in [5, 7] {
        all.note(at_ns);
    }
    let mut later = Refusals::default();
    later.note(11);
    all.add(&later);
    all.add(&Refusals::default());
    let expected = Refusals {
        count: 3,
        first_ns: 5,
        last_ns: 11,
    };
    assert_eq!(all, expected);
}

#[test]
fn a_train_larger_than_the_path_is_dropped_and_counted() {
    let (mut a, _b) = pair("127.0.0.1:0", &EdgeOptions::default());
    let outcome = a.send_train(&vec![0; 66_000], 66_000);
    assert_eq!((outcome.packets_sent, outcome.packets_dropped), (0, 1));
    assert_eq!(a.counters().dropped_too_big, 1);
}

#[test]
fn a_full_receive_buffer_is_counted_by_the_kernel() {
    let options = EdgeOptions {
        gso: false,
        gro: false,
        receive_buffer_bytes: 0,
        ..EdgeOptions::default()
    };
    let (mut a, mut b) = pair("127.0.0.1:0", &options);
    set_int(
        b.socket.as_raw_fd(),
        libc::SOL_SOCKET,
        libc::SO_RCVBUF,
        8_192,
    )
    .unwrap();
    let sent = a.send_train(&train(200, 1000, 1000), 1000).packets_sent as u64;
    let mut got = 0;
    while let Received::Packets(n) = b.receive(Some(Duration::ZERO), |_| {}) {
        got += n as u64;
    }
    assert!(b.kernel_dropped() > 0);
    assert_eq!(got + b.kernel_dropped(), sent);
}

#[test]
fn a_datagram_longer_than_expected_is_cut_so_that_it_shows() {
    for gro in [true, false] {
        let options = EdgeOptions {
            gro,
            max_datagram_bytes: 100,
            ..EdgeOptions::default()
        };
        let (mut a, mut b) = pair("127.0.0.1:0", &options);
        a.send_train(&[1; 500], 500);
        a.send_train(&[2; 100], 100);
        let lengths: Vec<usize> = collect(&mut b, 2).iter().map(|(d, _)| d.len()).collect();
        assert_eq!(lengths, [101, 100]);
        assert_eq!(b.counters().truncated, 1);
    }
}

#[test]
fn empty_datagrams_are_datagrams() {
    let (a, mut b) = pair("127.0.0.1:0", &EdgeOptions::default());
    // SAFETY: a zero-length send reads nothing.
    unsafe { libc::send(a.socket.as_raw_fd(), std::ptr::null(), 0, 0) };
    assert_eq!(collect(&mut b, 1)[0].0.len(), 0);
}

#[test]
fn waking_ends_a_wait_from_another_thread_and_stays() {
    let (mut a, _b) = pair("127.0.0.1:0", &EdgeOptions::default());
    let waker = a.waker();
    let thread = std::thread::spawn(move || waker.wake());
    assert_eq!(a.receive(None, |_| {}), Received::Woken);
    thread.join().unwrap();
    assert_eq!(a.receive(None, |_| {}), Received::Woken);
    a.waker().clear();
    let began = Instant::now();
    let timeout = Duration::from_millis(5);
    assert_eq!(a.receive(Some(timeout), |_| {}), Received::TimedOut);
    assert!(began.elapsed() >= timeout);
}

#[test]
fn buffers_are_granted_in_the_unit_of_the_request() {
    let options = EdgeOptions {
        send_buffer_bytes: 100_000,
        receive_buffer_bytes: 150_000,
        ..EdgeOptions::default()
    };
    let (a, _b) = pair("127.0.0.1:0", &options);
    // The default is larger, in which case it stays.
    assert!(a.send_buffer_granted() >= 100_000);
    assert!(a.receive_buffer_granted() >= 150_000);
}

#[test]
fn other_descriptors_are_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (unix, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
    for fd in [-1, 1 << 30, listener.as_raw_fd(), unix.as_raw_fd()] {
        assert!(UdpEdge::new(fd, &EdgeOptions::default()).is_err());
    }
}

#[test]
fn the_drop_counter_widens_and_ignores_old_readings() {
    let mut drops = DropCounter {
        last: u32::MAX - 1,
        total: 0,
    };
    drops.observe(2);
    drops.observe(0);
    assert_eq!(drops.total, 4);
}
