//! A stream's thread: precise waits, CPU time, an end that is waited for.

use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

/// Lowest real-time priority: above every normal thread, below whatever else is real-time.
const REALTIME_PRIORITY: libc::c_int = 1;

/// Slice of a thread that is not real-time (docs/adr/0242). The kernel takes no shorter ones.
const SLICE_NS: u64 = 100_000;

/// Lock, whatever happened to an earlier holder: every critical section here leaves its data whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// Let this thread's sleeps end when asked, not up to 50 µs later (the default timer slack).
pub(super) fn precise_timers() {
    // SAFETY: PR_SET_TIMERSLACK takes one number and concerns the calling thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// Let this thread preempt every normal one; false where this process may not (CAP_SYS_NICE or RLIMIT_RTPRIO).
fn become_realtime() -> bool {
    // SAFETY: all zeroes is a valid sched_param, whose only field of meaning here is set below.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = REALTIME_PRIORITY;
    // SAFETY: pid 0 is the calling thread, `parameters` outlives the call.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) == 0 }
}

/// Let this thread, where it is an ordinary one, be let in before those that work for longer at a time; return its slice,
/// 0 where the kernel keeps none for it.
///
/// The share of the CPU stays what it was, so this takes no privilege. Linux before 6.12 takes the request and forgets it.
fn shorten_slice() -> u64 {
    let Some(mut wanted) = attributes() else {
        return 0;
    };
    wanted.sched_runtime = SLICE_NS;
    // SAFETY: 0 is the calling thread; `wanted` says its own size and outlives the call.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) };
    // A kernel that knows no slices reports success as well: what it keeps tells.
    let kept = attributes().is_some_and(|kept| kept.sched_runtime == SLICE_NS);
    if kept { SLICE_NS } else { 0 }
}

/// Policy, nice value and slice of this thread.
fn attributes() -> Option<libc::sched_attr> {
    let size = size_of::<libc::sched_attr>() as u32;
    // SAFETY: all zeroes is a valid sched_attr, a struct of integers.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY: 0 is the calling thread; the kernel writes at most `size` bytes, which `attributes` has.
    let failed = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    (failed == 0).then_some(attributes)
}

fn cpu_ns(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call; an unknown clock is reported.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (failed == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// A running thread, joined at the latest when this is dropped.
#[derive(Debug)]
pub(super) struct StreamThread {
    handle: Mutex<Option<JoinHandle<()>>>,
    outcome: Arc<Outcome>,
}

/// What the thread says about itself.
#[derive(Debug, Default)]
struct Outcome {
    /// CPU time at its end.
    cpu_ns: AtomicU64,
    realtime: AtomicBool,
    slice_ns: AtomicU64,
}

impl StreamThread {
    /// Start `body` under `name`, as a real-time thread if that is wanted and allowed, else with a short slice.
    pub(super) fn start(
        name: &str,
        realtime: bool,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let outcome = Arc::new(Outcome::default());
        let told = Arc::clone(&outcome);
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                precise_timers();
                if realtime && become_realtime() {
                    told.realtime.store(true, Relaxed);
                } else {
                    told.slice_ns.store(shorten_slice(), Relaxed);
                }
                body();
                told.cpu_ns
                    .store(cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0), Relaxed);
            })?;
        Ok(Self {
            handle: Mutex::new(Some(handle)),
            outcome,
        })
    }

    /// CPU time that the thread has used, ns.
    pub(super) fn cpu_ns(&self) -> u64 {
        let handle = lock(&self.handle);
        let running = handle.as_ref().filter(|h| !h.is_finished()).and_then(|h| {
            let mut clock = 0;
            // SAFETY: the thread has not been joined, so its pthread_t is valid; `clock` is a valid place for the id.
            let failed = unsafe { libc::pthread_getcpuclockid(h.as_pthread_t(), &raw mut clock) };
            if failed == 0 { cpu_ns(clock) } else { None }
        });
        running.unwrap_or_else(|| self.outcome.cpu_ns.load(Relaxed))
    }

    /// Whether it runs as a real-time thread.
    pub(super) fn realtime(&self) -> bool {
        self.outcome.realtime.load(Relaxed)
    }

    /// The short slice that the kernel keeps for it, ns; 0 for none.
    pub(super) fn slice_ns(&self) -> u64 {
        self.outcome.slice_ns.load(Relaxed)
    }

    /// Wait for the thread's end. May be called again.
    pub(super) fn join(&self) {
        let handle = lock(&self.handle).take();
        if let Some(handle) = handle {
            // A panic of the thread was reported by its hook; the stream just ends.
            let _ = handle.join();
        }
    }
}
