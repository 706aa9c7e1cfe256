//! What the library is given of a peer's datagrams: what is sound, expected and within limits.
//!
//! The gate keeps a shadow of each connection: what its library holds for it, by sequence numbers alone.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::command::{self, Command, Datagram};
use super::{Counters, MAX_AHEAD, MAX_ASSEMBLIES, MAX_FRAGMENTS, MAX_HELD, MAX_MESSAGE_BYTES};

/// How far the number of a DISCONNECT may be from the newest on its channel. Who cannot see the connection has to guess.
const CONTROL_REACH: u16 = 64;

/// Whether a sequence number comes after another one, half of all numbers being before it.
fn after(sequence: u16, other: u16) -> bool {
    let ahead = sequence.wrapping_sub(other);
    ahead != 0 && ahead < 0x8000
}

/// What has come on a channel.
#[derive(Debug, Default)]
struct Channel {
    /// The newest that was delivered; all before it were too.
    delivered: u16,
    /// Those that came before their turn.
    ahead: BTreeSet<u16>,
    /// What the unreliable ones that wait are waiting for.
    held: Vec<u16>,
}

/// A message in fragments that is not complete.
#[derive(Debug)]
struct Assembly {
    channel: u8,
    start: u16,
    count: u32,
    total: u32,
    slice: u32,
    seen: u64,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Asked for from here.
    Connecting,
    /// Asked for by a peer, since then (ns). Once it has sent something that only who was answered can send well, it is
    /// `answered`, and the acknowledgement that is missing was lost.
    HalfOpen { since_ns: u64, answered: bool },
    /// There.
    Connected,
    /// Asked from here to end.
    Leaving,
}

/// The shadow of a connection.
#[derive(Debug)]
pub(super) struct Shadow {
    pub key: u64,
    pub remote: SocketAddr,
    pub connect_id: u32,
    pub data: u32,
    pub phase: Phase,
    /// Session bits that its datagrams carry, once agreed on.
    pub session: Option<u8>,
    /// Whether it was asked for from here.
    ours: bool,
    /// Whether it has said that it leaves.
    pub left: bool,
    /// How many channels were agreed on; the library may have more of them.
    pub granted: usize,
    /// Commands sent that it has not acknowledged.
    pub unacked: BTreeSet<(u8, u16)>,
    /// Reliable messages that it has not acknowledged, sent or waiting for room.
    pub in_flight: usize,
    channels: Vec<Channel>,
    assemblies: Vec<Assembly>,
    /// The newest number on the control channel.
    control: u16,
    waiting: usize,
    held: usize,
}

impl Shadow {
    pub fn new(key: u64, remote: SocketAddr, channels: usize, phase: Phase) -> Self {
        Self {
            key,
            remote,
            connect_id: 0,
            data: 0,
            phase,
            session: None,
            ours: phase == Phase::Connecting,
            left: false,
            granted: channels,
            unacked: BTreeSet::new(),
            in_flight: 0,
            channels: (0..channels).map(|_| Channel::default()).collect(),
            assemblies: Vec::new(),
            control: 1,
            waiting: 0,
            held: 0,
        }
    }

    /// Whether a datagram is this connection's: by its address, and by the session bits once they are known.
    pub fn owns(&self, datagram: &Datagram<'_>, remote: SocketAddr) -> bool {
        self.remote == remote && self.session.is_none_or(|bits| bits == datagram.session)
    }

    /// Take note of what leaves for this connection's peer.
    pub fn sent(&mut self, datagram: &Datagram<'_>) {
        for command in datagram.commands() {
            if command.wants_ack {
                self.unacked.insert((command.channel, command.sequence));
            }
            match command.number {
                command::CONNECT => self.connect_id = command.connect().connect_id,
                command::VERIFY => self.session = Some(command.connect().outgoing_session & 3),
                _ => {}
            }
        }
    }

    /// The datagram with what of it may reach the library, or `None` when that is nothing.
    pub fn filter(&mut self, datagram: &Datagram<'_>, counters: &mut Counters) -> Option<Vec<u8>> {
        if let Phase::HalfOpen { answered, .. } = &mut self.phase {
            *answered = true;
        }
        let mut passed = datagram.head.to_vec();
        for command in datagram.commands() {
            if command.wants_ack && !datagram.has_time {
                counters.dropped_commands += 1;
                continue;
            }
            let verdict = self.judge(&command);
            match verdict {
                Verdict::Drop => counters.dropped_commands += 1,
                Verdict::Pass | Verdict::PassAsLast => passed.extend_from_slice(command.bytes),
                Verdict::Instead(ref bytes) => passed.extend_from_slice(bytes),
            }
            if matches!(verdict, Verdict::PassAsLast) {
                break;
            }
        }
        (passed.len() > datagram.head.len()).then_some(passed)
    }

    fn judge(&mut self, command: &Command<'_>) -> Verdict {
        match command.number {
            command::ACK => self.acknowledge(command),
            command::VERIFY => self.verify(command),
            command::DISCONNECT => self.disconnect(command),
            _ if self.phase != Phase::Connected => Verdict::Drop,
            command::PING => self.control_command(command, None),
            command::BANDWIDTH => {
                // With limits of its peer's choosing the library would share out bandwidth; GameStream has no use for it.
                let mut bytes = command.bytes.to_vec();
                bytes[4..12].fill(0);
                self.control_command(command, Some(bytes))
            }
            command::THROTTLE => self.control_command(command, None),
            _ if usize::from(command.channel) >= self.channels.len() => Verdict::Drop,
            command::RELIABLE if command.wants_ack => self.reliable(command),
            command::FRAGMENT if command.wants_ack => self.fragment(command),
            command::UNRELIABLE => self.unreliable(command),
            command::UNSEQUENCED => Verdict::Pass,
            // Too long for a datagram and not worth an acknowledgement: nothing that GameStream has.
            _ => Verdict::Drop,
        }
    }

    /// An acknowledgement is of something that was sent. The one of the VERIFY confirms a connection.
    fn acknowledge(&mut self, command: &Command<'_>) -> Verdict {
        if !self.unacked.remove(&command.acknowledged()) {
            return Verdict::Drop;
        }
        if matches!(self.phase, Phase::HalfOpen { .. }) {
            self.phase = Phase::Connected;
        }
        if command.channel != command::CONTROL_CHANNEL {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        Verdict::Pass
    }

    /// The answer to a CONNECT of ours. A host that has fewer channels than were asked for is remembered here: the library
    /// would free another size than it allocated.
    fn verify(&mut self, command: &Command<'_>) -> Verdict {
        let verify = command.connect();
        if !self.ours || verify.connect_id != self.connect_id || verify.peer >= command::NO_PEER {
            return Verdict::Drop;
        }
        if self.phase != Phase::Connecting {
            return Verdict::Pass; // a repeat, whose acknowledgement was lost
        }
        let Ok(granted) = usize::try_from(verify.channels) else {
            return Verdict::Drop;
        };
        if granted == 0 {
            return Verdict::Drop;
        }
        self.granted = granted.min(self.channels.len());
        self.session = Some(verify.incoming_session & 3);
        self.phase = Phase::Connected;
        self.unacked.remove(&(command::CONTROL_CHANNEL, 1));
        let mut bytes = command.bytes.to_vec();
        bytes[16..20].copy_from_slice(&(self.channels.len() as u32).to_be_bytes());
        bytes[20..28].fill(0);
        Verdict::Instead(bytes)
    }

    /// A peer leaves. Everybody can send this in its name; so its number has to be near those that it has used, and it has to
    /// want an acknowledgement, as stock clients do.
    fn disconnect(&mut self, command: &Command<'_>) -> Verdict {
        let distance = command.sequence.wrapping_sub(self.control);
        let near = distance <= CONTROL_REACH || distance >= CONTROL_REACH.wrapping_neg();
        let expected = matches!(self.phase, Phase::Connected | Phase::Leaving);
        let meant = command.wants_ack && near && command.channel == command::CONTROL_CHANNEL;
        // Hosts that give a client up say so once and forget it; what that costs is one client of ours.
        if !expected || !(meant || self.ours) {
            return Verdict::Drop;
        }
        self.left = true;
        Verdict::PassAsLast
    }

    fn control_command(&mut self, command: &Command<'_>, instead: Option<Vec<u8>>) -> Verdict {
        if command.channel != command::CONTROL_CHANNEL {
            return Verdict::Drop;
        }
        if after(command.sequence, self.control) {
            self.control = command.sequence;
        }
        instead.map_or(Verdict::Pass, Verdict::Instead)
    }

    fn reliable(&mut self, command: &Command<'_>) -> Verdict {
        let channel = &mut self.channels[usize::from(command.channel)];
        if !after(command.sequence, channel.delivered) || channel.ahead.contains(&command.sequence)
        {
            return Verdict::Pass; // a repeat: it is acknowledged once more
        }
        let ahead = usize::from(command.sequence.wrapping_sub(channel.delivered));
        if ahead > MAX_AHEAD
            || (ahead > 1 && self.waiting >= MAX_AHEAD)
            || self.overlaps(command.channel, command.sequence, 1)
        {
            return Verdict::Drop;
        }
        self.arrived(command.channel, command.sequence, 1);
        Verdict::Pass
    }

    fn fragment(&mut self, command: &Command<'_>) -> Verdict {
        let fragment = command.fragment();
        let Some(slice) = fragment.slice() else {
            return Verdict::Drop;
        };
        if fragment.count > MAX_FRAGMENTS
            || fragment.total > MAX_MESSAGE_BYTES
            || command.sequence != fragment.start.wrapping_add(fragment.number as u16)
        {
            return Verdict::Drop;
        }
        let channel = &self.channels[usize::from(command.channel)];
        if !after(fragment.start, channel.delivered) || channel.ahead.contains(&fragment.start) {
            // Of a message that is complete. The library may refuse it, and then looks at nothing behind it.
            return Verdict::PassAsLast;
        }
        let ahead = usize::from(fragment.start.wrapping_sub(channel.delivered));
        if ahead > MAX_AHEAD {
            return Verdict::Drop;
        }
        let known = self
            .assemblies
            .iter()
            .position(|a| a.channel == command.channel && a.start == fragment.start);
        let index = match known {
            Some(index) => index,
            None if self.assemblies.len() >= MAX_ASSEMBLIES => return Verdict::Drop,
            None => {
                if self.overlaps(command.channel, fragment.start, fragment.count) {
                    return Verdict::Drop;
                }
                self.assemblies.push(Assembly {
                    channel: command.channel,
                    start: fragment.start,
                    count: fragment.count,
                    total: fragment.total,
                    slice,
                    seen: 0,
                });
                self.assemblies.len() - 1
            }
        };
        let assembly = &mut self.assemblies[index];
        let agrees = assembly.count == fragment.count
            && assembly.total == fragment.total
            && (assembly.slice == slice || fragment.count == 1);
        if !agrees {
            return Verdict::Drop;
        }
        assembly.seen |= 1 << fragment.number;
        if assembly.seen.count_ones() == assembly.count {
            let assembly = self.assemblies.swap_remove(index);
            self.arrived(assembly.channel, assembly.start, assembly.count as u16);
        }
        Verdict::Pass
    }

    /// Whether numbers that a message in fragments would take are taken by something else.
    fn overlaps(&self, channel: u8, start: u16, count: u32) -> bool {
        let ahead = &self.channels[usize::from(channel)].ahead;
        let taken = (0..count as u16).any(|n| ahead.contains(&start.wrapping_add(n)));
        taken
            || self.assemblies.iter().any(|a| {
                a.channel == channel
                    && (u32::from(start.wrapping_sub(a.start)) < a.count
                        || u32::from(a.start.wrapping_sub(start)) < count)
            })
    }

    /// Unreliable commands wait in the library for the reliable one that they follow.
    fn unreliable(&mut self, command: &Command<'_>) -> Verdict {
        let follows = command.follows();
        let channel = &mut self.channels[usize::from(command.channel)];
        if after(follows, channel.delivered) {
            let ahead = usize::from(follows.wrapping_sub(channel.delivered));
            if self.held >= MAX_HELD || ahead > MAX_AHEAD {
                return Verdict::Drop;
            }
            channel.held.push(follows);
            self.held += 1;
        }
        Verdict::Pass
    }

    /// Count a reliable message of so many numbers, and what its coming delivers.
    fn arrived(&mut self, channel: u8, start: u16, count: u16) {
        let channel = &mut self.channels[usize::from(channel)];
        let before = channel.ahead.len();
        channel
            .ahead
            .extend((0..count).map(|n| start.wrapping_add(n)));
        while channel.ahead.remove(&channel.delivered.wrapping_add(1)) {
            channel.delivered = channel.delivered.wrapping_add(1);
        }
        self.waiting = self.waiting + channel.ahead.len() - before;
        let (delivered, held) = (channel.delivered, channel.held.len());
        channel.held.retain(|&follows| after(follows, delivered));
        self.held -= held - channel.held.len();
    }
}

/// What becomes of a command.
enum Verdict {
    Pass,
    /// Nothing behind it is looked at.
    PassAsLast,
    /// These bytes in its place.
    Instead(Vec<u8>),
    Drop,
}
