//! What the client of a simulation says of loss, and whoever makes a FEC percentage of it.

use std::collections::VecDeque;

use crate::session::{BlockReport, ClientSession, HostSession};

/// What a client said since the last time, as it reaches the host.
#[derive(Clone, Debug, PartialEq)]
pub struct LossWord {
    /// Virtual time, ns.
    pub now_ns: u64,
    /// Frames that were submitted so far: what is answered holds from the next one on.
    pub frames: u32,
    /// Packets that were sent so far.
    pub packets: u64,
    /// The loss report of punktfunk/1 section 2.4, ppm; none on GameStream.
    pub loss_ppm: Option<u32>,
    /// What came of damaged blocks (gamestream section 8.3).
    pub blocks: Vec<BlockReport>,
}

/// Takes what the client said, and answers the percentage of the next frames; `None` leaves it as it is. An error ends the
/// simulation.
pub type Follow<'a> = dyn FnMut(&LossWord) -> Result<Option<u32>, String> + 'a;

/// How a client's words travel.
#[derive(Clone, Copy, Debug)]
pub struct LossWords {
    /// Time between two of them.
    pub interval_ns: u64,
    /// What each takes to the host.
    pub delay_ns: u64,
}

struct OnTheWay {
    due_ns: u64,
    loss_ppm: Option<u32>,
    blocks: Vec<BlockReport>,
}

/// The words of one run.
pub struct Following<'a> {
    words: LossWords,
    next_ns: u64,
    on_the_way: VecDeque<OnTheWay>,
    follow: &'a mut Follow<'a>,
}

impl<'a> Following<'a> {
    pub(super) fn new(words: LossWords, start_ns: u64, follow: &'a mut Follow<'a>) -> Self {
        Self {
            words,
            next_ns: start_ns + words.interval_ns,
            on_the_way: VecDeque::new(),
            follow,
        }
    }

    /// When the client says something next.
    pub(super) fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// When the host hears something next.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.on_the_way.front().map(|word| word.due_ns)
    }

    /// Let the client say what it has to.
    pub(super) fn say(&mut self, client: &mut ClientSession, now_ns: u64, blocks: bool) {
        self.next_ns = now_ns + self.words.interval_ns;
        self.on_the_way.push_back(OnTheWay {
            due_ns: now_ns + self.words.delay_ns,
            loss_ppm: (!blocks).then(|| client.take_loss_report_ppm()),
            blocks: client.take_block_reports(),
        });
    }

    /// Let the host hear it.
    pub(super) fn hear(
        &mut self,
        host: &HostSession,
        now_ns: u64,
        frames: u32,
        packets: u64,
    ) -> Result<(), String> {
        let Some(word) = self.on_the_way.pop_front() else {
            return Ok(());
        };
        let percent = (self.follow)(&LossWord {
            now_ns,
            frames,
            packets,
            loss_ppm: word.loss_ppm,
            blocks: word.blocks,
        })?;
        if let Some(percent) = percent {
            host.shared().set_fec_percent(percent);
        }
        Ok(())
    }
}
