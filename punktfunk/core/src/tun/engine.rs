//! The pump's loop: read, decide, write, and sleep until shortly before the next departure.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use crate::emulate::{LinkCounters, LinkModel};
use crate::transport::clock::{monotonic_ns, thread_cpu_ns};
use crate::transport::wake::{Wait, Waker, wait};

use super::PumpStats;
use super::lane::{Lane, OtherCounters, Sink};
use super::lateness::{Lateness, LatenessSummary};
use super::log::{LogRow, PacketLog};
use super::pool::Pool;

/// Datagrams read in one direction before departures get their turn.
const READ_DATAGRAMS: usize = 64;
/// Datagrams written in one direction before reading gets its turn.
const WRITE_DATAGRAMS: usize = 256;
/// A packet with its vnet header.
const READ_BYTES: usize = 65_536 + 64;
/// Share of the time that may go into spinning: a quarter.
const SPIN_SHARE: u64 = 4;
/// Most spinning that may be saved up.
const SPIN_SAVED_NS: u64 = 1_000_000;
/// Under SCHED_FIFO a pump that never sleeps is stopped by the kernel for 50 ms in every second
/// (sched_rt_runtime_us). It takes a nap of its own after this much work instead.
const WORK_BEFORE_NAP_NS: u64 = 2_000_000;
const NAP: Duration = Duration::from_micros(120);
/// From so many packets a second on, the thread no longer wakes for each: it sleeps so long between looks, as a network
/// card does with its interrupts. Waking costs more than moving a packet, and on a small machine a pump that always
/// preempts its sender halves what the sender can offer. Trains count as one packet.
const MODERATION: [(u64, Duration); 2] = [
    (100_000, Duration::from_micros(30)),
    (40_000, Duration::from_micros(20)),
];
const LOAD_WINDOW_NS: u64 = 5_000_000;

/// What the thread is asked.
pub(super) type Command = Box<dyn FnOnce(&mut Engine) + Send>;

/// The two TUNs, lane 0 from a to b, lane 1 back.
#[derive(Debug)]
pub(super) struct Engine {
    lanes: [Lane; 2],
    pool: Pool,
    log: PacketLog,
    stats: PumpStats,
    stopping: bool,
}

/// A TUN as a sink; `dead` once its device is gone.
#[derive(Debug)]
struct Device {
    file: File,
    dead: bool,
}

impl Sink for Device {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.file.write_vectored(parts).map(drop)
    }
}

impl Engine {
    pub(super) fn new(
        models: [LinkModel; 2],
        coalesce: bool,
        log_rows: usize,
        memory: usize,
        media_ports: Option<&[u16]>,
    ) -> Self {
        let [ab, ba] = models;
        Self {
            lanes: [
                Lane::new(ab, 0, coalesce, media_ports),
                Lane::new(ba, 1, coalesce, media_ports),
            ],
            pool: Pool::new(memory),
            log: PacketLog::new(log_rows),
            stats: PumpStats::default(),
            stopping: false,
        }
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    pub(super) fn counters(&self) -> [LinkCounters; 2] {
        [
            self.lanes[0].model.counters(),
            self.lanes[1].model.counters(),
        ]
    }

    pub(super) fn others(&self) -> [OtherCounters; 2] {
        [self.lanes[0].others, self.lanes[1].others]
    }

    pub(super) fn lateness(&self) -> LatenessSummary {
        let mut both = Lateness::default();
        for lane in &self.lanes {
            both.merge(&lane.lateness);
        }
        both.summary()
    }

    pub(super) fn take_log(&mut self) -> Vec<LogRow> {
        self.log.take()
    }

    pub(super) fn stats(&self) -> PumpStats {
        PumpStats {
            writes: self.lanes.iter().map(|lane| lane.writes).sum(),
            write_errors: self.lanes.iter().map(|lane| lane.write_errors).sum(),
            memory_bytes: self.pool.allocated_bytes() as u64,
            log_missed: self.log.missed(),
            ..self.stats
        }
    }

    pub(super) fn lane_mut(&mut self, direction: usize) -> &mut Lane {
        &mut self.lanes[direction]
    }

    /// New models, counters, lateness and log; what is on its way is forgotten.
    pub(super) fn restart(&mut self, models: [LinkModel; 2]) {
        for (lane, model) in self.lanes.iter_mut().zip(models) {
            lane.restart(&mut self.pool, model);
        }
        self.log.take();
    }

    /// Pump until told to stop; `spin_ns` before a departure the thread is awake.
    pub(super) fn run(
        &mut self,
        files: [File; 2],
        waker: &Arc<Waker>,
        commands: &Receiver<Command>,
        spin_ns: u64,
        realtime: bool,
    ) {
        let mut devices = files.map(|file| Device { file, dead: false });
        let mut buffer = vec![0; READ_BYTES];
        let mut spin = SpinBudget::new(monotonic_ns());
        let mut load = Load::new(monotonic_ns());
        let mut awake_since = monotonic_ns();
        loop {
            if waker.is_signalled() {
                waker.clear();
                self.stats.cpu_ns = thread_cpu_ns();
                loop {
                    match commands.try_recv() {
                        Ok(command) => command(self),
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => return,
                    }
                }
                if self.stopping {
                    return;
                }
            }
            let (mut moved, mut backlog) = (0, false);
            for direction in 0..2 {
                let read = self.read(direction, &mut devices[direction], &mut buffer);
                let left = self.lanes[direction].depart(
                    &mut self.pool,
                    &mut self.log,
                    &mut devices[1 - direction],
                    monotonic_ns(),
                    WRITE_DATAGRAMS,
                );
                moved += read + left;
                backlog |= read >= READ_DATAGRAMS || left >= WRITE_DATAGRAMS;
            }
            let now_ns = monotonic_ns();
            load.observe(now_ns, self.events());
            if let Some(pause) = load.pause.filter(|_| !backlog) {
                self.stats.sleeps += 1;
                std::thread::sleep(pause);
                awake_since = monotonic_ns();
                continue;
            }
            if moved > 0 {
                if realtime && now_ns - awake_since > WORK_BEFORE_NAP_NS {
                    std::thread::sleep(NAP);
                    self.stats.naps += 1;
                    awake_since = monotonic_ns();
                }
                continue;
            }
            let due_ns = self.lanes.iter().filter_map(Lane::next_due_ns).min();
            let timeout = match due_ns {
                None => None,
                Some(due_ns) => {
                    let gap_ns = due_ns.saturating_sub(now_ns);
                    let may_spin = spin.saved_ns(now_ns) >= gap_ns.min(spin_ns);
                    if gap_ns <= spin_ns && may_spin {
                        spin.spend(spin_until(now_ns + gap_ns.min(2_000)) - now_ns);
                        continue;
                    }
                    let early_ns = if may_spin { spin_ns } else { 0 };
                    Some(Duration::from_nanos(gap_ns.saturating_sub(early_ns)))
                }
            };
            self.stats.sleeps += 1;
            sleep(&devices, waker, timeout);
            awake_since = monotonic_ns();
        }
    }

    /// Packets read and departures written so far, trains and runs of neighbours being one.
    fn events(&self) -> u64 {
        self.stats.reads + self.lanes.iter().map(|lane| lane.departures).sum::<u64>()
    }

    fn read(&mut self, direction: usize, device: &mut Device, buffer: &mut [u8]) -> usize {
        let mut datagrams = 0;
        while datagrams < READ_DATAGRAMS && !device.dead {
            match device.file.read(buffer) {
                Ok(length) => {
                    self.stats.reads += 1;
                    datagrams += self.lanes[direction].ingest(
                        &mut self.pool,
                        &mut self.log,
                        &buffer[..length],
                        monotonic_ns(),
                    );
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // The device was deleted: polling it would only spin.
                    device.dead = true;
                    self.stats.devices_lost += 1;
                }
            }
        }
        datagrams
    }
}

fn sleep(devices: &[Device; 2], waker: &Waker, timeout: Option<Duration>) -> Wait {
    let mut alive: [RawFd; 2] = [-1; 2];
    for (fd, device) in alive.iter_mut().zip(devices) {
        if !device.dead {
            *fd = device.file.as_raw_fd();
        }
    }
    wait(&alive, libc::POLLIN, waker, timeout)
}

fn spin_until(until_ns: u64) -> u64 {
    loop {
        std::hint::spin_loop();
        let now_ns = monotonic_ns();
        if now_ns >= until_ns {
            return now_ns;
        }
    }
}

/// How much there is to do, and how long to pause between looks because of it.
struct Load {
    window_from_ns: u64,
    events_before: u64,
    pause: Option<Duration>,
}

impl Load {
    fn new(now_ns: u64) -> Self {
        Self {
            window_from_ns: now_ns,
            events_before: 0,
            pause: None,
        }
    }

    fn observe(&mut self, now_ns: u64, events: u64) {
        let elapsed_ns = now_ns.saturating_sub(self.window_from_ns);
        if elapsed_ns >= LOAD_WINDOW_NS {
            let happened = events.saturating_sub(self.events_before);
            let per_s = happened * 1_000_000_000 / elapsed_ns;
            let step = MODERATION.iter().find(|(from, _)| per_s >= *from);
            self.pause = step.map(|(_, pause)| *pause);
            self.window_from_ns = now_ns;
            self.events_before = events;
        }
    }
}

/// Keeps spinning to a share of the time, so that a pump with steady traffic leaves its core to others.
struct SpinBudget {
    saved_ns: u64,
    counted_to_ns: u64,
}

impl SpinBudget {
    fn new(now_ns: u64) -> Self {
        Self {
            saved_ns: SPIN_SAVED_NS,
            counted_to_ns: now_ns,
        }
    }

    fn saved_ns(&mut self, now_ns: u64) -> u64 {
        let earned_ns = now_ns.saturating_sub(self.counted_to_ns) / SPIN_SHARE;
        self.counted_to_ns += earned_ns * SPIN_SHARE;
        self.saved_ns = (self.saved_ns + earned_ns).min(SPIN_SAVED_NS);
        self.saved_ns
    }

    fn spend(&mut self, ns: u64) {
        self.saved_ns = self.saved_ns.saturating_sub(ns);
    }
}
