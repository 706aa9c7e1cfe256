//! A host session on a socket: what may leave at once is sent by the thread that submits, the rest by one of its own.
//!
//! A wake-up costs as much CPU as sending forty packets. A frame within the pacer's burst therefore needs none, and the thread
//! sleeps until the rest of a longer one is due.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use super::Closed;
use super::alarm::Alarm;
use super::thread::{StreamThread, lock};
use crate::packetize::SubmitError;
use crate::session::HostSession;
use crate::session::host::{Shared, SubmitStamps, Submitter, Transmitter};
use crate::transport::clock::{monotonic_ns, thread_cpu_ns};
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

struct State {
    /// Something was queued since the last look at the queue.
    work: bool,
    /// Nothing is left to send.
    idle: bool,
    closed: bool,
    /// Callers of `flush` that wait.
    flushing: u32,
}

/// Where packets leave, for one thread at a time.
struct Exit {
    transmitter: Transmitter,
    edge: UdpEdge,
}

/// What the submitting threads and the sending one share.
struct Sending {
    exit: Mutex<Exit>,
    /// Wakes the sending thread.
    alarm: Alarm,
    state: Mutex<State>,
    idle: Condvar,
    closed: AtomicBool,
    socket: SocketStats,
}

impl Sending {
    /// The exit, where no other thread is sending.
    fn try_exit(&self) -> Option<MutexGuard<'_, Exit>> {
        match self.exit.try_lock() {
            Ok(exit) => Some(exit),
            Err(TryLockError::Poisoned(exit)) => Some(exit.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Send all that may leave now, and set the alarm for the rest.
    fn send_due(&self, exit: &mut Exit) {
        lock(&self.state).work = false;
        let Exit { transmitter, edge } = exit;
        while let Some(train) = transmitter.poll_transmit(monotonic_ns()) {
            let outcome = edge.send_train(train.bytes, train.segment);
            transmitter.sent(
                monotonic_ns(),
                outcome.packets_sent as u32,
                outcome.packets_dropped as u32,
            );
            self.socket.publish(edge);
            if self.closed.load(Relaxed) {
                return;
            }
        }
        if let Some(at_ns) = transmitter.next_timeout() {
            self.alarm.set(at_ns);
            if self.closed.load(Relaxed) {
                // Whoever closes the stream has rung, which the line above may have taken back.
                self.alarm.ring();
            }
            return;
        }
        let mut state = lock(&self.state);
        // Who has queued something meanwhile finds the exit taken, and rings.
        if !state.work {
            state.idle = true;
            if state.flushing > 0 {
                self.idle.notify_all();
            }
        }
    }

    /// Send what may leave on the calling thread, if no other is at it and that cannot have to wait; else leave it all to
    /// the sending thread.
    fn send_at_once(&self) {
        let exit = self.try_exit().filter(|exit| exit.edge.has_room());
        let Some(mut exit) = exit else {
            self.alarm.ring();
            return;
        };
        if !self.closed.load(Relaxed) {
            let begin_ns = thread_cpu_ns();
            self.send_due(&mut exit);
            let spent_ns = thread_cpu_ns() - begin_ns;
            self.socket.cpu_at_once_ns.fetch_add(spent_ns, Relaxed);
        }
    }

    /// What the sending thread does until the stream is closed.
    fn run(&self) {
        loop {
            self.alarm.wait();
            let mut exit = lock(&self.exit);
            if self.closed.load(Relaxed) {
                exit.transmitter.abandon();
                break;
            }
            self.send_due(&mut exit);
        }
        lock(&self.state).idle = true;
        self.idle.notify_all();
    }
}

/// What the socket has done, for other threads to read.
#[derive(Default)]
struct SocketStats {
    gso: AtomicBool,
    send_calls: AtomicU64,
    would_block: AtomicU64,
    no_buffers: AtomicU64,
    too_big: AtomicU64,
    other: AtomicU64,
    refused: AtomicU64,
    /// CPU time of what submitting threads have sent.
    cpu_at_once_ns: AtomicU64,
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

/// Takes access units from any thread and sends their packets, paced.
pub struct HostStream {
    submitter: Mutex<Submitter>,
    shared: Arc<Shared>,
    sending: Arc<Sending>,
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
        let socket = SocketStats::default();
        socket.publish(&mut edge);
        let (send_buffer_granted, waker) = (edge.send_buffer_granted(), edge.waker());
        let sending = Arc::new(Sending {
            exit: Mutex::new(Exit { transmitter, edge }),
            alarm: Alarm::new()?,
            state: Mutex::new(State {
                work: false,
                idle: true,
                closed: false,
                flushing: 0,
            }),
            idle: Condvar::new(),
            closed: AtomicBool::new(false),
            socket,
        });
        let body = {
            let sending = Arc::clone(&sending);
            move || sending.run()
        };
        Ok(Self {
            submitter: Mutex::new(submitter),
            shared,
            sending,
            send_buffer_granted,
            waker,
            thread: StreamThread::start("pf-send", options.realtime, body)?,
        })
    }

    /// Seal an access unit on the calling thread, send what the pacer lets go at once and queue the rest; never waits for the
    /// network.
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
        if self.sending.closed.load(Relaxed) {
            return Err(Closed.into());
        }
        let index =
            lock(&self.submitter).submit(access_unit, pts_ns, flags, stamps, monotonic_ns)?;
        let mut state = lock(&self.sending.state);
        state.work = true;
        state.idle = false;
        drop(state);
        self.sending.send_at_once();
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
        let socket = &self.sending.socket;
        let cpu_at_once_ns = socket.cpu_at_once_ns.load(Relaxed);
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
            ("slice_ns", self.thread.slice_ns()),
            ("cpu_ns", self.thread.cpu_ns() + cpu_at_once_ns),
            ("cpu_at_once_ns", cpu_at_once_ns),
        ] {
            stats.push((name.to_owned(), value));
        }
        stats
    }

    /// The refusals since the last call: the client's data port is closed, or not open yet.
    #[must_use]
    pub fn take_refusals(&self) -> Refusals {
        std::mem::take(&mut *lock(&self.sending.socket.refusals))
    }

    /// Wait until everything that was submitted has left; false when that took longer than `timeout`.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = lock(&self.sending.state);
        state.flushing += 1;
        while !state.idle && !state.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.sending.idle.wait_timeout(state, left);
            state = waited.unwrap_or_else(|e| e.into_inner()).0;
        }
        state.flushing -= 1;
        state.idle
    }

    /// End the thread and wait for it; what has not left yet is dropped and counted. May be called again.
    pub fn close(&self) {
        lock(&self.sending.state).closed = true;
        self.sending.closed.store(true, Relaxed);
        self.sending.alarm.ring();
        self.waker.wake();
        self.thread.join();
    }
}

impl Drop for HostStream {
    fn drop(&mut self) {
        self.close();
    }
}
