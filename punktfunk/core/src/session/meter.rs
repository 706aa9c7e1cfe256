//! The memory meter: what a peer can make this side hold has a cap, which is checked before anything is allocated.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes in use, their peak and their cap.
#[derive(Debug)]
pub struct Meter {
    used: AtomicUsize,
    peak: AtomicUsize,
    cap: usize,
}

impl Meter {
    /// A meter at 0.
    #[must_use]
    pub fn new(cap: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            cap,
        })
    }

    /// Put `bytes` on the meter; `None`, and nothing changes, when they would pass the cap.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Metered> {
        let mut metered = Metered {
            meter: Arc::clone(self),
            bytes: 0,
        };
        metered.grow(bytes).then_some(metered)
    }

    /// Bytes on the meter.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// The most that ever was on the meter.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.peak.load(Relaxed)
    }
}

/// Bytes that leave the meter when this is dropped.
#[derive(Debug)]
pub struct Metered {
    meter: Arc<Meter>,
    bytes: usize,
}

impl Metered {
    /// Put more bytes on the meter; false, and nothing changes, when they would pass the cap.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        // One thread adds; others only take away, so the sum cannot pass the cap in between.
        let used = self.meter.used.load(Relaxed);
        if used.saturating_add(bytes) > self.meter.cap {
            return false;
        }
        let used = self.meter.used.fetch_add(bytes, Relaxed) + bytes;
        self.meter.peak.fetch_max(used, Relaxed);
        self.bytes += bytes;
        true
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.meter.used.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_the_cap() {
        let meter = Meter::new(100);
        let mut first = meter.reserve(60).unwrap();
        assert!(meter.reserve(41).is_none());
        assert!(!first.grow(usize::MAX));
        assert!(first.grow(40));
        assert_eq!((meter.used(), meter.peak()), (100, 100));
        drop(first);
        assert_eq!((meter.used(), meter.peak()), (0, 100));
    }
}
