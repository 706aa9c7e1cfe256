//! Trains of datagrams out: UDP_SEGMENT, else sendmmsg, else send.

use std::os::fd::AsRawFd;
use std::time::Instant;

use super::super::wake::{Wait, wait};
use super::UdpEdge;

/// Most datagrams of one UDP_SEGMENT call (UDP_MAX_SEGMENTS of kernels before 6.9).
pub const MAX_TRAIN_SEGMENTS: usize = 64;
/// Most bytes of one UDP_SEGMENT call: 65535 less the headers of IPv6 and UDP.
pub const MAX_TRAIN_BYTES: usize = 65_487;

/// What became of one train.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendOutcome {
    /// Datagrams that the kernel took.
    pub packets_sent: usize,
    /// Datagrams that it did not take; [`super::EdgeCounters`] says why.
    pub packets_dropped: usize,
}

/// Datagrams of one sendmmsg call.
const MMSG_BATCH: usize = 64;

enum Failure {
    /// Room may come: the send buffer is full.
    Full,
    /// An error of an earlier datagram was delivered; this one may be sent now.
    Refused,
    /// The route takes no UDP_SEGMENT.
    NoGso,
    TooBig,
    NoBuffers,
    Other,
}

impl UdpEdge {
    /// Whether a train can be sent without waiting: half of the send buffer is free.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let mut queued: libc::c_int = 0;
        // SAFETY: SIOCOUTQ (the number of TIOCOUTQ) writes one int.
        let known =
            unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) } == 0;
        // The kernel books up to twice what was granted.
        known && (queued as usize) < self.send_buffer_granted
    }

    /// Send `buf` as datagrams of `segment_bytes` each, the last one possibly shorter.
    ///
    /// Waits up to `send_wait` for room in the send buffer. Never fails: what the kernel refuses is counted.
    ///
    /// # Panics
    /// When `segment_bytes` is 0.
    pub fn send_train(&mut self, buf: &[u8], segment_bytes: usize) -> SendOutcome {
        assert!(segment_bytes > 0, "segment_bytes must not be 0");
        let mut outcome = SendOutcome::default();
        let per_call = (MAX_TRAIN_BYTES / segment_bytes).clamp(1, MAX_TRAIN_SEGMENTS);
        let mut deadline = None;
        let mut refusals = 0;
        let mut rest = buf;
        while !rest.is_empty() {
            let segments = rest.len().div_ceil(segment_bytes);
            let as_train = self.gso && segments > 1 && per_call > 1;
            let tried = if as_train {
                segments.min(per_call)
            } else {
                segments
            };
            self.counters.send_calls += 1;
            let result = if as_train {
                let bytes = rest.len().min(tried * segment_bytes);
                self.send_segmented(&rest[..bytes], segment_bytes)
                    .map(|()| tried)
            } else if segments == 1 {
                self.send_one(rest).map(|()| 1)
            } else {
                self.send_many(rest, segment_bytes)
            };
            // What this round settles, in datagrams: sent, or dropped for good.
            let settled = match result {
                Ok(sent) => {
                    outcome.packets_sent += sent;
                    self.counters.packets_sent += sent as u64;
                    self.counters.bytes_sent += rest.len().min(sent * segment_bytes) as u64;
                    refusals = 0;
                    sent
                }
                Err(Failure::Full) => {
                    let until = *deadline.get_or_insert_with(|| Instant::now() + self.send_wait);
                    let left = until.saturating_duration_since(Instant::now());
                    let fds = [self.socket.as_raw_fd()];
                    if !left.is_zero()
                        && wait(&fds, libc::POLLOUT, &self.waker, Some(left)) == Wait::Ready
                    {
                        continue;
                    }
                    self.counters.dropped_would_block += segments as u64;
                    outcome.packets_dropped += segments;
                    segments
                }
                Err(Failure::Refused) => {
                    self.refused();
                    refusals += 1;
                    // On loopback every send is answered at once: do not try for ever.
                    if refusals < 3 {
                        continue;
                    }
                    self.counters.dropped_other += 1;
                    outcome.packets_dropped += 1;
                    1
                }
                Err(Failure::NoGso) => {
                    self.gso = false;
                    continue;
                }
                Err(failure) => {
                    // All but the last are of one size, so what is too big for one is too big for its call.
                    let dropped = if as_train { tried } else { 1 };
                    let counter = match failure {
                        Failure::TooBig => &mut self.counters.dropped_too_big,
                        Failure::NoBuffers => &mut self.counters.dropped_no_buffers,
                        _ => &mut self.counters.dropped_other,
                    };
                    *counter += dropped as u64;
                    outcome.packets_dropped += dropped;
                    dropped
                }
            };
            rest = &rest[rest.len().min(settled * segment_bytes)..];
        }
        outcome
    }

    fn send_one(&self, packet: &[u8]) -> Result<(), Failure> {
        // SAFETY: pointer and length describe `packet`.
        let sent = unsafe {
            libc::send(
                self.socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        if sent >= 0 {
            Ok(())
        } else {
            Err(failure(false))
        }
    }

    fn send_segmented(&self, train: &[u8], segment_bytes: usize) -> Result<(), Failure> {
        // One control message with a u16: CMSG_SPACE(2) is 24; u64s give it the alignment of a cmsghdr.
        let mut control = [0u64; 4];
        let mut part = libc::iovec {
            iov_base: train.as_ptr().cast_mut().cast(),
            iov_len: train.len(),
        };
        // SAFETY: all zeroes is a valid msghdr.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: `control` has room for CMSG_SPACE(2) bytes and is aligned; the first header lies in it, and the
        // kernel only reads `train` through the iovec.
        let sent = unsafe {
            message.msg_controllen = libc::CMSG_SPACE(2) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_UDP;
            (*header).cmsg_type = libc::UDP_SEGMENT;
            (*header).cmsg_len = libc::CMSG_LEN(2) as _;
            libc::CMSG_DATA(header)
                .cast::<u16>()
                .write_unaligned(segment_bytes as u16);
            libc::sendmsg(
                self.socket.as_raw_fd(),
                &raw const message,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        if sent >= 0 {
            Ok(())
        } else {
            Err(failure(true))
        }
    }

    /// As many of the datagrams in `rest` as one sendmmsg takes; at least one on success.
    fn send_many(&self, rest: &[u8], segment_bytes: usize) -> Result<usize, Failure> {
        // SAFETY: all zeroes is a valid iovec and a valid mmsghdr.
        let (mut parts, mut messages): ([libc::iovec; MMSG_BATCH], [libc::mmsghdr; MMSG_BATCH]) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let mut count = 0;
        for packet in rest.chunks(segment_bytes).take(MMSG_BATCH) {
            parts[count].iov_base = packet.as_ptr().cast_mut().cast();
            parts[count].iov_len = packet.len();
            messages[count].msg_hdr.msg_iov = &raw mut parts[count];
            messages[count].msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        // SAFETY: the first `count` messages point to initialised iovecs in `parts`, which point into `rest`.
        let sent = unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                messages.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        if sent > 0 {
            return Ok(sent as usize);
        }
        if std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
            // Sandboxes that know send but not sendmmsg.
            return self.send_one(&rest[..segment_bytes]).map(|()| 1);
        }
        Err(failure(false))
    }
}

fn failure(segmented: bool) -> Failure {
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR) => Failure::Full,
        Some(libc::ECONNREFUSED) => Failure::Refused,
        // EINVAL: a segment is larger than the route's MTU, or no checksum; EIO: no checksum offload.
        Some(libc::EINVAL | libc::EIO | libc::EOPNOTSUPP) if segmented => Failure::NoGso,
        Some(libc::EMSGSIZE) => Failure::TooBig,
        Some(libc::ENOBUFS | libc::ENOMEM) => Failure::NoBuffers,
        _ => Failure::Other,
    }
}
