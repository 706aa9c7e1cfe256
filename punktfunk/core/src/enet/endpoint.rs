//! An ENet host between a caller's datagrams and the library.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusty_enet::{EventNoRef, Host, HostSettings, MTU_MAX, PacketReceived, PeerID, PeerState};

use super::command::{self, Datagram};
use super::gate::{Phase, Shadow};
use super::{
    ANSWERED_LIFE, Cause, Counters, Delivery, Event, HALF_OPEN_LIFE, MAX_DATAGRAM_BYTES,
    MAX_HALF_OPEN, MAX_HALF_OPEN_OF_SESSION, MAX_OUTBOX, MAX_UNACKED, Path, SILENCE,
};

/// Largest datagrams sent, bytes: what Moonlight's ENet announces (gamestream section 10.1).
const MTU: u16 = 900;
/// What a datagram has beside one message, bytes, at most.
const OVERHEAD: usize = 64;
/// The library tells no deadline. While something is not acknowledged it is asked this often, else often enough to ping.
const BUSY_TICK: Duration = Duration::from_millis(10);
const IDLE_TICK: Duration = Duration::from_millis(250);
/// Where the library's clock begins: to it 0 is no time.
const CLOCK_START: Duration = Duration::from_secs(1);

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no such connection, or it is not confirmed, or it ends.
    #[error("the peer is not connected")]
    NotConnected,
    /// It does not fit a datagram.
    #[error("the message does not fit a datagram")]
    TooLong,
    /// The peer has not acknowledged what was sent before.
    #[error("too much waits for the peer's acknowledgement")]
    Full,
}

/// Where a peer is, and which connection that is.
#[derive(Debug, Clone)]
struct Route {
    remote: SocketAddr,
    path: Path,
    key: u64,
}

impl rusty_enet::Address for Route {
    fn same_host(&self, other: &Self) -> bool {
        self.remote.ip() == other.remote.ip()
    }

    fn same(&self, other: &Self) -> bool {
        self.remote == other.remote
    }

    fn is_broadcast(&self) -> bool {
        false
    }
}

/// The library's socket: one datagram in, any number out.
#[derive(Debug, Default)]
struct Wire {
    inbox: Option<(Route, Vec<u8>)>,
    outbox: Vec<(Route, Vec<u8>)>,
}

impl rusty_enet::Socket for Wire {
    type Address = Route;
    type Error = Infallible;

    fn send(&mut self, address: Route, buffer: &[u8]) -> Result<usize, Infallible> {
        self.outbox.push((address, buffer.to_vec()));
        Ok(buffer.len())
    }

    fn receive(
        &mut self,
        buffer: &mut [u8; MTU_MAX],
    ) -> Result<Option<(Route, PacketReceived)>, Infallible> {
        Ok(self.inbox.take().map(|(route, datagram)| {
            buffer[..datagram.len()].copy_from_slice(&datagram);
            (route, PacketReceived::Complete(datagram.len()))
        }))
    }
}

/// A host of any number of peers: a server where `admit` lets CONNECTs in, a client where it connects.
///
/// Every call takes the time, nanoseconds of a clock that only goes forward. After each, [`Self::next_datagram`] has what
/// is to be sent, and [`Self::next_timeout`] says when [`Self::tick`] is due.
pub struct Endpoint {
    host: Host<Wire>,
    clock_ns: Arc<AtomicU64>,
    shadows: Vec<Option<Shadow>>,
    channels: usize,
    keys: u64,
    outbox: VecDeque<(Vec<u8>, SocketAddr, Path)>,
    counters: Counters,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("shadows", &self.shadows)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint of up to `peers` connections of up to `channels` channels each; `None` unless both are 1 to 255.
    /// `seed` makes the numbers by which its own connections are known.
    #[must_use]
    pub fn new(peers: usize, channels: usize, seed: u32) -> Option<Self> {
        if !(1..=255).contains(&peers) || !(1..=255).contains(&channels) {
            return None;
        }
        let clock_ns = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&clock_ns);
        let settings = HostSettings {
            peer_limit: peers,
            channel_limit: channels,
            time: Box::new(move || {
                CLOCK_START + Duration::from_nanos(clock.load(Ordering::Relaxed))
            }),
            seed: Some(seed),
            ..HostSettings::default()
        };
        let mut host = Host::new(Wire::default(), settings).ok()?;
        host.set_mtu(MTU).ok()?;
        Some(Self {
            host,
            clock_ns,
            shadows: (0..peers).map(|_| None).collect(),
            channels,
            keys: 0,
            outbox: VecDeque::new(),
            counters: Counters::default(),
        })
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Connections that there are, confirmed or not.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.shadows.iter().flatten().count()
    }

    /// Begin a connection; `None` when there is no room. [`Event::Connected`] or [`Event::Disconnected`] follows.
    pub fn connect(
        &mut self,
        remote: SocketAddr,
        path: Path,
        data: u32,
        now_ns: u64,
    ) -> Option<u64> {
        self.set_clock(now_ns);
        let key = self.next_key();
        let route = Route { remote, path, key };
        let peer = self.host.connect(route, self.channels, data).ok()?;
        peer.set_timeout(0, millis(SILENCE), millis(SILENCE));
        let index = peer.id().0;
        let mut shadow = Shadow::new(key, remote, self.channels, Phase::Connecting);
        shadow.data = data;
        self.shadows[index] = Some(shadow);
        self.host.flush();
        self.note_sent();
        Some(key)
    }

    /// Take a datagram; return what it brought about. `admit` is asked whether the session of a CONNECT's data waits for one
    /// from that address; whoever asks has not shown that it is there.
    pub fn feed(
        &mut self,
        datagram: &[u8],
        remote: SocketAddr,
        path: Path,
        now_ns: u64,
        admit: impl FnOnce(u32, SocketAddr) -> bool,
    ) -> Vec<Event> {
        self.counters.datagrams += 1;
        let parsed = (datagram.len() <= MAX_DATAGRAM_BYTES)
            .then(|| Datagram::parse(datagram))
            .flatten();
        let Some(parsed) = parsed else {
            self.counters.malformed += 1;
            return Vec::new();
        };
        if parsed.peer == command::NO_PEER {
            return self.asked_to_connect(&parsed, remote, path, now_ns, admit);
        }
        let shadow = self
            .shadows
            .get_mut(usize::from(parsed.peer))
            .and_then(Option::as_mut)
            .filter(|shadow| shadow.owns(&parsed, remote));
        let Some(shadow) = shadow else {
            self.counters.strangers += 1;
            return Vec::new();
        };
        let key = shadow.key;
        let Some(passed) = shadow.filter(&parsed, &mut self.counters) else {
            return Vec::new();
        };
        self.set_clock(now_ns);
        self.host.socket_mut().inbox = Some((Route { remote, path, key }, passed));
        self.run()
    }

    /// Do what is due: retransmit, ping, give up.
    pub fn tick(&mut self, now_ns: u64) -> Vec<Event> {
        self.set_clock(now_ns);
        for index in 0..self.shadows.len() {
            let phase = self.shadows[index].as_ref().map(|shadow| shadow.phase);
            if let Some(Phase::HalfOpen { since_ns, answered }) = phase
                && now_ns.saturating_sub(since_ns)
                    >= nanos(if answered {
                        ANSWERED_LIFE
                    } else {
                        HALF_OPEN_LIFE
                    })
            {
                self.forget(index);
                self.counters.expired += 1;
            }
        }
        self.run()
    }

    /// When [`Self::tick`] is due, if nothing happens before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        let last_ns = self.clock_ns.load(Ordering::Relaxed);
        self.shadows
            .iter()
            .flatten()
            .map(|shadow| {
                let busy = !shadow.unacked.is_empty() || shadow.in_flight > 0;
                let busy = busy || shadow.phase == Phase::Leaving;
                last_ns.saturating_add(nanos(if busy { BUSY_TICK } else { IDLE_TICK }))
            })
            .min()
    }

    /// The next datagram to send, with where to and its path.
    pub fn next_datagram(&mut self) -> Option<(Vec<u8>, SocketAddr, Path)> {
        self.outbox.pop_front()
    }

    /// Send a message. On a channel that the peer has not granted it goes by channel 0.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent then.
    pub fn send(
        &mut self,
        peer: u64,
        channel: u8,
        payload: &[u8],
        delivery: Delivery,
        now_ns: u64,
    ) -> Result<(), SendError> {
        let index = self.index_of(peer).ok_or(SendError::NotConnected)?;
        let shadow = self.shadows[index]
            .as_mut()
            .filter(|shadow| shadow.phase == Phase::Connected)
            .ok_or(SendError::NotConnected)?;
        if payload.len() > usize::from(MTU) - OVERHEAD {
            return Err(SendError::TooLong);
        }
        let channel = if usize::from(channel) < shadow.granted {
            channel
        } else {
            0
        };
        let packet = match delivery {
            Delivery::Reliable if shadow.in_flight >= MAX_UNACKED => return Err(SendError::Full),
            Delivery::Reliable => rusty_enet::Packet::reliable(payload),
            Delivery::Unreliable => rusty_enet::Packet::unreliable(payload),
            Delivery::Unsequenced => rusty_enet::Packet::unreliable_unsequenced(payload),
        };
        let reliable = delivery == Delivery::Reliable;
        self.clock_ns.fetch_max(now_ns, Ordering::Relaxed);
        self.host
            .peer_mut(PeerID(index))
            .send(channel, &packet)
            .map_err(|_| SendError::NotConnected)?;
        if reliable {
            shadow.in_flight += 1;
        }
        self.host.flush();
        self.note_sent();
        Ok(())
    }

    /// Reliable messages that a peer has not acknowledged; 0 for one that is gone.
    #[must_use]
    pub fn unacknowledged(&self, peer: u64) -> usize {
        self.index_of(peer)
            .and_then(|index| self.shadows[index].as_ref())
            .map_or(0, |shadow| shadow.in_flight)
    }

    /// The smoothed time from a reliable message to its acknowledgement, whole milliseconds in nanoseconds; `None` for
    /// a peer that is gone. Until the first acknowledgement it is what ENet assumes: half a second.
    #[must_use]
    pub fn round_trip_ns(&self, peer: u64) -> Option<u64> {
        let index = self.index_of(peer)?;
        let measured = self.host.peer(PeerID(index)).round_trip_time();
        Some(u64::try_from(measured.as_nanos()).unwrap_or(u64::MAX))
    }

    /// End a connection once all that was sent is acknowledged. [`Event::Disconnected`] follows.
    pub fn disconnect(&mut self, peer: u64, data: u32, now_ns: u64) {
        let Some(index) = self.index_of(peer) else {
            return;
        };
        self.set_clock(now_ns);
        if let Some(shadow) = self.shadows[index].as_mut() {
            shadow.phase = Phase::Leaving;
        }
        self.host.peer_mut(PeerID(index)).disconnect_later(data);
        self.host.flush();
        self.note_sent();
    }

    /// End a connection now, with one DISCONNECT that may get lost. No event follows.
    pub fn abandon(&mut self, peer: u64, data: u32, now_ns: u64) {
        let Some(index) = self.index_of(peer) else {
            return;
        };
        self.set_clock(now_ns);
        self.host.peer_mut(PeerID(index)).disconnect_now(data);
        self.note_sent();
        self.forget(index);
    }

    fn asked_to_connect(
        &mut self,
        datagram: &Datagram<'_>,
        remote: SocketAddr,
        path: Path,
        now_ns: u64,
        admit: impl FnOnce(u32, SocketAddr) -> bool,
    ) -> Vec<Event> {
        let first = datagram.commands().next();
        let Some(command) = first.filter(|c| c.number == command::CONNECT && datagram.has_time)
        else {
            self.counters.malformed += 1;
            return Vec::new();
        };
        let (asked, data) = (command.connect(), command.connect_data());
        if asked.peer >= command::NO_PEER || !(1..=255).contains(&asked.channels) {
            self.counters.malformed += 1;
            return Vec::new();
        }
        let mut known = self.shadows.iter().flatten();
        if known.any(|s| s.remote == remote && s.connect_id == asked.connect_id) {
            return Vec::new(); // asked again: the VERIFY is repeated anyway
        }
        if !admit(data, remote) {
            self.counters.refused += 1;
            return Vec::new();
        }
        self.make_room(data);
        if self.shadows.iter().all(Option::is_some) {
            self.counters.refused += 1;
            return Vec::new();
        }
        self.set_clock(now_ns);
        let channels = self.channels.min(asked.channels as usize);
        let phase = Phase::HalfOpen {
            since_ns: now_ns,
            answered: false,
        };
        let key = self.next_key();
        let mut shadow = Shadow::new(key, remote, channels, phase);
        shadow.connect_id = asked.connect_id;
        shadow.data = data;
        let mut passed = [datagram.head, command.bytes].concat();
        let bandwidths = datagram.head.len() + 20;
        passed[bandwidths..bandwidths + 8].fill(0);
        self.host.socket_mut().inbox = Some((Route { remote, path, key }, passed));
        self.run_with(Some(shadow))
    }

    /// Have the oldest unconfirmed connection give way, when there are as many as there may be.
    fn make_room(&mut self, data: u32) {
        let mut unconfirmed: Vec<((bool, u64), usize, bool)> = Vec::new();
        for (index, shadow) in self.shadows.iter().enumerate() {
            if let Some(shadow) = shadow
                && let Phase::HalfOpen { since_ns, answered } = shadow.phase
            {
                unconfirmed.push(((answered, since_ns), index, shadow.data == data));
            }
        }
        let of_session = unconfirmed.iter().filter(|u| u.2).count();
        let full = self.shadows.iter().all(Option::is_some);
        let oldest = if of_session >= MAX_HALF_OPEN_OF_SESSION {
            unconfirmed.iter().filter(|u| u.2).min()
        } else if full || unconfirmed.len() >= MAX_HALF_OPEN {
            unconfirmed.iter().min()
        } else {
            None
        };
        if let Some(&(_, index, _)) = oldest {
            self.forget(index);
            self.counters.crowded_out += 1;
        }
    }

    fn run(&mut self) -> Vec<Event> {
        self.run_with(None)
    }

    /// Let the library work until it has nothing more to say. `asked` is the connection that a CONNECT just given to it makes.
    fn run_with(&mut self, asked: Option<Shadow>) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = match self.host.service() {
                Ok(event) => event.map(|event| event.no_ref()),
                Err(never) => match never {},
            };
            match event {
                None => break,
                Some(EventNoRef::Connect { peer, .. }) => self.connected(peer.0, &mut events),
                Some(EventNoRef::Receive {
                    peer,
                    channel_id,
                    packet,
                }) => {
                    if let Some(shadow) = &self.shadows[peer.0] {
                        events.push(Event::Received {
                            peer: shadow.key,
                            channel: channel_id,
                            payload: packet.data().to_vec(),
                        });
                    }
                }
                Some(EventNoRef::Disconnect { peer, data }) => {
                    if let Some(shadow) = self.shadows[peer.0].take() {
                        let cause = match shadow.phase {
                            _ if shadow.left => Cause::Peer,
                            Phase::Leaving => Cause::Local,
                            _ => Cause::Timeout,
                        };
                        events.push(Event::Disconnected {
                            peer: shadow.key,
                            data,
                            cause,
                        });
                    }
                }
            }
        }
        let states: Vec<PeerState> = self.host.peers().map(rusty_enet::Peer::state).collect();
        let mut asked = asked;
        for (shadow, state) in self.shadows.iter_mut().zip(states) {
            if state == PeerState::Disconnected {
                *shadow = None; // without an event: a connection that was not confirmed
            } else if shadow.is_none() {
                *shadow = asked.take();
            }
        }
        self.note_sent();
        events
    }

    fn connected(&mut self, index: usize, events: &mut Vec<Event>) {
        let peer = self.host.peer_mut(PeerID(index));
        peer.set_timeout(0, millis(SILENCE), millis(SILENCE));
        if let Some(shadow) = &mut self.shadows[index] {
            shadow.phase = Phase::Connected;
            events.push(Event::Connected {
                peer: shadow.key,
                data: shadow.data,
                remote: shadow.remote,
            });
        }
    }

    /// Move what the library has sent to where it is fetched, each connection's shadow knowing of it.
    fn note_sent(&mut self) {
        for (route, bytes) in std::mem::take(&mut self.host.socket_mut().outbox) {
            let shadow = self
                .shadows
                .iter_mut()
                .flatten()
                .find(|s| s.key == route.key);
            if let (Some(shadow), Some(datagram)) = (shadow, Datagram::parse(&bytes)) {
                shadow.sent(&datagram);
            }
            if self.outbox.len() >= MAX_OUTBOX {
                self.counters.outbox_lost += 1;
            } else {
                self.outbox.push_back((bytes, route.remote, route.path));
            }
        }
    }

    fn forget(&mut self, index: usize) {
        self.host.peer_mut(PeerID(index)).reset();
        self.shadows[index] = None;
    }

    fn index_of(&self, key: u64) -> Option<usize> {
        self.shadows
            .iter()
            .position(|shadow| shadow.as_ref().is_some_and(|shadow| shadow.key == key))
    }

    fn next_key(&mut self) -> u64 {
        self.keys += 1;
        self.keys
    }

    fn set_clock(&self, now_ns: u64) {
        self.clock_ns.fetch_max(now_ns, Ordering::Relaxed);
    }
}

fn millis(duration: Duration) -> u32 {
    duration.as_millis() as u32
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}
