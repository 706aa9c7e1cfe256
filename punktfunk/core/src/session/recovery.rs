//! When to ask the host for a key frame.

/// Coalesces requests: one break of the references asks once, until a key frame repairs them or a retry is due.
#[derive(Debug, Default)]
pub struct Recovery {
    armed: bool,
    asked_ns: Option<u64>,
}

impl Recovery {
    /// The references are broken. Has no effect while they already are.
    pub fn arm(&mut self) {
        if !self.armed {
            *self = Self {
                armed: true,
                asked_ns: None,
            };
        }
    }

    /// A frame arrived that needs no reference.
    pub fn mended(&mut self) {
        self.armed = false;
    }

    /// True when a request should leave now; counts as sent. `retry_ns` is the caller's patience with the last one.
    pub fn take(&mut self, now_ns: u64, retry_ns: Option<u64>) -> bool {
        let due = match (self.asked_ns, retry_ns) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(asked), Some(retry)) => now_ns.saturating_sub(asked) >= retry,
        };
        if !(self.armed && due) {
            return false;
        }
        self.asked_ns = Some(now_ns);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_losses_ask_once() {
        let mut recovery = Recovery::default();
        assert!(!recovery.take(0, None));
        recovery.arm();
        recovery.arm();
        assert!(recovery.take(1, None));
        recovery.arm();
        assert!(!recovery.take(2, None));
    }

    #[test]
    fn a_key_frame_ends_it_and_the_next_loss_asks_again() {
        let mut recovery = Recovery::default();
        recovery.arm();
        recovery.mended();
        assert!(!recovery.take(1, None), "mended before anybody asked");
        recovery.arm();
        assert!(recovery.take(2, None));
    }

    #[test]
    fn a_request_is_repeated_after_the_callers_patience() {
        let mut recovery = Recovery::default();
        recovery.arm();
        assert!(recovery.take(100, Some(50)));
        assert!(!recovery.take(149, Some(50)));
        assert!(recovery.take(150, Some(50)));
    }
}
