//! An eventfd that ends the waits of a thread, and the wait itself.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Wakes a thread that waits in [`wait`]; stays signalled until [`Waker::clear`].
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
    signalled: AtomicBool,
}

impl Waker {
    /// Open the eventfd.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed; the result is checked before it is owned.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: `fd` was just opened and nobody else owns it.
            event: unsafe { OwnedFd::from_raw_fd(fd) },
            signalled: AtomicBool::new(false),
        })
    }

    /// End the current and every later wait.
    pub fn wake(&self) {
        let one = 1u64;
        // Before the flag, and [`Waker::clear`] the other way round: so the flag is never down while the eventfd is
        // up for good, which would turn every wait into a spin.
        // SAFETY: the buffer is eight readable bytes. A counter too full to add to is up anyway.
        unsafe { libc::write(self.event.as_raw_fd(), (&raw const one).cast(), 8) };
        self.signalled.store(true, Ordering::SeqCst);
    }

    /// Whether [`Waker::wake`] was called; one atomic load, for loops that are too busy to wait.
    #[must_use]
    pub fn is_signalled(&self) -> bool {
        self.signalled.load(Ordering::SeqCst)
    }

    /// Let waits wait again. Look for what the waker announced after this, not before.
    pub fn clear(&self) {
        self.signalled.store(false, Ordering::SeqCst);
        let mut count = 0u64;
        // SAFETY: the buffer is eight writable bytes; an empty counter only gives EAGAIN.
        unsafe { libc::read(self.event.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// A descriptor is ready (or has an error to collect).
    Ready,
    /// The waker was signalled.
    Woken,
    /// The time is over.
    TimedOut,
}

/// Wait until one of `fds` has `events`, `waker` is signalled, or `timeout` is over (none = for ever).
///
/// A signal ends the wait like a timeout; callers loop anyway.
///
/// # Panics
/// For more than three `fds`.
pub fn wait(
    fds: &[RawFd],
    events: libc::c_short,
    waker: &Waker,
    timeout: Option<Duration>,
) -> Wait {
    let mut polls = [libc::pollfd {
        fd: -1,
        events: 0,
        revents: 0,
    }; 4];
    // The kernel reads and writes as many entries as it is told of.
    assert!(
        fds.len() < polls.len(),
        "a wait is for three descriptors at most"
    );
    polls[0].fd = waker.as_raw_fd();
    polls[0].events = libc::POLLIN;
    for (poll, &fd) in polls[1..].iter_mut().zip(fds) {
        poll.fd = fd;
        poll.events = events;
    }
    let time = timeout.map(|t| libc::timespec {
        tv_sec: t.as_secs().min(1 << 40) as libc::time_t,
        tv_nsec: t.subsec_nanos().into(),
    });
    let time_pointer = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `polls` holds fds.len() + 1 valid entries; the time is null or outlives the call; no mask is given.
    let ready = unsafe {
        libc::ppoll(
            polls.as_mut_ptr(),
            fds.len() as libc::nfds_t + 1,
            time_pointer,
            std::ptr::null(),
        )
    };
    if polls[0].revents != 0 {
        Wait::Woken
    } else if ready > 0 {
        Wait::Ready
    } else {
        Wait::TimedOut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waking_and_clearing_at_once_leaves_no_eventfd_up_without_its_flag() {
        let waker = Waker::new().unwrap();
        for _ in 0..200 {
            std::thread::scope(|scope| {
                scope.spawn(|| (0..50).for_each(|_| waker.wake()));
                (0..50).for_each(|_| waker.clear());
            });
            let up = wait(&[], 0, &waker, Some(Duration::ZERO)) == Wait::Woken;
            assert!(waker.is_signalled() || !up);
            waker.clear();
        }
    }

    #[test]
    #[should_panic(expected = "three descriptors at most")]
    fn more_descriptors_than_a_wait_has_room_for_are_refused() {
        let waker = Waker::new().unwrap();
        let fd = waker.as_raw_fd();
        wait(&[fd; 4], libc::POLLIN, &waker, Some(Duration::ZERO));
    }

    #[test]
    fn a_wait_ends_by_its_timeout_or_its_waker() {
        let waker = Waker::new().unwrap();
        let timeout = Some(Duration::from_millis(1));
        assert_eq!(wait(&[], 0, &waker, timeout), Wait::TimedOut);
        waker.wake();
        assert_eq!(wait(&[], 0, &waker, None), Wait::Woken);
        waker.clear();
        assert_eq!(wait(&[], 0, &waker, timeout), Wait::TimedOut);
    }
}
