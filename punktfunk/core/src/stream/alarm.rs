//! A time that one thread sleeps until and any other may set.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `timerfd(2)` on `CLOCK_MONOTONIC`: whoever has sent something sets when the rest is due, and wakes nobody before.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: OwnedFd,
}

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed; the result is checked before it is owned.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: `fd` was just opened and nobody else owns it.
            timer: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    /// Ring at `at_ns` in place of any time that was set before; at once where that is past.
    pub(super) fn set(&self, at_ns: u64) {
        // 0 would mean never.
        let at_ns = at_ns.max(1);
        let never = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let time = libc::itimerspec {
            it_interval: never,
            it_value: libc::timespec {
                tv_sec: (at_ns / 1_000_000_000) as libc::time_t,
                tv_nsec: (at_ns % 1_000_000_000) as libc::c_long,
            },
        };
        // SAFETY: `time` is a valid itimerspec for the call; the old one is not asked for.
        unsafe {
            libc::timerfd_settime(
                self.timer.as_raw_fd(),
                libc::TFD_TIMER_ABSTIME,
                &raw const time,
                std::ptr::null_mut(),
            );
        }
    }

    /// Ring at once.
    pub(super) fn ring(&self) {
        self.set(1);
    }

    /// Sleep until it rings, or a signal comes: look whether there is something to do.
    pub(super) fn wait(&self) {
        let mut rings = 0u64;
        // SAFETY: the buffer is eight writable bytes.
        unsafe { libc::read(self.timer.as_raw_fd(), (&raw mut rings).cast(), 8) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::clock::monotonic_ns;

    #[test]
    fn a_wait_ends_at_the_time_that_was_set_last() {
        let alarm = Alarm::new().unwrap();
        let begin_ns = monotonic_ns();
        alarm.set(begin_ns + 3_600_000_000_000);
        alarm.set(begin_ns + 2_000_000);
        alarm.wait();
        assert!(monotonic_ns() >= begin_ns + 2_000_000);
    }

    #[test]
    fn a_time_that_is_past_rings_at_once_and_only_once() {
        let alarm = Alarm::new().unwrap();
        for at_ns in [0, 1, monotonic_ns()] {
            alarm.set(at_ns);
            alarm.wait();
        }
        alarm.ring();
        alarm.set(monotonic_ns() + 2_000_000);
        let begin_ns = monotonic_ns();
        alarm.wait();
        assert!(
            monotonic_ns() > begin_ns,
            "setting it took the first ring back"
        );
    }

    #[test]
    fn another_thread_ends_a_wait() {
        let alarm = Alarm::new().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| alarm.ring());
            alarm.wait();
        });
    }
}
