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
pub fn time(work: &mut dyn FnMut(), least: f64) -> f64 {
    let start = cpu();
    let mut calls = 0;
    loop {
        work();
        calls += 1;
        let taken = cpu() - start;
        if taken >= least {
            return taken / f64::from(calls);
        }
    }
}
