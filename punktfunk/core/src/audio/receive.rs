//! From datagrams to Opus packets, in order, each once.

use std::collections::VecDeque;

use super::{AudioCipher, parse};
use crate::fec::audio::{DATA, PARITY, rebuild};

/// Blocks that are kept while packets of them may still come.
const BLOCKS: usize = 2;
/// A packet so far from the others is believed when the next one comes from there too: nothing authenticates it.
const MAX_JUMP: u64 = 512;

/// An Opus packet in its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Number in the stream; it does not wrap.
    pub sequence: u64,
    /// Packets that are lost between the one before and this one.
    pub gap: u64,
    /// Made of recovery packets.
    pub recovered: bool,
    /// The Opus packet.
    pub data: Vec<u8>,
}

/// What became of the datagrams and of the Opus packets that they carry.
///
/// `received = data + fec + rejected + late + duplicate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AudioStats {
    pub received: u64,
    pub data: u64,
    pub fec: u64,
    /// too short, too long, or no packet of sound
    pub rejected: u64,
    /// of a block whose turn is over
    pub late: u64,
    pub duplicate: u64,
    /// of `rejected`, those far from every other packet
    pub strayed: u64,
    pub delivered: u64,
    /// of `delivered`, those that recovery packets gave back
    pub recovered: u64,
    pub lost: u64,
    /// of `lost`, those that came and did not decrypt
    pub undecryptable: u64,
    /// blocks whose packets have more than one length, which switches the recovery of stock clients off
    pub uneven: u64,
}

impl AudioStats {
    /// Names and values.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, u64); 12] {
        [
            ("received", self.received),
            ("data", self.data),
            ("fec", self.fec),
            ("rejected", self.rejected),
            ("late", self.late),
            ("duplicate", self.duplicate),
            ("strayed", self.strayed),
            ("delivered", self.delivered),
            ("recovered", self.recovered),
            ("lost", self.lost),
            ("undecryptable", self.undecryptable),
            ("uneven", self.uneven),
        ]
    }
}

#[derive(Debug, Default)]
struct Block {
    shards: [Option<Vec<u8>>; DATA + PARITY],
    recovered: Vec<usize>,
    /// Data packets whose turn is over.
    released: usize,
}

/// Puts the packets of a stream in order, rebuilds and decrypts them.
///
/// A packet that is missing is waited for until one of the block after the next comes: what was reordered less than that is not
/// lost. It holds two blocks, of packets that are not longer than clients take.
#[derive(Debug)]
pub struct AudioReceiver {
    cipher: Option<AudioCipher>,
    /// Number of the oldest block that is kept; `None` before the first packet.
    base: Option<u64>,
    blocks: VecDeque<Block>,
    /// Where a packet was that nobody believes yet.
    stray: Option<u16>,
    gap: u64,
    out: VecDeque<Sound>,
    stats: AudioStats,
}

impl AudioReceiver {
    /// A receiver at the start of a session.
    #[must_use]
    pub fn new(cipher: Option<AudioCipher>) -> Self {
        Self {
            cipher,
            base: None,
            blocks: VecDeque::new(),
            stray: None,
            gap: 0,
            out: VecDeque::new(),
            stats: AudioStats::default(),
        }
    }

    /// Take one datagram; what is then in turn comes from [`AudioReceiver::poll`].
    pub fn receive(&mut self, datagram: &[u8]) {
        self.stats.received += 1;
        let Some(packet) = parse(datagram) else {
            self.stats.rejected += 1;
            return;
        };
        let Some(number) = self.place(packet.sequence) else {
            return;
        };
        let (block, base) = (number / DATA as u64, self.base.unwrap_or(0));
        let Some(ahead) = block.checked_sub(base) else {
            self.stats.late += 1;
            return;
        };
        self.make_room(ahead);
        let at = (block - self.base.unwrap_or(0)) as usize;
        while self.blocks.len() <= at {
            self.blocks.push_back(Block::default());
        }
        let place = &mut self.blocks[at];
        let shard = &mut place.shards[packet.shard];
        if shard.is_some() {
            // A rebuilt packet that comes after all is one too many as well.
            self.stats.duplicate += 1;
            return;
        }
        *shard = Some(packet.payload.to_vec());
        if packet.shard < DATA {
            self.stats.data += 1;
        } else {
            self.stats.fec += 1;
        }
        let here = place.shards.iter().flatten().count();
        if here == DATA && place.recovered.is_empty() {
            place.recovered = rebuild(&mut place.shards);
            let mut lengths = place.shards.iter().flatten().map(Vec::len);
            let first = lengths.next();
            self.stats.uneven += u64::from(lengths.any(|other| Some(other) != first));
        }
        self.release();
    }

    /// The next Opus packet in turn.
    pub fn poll(&mut self) -> Option<Sound> {
        self.out.pop_front()
    }

    /// End the turn of everything that is still waited for.
    pub fn settle(&mut self) {
        while !self.blocks.is_empty() {
            self.close_oldest();
        }
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> &AudioStats {
        &self.stats
    }

    /// The number of a packet in the stream, `None` for one that is too far off to be believed.
    fn place(&mut self, sequence: u16) -> Option<u64> {
        let Some(base) = self.base else {
            // A stream begins at 0; whoever joins it later begins there.
            let number = u64::from(sequence);
            let joined = number > MAX_JUMP;
            self.base = Some(if joined { number / DATA as u64 } else { 0 });
            return Some(number);
        };
        let near = base * DATA as u64;
        let ahead = i64::from(sequence.wrapping_sub(near as u16) as i16);
        if ahead.unsigned_abs() <= MAX_JUMP {
            self.stray = None;
            let number = near.checked_add_signed(ahead);
            // It lies before the stream's first packet.
            self.stats.late += u64::from(number.is_none());
            return number;
        }
        let stray = self.stray.replace(sequence);
        let follows =
            stray.is_some_and(|first| (1..=DATA as u16).contains(&sequence.wrapping_sub(first)));
        if !follows || ahead < 0 {
            self.stats.strayed += 1;
            self.stats.rejected += 1;
            return None;
        }
        self.stray = None;
        Some(near.saturating_add_signed(ahead))
    }

    /// Close blocks until one that lies `ahead` of the oldest is among those that are kept.
    fn make_room(&mut self, ahead: u64) {
        let over = (ahead + 1).saturating_sub(BLOCKS as u64);
        let held = over.min(self.blocks.len() as u64);
        for _ in 0..held {
            self.close_oldest();
        }
        // The others were never begun: nothing of them came.
        let unseen = over - held;
        self.base = self.base.map(|base| base + unseen);
        self.gap += unseen * DATA as u64;
        self.stats.lost += unseen * DATA as u64;
    }

    /// Hand out what is in turn.
    fn release(&mut self) {
        for at in 0..self.blocks.len() {
            while self.blocks[at].released < DATA {
                if self.blocks[at].shards[self.blocks[at].released].is_none() {
                    return;
                }
                self.hand_out(at);
            }
        }
    }

    /// Hand out the next packet of a block, or note that it is lost.
    fn hand_out(&mut self, at: usize) {
        let block = &mut self.blocks[at];
        let index = block.released;
        block.released += 1;
        let sequence = (self.base.unwrap_or(0) + at as u64) * DATA as u64 + index as u64;
        let recovered = block.recovered.contains(&index);
        let plain = block.shards[index]
            .as_deref()
            .and_then(|payload| match &self.cipher {
                Some(cipher) => cipher.open(sequence as u16, payload),
                None => Some(payload.to_vec()),
            });
        let Some(data) = plain else {
            self.stats.undecryptable += u64::from(block.shards[index].is_some());
            self.stats.lost += 1;
            self.gap += 1;
            return;
        };
        self.stats.delivered += 1;
        self.stats.recovered += u64::from(recovered);
        self.out.push_back(Sound {
            sequence,
            gap: std::mem::take(&mut self.gap),
            recovered,
            data,
        });
    }

    fn close_oldest(&mut self) {
        while self.blocks.front().is_some_and(|b| b.released < DATA) {
            self.hand_out(0);
        }
        self.blocks.pop_front();
        self.base = self.base.map(|base| base + 1);
        self.release();
    }
}
