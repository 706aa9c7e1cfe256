//! A host session with its own send thread.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::Closed;
use super::thread::{StreamThread, lock, sleep_until};
use crate::packetize::SubmitError;
use crate::session::HostSession;
use crate::session::host::{Shared, SubmitStamps, Submitter, Transmitter};
use crate::transport::clock::monotonic_ns;
use crate::transport::udp::{EdgeOptions, Refusals, UdpEdge};
use crate::transport::wake::Waker;

/// What a host's stream asks of its socket.
#[derive(Clone, Copy, Debug)]
pub struct HostOptions {
    /// Send trains by one call (UDP_SEGMENT) where the route takes them.
    pub gso: bool,
    /// Send buffer to ask for.
    pub send_buffer_bytes: usize,
    /// Let the thread preempt normal ones (SCHED_FIFO), where this process may.
    pub realtime: bool,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            gso: true,
            send_buffer_bytes: 8 << 20,
            realtime: false,
        }
    }
}

/// An access unit that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The stream was closed.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// No packets can carry it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

#[derive(Default)]
struct State {
    /// Something was queued since the thread looked.
    work: bool,
    /// The thread found nothing to send when it last looked.
    idle: bool,
    closed: bool,
}

#[derive(Default)]
struct Signals {
    state: Mutex<State>,
    work: Condvar,
    idle: Condvar,
    closed: AtomicBool,
}

/// What the thread's socket has done, for other threads to read.
#[derive(Default)]
struct SocketStats {
    gso: AtomicBool,
    send_calls: AtomicU64,
    would_block: AtomicU64,
    no_buffers: AtomicU64,
    too_big: AtomicU64,
    other: AtomicU64,
    refused: AtomicU64,
    /// Those that nobody has taken yet.
    refusals: Mutex<Refusals>,
}

impl SocketStats {
    fn publish(&self, edge: &mut UdpEdge) {
        let c = edge.counters();
        self.gso.store(edge.gso(), Relaxed);
        self.send_calls.store(c.send_calls, Relaxed);
        self.would_block.store(c.dropped_would_block, Relaxed);
        self.no_buffers.store(c.dropped_no_buffers, Relaxed);
        self.too_big.store(c.dropped_too_big, Relaxed);
        self.other.store(c.dropped_other, Relaxed);
        if c.refused != self.refused.swap(c.refused, Relaxed) {
            lock(&self.refusals).add(&edge.take_refusals());
        }
    }
}

/// Takes access units from any thread and sends their packets from its own.
pub struct HostStream {
    submitter: Mutex<Submitter>,
    shared: Arc<Shared>,
    signals: Arc<Signals>,
    socket: Arc<SocketStats>,
    send_buffer_granted: usize,
    waker: Arc<Waker>,
    thread: StreamThread,
}

impl HostStream {
    /// Start the thread that sends a session's packets on a duplicate of `fd`, a connected UDP socket.
    ///
    /// # Errors
    /// The descriptor is no UDP socket, or the process is out of descriptors or threads.
    pub fn start(session: HostSession, fd: RawFd, options: HostOptions) -> io::Result<Self> {
        let HostSession {
            submitter,
            transmitter,
        } = session;
        let mut edge = UdpEdge::new(
            fd,
            &EdgeOptions {
                gso: options.gso,
                gro: false,
                send_buffer_bytes: options.send_buffer_bytes,
                receive_buffer_bytes: 0,
                ..EdgeOptions::default()
            },
        )?;
        let shared = Arc::clone(submitter.shared());
        let signals = Arc::new(Signals::default());
        let socket = Arc::new(SocketStats::default());
        socket.publish(&mut edge);
        let (send_buffer_granted, waker) = (edge.send_buffer_granted(), edge.waker());
        let body = {
            let (signals, socket) = (Arc::clone(&signals), Arc::clone(&socket));
            move || send_loop(transmitter, edge, &signals, &socket)
        };
        Ok(Self {
            submitter: Mutex::new(submitter),
            shared,
            signals,
            socket,
            send_buffer_granted,
            waker,
            thread: StreamThread::start("pf-send", options.realtime, body)?,
        })
    }

    /// Seal an access unit on the calling thread and queue its packets; never waits for the network.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn submit(
        &self,
        access_unit: &[u8],
        pts_ns: u64,
        flags: u32,
        stamps: SubmitStamps,
    ) -> Result<u32, HostError> {
        if self.signals.closed.load(Relaxed) {
            return Err(Closed.into());
        }
        let index =
            lock(&self.submitter).submit(access_unit, pts_ns, flags, stamps, monotonic_ns)?;
        let mut state = lock(&self.signals.state);
        state.work = true;
        state.idle = false;
        drop(state);
        self.signals.work.notify_one();
        Ok(index)
    }

    /// What both halves of the session share: rates, records, recovery requests.
    #[must_use]
    pub fn session(&self) -> &Shared {
        &self.shared
    }

    /// Counters by name.
    #[must_use]
    pub fn stats(&self) -> Vec<(String, u64)> {
        let mut stats: Vec<_> = self
            .shared
            .stats
            .entries()
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect();
        let socket = &self.socket;
        for (name, value) in [
            ("records_dropped", self.shared.records_dropped()),
            ("send_calls", socket.send_calls.load(Relaxed)),
            ("gso", u64::from(socket.gso.load(Relaxed))),
            ("send_buffer_granted", self.send_buffer_granted as u64),
            ("socket_would_block", socket.would_block.load(Relaxed)),
            ("socket_no_buffers", socket.no_buffers.load(Relaxed)),
            ("socket_too_big", socket.too_big.load(Relaxed)),
            ("socket_other", socket.other.load(Relaxed)),
            ("socket_refused", socket.refused.load(Relaxed)),
            ("realtime", u64::from(self.thread.realtime())),
            ("cpu_ns", self.thread.cpu_ns()),
        ] {
            stats.push((name.to_owned(), value));
        }
        stats
    }

    /// The refusals since the last call: the client's data port is closed, or not open yet.
    #[must_use]
    pub fn take_refusals(&self) -> Refusals {
        std::mem::take(&mut *lock(&self.socket.refusals))
    }

    /// Wait until everything that was submitted has left; false when that took longer than `timeout`.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = lock(&self.signals.state);
        while !state.idle && !state.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self
                .signals
                .idle
                .wait_timeout(state, left)
                .unwrap_or_else(|e| e.into_inner())
                .0;
        }
        state.idle
    }

    /// End the thread and wait for it; what has not left yet is dropped and counted. May be called again.
    pub fn close(&self) {
        lock(&self.signals.state).closed = true;
        self.signals.closed.store(true, Relaxed);
        self.signals.work.notify_all();
        self.waker.wake();
        self.thread.join();
    }
}

impl Drop for HostStream {
    fn drop(&mut self) {
        self.close();
    }
}

fn send_loop(
    mut transmitter: Transmitter,
    mut edge: UdpEdge,
    signals: &Signals,
    socket: &SocketStats,
) {
    loop {
        while let Some(train) = transmitter.poll_transmit(monotonic_ns()) {
            let outcome = edge.send_train(train.bytes, train.segment);
            transmitter.sent(
                monotonic_ns(),
                outcome.packets_sent as u32,
                outcome.packets_dropped as u32,
            );
            socket.publish(&mut edge);
            if signals.closed.load(Relaxed) {
                break;
            }
        }
        if signals.closed.load(Relaxed) {
            break;
        }
        if let Some(at_ns) = transmitter.next_timeout() {
            sleep_until(at_ns);
            continue;
        }
        let mut state = lock(&signals.state);
        if !state.work && !state.closed {
            state.idle = true;
            signals.idle.notify_all();
        }
        while !state.work && !state.closed {
            state = signals.work.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        state.work = false;
    }
    transmitter.abandon();
    lock(&signals.state).idle = true;
    signals.idle.notify_all();
}
