"""The packets of GameStream as scapy layers: video, sound, pings, control, RTSP.

A second reading of the wire, for the eye: the core alone encrypts, decrypts and rebuilds.
``tests/golden/test_layers.py`` holds each layer to the vectors of the description. Sections are those of
docs/reference/wire/gamestream.md.
"""

# mypy: disable-error-code="misc, assignment"
# scapy asks for a list of fields, which lint does not let a class have; tuples do the same.

from __future__ import annotations

from typing import Any, Final

from scapy.fields import (
    BitEnumField,
    BitField,
    ByteEnumField,
    ByteField,
    FlagsField,
    IntField,
    LEIntField,
    LELongField,
    LEShortEnumField,
    LEShortField,
    ShortField,
    StrFixedLenField,
    XByteField,
    XIntField,
    XLEShortField,
    XStrField,
    XStrFixedLenField,
)
from scapy.packet import Packet, bind_layers

RTP_FLAGS: Final = 0x90
VIDEO_HEADER_BYTES: Final = 32
ENCRYPTED_BYTES: Final = 32
"""What encryption puts in front of a video packet."""
IV_END: Final = b"\0\0\0V"
AUDIO, AUDIO_FEC = 97, 127


class Video(Packet):
    """RTP header and video header in front of a packet's part of the bitstream (section 7.2)."""

    name = "GameStream video"
    fields_desc = (
        XByteField("rtp_flags", RTP_FLAGS),
        ByteField("payload_type", 0),
        ShortField("sequence", 0),
        IntField("timestamp", 0),
        IntField("ssrc", 0),
        IntField("reserved", 0),
        ByteField("index_zero", 0),
        BitField("packet_index", 0, -24),
        LEIntField("frame_index", 1),
        FlagsField("flags", 0, 8, ["PIC", "EOF", "SOF"] + [f"bit{n}" for n in range(3, 8)]),
        XByteField("extra_flags", 0),
        XByteField("multi_fec_flags", 0x10),
        BitField("last_block", 0, 2),
        BitField("block", 0, 2),
        BitField("block_zero", 0, 4),
        BitField("k", 1, 10, tot_size=-4),
        BitField("shard_index", 0, 10),
        BitField("fec_percent", 0, 8),
        BitField("fec_zero", 0, 4, end_tot_size=-4),
    )


class ShortHeader(Packet):
    """What stands before every frame's bitstream (section 7.4)."""

    name = "GameStream frame"
    fields_desc = (
        XByteField("type", 1),
        LEShortField("latency_100us", 0),
        ByteEnumField(
            "kind", 1, {1: "P", 2: "IDR", 4: "recovery point", 5: "after invalidation", 104: "IDR"}
        ),
        LEShortField("last_bytes", 0),
        LEShortField("zero", 0),
    )


class Encrypted(Packet):
    """What stands before an encrypted video packet (section 7.8)."""

    name = "GameStream encrypted video"
    fields_desc = (
        LELongField("counter", 0),
        XStrFixedLenField("iv_end", IV_END, 4),
        LEIntField("frame_index", 1),
        XStrFixedLenField("tag", bytes(16), 16),
        XStrField("encrypted", b""),
    )


class Rtp(Packet):
    """The header of a packet of sound (section 9.1)."""

    name = "GameStream sound"
    fields_desc = (
        XByteField("rtp_flags", 0x80),
        ByteEnumField("payload_type", AUDIO, {AUDIO: "Opus", AUDIO_FEC: "FEC"}),
        ShortField("sequence", 0),
        IntField("timestamp_ms", 0),
        IntField("ssrc", 0),
    )


class AudioFec(Packet):
    """The header of a recovery packet of sound, behind RTP's."""

    name = "GameStream sound FEC"
    fields_desc = (
        ByteField("shard_index", 0),
        ByteField("payload_type", AUDIO),
        ShortField("base_sequence", 0),
        IntField("base_timestamp_ms", 0),
        IntField("ssrc", 0),
    )


bind_layers(Rtp, AudioFec, payload_type=AUDIO_FEC)


class Ping(Packet):
    """By which a client shows where media has to go (section 6)."""

    name = "GameStream ping"
    fields_desc = (StrFixedLenField("session", bytes(16), 16), IntField("count", 1))


class RtspEncrypted(Packet):
    """The head of an encrypted RTSP message (section 5.3)."""

    name = "GameStream encrypted RTSP"
    fields_desc = (
        BitEnumField("encrypted", 1, 1, {0: "no", 1: "yes"}),
        BitField("length", 0, 31),
        IntField("sequence", 0),
        XStrFixedLenField("tag", bytes(16), 16),
        XStrField("ciphertext", b""),
    )


# --- control: section 10 ---------------------------------------------------------------------------------------------


class ControlWrapper(Packet):
    """An encrypted control message (section 10.3)."""

    name = "GameStream control, encrypted"
    fields_desc = (
        XLEShortField("type", 1),
        LEShortField("length", 0),
        LEIntField("sequence", 0),
        XStrFixedLenField("tag", bytes(16), 16),
        XStrField("ciphertext", b""),
    )


CONTROL_TYPES: Final = {
    0x0109: "termination",
    0x010B: "rumble",
    0x010E: "HDR mode",
    0x0200: "ping",
    0x0201: "loss statistics",
    0x0204: "frame statistics",
    0x0206: "input",
    0x0301: "invalidate frames",
    0x0302: "IDR request",
    0x0305: "start A",
    0x0307: "start B",
    0x0350: "long-term reference",
    0x5500: "trigger rumble",
    0x5501: "motion wanted",
    0x5502: "FEC status or LED",
    0x5503: "adaptive triggers",
}


class Control(Packet):
    """What is in the wrapper (section 10.4)."""

    name = "GameStream control"
    fields_desc = (
        LEShortEnumField("type", 0x0200, CONTROL_TYPES),
        LEShortField("length", 0),
    )


class FecStatus(Packet):
    """What a client tells of a damaged block (section 8.3)."""

    name = "FEC status"
    fields_desc = (
        IntField("frame_index", 0),
        ShortField("highest_sequence", 0),
        ShortField("next_sequence", 0),
        ShortField("missing", 0),
        ShortField("data", 0),
        ShortField("recovery", 0),
        ShortField("data_received", 0),
        ShortField("recovery_received", 0),
        ByteField("fec_percent", 0),
        ByteField("block", 0),
        ByteField("blocks", 0),
    )


class EnetHeader(Packet):
    """The head of an ENet datagram (section 10.1), without its time where it has none."""

    name = "ENet"
    fields_desc = (
        BitField("has_time", 0, 1),
        BitField("compressed", 0, 1),
        BitField("session", 0, 2),
        BitField("peer", 0, 12),
    )


ENET_COMMANDS: Final = {
    1: ("ack", 8),
    2: ("connect", 48),
    3: ("verify", 44),
    4: ("disconnect", 8),
    5: ("ping", 4),
    6: ("reliable", 6),
    7: ("unreliable", 8),
    8: ("fragment", 24),
    9: ("unsequenced", 8),
    10: ("bandwidth", 12),
    11: ("throttle", 16),
    12: ("unreliable fragment", 24),
}
"""Name and length of each command, data left out."""
ENET_LENGTH_AT: Final = {6: 4, 7: 6, 8: 6, 9: 6, 12: 6}
"""Where the length of a command's data stands, for those that have some."""


class EnetCommand(Packet):
    """The head of a command."""

    name = "ENet command"
    fields_desc = (
        BitField("wants_ack", 0, 1),
        BitField("unsequenced", 0, 1),
        BitField("zero", 0, 2),
        BitEnumField("kind", 5, 4, {number: name for number, (name, _length) in ENET_COMMANDS.items()}),
        XByteField("channel", 0),
        ShortField("reliable_sequence", 0),
    )


class EnetConnect(Packet):
    """What a CONNECT says behind its head; a VERIFY has all but the last."""

    name = "ENet connect"
    fields_desc = (
        ShortField("outgoing_peer", 0),
        XByteField("incoming_session", 0xFF),
        XByteField("outgoing_session", 0xFF),
        IntField("mtu", 900),
        IntField("window", 65536),
        IntField("channels", 48),
        IntField("in_bandwidth", 0),
        IntField("out_bandwidth", 0),
        IntField("throttle_interval", 5000),
        IntField("throttle_acceleration", 2),
        IntField("throttle_deceleration", 2),
        XIntField("connect_id", 0),
        XIntField("data", 0),
    )


def enet_commands(datagram: bytes) -> list[tuple[Any, bytes]] | None:
    """Return the commands of an ENet datagram, each with its data; None for what is no such datagram."""
    if len(datagram) < 2:
        return None
    head = EnetHeader(datagram[:2])
    if head.compressed:
        return None
    at = 4 if head.has_time else 2
    found: list[tuple[Any, bytes]] = []
    while at < len(datagram):
        number = datagram[at] & 0x0F
        if number not in ENET_COMMANDS or len(datagram) - at < ENET_COMMANDS[number][1]:
            return None
        length = ENET_COMMANDS[number][1]
        command, data_at = EnetCommand(datagram[at : at + 4]), at + length
        if number in ENET_LENGTH_AT:
            length_at = at + ENET_LENGTH_AT[number]
            length += int.from_bytes(datagram[length_at : length_at + 2], "big")
        if at + length > len(datagram):
            return None
        found.append((command, datagram[data_at : at + length]))
        at += length
    return found or None
