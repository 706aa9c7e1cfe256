//! A client session with its own receive thread.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::thread::{StreamThread, lock};
use super::{Closed, StartError};
use crate::reassemble::Placed;
use crate::session::client::Frame;
use crate::session::{BlockReport, ClientSession, FLAGS_DECODABLE, Receipt, StreamConfig};
use crate::stats::ClientRecord;
use crate::transport::clock::monotonic_ns;
use crate::transport::udp::{EdgeOptions, Received, UdpEdge};
use crate::transport::wake::Waker;
use crate::wire::punktfunk1::MAX_DATAGRAM_BYTES;

/// Longest wait for a datagram; only the thread's statistics depend on it.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// What a client's stream asks of its socket and keeps for its reader.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// Frames that may wait for [`ClientStream::next_frame`].
    pub queue_frames: usize,
    /// Let the kernel hand over trains joined (UDP_GRO).
    pub gro: bool,
    /// Receive buffer to ask for.
    pub receive_buffer_bytes: usize,
    /// Keep a record of each frame.
    pub record_frames: bool,
    /// Let the thread preempt normal ones (SCHED_FIFO), where this process may.
    pub realtime: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            queue_frames: 16,
            gro: true,
            receive_buffer_bytes: 32 << 20,
            record_frames: true,
            realtime: false,
        }
    }
}

/// What came of waiting for a frame.
#[derive(Debug)]
pub enum NextFrame {
    /// The next one in turn.
    Frame(Frame),
    /// None in time.
    TimedOut,
}

#[derive(Default)]
struct Ready {
    frames: VecDeque<Frame>,
    closed: bool,
}

struct Inner {
    session: Mutex<ClientSession>,
    ready: Mutex<Ready>,
    arrived: Condvar,
    queue_frames: usize,
    hold_undecodable: bool,
    closed: AtomicBool,
    kernel_dropped: AtomicU64,
    receive_calls: AtomicU64,
    /// When the last packet came that is the host's; 0 before the first.
    last_packet_ns: AtomicU64,
}

/// Receives on its own thread; hands out access units in order.
pub struct ClientStream {
    inner: Arc<Inner>,
    gro: bool,
    receive_buffer_granted: usize,
    waker: Arc<Waker>,
    thread: StreamThread,
}

impl ClientStream {
    /// Start the thread on a duplicate of `fd`, a connected UDP socket, for a session of punktfunk/1.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        config: StreamConfig,
        fd: RawFd,
        options: ClientOptions,
    ) -> Result<Self, StartError> {
        let session = ClientSession::new(config, options.record_frames)?;
        Ok(Self::with_session(session, fd, options)?)
    }

    /// Start the thread on a duplicate of `fd`, a connected UDP socket. Whether frames are recorded is the session's.
    ///
    /// # Errors
    /// The descriptor is no UDP socket, or the process is out of descriptors or threads.
    pub fn with_session(
        session: ClientSession,
        fd: RawFd,
        options: ClientOptions,
    ) -> io::Result<Self> {
        let hold_undecodable = session.holds_undecodable();
        let edge = UdpEdge::new(
            fd,
            &EdgeOptions {
                gso: false,
                gro: options.gro,
                send_buffer_bytes: 0,
                receive_buffer_bytes: options.receive_buffer_bytes,
                max_datagram_bytes: MAX_DATAGRAM_BYTES,
                ..EdgeOptions::default()
            },
        )?;
        let inner = Arc::new(Inner {
            session: Mutex::new(session),
            ready: Mutex::new(Ready::default()),
            arrived: Condvar::new(),
            queue_frames: options.queue_frames.max(1),
            hold_undecodable,
            closed: AtomicBool::new(false),
            kernel_dropped: AtomicU64::new(0),
            receive_calls: AtomicU64::new(0),
            last_packet_ns: AtomicU64::new(0),
        });
        let (gro, waker) = (edge.gro(), edge.waker());
        let receive_buffer_granted = edge.receive_buffer_granted();
        let body = {
            let inner = Arc::clone(&inner);
            move || receive_loop(&inner, edge)
        };
        Ok(Self {
            inner,
            gro,
            receive_buffer_granted,
            waker,
            thread: StreamThread::start("pf-recv", options.realtime, body)?,
        })
    }

    /// Wait for the next frame in turn. Frames that were ready when the stream was closed are still handed out.
    ///
    /// # Errors
    /// [`Closed`] when the stream is closed and nothing is left.
    pub fn next_frame(&self, timeout: Duration) -> Result<NextFrame, Closed> {
        let deadline = Instant::now() + timeout;
        let mut ready = lock(&self.inner.ready);
        loop {
            if let Some(mut frame) = ready.frames.pop_front() {
                frame.take_over();
                return Ok(NextFrame::Frame(frame));
            }
            if ready.closed {
                return Err(Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(NextFrame::TimedOut);
            }
            let waited = self.inner.arrived.wait_timeout(ready, left);
            ready = waited.unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// True when a key frame should be asked for; see [`ClientSession::take_recovery_request`].
    #[must_use]
    pub fn take_recovery_request(&self, retry: Option<Duration>) -> bool {
        let retry_ns = retry.map(|r| r.as_nanos() as u64);
        lock(&self.inner.session).take_recovery_request(monotonic_ns(), retry_ns)
    }

    /// The loss report over the time since the last one, ppm.
    #[must_use]
    pub fn take_loss_report_ppm(&self) -> u32 {
        lock(&self.inner.session).take_loss_report_ppm()
    }

    /// What came of blocks that did not come whole; see [`ClientSession::take_block_reports`].
    #[must_use]
    pub fn take_block_reports(&self) -> Vec<BlockReport> {
        lock(&self.inner.session).take_block_reports()
    }

    /// The records of the frames whose books were closed since the last call.
    #[must_use]
    pub fn take_records(&self) -> Vec<ClientRecord> {
        lock(&self.inner.session).take_records()
    }

    /// Note how much the host sent to a stream that is closed, so that what was lost at the very end is counted.
    pub fn settle(&self, frames: u64, packets: u64) {
        lock(&self.inner.session).settle(Some((frames, packets)), monotonic_ns());
    }

    /// When the last packet came that the host has sealed, ns of `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn last_packet_ns(&self) -> Option<u64> {
        match self.inner.last_packet_ns.load(Relaxed) {
            0 => None,
            at => Some(at),
        }
    }

    /// Counters by name.
    #[must_use]
    pub fn stats(&self) -> Vec<(String, u64)> {
        let session = lock(&self.inner.session);
        let mut stats: Vec<_> = session
            .stats()
            .entries()
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect();
        stats.extend(session.rejections().entries());
        let records_dropped = session.records_dropped();
        drop(session);
        for (name, value) in [
            ("records_dropped", records_dropped),
            ("receive_buffer_granted", self.receive_buffer_granted as u64),
            ("kernel_dropped", self.inner.kernel_dropped.load(Relaxed)),
            ("receive_calls", self.inner.receive_calls.load(Relaxed)),
            ("gro", u64::from(self.gro)),
            ("realtime", u64::from(self.thread.realtime())),
            ("slice_ns", self.thread.slice_ns()),
            ("cpu_ns", self.thread.cpu_ns()),
        ] {
            stats.push((name.to_owned(), value));
        }
        stats
    }

    /// End the thread and wait for it; every frame's books are closed then. May be called again.
    pub fn close(&self) {
        self.inner.closed.store(true, Relaxed);
        self.waker.wake();
        self.thread.join();
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    /// Move frames that are in turn to the reader's queue.
    fn hand_over(&self, session: &mut ClientSession) {
        let mut any = false;
        let mut dropped = 0;
        while let Some(frame) = session.poll_frame() {
            let mut ready = lock(&self.ready);
            ready.frames.push_back(frame);
            if ready.frames.len() > self.queue_frames {
                dropped += self.make_room(&mut ready.frames);
            }
            any = true;
        }
        if dropped > 0 {
            let mended = lock(&self.ready)
                .frames
                .front()
                .is_some_and(|f| f.flags & FLAGS_DECODABLE != 0);
            session.dropped_downstream(dropped, mended);
        }
        if any {
            self.arrived.notify_one();
        }
    }

    /// Drop the oldest frame and what can no longer be decoded without it.
    fn make_room(&self, frames: &mut VecDeque<Frame>) -> u64 {
        let mut dropped = 0;
        while let Some(front) = frames.front() {
            let useful = !self.hold_undecodable || front.flags & FLAGS_DECODABLE != 0;
            if dropped > 0 && useful {
                break;
            }
            frames.pop_front();
            dropped += 1;
        }
        dropped
    }
}

fn receive_loop(inner: &Inner, mut edge: UdpEdge) {
    let mut deadline_ns = None;
    while !inner.closed.load(Relaxed) {
        let timeout = deadline_ns.map_or(LONGEST_WAIT, |at: u64| {
            Duration::from_nanos(at.saturating_sub(monotonic_ns())).min(LONGEST_WAIT)
        });
        // Taken at the first datagram, not while waiting for it, and kept for the batch.
        let mut held: Option<MutexGuard<'_, ClientSession>> = None;
        let received = edge.receive(Some(timeout), |datagram| {
            let session = held.get_or_insert_with(|| lock(&inner.session));
            let receipt = session.receive(datagram.bytes, datagram.received_ns);
            if matches!(receipt, Receipt::Placed(_)) {
                inner
                    .last_packet_ns
                    .store(datagram.received_ns.max(1), Relaxed);
            }
            if receipt == Receipt::Placed(Placed::Completed) {
                session.advance(monotonic_ns());
                inner.hand_over(session);
            }
        });
        if received == Received::Woken {
            break;
        }
        let mut session = held.unwrap_or_else(|| lock(&inner.session));
        session.advance(monotonic_ns());
        inner.hand_over(&mut session);
        deadline_ns = session.next_timeout();
        drop(session);
        inner
            .receive_calls
            .store(edge.counters().receive_calls, Relaxed);
        inner.kernel_dropped.store(edge.kernel_dropped(), Relaxed);
    }
    let mut session = lock(&inner.session);
    session.settle(None, monotonic_ns());
    inner.hand_over(&mut session);
    drop(session);
    inner.kernel_dropped.store(edge.kernel_dropped(), Relaxed);
    lock(&inner.ready).closed = true;
    inner.arrived.notify_all();
}
