//! The bytes of ENet: datagrams and the commands in them (gamestream section 10.1). Nothing here keeps anything.

/// Peer index of a datagram that belongs to no connection yet.
pub(super) const NO_PEER: u16 = 0xfff;
/// Channel of connecting, pings and disconnecting.
pub(super) const CONTROL_CHANNEL: u8 = 0xff;

pub(super) const ACK: u8 = 1;
pub(super) const CONNECT: u8 = 2;
pub(super) const VERIFY: u8 = 3;
pub(super) const DISCONNECT: u8 = 4;
pub(super) const PING: u8 = 5;
pub(super) const RELIABLE: u8 = 6;
pub(super) const UNRELIABLE: u8 = 7;
pub(super) const FRAGMENT: u8 = 8;
pub(super) const UNSEQUENCED: u8 = 9;
pub(super) const BANDWIDTH: u8 = 10;
pub(super) const THROTTLE: u8 = 11;
pub(super) const UNRELIABLE_FRAGMENT: u8 = 12;

/// Bytes of each command before its payload; 0 where there is no such command.
const SIZES: [usize; 16] = [0, 8, 48, 44, 8, 4, 6, 8, 24, 8, 12, 16, 24, 0, 0, 0];

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A datagram, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datagram<'a> {
    pub peer: u16,
    pub session: u8,
    /// Whether it says when it was sent; without, nothing in it can be acknowledged.
    pub has_time: bool,
    pub head: &'a [u8],
    pub body: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// `None` for what is too short, and for a compressed one, which GameStream never has.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() < 2 {
            return None;
        }
        let word = be16(bytes, 0);
        let has_time = word & 0x8000 != 0;
        let head = if has_time { 4 } else { 2 };
        if word & 0x4000 != 0 || bytes.len() < head {
            return None;
        }
        let (head, body) = bytes.split_at(head);
        Some(Self {
            peer: word & 0xfff,
            session: ((word >> 12) & 3) as u8,
            has_time,
            head,
            body,
        })
    }

    /// Its commands, up to the first that is none or that is cut short.
    pub fn commands(&self) -> Commands<'a> {
        Commands { rest: self.body }
    }
}

/// A command with its payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Command<'a> {
    pub number: u8,
    pub wants_ack: bool,
    pub channel: u8,
    pub sequence: u16,
    pub bytes: &'a [u8],
}

impl<'a> Command<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let number = *bytes.first()? & 0xf;
        let size = SIZES[usize::from(number)];
        if size == 0 || bytes.len() < size {
            return None;
        }
        let payload = match number {
            RELIABLE => be16(bytes, 4),
            UNRELIABLE | UNSEQUENCED | FRAGMENT | UNRELIABLE_FRAGMENT => be16(bytes, 6),
            _ => 0,
        };
        Some(Self {
            number,
            wants_ack: bytes[0] & 0x80 != 0,
            channel: bytes[1],
            sequence: be16(bytes, 2),
            bytes: bytes.get(..size + usize::from(payload))?,
        })
    }

    /// Which command an ACK acknowledges: the sequence number it repeats, on its channel.
    pub fn acknowledged(&self) -> (u8, u16) {
        (self.channel, be16(self.bytes, 4))
    }

    /// The fields of a fragment.
    pub fn fragment(&self) -> Fragment {
        Fragment {
            start: be16(self.bytes, 4),
            length: u32::from(be16(self.bytes, 6)),
            count: be32(self.bytes, 8),
            number: be32(self.bytes, 12),
            total: be32(self.bytes, 16),
            offset: be32(self.bytes, 20),
        }
    }

    /// The fields of a CONNECT or a VERIFY.
    pub fn connect(&self) -> Connect {
        Connect {
            peer: be16(self.bytes, 4),
            incoming_session: self.bytes[6],
            outgoing_session: self.bytes[7],
            channels: be32(self.bytes, 16),
            connect_id: be32(self.bytes, 40),
        }
    }

    /// What a CONNECT says of the session that it belongs to.
    pub fn connect_data(&self) -> u32 {
        be32(self.bytes, 44)
    }

    /// Which group an UNRELIABLE one follows: the reliable command that has to have been delivered before.
    pub fn follows(&self) -> u16 {
        self.sequence
    }
}

/// A part of a message that was too long for a datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment {
    pub start: u16,
    pub length: u32,
    pub count: u32,
    pub number: u32,
    pub total: u32,
    pub offset: u32,
}

impl Fragment {
    /// How long all fragments but the last are, if this one is cut as ENet cuts: equal slices in order, so that together
    /// they cover every byte. `None` otherwise: the library would hand out memory that nobody has written.
    pub fn slice(&self) -> Option<u32> {
        if self.count == 0 || self.number >= self.count || self.length == 0 {
            return None;
        }
        let last = self.number == self.count - 1;
        let slice = if !last || self.count == 1 {
            self.length
        } else {
            (self.offset.is_multiple_of(self.number)).then(|| self.offset / self.number)?
        };
        let end = self.offset.checked_add(self.length)?;
        let placed = self.offset == self.number.checked_mul(slice)?;
        let fits = if last {
            end == self.total && self.length <= slice
        } else {
            end < self.total
        };
        (slice > 0 && placed && fits).then_some(slice)
    }
}

/// What a CONNECT and its VERIFY agree on, as far as anybody here has to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connect {
    pub peer: u16,
    pub incoming_session: u8,
    pub outgoing_session: u8,
    pub channels: u32,
    pub connect_id: u32,
}

/// Iterator over the commands of a datagram.
#[derive(Debug, Clone)]
pub(super) struct Commands<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Commands<'a> {
    type Item = Command<'a>;

    fn next(&mut self) -> Option<Command<'a>> {
        let command = Command::parse(self.rest)?;
        self.rest = &self.rest[command.bytes.len()..];
        Some(command)
    }
}
