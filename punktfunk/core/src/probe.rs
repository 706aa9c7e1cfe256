//! Native probe sender and receiver, which check a link before anything is measured on it.
//!
//! A probe is a UDP datagram of any size from [`PROBE_BYTES`] on: number (u64), time of sending (u64, CLOCK_MONOTONIC
//! ns), a hash of both (u64), all little-endian, then a fixed filling, so that one flipped bit anywhere is noticed.

use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use crate::transport::clock::{monotonic_ns, thread_cpu_ns};
use crate::transport::udp::{EdgeOptions, MAX_TRAIN_BYTES, MAX_TRAIN_SEGMENTS, Received, UdpEdge};

/// Smallest probe: number, time and their hash.
pub const PROBE_BYTES: usize = 24;
const FILLING: u8 = 0xa5;
static FILLED: [u8; 65_536] = [FILLING; 65_536];
/// How long before a departure the sender stops sleeping and spins.
const SPIN_NS: u64 = 60_000;
/// How often a probe that takes long asks whether to go on.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What to send.
#[derive(Debug, Clone)]
pub struct SendPlan {
    /// Datagrams.
    pub count: u64,
    /// Payload of each.
    pub size_bytes: usize,
    /// Time between datagrams; a train takes the place of its first. 0 = flat out.
    pub interval_ns: u64,
    /// Datagrams per call; more than one go out by UDP_SEGMENT.
    pub segments: usize,
    /// Number of the first.
    pub first_index: u64,
}

/// What was sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct SendReport {
    /// Datagrams that the socket took.
    pub sent: u64,
    /// Datagrams that it did not take.
    pub dropped: u64,
    /// Time of the first train.
    pub first_tx_ns: u64,
    /// Time of the last train.
    pub last_tx_ns: u64,
    /// Latest departure against the plan.
    pub late_max_ns: u64,
    /// CPU time of the calling thread.
    pub cpu_ns: u64,
    /// Whether UDP_SEGMENT was in use to the end.
    pub gso: bool,
}

/// Send probes on a connected UDP socket as planned; `go_on` is asked every 100 ms.
///
/// # Errors
/// EINVAL when sizes or segments are out of range, and what [`UdpEdge::new`] gives.
pub fn send(fd: RawFd, plan: &SendPlan, mut go_on: impl FnMut() -> bool) -> io::Result<SendReport> {
    let size = plan.size_bytes;
    let fits = (PROBE_BYTES..=MAX_TRAIN_BYTES).contains(&size)
        && (1..=MAX_TRAIN_SEGMENTS).contains(&plan.segments)
        && plan.segments * size <= MAX_TRAIN_BYTES;
    if !fits {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let options = EdgeOptions {
        gso: plan.segments > 1,
        receive_buffer_bytes: 0,
        send_wait: Duration::from_secs(1),
        ..EdgeOptions::default()
    };
    let mut edge = UdpEdge::new(fd, &options)?;
    let _timers = SharpTimers::new();
    let mut train = vec![FILLING; plan.segments * size];
    let mut report = SendReport::default();
    let cpu_ns = thread_cpu_ns();
    let start_ns = monotonic_ns();
    let mut asked = Instant::now();
    let mut done = 0;
    while done < plan.count {
        let due_ns = start_ns + done * plan.interval_ns;
        let tx_ns = wait_until(due_ns);
        let count = plan.segments.min((plan.count - done) as usize);
        for (i, probe) in train.chunks_exact_mut(size).take(count).enumerate() {
            write_header(probe, plan.first_index + done + i as u64, tx_ns);
        }
        let outcome = edge.send_train(&train[..count * size], size);
        report.sent += outcome.packets_sent as u64;
        report.dropped += outcome.packets_dropped as u64;
        if done == 0 {
            report.first_tx_ns = tx_ns;
        }
        report.last_tx_ns = tx_ns;
        if plan.interval_ns > 0 {
            report.late_max_ns = report.late_max_ns.max(tx_ns.saturating_sub(due_ns));
        }
        done += count as u64;
        if asked.elapsed() > ASK_AGAIN {
            asked = Instant::now();
            if !go_on() {
                break;
            }
        }
    }
    report.cpu_ns = thread_cpu_ns() - cpu_ns;
    report.gso = edge.gso() && plan.segments > 1;
    Ok(report)
}

/// What to wait for.
#[derive(Debug, Clone)]
pub struct ReceivePlan {
    /// Give up when nothing came for this long.
    pub idle_timeout: Duration,
    /// Stop after this many datagrams.
    pub max_packets: u64,
    /// Payload that every probe has.
    pub size_bytes: usize,
    /// Let the kernel join trains.
    pub gro: bool,
    /// Keep a row for each probe and check its filling; otherwise only count.
    pub keep: bool,
}

/// What was received. The columns have one entry a probe in order of arrival; a probe whose head was hit by a flipped
/// bit has -1 in `index` and `tx_ns`.
#[derive(Debug, Clone, Default)]
pub struct ReceiveReport {
    /// Numbers.
    pub index: Vec<i64>,
    /// Times of sending.
    pub tx_ns: Vec<i64>,
    /// Times at which the kernel received them.
    pub rx_ns: Vec<i64>,
    /// Times at which this thread had them.
    pub user_ns: Vec<i64>,
    /// 1 for a probe with a flipped bit.
    pub corrupt: Vec<i64>,
    /// Probes.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Probes with a flipped bit.
    pub corrupted: u64,
    /// Datagrams of another size.
    pub foreign: u64,
    /// Datagrams that the kernel dropped on this socket, with those of a wrong checksum.
    pub kernel_dropped: u64,
    /// Effective receive buffer.
    pub receive_buffer_granted: u64,
    /// First arrival in the kernel, 0 without one.
    pub first_rx_ns: u64,
    /// Last arrival in the kernel.
    pub last_rx_ns: u64,
    /// CPU time of the calling thread.
    pub cpu_ns: u64,
}

impl ReceiveReport {
    fn add(&mut self, probe: &[u8], rx_ns: u64, user_ns: u64, keep: bool) {
        self.count += 1;
        self.bytes += probe.len() as u64;
        if self.first_rx_ns == 0 {
            self.first_rx_ns = rx_ns;
        }
        self.last_rx_ns = self.last_rx_ns.max(rx_ns);
        if !keep {
            return;
        }
        let header = read_header(probe);
        let corrupt = header.is_none() || probe[PROBE_BYTES..] != FILLED[PROBE_BYTES..probe.len()];
        let (index, tx_ns) = header.map_or((-1, -1), |(index, tx_ns)| (index as i64, tx_ns as i64));
        self.corrupted += u64::from(corrupt);
        self.index.push(index);
        self.tx_ns.push(tx_ns);
        self.rx_ns.push(rx_ns as i64);
        self.user_ns.push(user_ns as i64);
        self.corrupt.push(corrupt.into());
    }
}

/// Receive probes on a connected (or bound) UDP socket until enough came or none comes any more.
///
/// # Errors
/// EINVAL when `size_bytes` is out of range, and what [`UdpEdge::new`] gives.
pub fn receive(
    fd: RawFd,
    plan: &ReceivePlan,
    mut go_on: impl FnMut() -> bool,
) -> io::Result<ReceiveReport> {
    if !(PROBE_BYTES..=65_535).contains(&plan.size_bytes) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let options = EdgeOptions {
        gro: plan.gro,
        send_buffer_bytes: 0,
        receive_buffer_bytes: 64 << 20,
        max_datagram_bytes: plan.size_bytes,
        ..EdgeOptions::default()
    };
    let mut edge = UdpEdge::new(fd, &options)?;
    let mut report = ReceiveReport {
        receive_buffer_granted: edge.receive_buffer_granted() as u64,
        ..ReceiveReport::default()
    };
    let cpu_ns = thread_cpu_ns();
    let mut last_arrival = Instant::now();
    let mut asked = last_arrival;
    while report.count < plan.max_packets {
        let left = plan.idle_timeout.saturating_sub(last_arrival.elapsed());
        let mut user_ns = 0;
        let received = edge.receive(Some(left.min(ASK_AGAIN)), |datagram| {
            if user_ns == 0 {
                user_ns = monotonic_ns();
            }
            if datagram.bytes.len() == plan.size_bytes {
                report.add(datagram.bytes, datagram.received_ns, user_ns, plan.keep);
            } else {
                report.foreign += 1;
            }
        });
        if matches!(received, Received::Packets(_)) {
            last_arrival = Instant::now();
        } else if left.is_zero() {
            // Only after a look at the socket: the thread may have been without a core for all that time.
            break;
        }
        if asked.elapsed() > ASK_AGAIN {
            asked = Instant::now();
            if !go_on() {
                break;
            }
        }
    }
    report.cpu_ns = thread_cpu_ns() - cpu_ns;
    report.kernel_dropped = edge.kernel_dropped();
    Ok(report)
}

fn write_header(probe: &mut [u8], index: u64, tx_ns: u64) {
    probe[..8].copy_from_slice(&index.to_le_bytes());
    probe[8..16].copy_from_slice(&tx_ns.to_le_bytes());
    probe[16..24].copy_from_slice(&check(index, tx_ns).to_le_bytes());
}

fn read_header(probe: &[u8]) -> Option<(u64, u64)> {
    let word = |at: usize| Some(u64::from_le_bytes(probe.get(at..at + 8)?.try_into().ok()?));
    let (index, tx_ns) = (word(0)?, word(8)?);
    (word(16)? == check(index, tx_ns)).then_some((index, tx_ns))
}

/// Both factors are odd, so any one bit of either changes the sum.
fn check(index: u64, tx_ns: u64) -> u64 {
    index
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(tx_ns.wrapping_mul(0xd1b5_4a32_d192_ed03))
}

/// Sleep until shortly before `due_ns`, spin to it; returns the time then.
fn wait_until(due_ns: u64) -> u64 {
    loop {
        let now_ns = monotonic_ns();
        let Some(left) = due_ns.checked_sub(now_ns).filter(|&left| left > 0) else {
            return now_ns;
        };
        if left > SPIN_NS {
            std::thread::sleep(Duration::from_nanos(left - SPIN_NS));
        } else {
            std::hint::spin_loop();
        }
    }
}

/// The calling thread's timer slack at 1 ns, and back to what it was.
struct SharpTimers {
    before: libc::c_int,
}

impl SharpTimers {
    fn new() -> Self {
        // SAFETY: these requests take values and concern the calling thread only.
        let before = unsafe {
            let before = libc::prctl(libc::PR_GET_TIMERSLACK);
            libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong);
            before
        };
        Self { before }
    }
}

impl Drop for SharpTimers {
    fn drop(&mut self) {
        if self.before > 0 {
            // SAFETY: as above.
            unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, self.before as libc::c_ulong) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    fn pair() -> (UdpSocket, UdpSocket) {
        let a = UdpSocket::bind("127.0.0.1:0").unwrap();
        let b = UdpSocket::bind("127.0.0.1:0").unwrap();
        a.connect(b.local_addr().unwrap()).unwrap();
        b.connect(a.local_addr().unwrap()).unwrap();
        (a, b)
    }

    fn receive_all(socket: &UdpSocket, max_packets: u64) -> ReceiveReport {
        let plan = ReceivePlan {
            idle_timeout: Duration::from_millis(200),
            max_packets,
            size_bytes: 200,
            gro: true,
            keep: true,
        };
        receive(socket.as_raw_fd(), &plan, || true).unwrap()
    }

    #[test]
    fn probes_arrive_with_their_numbers_and_times() {
        let (a, b) = pair();
        for (segments, interval_ns) in [(1, 10_000), (8, 0)] {
            let plan = SendPlan {
                count: 100,
                size_bytes: 200,
                interval_ns,
                segments,
                first_index: 1_000,
            };
            let sent = send(a.as_raw_fd(), &plan, || true).unwrap();
            assert_eq!((sent.sent, sent.dropped, sent.gso), (100, 0, segments > 1));
            let got = receive_all(&b, 100);
            assert_eq!(got.index, (1_000..1_100).collect::<Vec<i64>>());
            assert_eq!((got.count, got.bytes, got.corrupted), (100, 20_000, 0));
            for i in 0..100 {
                assert!(got.tx_ns[i] <= got.rx_ns[i] && got.rx_ns[i] <= got.user_ns[i]);
            }
            if interval_ns > 0 {
                let spread_ns = sent.last_tx_ns - sent.first_tx_ns;
                assert!(spread_ns + sent.late_max_ns >= 99 * interval_ns);
            }
        }
    }

    #[test]
    fn what_the_socket_does_not_take_is_counted_as_the_probes_own() {
        let (a, b) = pair();
        // SAFETY: a call on an open descriptor.
        assert_eq!(unsafe { libc::shutdown(a.as_raw_fd(), libc::SHUT_WR) }, 0);
        for segments in [1, 8] {
            let plan = SendPlan {
                count: 20,
                size_bytes: 200,
                interval_ns: 0,
                segments,
                first_index: 0,
            };
            let sent = send(a.as_raw_fd(), &plan, || true).unwrap();
            assert_eq!((sent.sent, sent.dropped), (0, 20));
        }
        assert_eq!(receive_all(&b, 1).count, 0);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let (a, b) = pair();
        let mut probe = vec![FILLING; 200];
        write_header(&mut probe, 7, 9);
        a.send(&probe).unwrap();
        for bit in 0..1600 {
            probe[bit / 8] ^= 1 << (bit % 8);
            a.send(&probe).unwrap();
            probe[bit / 8] ^= 1 << (bit % 8);
            if bit % 100 == 99 {
                let got = receive_all(&b, if bit == 99 { 101 } else { 100 });
                assert_eq!(got.corrupted, 100);
                let in_head = got.index.iter().filter(|&&i| i == -1).count();
                assert_eq!(
                    in_head as i64,
                    (PROBE_BYTES as i64 * 8 - (bit as i64 - 99)).clamp(0, 100)
                );
            }
        }
    }

    #[test]
    fn strangers_are_counted_apart_and_silence_ends_the_wait() {
        let (a, b) = pair();
        a.send(&[0; 50]).unwrap();
        let got = receive_all(&b, 5);
        assert_eq!((got.count, got.foreign), (0, 1));
    }

    #[test]
    fn impossible_plans_are_refused() {
        let (a, _b) = pair();
        for (size_bytes, segments) in [(23, 1), (1200, 65), (1200, 0), (60_000, 2)] {
            let plan = SendPlan {
                count: 1,
                size_bytes,
                interval_ns: 0,
                segments,
                first_index: 0,
            };
            assert!(send(a.as_raw_fd(), &plan, || true).is_err());
        }
    }
}
