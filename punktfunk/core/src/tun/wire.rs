//! What a TUN with a vnet header reads and writes: `virtio_net_hdr`, then an IP packet of up to 64 KiB.
//!
//! A UDP_SEGMENT packet of the sender arrives whole (gso_type UDP_L4). [`Frame::parse`] finds the datagrams in it;
//! [`join_header`] makes the header of any run of equal datagrams, so that survivors can leave as one packet again.

/// `struct virtio_net_hdr`: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, in the byte order of the host.
pub(super) const VNET_BYTES: usize = 10;
const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;
const UDP: u8 = 17;
const UDP_BYTES: usize = 8;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const IPV6_FRAGMENT: u8 = 44;
/// Longest header that [`join_header`] makes: vnet, IPv6, UDP.
pub(super) const MAX_HEADER_BYTES: usize = VNET_BYTES + IPV6_BYTES + UDP_BYTES;

/// Where the datagrams of one packet are. Offsets count from the vnet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Length with the vnet header.
    pub bytes: usize,
    /// Whether it carries UDP, so that the model decides about it.
    pub udp: bool,
    /// Where the payload begins.
    pub payload_at: usize,
    /// Payload of every datagram but the last.
    pub segment_bytes: usize,
    /// Datagrams in it.
    pub segments: usize,
    /// Whether its datagrams may be written apart or joined with others: plain headers, checksum left to us.
    pub joinable: bool,
    /// Whether it is a part of a datagram, so that the payload is not preceded by a UDP header of its own.
    pub fragment: bool,
}

impl Frame {
    /// Look at what was read. Anything that is not well-formed UDP passes as one opaque packet.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self::parse_udp(bytes).unwrap_or(Self {
            bytes: bytes.len(),
            udp: false,
            payload_at: bytes.len(),
            segment_bytes: 0,
            segments: 1,
            joinable: false,
            fragment: false,
        })
    }

    fn parse_udp(bytes: &[u8]) -> Option<Self> {
        let (vnet, packet) = bytes.split_at_checked(VNET_BYTES)?;
        let (ip_bytes, fragment, plain) = match packet.first()? >> 4 {
            4 => {
                let header = packet.get(..IPV4_BYTES)?;
                if header[9] != UDP {
                    return None;
                }
                let ip_bytes = usize::from(header[0] & 15) * 4;
                let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
                (ip_bytes, fragment, ip_bytes == IPV4_BYTES)
            }
            6 => match *packet.get(..IPV6_BYTES)?.get(6)? {
                UDP => (IPV6_BYTES, false, true),
                IPV6_FRAGMENT if *packet.get(IPV6_BYTES)? == UDP => (IPV6_BYTES + 8, true, false),
                _ => return None,
            },
            _ => return None,
        };
        if fragment {
            // Each fragment is a packet of the link; only the first has a UDP header, and none can be cut or joined.
            return Some(Self {
                bytes: bytes.len(),
                udp: true,
                payload_at: VNET_BYTES + ip_bytes,
                segment_bytes: packet.len().checked_sub(ip_bytes)?,
                segments: 1,
                joinable: false,
                fragment: true,
            });
        }
        let header_bytes = ip_bytes + UDP_BYTES;
        let payload_bytes = packet.len().checked_sub(header_bytes)?;
        let udp_length = be16(&packet[ip_bytes + 4..]);
        let joinable = plain
            && vnet[0] & NEEDS_CSUM != 0
            && payload_bytes > 0
            && usize::from(udp_length) == UDP_BYTES + payload_bytes;
        let gso_size = match vnet[1] & !GSO_ECN {
            GSO_UDP_L4 => usize::from(u16::from_ne_bytes([vnet[4], vnet[5]])),
            _ => 0,
        };
        // A train behind IP options cannot be taken apart here: the model decides about it as a whole.
        let segment_bytes = if joinable && gso_size > 0 {
            gso_size.min(payload_bytes)
        } else {
            payload_bytes
        };
        Some(Self {
            bytes: bytes.len(),
            udp: true,
            payload_at: VNET_BYTES + header_bytes,
            segment_bytes,
            segments: payload_bytes.div_ceil(segment_bytes.max(1)).max(1),
            joinable,
            fragment: false,
        })
    }

    /// Source and destination port of UDP; `bytes` is the packet that was parsed. A fragment has none.
    pub(super) fn ports(&self, bytes: &[u8]) -> Option<[u16; 2]> {
        (self.udp && !self.fragment).then(|| {
            let header = &bytes[self.payload_at - UDP_BYTES..];
            [be16(header), be16(&header[2..])]
        })
    }

    /// Where `count` datagrams from `first` on lie.
    pub(super) fn span(&self, first: usize, count: usize) -> std::ops::Range<usize> {
        let at = |segment: usize| (self.payload_at + segment * self.segment_bytes).min(self.bytes);
        at(first)..at(first + count)
    }
}

/// Whether two joinable packets, vnet headers and all, differ in nothing but identification, lengths and checksums.
pub(super) fn same_flow(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (&a[VNET_BYTES..], &b[VNET_BYTES..]);
    if a[0] != b[0] {
        return false;
    }
    if a[0] >> 4 == 4 {
        // TOS, fragment bits, TTL and protocol, addresses and ports
        a[1] == b[1] && a[6..10] == b[6..10] && a[12..24] == b[12..24]
    } else {
        // class and flow label, next header and hop limit, addresses and ports
        a[1..4] == b[1..4] && a[6..44] == b[6..44]
    }
}

/// The headers for `payload_bytes` of joined datagrams of `segment_bytes`, after the model of `original`, the joinable
/// packet that holds the first of them as its datagram number `first`. The checksum is left to whoever needs it.
pub(super) fn join_header(
    original: &[u8],
    first: usize,
    segment_bytes: usize,
    payload_bytes: usize,
) -> ([u8; MAX_HEADER_BYTES], usize) {
    let v4 = original[VNET_BYTES] >> 4 == 4;
    let ip_bytes = if v4 { IPV4_BYTES } else { IPV6_BYTES };
    let length = VNET_BYTES + ip_bytes + UDP_BYTES;
    let mut out = [0; MAX_HEADER_BYTES];
    out[VNET_BYTES..length].copy_from_slice(&original[VNET_BYTES..length]);
    let (vnet, packet) = out.split_at_mut(VNET_BYTES);
    let ne16 = |value: usize| (value as u16).to_ne_bytes();
    vnet[0] = NEEDS_CSUM;
    if payload_bytes > segment_bytes {
        vnet[1] = GSO_UDP_L4;
        vnet[4..6].copy_from_slice(&ne16(segment_bytes));
    } else {
        vnet[1] = GSO_NONE;
    }
    vnet[2..4].copy_from_slice(&ne16(ip_bytes + UDP_BYTES));
    vnet[6..8].copy_from_slice(&ne16(ip_bytes));
    vnet[8..10].copy_from_slice(&ne16(6));

    let udp_bytes = UDP_BYTES + payload_bytes;
    if v4 {
        packet[2..4].copy_from_slice(&((ip_bytes + udp_bytes) as u16).to_be_bytes());
        // Segmentation numbers the datagrams from here.
        let identification = be16(&packet[4..]).wrapping_add(first as u16);
        packet[4..6].copy_from_slice(&identification.to_be_bytes());
        packet[10..12].fill(0);
        let checksum = !fold(sum(&packet[..IPV4_BYTES]));
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        packet[4..6].copy_from_slice(&(udp_bytes as u16).to_be_bytes());
    }
    packet[ip_bytes + 4..ip_bytes + 6].copy_from_slice(&(udp_bytes as u16).to_be_bytes());
    let pseudo = fold(pseudo_sum(packet, v4, udp_bytes));
    packet[ip_bytes + 6..ip_bytes + 8].copy_from_slice(&pseudo.to_be_bytes());
    (out, length)
}

/// Give a single datagram (vnet header, IP, UDP, payload) its whole checksum, so that the receiver checks it.
pub(super) fn finish_checksum(packet: &mut [u8]) {
    packet[..VNET_BYTES].fill(0);
    let packet = &mut packet[VNET_BYTES..];
    let v4 = packet[0] >> 4 == 4;
    let ip_bytes = if v4 {
        usize::from(packet[0] & 15) * 4
    } else {
        IPV6_BYTES
    };
    let udp_bytes = packet.len() - ip_bytes;
    packet[ip_bytes + 6..ip_bytes + 8].fill(0);
    let total = pseudo_sum(packet, v4, udp_bytes) + sum(&packet[ip_bytes..]);
    // 0 would say that there is no checksum (RFC 768).
    let checksum = match !fold(total) {
        0 => 0xffff,
        checksum => checksum,
    };
    packet[ip_bytes + 6..ip_bytes + 8].copy_from_slice(&checksum.to_be_bytes());
}

fn pseudo_sum(packet: &[u8], v4: bool, udp_bytes: usize) -> u64 {
    let addresses = if v4 { &packet[12..20] } else { &packet[8..40] };
    sum(addresses) + u64::from(UDP) + udp_bytes as u64
}

/// Sum of big-endian 16-bit words, an odd last byte being the high half (RFC 1071).
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(2);
    let odd = words.remainder().first().map_or(0, |&b| u64::from(b) << 8);
    words.fold(odd, |total, word| total + u64::from(be16(word)))
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A packet as a TUN gives it, with the checksum left open.
    pub(crate) fn packet(v6: bool, payload: &[u8], gso_size: usize, id: u16) -> Vec<u8> {
        let ip_bytes = if v6 { IPV6_BYTES } else { IPV4_BYTES };
        let mut bytes = vec![0; VNET_BYTES + ip_bytes + UDP_BYTES];
        let ip = &mut bytes[VNET_BYTES..];
        if v6 {
            ip[0] = 0x60;
            (ip[6], ip[7]) = (UDP, 64);
            ip[8..40].copy_from_slice(&std::array::from_fn::<u8, 32, _>(|i| i as u8));
        } else {
            ip[0] = 0x45;
            ip[4..6].copy_from_slice(&id.to_be_bytes());
            (ip[6], ip[8], ip[9]) = (0x40, 64, UDP);
            ip[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        }
        ip[ip_bytes..ip_bytes + 4].copy_from_slice(&[0x13, 0x88, 0x17, 0x70]);
        bytes.extend(payload);
        let size = if gso_size == 0 {
            payload.len()
        } else {
            gso_size
        };
        let (header, length) = join_header(&bytes, 0, size, payload.len());
        bytes[..length].copy_from_slice(&header[..length]);
        bytes
    }

    #[test]
    fn a_super_packet_is_seen_as_its_datagrams() {
        for v6 in [false, true] {
            let bytes = packet(v6, &[7; 2500], 1000, 5);
            let frame = Frame::parse(&bytes);
            assert_eq!((frame.udp, frame.segments, frame.joinable), (true, 3, true));
            assert_eq!(frame.span(0, 1).len(), 1000);
            assert_eq!(frame.span(2, 1).len(), 500);
            assert_eq!(frame.span(1, 2).end, bytes.len());
        }
    }

    #[test]
    fn a_single_datagram_is_one_segment() {
        let frame = Frame::parse(&packet(false, &[1; 1200], 0, 0));
        assert_eq!((frame.segments, frame.segment_bytes), (1, 1200));
        let empty = Frame::parse(&packet(false, &[], 0, 0));
        assert_eq!(
            (empty.udp, empty.segments, empty.joinable),
            (true, 1, false)
        );
    }

    #[test]
    fn what_is_not_udp_is_opaque_and_fragments_are_single() {
        let mut icmp = packet(false, &[0; 64], 0, 0);
        icmp[VNET_BYTES + 9] = 1;
        assert!(!Frame::parse(&icmp).udp);
        let mut fragment = packet(false, &[0; 64], 0, 0);
        fragment[VNET_BYTES + 6] = 0x20;
        let frame = Frame::parse(&fragment);
        assert_eq!(
            (frame.udp, frame.segments, frame.joinable),
            (true, 1, false)
        );
        assert_eq!(frame.segment_bytes, 72);
        for length in 0..VNET_BYTES + 28 {
            assert!(
                !Frame::parse(&packet(false, &[], 0, 0)[..length]).udp,
                "{length}"
            );
        }
    }

    #[test]
    fn a_joined_header_numbers_from_its_first_datagram_and_checks_out() {
        let bytes = packet(false, &[3; 3000], 1000, 0xffff);
        let (header, length) = join_header(&bytes, 2, 1000, 1000);
        let ip = &header[VNET_BYTES..length];
        assert_eq!(header[..2], [NEEDS_CSUM, GSO_NONE]);
        assert_eq!(be16(&ip[2..]), 1028);
        assert_eq!(be16(&ip[4..]), 1);
        assert_eq!(fold(sum(&ip[..20])), 0xffff);
    }

    #[test]
    fn flows_differ_in_addresses_and_ports_and_not_in_identification() {
        for v6 in [false, true] {
            let a = packet(v6, &[1; 100], 0, 1);
            let b = packet(v6, &[2; 90], 0, 2);
            assert!(same_flow(&a, &b));
            let header = if v6 { IPV6_BYTES } else { IPV4_BYTES };
            for at in [header - 1, header, header + 3] {
                let mut c = b.clone();
                c[VNET_BYTES + at] ^= 1;
                assert!(!same_flow(&a, &c), "byte {at}");
            }
        }
    }

    #[test]
    fn a_finished_checksum_covers_header_and_payload() {
        for v6 in [false, true] {
            for length in [1, 2, 999] {
                let mut bytes = packet(v6, &vec![0xa5; length], 0, 9);
                finish_checksum(&mut bytes);
                let ip = &bytes[VNET_BYTES..];
                let header = if v6 { IPV6_BYTES } else { IPV4_BYTES };
                let total = pseudo_sum(ip, !v6, ip.len() - header) + sum(&ip[header..]);
                assert_eq!(fold(total), 0xffff);
                assert_eq!(bytes[0], 0);
            }
        }
    }
}
