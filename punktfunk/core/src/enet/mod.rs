//! ENet, the transport of GameStream's control stream (gamestream section 10.1), without sockets and without a clock.
//!
//! `rusty_enet` keeps the protocol: acknowledgements, retransmission, order, channels. It is ENet's C in unsafe Rust, trusts
//! whoever has a connection, and gives a connection to whoever asks. So nothing reaches it that [`gate`] has not taken
//! apart before: an unknown session's CONNECT, a datagram of another address, a command that is cut short or means
//! nothing now, and whatever would have it keep more for a peer than the limits below
//! ([0153](../../../../docs/adr/0153-enet.md)).

mod command;
mod endpoint;
mod gate;

use std::net::SocketAddr;
use std::time::Duration;

pub use endpoint::{Endpoint, SendError};

/// Longest datagram that is looked at, bytes.
pub const MAX_DATAGRAM_BYTES: usize = 1500;
/// Connections that are not confirmed yet; a further one takes the place of the oldest.
pub const MAX_HALF_OPEN: usize = 48;
/// Likewise of one session: who knows its number can crowd out its client and nobody else's.
pub const MAX_HALF_OPEN_OF_SESSION: usize = 16;
/// How long a connection may stay unconfirmed. One round trip is enough; a client asks again after half a second.
pub const HALF_OPEN_LIFE: Duration = Duration::from_secs(1);
/// Likewise, for one whose peer goes on sending to it: what confirms it was lost, and comes again with the next VERIFY.
pub const ANSWERED_LIFE: Duration = Duration::from_secs(5);
/// After this long without an acknowledgement a peer is gone. It is pinged every 500 ms.
pub const SILENCE: Duration = Duration::from_secs(10);
/// How far ahead of its channel a reliable command may be, and how many of a peer may wait for an earlier one.
pub const MAX_AHEAD: usize = 512;
/// Unreliable commands of a peer that wait for a reliable one.
pub const MAX_HELD: usize = 64;
/// Messages in fragments that a peer may have unfinished. Clients of GameStream send none.
pub const MAX_ASSEMBLIES: usize = 4;
/// Fragments of one message.
pub const MAX_FRAGMENTS: u32 = 64;
/// Longest message in fragments, bytes.
pub const MAX_MESSAGE_BYTES: u32 = 32 << 10;
/// Reliable messages to a peer that it has not acknowledged; further ones are refused.
pub const MAX_UNACKED: usize = 512;
/// Datagrams that may wait to be fetched; further ones are lost, as on a network.
pub const MAX_OUTBOX: usize = 1024;

/// What a caller wants back with each datagram to a peer: which of its own addresses the peer sent to.
pub type Path = [u8; 24];

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A peer is there, with the number that it gave.
    Connected {
        /// Names the connection, and no other one ever.
        peer: u64,
        /// The CONNECT's data.
        data: u32,
        /// Where it is.
        remote: SocketAddr,
    },
    /// A message.
    Received {
        /// Whose.
        peer: u64,
        /// On which channel.
        channel: u8,
        /// The message.
        payload: Vec<u8>,
    },
    /// A peer is gone, or a connection did not come about.
    Disconnected {
        /// Which.
        peer: u64,
        /// The DISCONNECT's data; 0 without one.
        data: u32,
        /// Who ended it.
        cause: Cause,
    },
}

/// Why a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The peer said so.
    Peer,
    /// It was disconnected from here, and knows.
    Local,
    /// It did not acknowledge anything for [`SILENCE`].
    Timeout,
}

impl Cause {
    /// As Python and logs have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Local => "local",
            Self::Timeout => "timeout",
        }
    }
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Acknowledged and in order on its channel.
    Reliable,
    /// Lost, or in order on its channel.
    Unreliable,
    /// Lost, or in any order.
    Unsequenced,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What an endpoint counts.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// All of them, by name.
            #[must_use]
            pub fn pairs(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counters! {
    /// Datagrams that came.
    datagrams,
    /// Of those, the ones that are no ENet datagrams of this kind.
    malformed,
    /// Of a connection that there is not, or from another address than its own.
    strangers,
    /// CONNECTs that belong to no session that waits.
    refused,
    /// Unconfirmed connections that were given up in time.
    expired,
    /// Unconfirmed connections that gave way to a further one.
    crowded_out,
    /// Commands that a peer may not send now, or that are beyond its limits.
    dropped_commands,
    /// Datagrams that nobody fetched.
    outbox_lost,
}
