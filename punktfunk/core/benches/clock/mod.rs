//! CPU time of this thread: what others do on a busy machine is not in it, though what they do to caches is.

/// CPU seconds of this thread so far.
pub fn cpu() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of this frame.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "this kernel has no CPU time of a thread");
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Seconds of one call, over as many calls as `least` seconds take.
///
/// The clock of a thread is a system call of a third of a microsecond, which is what a small block takes to rebuild: it is read
/// after 1, 2, 4, ... calls.
#[allow(dead_code)] // not every bench has a single piece of work to repeat
pub fn time(work: &mut dyn FnMut(), least: f64) -> f64 {
    let start = cpu();
    let (mut calls, mut batch) = (0_u32, 1_u32);
    loop {
        for _ in 0..batch {
            work();
        }
        calls += batch;
        let taken = cpu() - start;
        if taken >= least {
            return taken / f64::from(calls);
        }
        // As many as are left to do by what they took so far, up to twice as many in all.
        let left = (least / taken - 1.0) * f64::from(calls);
        batch = (left.ceil() as u32).clamp(1, calls);
    }
}
