//! A stream's thread: precise waits, CPU time, an end that is waited for.

use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use crate::transport::clock::monotonic_ns;

/// The last stretch of a wait is spun: a sleep to a point in time comes back up to about 50 µs late (p99 on an idle
/// machine with timer slack 1 ns), a spin under 1 µs.
const SPIN_NS: u64 = 50_000;

/// Lock, whatever happened to an earlier holder: every critical section here leaves its data whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// Let this thread's sleeps end when asked, not up to 50 µs later (the default timer slack).
pub(super) fn precise_timers() {
    // SAFETY: PR_SET_TIMERSLACK takes one number and concerns the calling thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}

/// Wait until `at_ns` of `CLOCK_MONOTONIC`: asleep until shortly before, then spinning.
pub(super) fn sleep_until(at_ns: u64) {
    let now = monotonic_ns();
    if at_ns > now + SPIN_NS {
        let wake_ns = at_ns - SPIN_NS;
        let wake = libc::timespec {
            tv_sec: (wake_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (wake_ns % 1_000_000_000) as libc::c_long,
        };
        // SAFETY: `wake` is a valid timespec; a signal ends the sleep early, which the loop below makes good.
        unsafe {
            libc::clock_nanosleep(
                libc::CLOCK_MONOTONIC,
                libc::TIMER_ABSTIME,
                &raw const wake,
                std::ptr::null_mut(),
            );
        }
    }
    while monotonic_ns() < at_ns {
        std::hint::spin_loop();
    }
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
    /// CPU time at the thread's end.
    final_cpu_ns: Arc<AtomicU64>,
}

impl StreamThread {
    /// Start `body` under `name`.
    pub(super) fn start(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let final_cpu_ns = Arc::new(AtomicU64::new(0));
        let at_end = Arc::clone(&final_cpu_ns);
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                precise_timers();
                body();
                at_end.store(cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0), Relaxed);
            })?;
        Ok(Self {
            handle: Mutex::new(Some(handle)),
            final_cpu_ns,
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
        running.unwrap_or_else(|| self.final_cpu_ns.load(Relaxed))
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
