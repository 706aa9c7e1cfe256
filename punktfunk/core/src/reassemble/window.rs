//! The frames that a receiver still cares about: the newest and those up to the loss window behind it.

use super::frame::{FrameState, Phase};

/// A ring of frames by index. Indices are extended to 64 bits, so that the wrap of the wire's 32 is nowhere else.
#[derive(Debug)]
pub struct Window {
    ring: Vec<Option<FrameState>>,
    reach: u64,
    /// Oldest frame that is tracked.
    base: u64,
    /// One past the newest frame; equal to `base` while nothing came.
    end: u64,
}

impl Window {
    /// A window that reaches `reach` frames behind the newest.
    #[must_use]
    pub fn new(reach: u32) -> Self {
        let slots = (reach as usize + 1).next_power_of_two();
        let mut ring = Vec::new();
        ring.resize_with(slots, || None);
        Self {
            ring,
            reach: u64::from(reach),
            base: 0,
            end: 0,
        }
    }

    /// Begin at frame `index` instead of 0. Call before the first packet.
    pub fn begin_at(&mut self, index: u32) {
        (self.base, self.end) = (u64::from(index), u64::from(index));
    }

    /// Return where the wire's `index` lies by serial arithmetic around the newest frame; `None` before frame 0.
    ///
    /// A session starts at frame 0 (punktfunk/1 section 4.4). However far beyond it the first packet lies, what
    /// is missing before it was sent and lost.
    #[must_use]
    pub fn place(&self, index: u32) -> Option<u64> {
        // Relative to the newest frame, or to the one before the first.
        let newest = self.end as i64 - 1;
        let ahead = i64::from(index.wrapping_sub(newest as u32) as i32);
        u64::try_from(newest + ahead).ok()
    }

    /// Oldest frame that is tracked.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// One past the newest frame.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Where the window would begin if `newest` were the newest frame.
    #[must_use]
    pub fn base_for(&self, newest: u64) -> u64 {
        newest.saturating_sub(self.reach).max(self.base)
    }

    /// The newest frame is now `index` at least. Call after everything below [`Window::base_for`] was removed.
    pub fn extend_to(&mut self, index: u64) {
        self.base = self.base_for(index);
        self.end = self.end.max(index + 1);
    }

    fn slot(&self, index: u64) -> usize {
        index as usize & (self.ring.len() - 1)
    }

    /// The frame, if it is tracked and a packet of it came or it was given up.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<&FrameState> {
        if (self.base..self.end).contains(&index) {
            self.ring[self.slot(index)].as_ref()
        } else {
            None
        }
    }

    /// The frame, if it is tracked and a packet of it came or it was given up.
    pub fn get_mut(&mut self, index: u64) -> Option<&mut FrameState> {
        if !(self.base..self.end).contains(&index) {
            return None;
        }
        let slot = self.slot(index);
        self.ring[slot].as_mut()
    }

    /// The frame at `index`, which must lie within the window; made in `phase` when nothing of it came yet.
    pub fn entry(&mut self, index: u64, phase: Phase) -> &mut FrameState {
        debug_assert!((self.base..self.end).contains(&index));
        let slot = self.slot(index);
        self.ring[slot].get_or_insert_with(|| FrameState::new(phase))
    }

    /// Take the oldest frame out; the window begins behind it.
    pub fn pop(&mut self) -> (u64, Option<FrameState>) {
        let index = self.base;
        let slot = self.slot(index);
        self.base += 1;
        (index, self.ring[slot].take())
    }

    /// Forget everything up to `index` at once; nothing may be tracked there.
    pub fn skip_to(&mut self, index: u64) {
        self.base = self.base.max(index);
        self.end = self.end.max(self.base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_wrap_in_serial_arithmetic() {
        let mut window = Window::new(64);
        window.begin_at(u32::MAX - 1);
        assert_eq!(window.place(u32::MAX - 1), Some(u64::from(u32::MAX) - 1));
        window.extend_to(u64::from(u32::MAX) - 1);
        assert_eq!(window.place(1), Some(u64::from(u32::MAX) + 2));
        assert_eq!(window.place(u32::MAX - 5), Some(u64::from(u32::MAX) - 5));
    }

    #[test]
    fn a_stream_starts_at_frame_zero_however_far_its_first_packet_is() {
        for index in [0, 3, 64, 65, 5000, (1 << 31) - 2] {
            let window = Window::new(64);
            assert_eq!(window.place(index), Some(u64::from(index)));
            assert_eq!((window.base(), window.end()), (0, 0));
        }
    }

    #[test]
    fn nothing_lies_before_frame_zero() {
        let mut window = Window::new(64);
        assert_eq!(window.place(u32::MAX), None);
        assert_eq!(window.place(0), Some(0));
        window.extend_to(0);
        assert_eq!(window.place(u32::MAX), None);
    }
}
