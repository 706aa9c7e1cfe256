//! Batches of datagrams in: recvmmsg with UDP_GRO, kernel timestamps and the drop counter.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::super::clock::RealtimeConverter;
use super::super::wake::{Wait, wait};
use super::UdpEdge;

/// One datagram, in the batch's buffer: it may be opened in place.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// The payload.
    pub bytes: &'a mut [u8],
    /// When the kernel received it (CLOCK_MONOTONIC ns); that of the first for all of a joined train.
    pub received_ns: u64,
}

/// How a call of [`UdpEdge::receive`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// This many datagrams were handed over, at least one.
    Packets(usize),
    /// Nothing came in time.
    TimedOut,
    /// The waker was signalled.
    Woken,
}

/// Slots of a batch whose datagrams come alone.
const PLAIN_SLOTS: usize = 64;
/// Slots of a batch whose datagrams come joined, up to 64 KiB each.
const JOINED_SLOTS: usize = 8;
const JOINED_BYTES: usize = 65_536;
/// Room for SO_TIMESTAMPNS (32), UDP_GRO (24) and SO_RXQ_OVFL (24) in u64s, so that it is aligned for a cmsghdr.
const CONTROL_WORDS: usize = 16;

/// Buffers and headers of one recvmmsg call.
pub(super) struct Batch {
    slot_bytes: usize,
    bytes: Vec<u8>,
    control: Vec<[u64; CONTROL_WORDS]>,
    parts: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

// SAFETY: the raw pointers in `parts` and `messages` point into the heap blocks of this Batch only and are set anew
// before each call.
unsafe impl Send for Batch {}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("slots", &self.messages.len())
            .field("slot_bytes", &self.slot_bytes)
            .finish_non_exhaustive()
    }
}

/// What the kernel says beside a message.
#[derive(Debug, Default, Clone, Copy)]
struct Notes {
    real_ns: Option<i64>,
    segment_bytes: Option<usize>,
    drops: Option<u32>,
}

impl Batch {
    fn new(slots: usize, slot_bytes: usize) -> Self {
        // SAFETY: all zeroes is a valid iovec and a valid mmsghdr.
        let (part, message): (libc::iovec, libc::mmsghdr) = unsafe { std::mem::zeroed() };
        Self {
            slot_bytes,
            bytes: vec![0; slots * slot_bytes],
            control: vec![[0; CONTROL_WORDS]; slots],
            parts: vec![part; slots],
            messages: vec![message; slots],
        }
    }

    /// Point every message at its slot.
    fn prepare(&mut self) {
        let slots = self.bytes.chunks_exact_mut(self.slot_bytes);
        let rest = self
            .parts
            .iter_mut()
            .zip(&mut self.control)
            .zip(&mut self.messages);
        for (slot, ((part, control), message)) in slots.zip(rest) {
            part.iov_base = slot.as_mut_ptr().cast();
            part.iov_len = slot.len();
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = size_of_val(control) as _;
            message.msg_hdr.msg_flags = 0;
        }
    }

    /// One non-blocking recvmmsg (recvmsg where a sandbox knows only that); the count of filled slots.
    fn fill(&mut self, fd: libc::c_int) -> Result<usize, Option<i32>> {
        self.prepare();
        // SAFETY: every message points to one iovec, one slot and one control buffer of this batch, all of which
        // outlive the call, with their true lengths.
        let got = unsafe {
            libc::recvmmsg(
                fd,
                self.messages.as_mut_ptr(),
                self.messages.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if got >= 0 {
            return Ok(got as usize);
        }
        let error = std::io::Error::last_os_error().raw_os_error();
        if error != Some(libc::ENOSYS) {
            return Err(error);
        }
        // SAFETY: as above, for the first message.
        let length =
            unsafe { libc::recvmsg(fd, &raw mut self.messages[0].msg_hdr, libc::MSG_DONTWAIT) };
        if length < 0 {
            return Err(std::io::Error::last_os_error().raw_os_error());
        }
        self.messages[0].msg_len = length as libc::c_uint;
        Ok(1)
    }

    fn notes(&self, slot: usize) -> Notes {
        let mut notes = Notes::default();
        let header = &raw const self.messages[slot].msg_hdr;
        // SAFETY: the kernel filled msg_control and msg_controllen of this header, whose buffer lives in `control`;
        // the CMSG macros stay within msg_controllen, and each value is read in the type that the kernel writes for its
        // level and type, whose every byte pattern is a value.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(header);
            while !message.is_null() {
                match ((*message).cmsg_level, (*message).cmsg_type) {
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                        notes.real_ns = value::<libc::timespec>(message)
                            .map(|time| time.tv_sec * 1_000_000_000 + time.tv_nsec);
                    }
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        let bytes = value::<libc::c_int>(message);
                        notes.segment_bytes = bytes
                            .and_then(|bytes| usize::try_from(bytes).ok())
                            .filter(|&bytes| bytes > 0);
                    }
                    (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                        notes.drops = value::<u32>(message);
                    }
                    _ => {}
                }
                message = libc::CMSG_NXTHDR(header, message);
            }
        }
        notes
    }
}

/// What a control message carries; none where the kernel cut it, having no room for all of it: a caller's descriptor may
/// have it send more than the three messages that there is room for.
///
/// # Safety
/// `message` lies in a buffer for as many bytes as it says, and any bytes are a `T`.
unsafe fn value<T: Copy>(message: *const libc::cmsghdr) -> Option<T> {
    // SAFETY: promised by the caller; the value is read only where the message is long enough to hold it.
    unsafe {
        let whole = libc::CMSG_LEN(size_of::<T>() as libc::c_uint);
        ((*message).cmsg_len >= whole as _)
            .then(|| libc::CMSG_DATA(message).cast::<T>().read_unaligned())
    }
}

impl UdpEdge {
    /// Wait up to `timeout` (none = for ever) and hand every datagram that is there to `handle`, at most one batch.
    ///
    /// Errors of earlier sends (ECONNREFUSED) are counted and the wait goes on.
    pub fn receive(
        &mut self,
        timeout: Option<Duration>,
        mut handle: impl FnMut(Datagram<'_>),
    ) -> Received {
        let mut batch = self.batch.take().unwrap_or_else(|| {
            Box::new(if self.gro {
                Batch::new(JOINED_SLOTS, JOINED_BYTES)
            } else {
                Batch::new(PLAIN_SLOTS, self.max_datagram_bytes + 1)
            })
        });
        let received = self.receive_batch(&mut batch, timeout, &mut handle);
        self.batch = Some(batch);
        received
    }

    fn receive_batch(
        &mut self,
        batch: &mut Batch,
        timeout: Option<Duration>,
        handle: &mut impl FnMut(Datagram<'_>),
    ) -> Received {
        let deadline = timeout.map(|t| Instant::now() + t);
        let fd = self.socket.as_raw_fd();
        loop {
            if self.waker.is_signalled() {
                return Received::Woken;
            }
            self.counters.receive_calls += 1;
            match batch.fill(fd) {
                Ok(slots) => {
                    let packets = self.hand_over(batch, slots, handle);
                    if packets > 0 {
                        return Received::Packets(packets);
                    }
                    continue;
                }
                Err(Some(libc::EAGAIN | libc::EINTR)) => {}
                Err(Some(libc::ECONNREFUSED)) => {
                    self.refused();
                    continue;
                }
                // EHOSTUNREACH and the like, each delivered once: wait below so that no error can spin.
                Err(_) => {}
            }
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            match wait(&[fd], libc::POLLIN, &self.waker, left) {
                Wait::Ready => {}
                Wait::Woken => return Received::Woken,
                Wait::TimedOut if deadline.is_some_and(|d| Instant::now() >= d) => {
                    return Received::TimedOut;
                }
                Wait::TimedOut => {}
            }
        }
    }

    fn hand_over(
        &mut self,
        batch: &mut Batch,
        slots: usize,
        handle: &mut impl FnMut(Datagram<'_>),
    ) -> usize {
        let clock = RealtimeConverter::sample();
        let mut packets = 0;
        for slot in 0..slots {
            let notes = batch.notes(slot);
            if let Some(drops) = notes.drops {
                self.drops.observe(drops);
            }
            let received_ns = notes
                .real_ns
                .map_or(clock.now_ns(), |real| clock.monotonic(real));
            let length = (batch.messages[slot].msg_len as usize).min(batch.slot_bytes);
            let begin = slot * batch.slot_bytes;
            let bytes = &mut batch.bytes[begin..begin + length];
            let limit = self.max_datagram_bytes + 1;
            self.counters.bytes_received += length as u64;
            // An empty datagram is one too.
            let segment_bytes = notes.segment_bytes.unwrap_or(length).max(1);
            let mut rest = bytes;
            loop {
                let (datagram, after) = rest.split_at_mut(segment_bytes.min(rest.len()));
                rest = after;
                let shown = datagram.len().min(limit);
                self.counters.truncated += u64::from(shown == limit);
                handle(Datagram {
                    bytes: &mut datagram[..shown],
                    received_ns,
                });
                packets += 1;
                if rest.is_empty() {
                    break;
                }
            }
        }
        self.counters.packets_received += packets as u64;
        packets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of a batch whose only slot has one control message, with `there` bytes of its value.
    fn notes_of(level: libc::c_int, kind: libc::c_int, there: usize) -> Notes {
        let mut batch = Batch::new(1, 16);
        batch.prepare();
        let header = &raw mut batch.messages[0].msg_hdr;
        // SAFETY: `prepare` has pointed the header at a control buffer with room for the longest of the values.
        unsafe {
            (*header).msg_controllen = libc::CMSG_LEN(there as libc::c_uint) as _;
            let message = libc::CMSG_FIRSTHDR(header);
            (*message).cmsg_level = level;
            (*message).cmsg_type = kind;
            (*message).cmsg_len = libc::CMSG_LEN(there as libc::c_uint) as _;
            let value = libc::CMSG_DATA(message);
            value.write_bytes(0, there);
            if there > 0 {
                value.write(1);
            }
        }
        batch.notes(0)
    }

    #[test]
    fn a_control_message_that_the_kernel_cut_is_not_read() {
        for there in 0..=16 {
            let whole = there >= 4;
            let notes = notes_of(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, there);
            assert_eq!(notes.real_ns, (there == 16).then_some(1_000_000_000));
            let notes = notes_of(libc::SOL_UDP, libc::UDP_GRO, there);
            assert_eq!(notes.segment_bytes, whole.then_some(1), "{there}");
            let notes = notes_of(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, there);
            assert_eq!(notes.drops, whole.then_some(1), "{there}");
        }
    }
}
