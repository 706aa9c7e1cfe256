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

    /// Leave at most `bytes` on the meter.
    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.meter.used.fetch_sub(less, Relaxed);
    }

    /// Let `bytes` of these, or all there are, leave the meter on their own.
    #[must_use]
    pub fn split_off(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            meter: Arc::clone(&self.meter),
            bytes,
        }
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

    #[test]
    fn what_is_split_off_or_given_back_leaves_the_meter_once() {
        let meter = Meter::new(100);
        let mut whole = meter.reserve(90).unwrap();
        let part = whole.split_off(30);
        assert_eq!(meter.used(), 90);
        whole.shrink_to(50);
        whole.shrink_to(70);
        assert_eq!(meter.used(), 80);
        drop(whole);
        assert_eq!(meter.used(), 30);
        let mut part = part;
        drop(part.split_off(1000));
        assert_eq!(meter.used(), 0);
        drop(part);
        assert_eq!(meter.used(), 0);
    }
}
