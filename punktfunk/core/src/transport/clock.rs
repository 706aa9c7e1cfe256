//! The two clocks of the shell: CLOCK_MONOTONIC for everything, CLOCK_REALTIME only for the kernel's timestamps.

fn read(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call; the clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// CLOCK_MONOTONIC in ns.
#[must_use]
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC) as u64
}

/// CPU time of the calling thread in ns.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID) as u64
}

/// Turns CLOCK_REALTIME stamps of the recent past into CLOCK_MONOTONIC ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealtimeConverter {
    now_ns: u64,
    offset_ns: i64,
}

/// A stamp further back than this is a clock step, not a wait in a socket's queue.
const LONGEST_WAIT_NS: u64 = 10_000_000_000;

impl RealtimeConverter {
    /// Sample both clocks now; use it for stamps taken shortly before.
    pub(crate) fn sample() -> Self {
        let real = read(libc::CLOCK_REALTIME);
        let now = read(libc::CLOCK_MONOTONIC);
        Self {
            now_ns: now as u64,
            offset_ns: real - now,
        }
    }

    /// CLOCK_MONOTONIC of the sample.
    pub(crate) fn now_ns(self) -> u64 {
        self.now_ns
    }

    /// `real_ns` on CLOCK_MONOTONIC; the time of the sample when the wall clock was stepped in between.
    pub(crate) fn monotonic(self, real_ns: i64) -> u64 {
        let at = u64::try_from(real_ns - self.offset_ns).unwrap_or(0);
        if at <= self.now_ns && self.now_ns - at < LONGEST_WAIT_NS {
            at
        } else {
            self.now_ns
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_convert_and_steps_do_not() {
        let sample = RealtimeConverter {
            now_ns: 50_000_000_000,
            offset_ns: 1_700_000_000_000_000_000,
        };
        let now_real = 1_700_000_050_000_000_000;
        assert_eq!(sample.monotonic(now_real - 1_000), 49_999_999_000);
        assert_eq!(sample.monotonic(now_real + 1), 50_000_000_000);
        assert_eq!(sample.monotonic(now_real - 20_000_000_000), 50_000_000_000);
        assert_eq!(sample.monotonic(i64::MIN / 2), 50_000_000_000);
    }
}
