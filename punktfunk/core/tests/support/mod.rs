//! Two sessions against each other in virtual time.
#![allow(dead_code)] // each test binary uses a part

use punktfunk_core::packetize::punktfunk1::{EmissionOrder, Punktfunk1Packetizer};
use punktfunk_core::session::client::Frame;
use punktfunk_core::session::{
    ClientSession, FLAG_KEY, FLAG_PICTURE, HostSession, HostSettings, StreamConfig,
};
use punktfunk_core::stats::ClientStats;

pub const MS: u64 = 1_000_000;
pub const START: u64 = 1_000 * MS;
pub const KEY: [u8; 16] = *b"0123456789abcdef";
pub const KEY_FRAME: u32 = FLAG_PICTURE | FLAG_KEY;
pub const DELTA_FRAME: u32 = FLAG_PICTURE;

/// Shards of 100 bytes and 50 % recovery keep the numbers small.
pub fn config() -> StreamConfig {
    StreamConfig {
        shard_bytes: 100,
        fec_percent: 50,
        max_block_shards: 64,
        key: Some(KEY),
        ..StreamConfig::default()
    }
}

/// An access unit that no other index has.
pub fn access_unit(index: u32, bytes: usize) -> Vec<u8> {
    (0..bytes as u32)
        .map(|i| (i.wrapping_mul(31) ^ index.wrapping_mul(97) ^ (i >> 8)) as u8)
        .collect()
}

/// A host whose packets come out at once.
pub struct Host {
    pub session: HostSession,
    pub now: u64,
}

impl Host {
    pub fn new(config: StreamConfig) -> Self {
        Self::with(config, &HostSettings::default())
    }

    pub fn with(config: StreamConfig, settings: &HostSettings) -> Self {
        Self::of(HostSession::new(config, settings).unwrap())
    }

    pub fn of(session: HostSession) -> Self {
        Self {
            session,
            now: START,
        }
    }

    /// A host whose packets leave in an order of our choice.
    pub fn ordered(config: StreamConfig, order: EmissionOrder) -> Self {
        let percent = config.fec_percent;
        let packetizer = Punktfunk1Packetizer::new(config, order, None).unwrap();
        Self::of(HostSession::with_packetizer(
            packetizer,
            percent,
            &HostSettings::default(),
        ))
    }

    /// Submit at the frame's time (60 Hz) and take all its packets.
    pub fn frame(&mut self, data: &[u8], flags: u32) -> Vec<Vec<u8>> {
        self.session
            .submit(data, self.now, flags, self.now)
            .unwrap();
        let packets = self.drain();
        self.now = self.now.max(START) + 16 * MS;
        packets
    }

    /// Frame `index` of 1000 bytes: 10 data and 5 recovery packets.
    pub fn numbered(&mut self, index: u32, flags: u32) -> Vec<Vec<u8>> {
        self.frame(&access_unit(index, 1000), flags)
    }

    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let mut now = self.now;
        let mut waits = 0;
        while let Some(at) = self.session.transmitter.next_timeout() {
            waits += 1;
            assert!(waits < 100_000, "the rest never leaves");
            now = now.max(at);
            while let Some(train) = self.session.transmitter.poll_transmit(now) {
                packets.extend(train.bytes.chunks_exact(train.segment).map(<[u8]>::to_vec));
                let n = train.packets;
                self.session.transmitter.sent(now, n, 0);
            }
        }
        packets
    }

    pub fn stat(&self, name: &str) -> u64 {
        let entries = self.session.shared().stats.entries();
        entries
            .into_iter()
            .find(|(k, _)| *k == name)
            .map(|(_, v)| v)
            .unwrap()
    }
}

/// A client and a clock.
pub struct Client {
    pub session: ClientSession,
    pub now: u64,
}

impl Client {
    pub fn new(config: StreamConfig) -> Self {
        Self {
            session: ClientSession::new(config, true).unwrap(),
            now: START,
        }
    }

    pub fn take(&mut self, packet: &[u8]) -> punktfunk_core::session::Receipt {
        let receipt = self.session.receive(&mut packet.to_vec(), self.now);
        self.session.advance(self.now);
        receipt
    }

    pub fn take_all<'a>(&mut self, packets: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<Frame> {
        for packet in packets {
            self.take(packet);
        }
        self.frames()
    }

    pub fn pass(&mut self, ns: u64) -> Vec<Frame> {
        self.now += ns;
        self.session.advance(self.now);
        self.frames()
    }

    pub fn frames(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.session.poll_frame()).collect()
    }

    pub fn indices(frames: &[Frame]) -> Vec<u32> {
        frames.iter().map(|f| f.index).collect()
    }

    pub fn stats(&self) -> ClientStats {
        self.session.stats()
    }

    /// Every packet, shard and frame is accounted for. Call after `settle`.
    pub fn assert_balanced(&self, frames_submitted: u64) {
        let s = self.stats();
        let rejected = self.session.rejections().total();
        assert_eq!(
            s.packets_received,
            s.packets_used + s.packets_late + s.packets_duplicate + rejected,
            "packets: {s:?}"
        );
        assert_eq!(
            s.data_shards_missing,
            s.data_shards_recovered + s.data_shards_unrecoverable,
            "shards: {s:?}"
        );
        assert_eq!(
            s.frames_complete,
            s.frames_decodable + s.frames_undecodable,
            "decodable: {s:?}"
        );
        assert_eq!(
            frames_submitted,
            s.frames_complete + s.frames_unrecoverable + s.frames_expired,
            "frames: {s:?}"
        );
    }
}
