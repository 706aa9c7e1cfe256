//! The TUN pump around the link model: real packets between two network namespaces.
//!
//! Two TUN devices, one in each namespace, meet in one thread. Each packet that is read is cut into its datagrams,
//! the model decides about every one (also within a UDP_SEGMENT train, which passes a TUN whole), and survivors that
//! leave together are joined into one packet again. Only UDP takes packet numbers, so that no ICMP or neighbour
//! discovery shifts the draws; everything else passes after the delay alone.

mod engine;
mod lane;
mod lateness;
mod log;
mod pool;
mod schedule;
#[cfg(test)]
mod tests;
mod wire;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::emulate::{LinkCounters, LinkModel, LinkSpec, LinkSpecError};
use crate::transport::clock::monotonic_ns;
use crate::transport::wake::Waker;

use engine::{Command, Engine};
pub use lane::OtherCounters;
pub use lateness::LatenessSummary;
pub use log::{LogRow, LogVerdict};

/// How a pump works.
#[derive(Debug, Clone)]
pub struct PumpOptions {
    /// Ask for SCHED_FIFO, else for nice -20; [`TunPump::realtime`] says what was granted.
    pub realtime: bool,
    /// Join survivors that leave together; otherwise each datagram is written alone.
    pub coalesce: bool,
    /// Rows of the packet log between two calls of [`TunPump::take_log`]; 0 keeps none.
    pub log_rows: usize,
    /// Cap on packets in flight, both directions together; beyond it packets are dropped and counted.
    pub memory_bytes: usize,
    /// How long before a departure the thread is awake. At most a quarter of the time goes into this.
    pub spin: Duration,
    /// UDP ports of the stream at the first device's end; a datagram of any other is counted apart
    /// ([`TunPump::others`]). `None` takes every datagram for the stream's.
    pub media_ports: Option<Vec<u16>>,
}

impl Default for PumpOptions {
    fn default() -> Self {
        Self {
            realtime: false,
            coalesce: true,
            log_rows: 0,
            memory_bytes: 256 << 20,
            spin: Duration::from_micros(50),
            media_ports: None,
        }
    }
}

/// What a pump costs and what went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PumpStats {
    /// CPU time of the thread.
    pub cpu_ns: u64,
    /// Packets read, a train being one.
    pub reads: u64,
    /// Packets written.
    pub writes: u64,
    /// Writes that the device refused; their datagrams are in `dropped_overflow`.
    pub write_errors: u64,
    /// Times the thread slept.
    pub sleeps: u64,
    /// Naps taken so that the kernel does not stop a real-time thread.
    pub naps: u64,
    /// Devices that were deleted under the pump.
    pub devices_lost: u64,
    /// Memory of packet buffers.
    pub memory_bytes: u64,
    /// Log rows that did not fit.
    pub log_missed: u64,
}

/// Why a pump did not start or answer.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    /// A link spec is wrong.
    #[error(transparent)]
    Spec(#[from] LinkSpecError),
    /// A descriptor is not usable, or no thread could be started.
    #[error("TUN pump: {0}")]
    Io(#[from] io::Error),
    /// The thread has ended by a panic.
    #[error("TUN pump: its thread has died")]
    Dead,
}

/// A direction of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the first device to the second.
    AToB,
    /// Back.
    BToA,
}

enum State {
    Running {
        commands: Sender<Command>,
        thread: JoinHandle<Engine>,
    },
    Stopped(Box<Engine>),
    Dead,
}

/// A running pump; dropping it stops it.
pub struct TunPump {
    state: State,
    waker: Arc<Waker>,
    realtime: bool,
}

impl TunPump {
    /// Join two TUN descriptors, opened with vnet headers and UDP segmentation offload; both are duplicated.
    ///
    /// Trace and changes of the specs begin now.
    ///
    /// # Errors
    /// [`PumpError::Spec`] and [`PumpError::Io`].
    pub fn new(
        fds: [RawFd; 2],
        specs: [&LinkSpec; 2],
        seed: u64,
        options: &PumpOptions,
    ) -> Result<Self, PumpError> {
        let models = started_models(specs, seed)?;
        let files = [duplicate(fds[0])?, duplicate(fds[1])?];
        let mut engine = Engine::new(
            models,
            options.coalesce,
            options.log_rows,
            options.memory_bytes,
            options.media_ports.as_deref(),
        );
        let waker = Arc::new(Waker::new()?);
        let (commands, inbox) = channel();
        let (ready, is_ready) = channel();
        let spin_ns = options.spin.as_nanos() as u64;
        let wants_realtime = options.realtime;
        let thread_waker = Arc::clone(&waker);
        let thread = std::thread::Builder::new()
            .name("pf-tun-pump".into())
            .spawn(move || {
                sharpen_timers();
                let realtime = wants_realtime && become_realtime();
                let _ = ready.send(realtime);
                engine.run(files, &thread_waker, &inbox, spin_ns, realtime);
                engine
            })?;
        Ok(Self {
            realtime: is_ready.recv().unwrap_or(false),
            state: State::Running { commands, thread },
            waker,
        })
    }

    /// Whether the thread runs under SCHED_FIFO.
    #[must_use]
    pub fn realtime(&self) -> bool {
        self.realtime
    }

    /// Counts of both directions, a to b first.
    ///
    /// # Errors
    /// [`PumpError::Dead`], as for every question.
    pub fn counters(&mut self) -> Result<[LinkCounters; 2], PumpError> {
        self.ask(|engine| engine.counters())
    }

    /// Datagrams of no port of [`PumpOptions::media_ports`], a to b first; they are in the other counts too.
    ///
    /// # Errors
    /// [`PumpError::Dead`].
    pub fn others(&mut self) -> Result<[OtherCounters; 2], PumpError> {
        self.ask(|engine| engine.others())
    }

    /// How late datagrams left, both directions together.
    ///
    /// # Errors
    /// [`PumpError::Dead`].
    pub fn lateness(&mut self) -> Result<LatenessSummary, PumpError> {
        self.ask(|engine| engine.lateness())
    }

    /// Log rows that were completed since the last call.
    ///
    /// # Errors
    /// [`PumpError::Dead`].
    pub fn take_log(&mut self) -> Result<Vec<LogRow>, PumpError> {
        self.ask(Engine::take_log)
    }

    /// What the pump costs and what went wrong.
    ///
    /// # Errors
    /// [`PumpError::Dead`].
    pub fn stats(&mut self) -> Result<PumpStats, PumpError> {
        self.ask(|engine| engine.stats())
    }

    /// Apply another spec now; its trace and changes begin now, packet numbers and counters stay.
    ///
    /// # Errors
    /// [`PumpError::Spec`], where the old spec still applies, and [`PumpError::Dead`].
    pub fn set_spec(&mut self, direction: Direction, spec: &LinkSpec) -> Result<(), PumpError> {
        spec.validate()?;
        let spec = spec.clone();
        self.ask(move |engine| {
            let model = &mut engine.lane_mut(direction as usize).model;
            model.set_spec(&spec, monotonic_ns())
        })??;
        Ok(())
    }

    /// Begin anew: models from packet 0 of `seed`, empty counters, lateness and log. What is in flight is forgotten.
    ///
    /// # Errors
    /// [`PumpError::Spec`], where the old link still applies, and [`PumpError::Dead`].
    pub fn restart(&mut self, specs: [&LinkSpec; 2], seed: u64) -> Result<(), PumpError> {
        let models = started_models(specs, seed)?;
        self.ask(move |engine| engine.restart(models))
    }

    /// End the thread. Questions are still answered from what it left behind.
    ///
    /// # Errors
    /// [`PumpError::Dead`] when it had panicked.
    pub fn stop(&mut self) -> Result<(), PumpError> {
        match std::mem::replace(&mut self.state, State::Dead) {
            State::Running { commands, thread } => {
                let _ = commands.send(Box::new(Engine::stop));
                self.waker.wake();
                let engine = thread.join().map_err(|_| PumpError::Dead)?;
                self.state = State::Stopped(Box::new(engine));
                Ok(())
            }
            State::Stopped(engine) => {
                self.state = State::Stopped(engine);
                Ok(())
            }
            State::Dead => Err(PumpError::Dead),
        }
    }

    fn ask<R: Send + 'static>(
        &mut self,
        question: impl FnOnce(&mut Engine) -> R + Send + 'static,
    ) -> Result<R, PumpError> {
        match &mut self.state {
            State::Running { commands, .. } => {
                let (reply, answer) = channel();
                let command: Command = Box::new(move |engine| {
                    let _ = reply.send(question(engine));
                });
                commands.send(command).map_err(|_| PumpError::Dead)?;
                self.waker.wake();
                answer.recv().map_err(|_| PumpError::Dead)
            }
            State::Stopped(engine) => Ok(question(engine)),
            State::Dead => Err(PumpError::Dead),
        }
    }
}

impl Drop for TunPump {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn started_models(specs: [&LinkSpec; 2], seed: u64) -> Result<[LinkModel; 2], LinkSpecError> {
    let now_ns = monotonic_ns();
    let mut models = [
        LinkModel::new(specs[0], seed, 0)?,
        LinkModel::new(specs[1], seed, 1)?,
    ];
    models.iter_mut().for_each(|model| model.start(now_ns));
    Ok(models)
}

fn duplicate(fd: RawFd) -> io::Result<File> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the borrow ends with this statement; a closed descriptor makes the dup fail with EBADF.
    let file = File::from(unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?);
    let raw = file.as_raw_fd();
    // SAFETY: F_GETFL and F_SETFL take no pointers, and `raw` is open.
    let failed = unsafe {
        let flags = libc::fcntl(raw, libc::F_GETFL);
        flags < 0 || libc::fcntl(raw, libc::F_SETFL, flags | libc::O_NONBLOCK) < 0
    };
    if failed {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

/// Wake up when asked and not up to 50 us later, which is the default of a thread that is not real-time.
fn sharpen_timers() {
    // SAFETY: this prctl takes a value and concerns the calling thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// SCHED_FIFO for the calling thread, else nice -20, else nothing; whether it is SCHED_FIFO now.
fn become_realtime() -> bool {
    let parameters = libc::sched_param { sched_priority: 20 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameters are valid for the call; 0 is the calling thread.
    if unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } == 0 {
        return true;
    }
    // SAFETY: no pointers are passed; on Linux 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    false
}
