//! The audio packets of GameStream (gamestream sections 9.1 and 9.2): one Opus packet each, and two recovery packets behind
//! every fourth.
//!
//! ```text
//!  data   0x80 | 97  | BE16 seq | BE32 ms | BE32 0 | payload
//!  FEC    0x80 | 127 | BE16 seq | BE32 0  | BE32 0 | index | 97 | BE16 base seq | BE32 base ms | BE32 0 | parity
//! ```
//!
//! The payload is encrypted where the stream is, and the code covers it as it is sent.

mod cipher;
mod receive;
mod send;

pub use cipher::AudioCipher;
pub use receive::{AudioReceiver, AudioStats, Sound};
pub use send::{AudioError, AudioSender};

use crate::fec::audio::{DATA, PARITY};

/// Bytes in front of a data packet's payload.
pub const RTP_BYTES: usize = 12;
/// Bytes in front of a recovery packet's payload.
pub const FEC_HEAD_BYTES: usize = RTP_BYTES + 12;
/// Longest UDP payload of a packet that clients take.
pub const MAX_PACKET_BYTES: usize = 1400;
/// Longest payload: that of a recovery packet is as long as that of the data packets.
pub const MAX_PAYLOAD_BYTES: usize = MAX_PACKET_BYTES - FEC_HEAD_BYTES;

const RTP_FLAGS: u8 = 0x80;
const DATA_TYPE: u8 = 97;
const FEC_TYPE: u8 = 127;

/// A packet as it was read: where it stands and what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet<'a> {
    /// First sequence number of its block, or its own where it is data.
    sequence: u16,
    /// Place among the block's shards.
    shard: usize,
    payload: &'a [u8],
}

/// Write a data packet's head.
fn data_head(sequence: u16, milliseconds: u32) -> [u8; RTP_BYTES] {
    let mut head = [0; RTP_BYTES];
    head[..2].copy_from_slice(&[RTP_FLAGS, DATA_TYPE]);
    head[2..4].copy_from_slice(&sequence.to_be_bytes());
    head[4..8].copy_from_slice(&milliseconds.to_be_bytes());
    head
}

/// Write the head of recovery packet `index` of the block that begins with `base`.
fn fec_head(index: usize, base: u16, base_milliseconds: u32) -> [u8; FEC_HEAD_BYTES] {
    let mut head = [0; FEC_HEAD_BYTES];
    head[..2].copy_from_slice(&[RTP_FLAGS, FEC_TYPE]);
    // These overlap the next block's numbers; the type tells them apart.
    let sequence = base.wrapping_add((DATA + index) as u16);
    head[2..4].copy_from_slice(&sequence.to_be_bytes());
    head[12..14].copy_from_slice(&[index as u8, DATA_TYPE]);
    head[14..16].copy_from_slice(&base.to_be_bytes());
    head[16..20].copy_from_slice(&base_milliseconds.to_be_bytes());
    head
}

/// Read a packet; `None` where it is none of sound, or of no length that one could have.
fn parse(packet: &[u8]) -> Option<Packet<'_>> {
    let head = packet.first_chunk::<RTP_BYTES>()?;
    if head[0] != RTP_FLAGS || packet.len() > MAX_PACKET_BYTES {
        return None;
    }
    let (sequence, shard, payload) = match head[1] {
        DATA_TYPE => {
            let sequence = u16::from_be_bytes([head[2], head[3]]);
            let shard = usize::from(sequence) % DATA;
            (sequence, shard, &packet[RTP_BYTES..])
        }
        FEC_TYPE => {
            let head = packet.first_chunk::<FEC_HEAD_BYTES>()?;
            let base = u16::from_be_bytes([head[14], head[15]]);
            let index = usize::from(head[12]);
            if index >= PARITY || head[13] != DATA_TYPE || !usize::from(base).is_multiple_of(DATA) {
                return None;
            }
            (base, DATA + index, &packet[FEC_HEAD_BYTES..])
        }
        _ => return None,
    };
    (!payload.is_empty()).then_some(Packet {
        sequence,
        shard,
        payload,
    })
}
