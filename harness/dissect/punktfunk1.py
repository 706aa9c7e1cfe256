"""The packets of punktfunk/1 as scapy layers: headers of the data plane, control messages, QUIC datagrams.

A second reading of the wire, for the eye: the core alone seals, opens and rebuilds. ``tests/golden/test_layers.py``
holds each layer to the wire's vectors and to the core's own packets. Sections are those of
docs/reference/wire/punktfunk1.md. What later releases add at the end of a message is scapy's ``Raw`` behind it.
"""

# mypy: disable-error-code="misc, assignment"
# scapy asks for a list of fields, which lint does not let a class have; tuples do the same.

from __future__ import annotations

from typing import Any, Final

from scapy.fields import (
    ByteEnumField,
    ByteField,
    FlagsField,
    LEIntField,
    LELongField,
    LEShortField,
    LESignedIntField,
    LESignedShortField,
    LongField,
    StrFixedLenField,
    StrLenField,
    XByteField,
    XStrField,
    XStrFixedLenField,
)
from scapy.packet import Packet, bind_layers

POSITIONAL: Final = b"PKF1"
TYPED: Final = b"PKFc"
PUNCH: Final = b"PFpunch1"
MAGIC: Final = 0xC9
TAG_BYTES: Final = 16
COMPOSITORS: Final = {0: "auto", 1: "kwin", 2: "wlroots", 3: "mutter", 4: "gamescope"}
SCHEMES: Final = {0: "GF(2^8)", 1: "GF(2^16)"}
USER_FLAGS: Final = ["picture", "bit1", "key", "probe", "recovery_point", "recovery_anchor", "chunk", "slice"]
KEY: Final = 4

# --- data plane: sections 4.2 and 4.4 --------------------------------------------------------------------------------


class Sealed(Packet):
    """A packet as it is on the wire: its number in clear, header and shard encrypted, the tag at the end."""

    name = "punktfunk/1 sealed"
    fields_desc = (LongField("sequence", 0), XStrField("sealed", b""))


class Video(Packet):
    """The plain header in front of a shard."""

    name = "punktfunk/1"
    fields_desc = (
        LELongField("pts_ns", 0),
        LEIntField("frame_index", 0),
        LEIntField("stream_seq", 0),
        LEIntField("frame_bytes", 0),
        FlagsField("user_flags", 5, -32, USER_FLAGS + [f"bit{n}" for n in range(len(USER_FLAGS), 32)]),
        LEShortField("block_index", 0),
        LEShortField("block_count", 1),
        LEShortField("k", 1),
        LEShortField("m", 0),
        LEShortField("shard_index", 0),
        LEShortField("shard_bytes", 200),
        XByteField("magic", MAGIC),
        ByteField("version", 1),
        ByteEnumField("scheme", 1, SCHEMES),
        FlagsField("flags", 1, 8, ["PIC", "EOF", "SOF"] + [f"bit{n}" for n in range(3, 8)]),
    )


class Punch(Packet):
    """What a client sends from its data socket, so that its NAT lets the stream in (section 2.4)."""

    name = "punktfunk/1 punch"
    fields_desc = (StrFixedLenField("word", PUNCH, 8),)


# --- control stream: sections 1.5 and 2 ------------------------------------------------------------------------------


class Framed(Packet):
    """The length in front of a control message."""

    name = "punktfunk/1 control"
    fields_desc = (LEShortField("length", 0),)


class Hello(Packet):
    """A client's first message."""

    name = "Hello"
    fields_desc = (
        StrFixedLenField("magic", POSITIONAL, 4),
        LEIntField("version", 2),
        LEIntField("width", 0),
        LEIntField("height", 0),
        LEIntField("refresh_hz", 0),
        ByteEnumField("compositor", 0, COMPOSITORS),
    )


class Welcome(Packet):
    """A host's answer, with the key of the stream."""

    name = "Welcome"
    fields_desc = (
        StrFixedLenField("magic", POSITIONAL, 4),
        LEIntField("version", 2),
        LEShortField("udp_port", 0),
        LEIntField("width", 0),
        LEIntField("height", 0),
        LEIntField("refresh_hz", 0),
        ByteEnumField("scheme", 1, SCHEMES),
        ByteField("fec_percent", 20),
        LEShortField("max_block_shards", 4096),
        LEShortField("shard_bytes", 1200),
        ByteField("encrypt", 1),
        XStrFixedLenField("key", bytes(16), 16),
        XStrFixedLenField("salt", b"pkf1", 4),
        LEIntField("frames", 0),
        ByteEnumField("compositor", 0, COMPOSITORS),
    )


class Start(Packet):
    """A client is ready for the stream."""

    name = "Start"
    fields_desc = (StrFixedLenField("magic", POSITIONAL, 4), LEShortField("udp_port", 0))


class Typed(Packet):
    """The head of every other message."""

    name = "punktfunk/1 message"
    fields_desc = (StrFixedLenField("magic", TYPED, 4), XByteField("type", 0))


def _message(name: str, *fields: Any) -> Any:
    """Return a layer behind :class:`Typed`."""
    return type(name, (Packet,), {"name": name, "fields_desc": fields, "__module__": __name__})


Reconfigure = _message(
    "Reconfigure", LEIntField("width", 0), LEIntField("height", 0), LEIntField("refresh_hz", 0)
)
Reconfigured = _message(
    "Reconfigured",
    ByteField("accepted", 0),
    LEIntField("width", 0),
    LEIntField("height", 0),
    LEIntField("refresh_hz", 0),
)
LossReport = _message("LossReport", LEIntField("loss_ppm", 0))
SetBitrate = _message("SetBitrate", LEIntField("kbps", 0))
BitrateChanged = _message("BitrateChanged", LEIntField("kbps", 0))
ProbeRequest = _message("ProbeRequest", LEIntField("target_kbps", 0), LEIntField("duration_ms", 0))
ProbeResult = _message(
    "ProbeResult",
    LELongField("goodput_bytes", 0),
    LEIntField("access_units", 0),
    LEIntField("duration_ms", 0),
)
ClockProbe = _message("ClockProbe", LELongField("t1_ns", 0))
ClockEcho = _message("ClockEcho", LELongField("t1_ns", 0), LELongField("t2_ns", 0), LELongField("t3_ns", 0))
PairProof = _message("PairProof", XStrFixedLenField("mac", bytes(32), 32))
PairResult = _message("PairResult", ByteField("ok", 0))

TYPES: Final[dict[int, Any]] = {
    0x01: Reconfigure,
    0x02: Reconfigured,
    0x04: LossReport,
    0x05: SetBitrate,
    0x06: BitrateChanged,
    0x12: PairProof,
    0x13: PairResult,
    0x20: ProbeRequest,
    0x21: ProbeResult,
    0x30: ClockProbe,
    0x31: ClockEcho,
}
"""Messages whose fields are at fixed places."""
NAMES: Final = {0x03: "RequestKeyframe", 0x07: "RfiRequest", 0x10: "PairRequest", 0x11: "PairChallenge"} | {
    0x50: "CursorShape",
    0x51: "CursorRenderMode",
}
"""Others that a capture is likely to have."""
for _type, _layer in TYPES.items():
    bind_layers(Typed, _layer, type=_type)

# --- QUIC datagrams: section 3 ---------------------------------------------------------------------------------------

INPUT_KINDS: Final = {
    0: "key down",
    1: "key up",
    2: "mouse move",
    3: "mouse absolute",
    4: "button down",
    5: "button up",
    6: "scroll",
    7: "pad button",
    8: "pad axis",
    9: "touch down",
    10: "touch move",
    11: "touch up",
    12: "pad snapshot",
    13: "pad removed",
    14: "pad arrived",
    15: "text",
}


class Input(Packet):
    """An input event of a client."""

    name = "input"
    fields_desc = (
        XByteField("tag", 0xC8),
        ByteEnumField("kind", 0, INPUT_KINDS),
        LEIntField("code", 0),
        LESignedIntField("x", 0),
        LESignedIntField("y", 0),
        LEIntField("flags", 0),
    )


class Audio(Packet):
    """One Opus packet."""

    name = "audio"
    fields_desc = (
        XByteField("tag", 0xC9),
        LEIntField("sequence", 0),
        LELongField("pts_ns", 0),
        XStrField("opus", b""),
    )


class Mic(Audio):
    """One Opus packet of a client's microphone."""

    name = "microphone"
    fields_desc = (XByteField("tag", 0xCB), *Audio.fields_desc[1:])


class Rumble(Packet):
    """Motors of a pad."""

    name = "rumble"
    fields_desc = (
        XByteField("tag", 0xCA),
        LEShortField("pad", 0),
        LEShortField("low", 0),
        LEShortField("high", 0),
    )


class Touchpad(Packet):
    """A finger on a pad's touchpad."""

    name = "touchpad"
    fields_desc = (
        XByteField("tag", 0xCC),
        ByteField("kind", 1),
        ByteField("pad", 0),
        ByteField("finger", 0),
        ByteField("active", 0),
        LEShortField("x", 0),
        LEShortField("y", 0),
    )


class Motion(Packet):
    """A pad's sensors."""

    name = "motion"
    fields_desc = (
        XByteField("tag", 0xCC),
        ByteField("kind", 2),
        ByteField("pad", 0),
        *(LESignedShortField(f"{sensor}_{axis}", 0) for sensor in ("gyro", "accel") for axis in "xyz"),
    )


class Lightbar(Packet):
    """The colour of a pad's light."""

    name = "lightbar"
    fields_desc = (
        XByteField("tag", 0xCD),
        ByteField("kind", 1),
        ByteField("pad", 0),
        ByteField("red", 0),
        ByteField("green", 0),
        ByteField("blue", 0),
    )


class PlayerLeds(Packet):
    """The lights that number a pad."""

    name = "player LEDs"
    fields_desc = (XByteField("tag", 0xCD), ByteField("kind", 2), ByteField("pad", 0), XByteField("bits", 0))


class Trigger(Packet):
    """An effect of a pad's trigger."""

    name = "trigger effect"
    fields_desc = (
        XByteField("tag", 0xCD),
        ByteField("kind", 3),
        ByteField("pad", 0),
        ByteEnumField("which", 0, {0: "L2", 1: "R2"}),
        StrLenField("effect", b"", length_from=lambda _packet: 11),
    )


class Cursor(Packet):
    """Where the pointer is, and which shape it has (section 3.8)."""

    name = "cursor"
    fields_desc = (
        XByteField("tag", 0xD0),
        LEIntField("serial", 0),
        FlagsField("flags", 0, 8, ["visible", "captured"] + [f"bit{n}" for n in range(2, 8)]),
        LESignedIntField("x", 0),
        LESignedIntField("y", 0),
    )


DATAGRAMS: Final[dict[int, Any]] = {0xC8: Input, 0xC9: Audio, 0xCA: Rumble, 0xCB: Mic, 0xD0: Cursor}
"""By the first byte."""
KINDS: Final[dict[int, dict[int, Any]]] = {
    0xCC: {1: Touchpad, 2: Motion},
    0xCD: {1: Lightbar, 2: PlayerLeds, 3: Trigger},
}
"""By the first and the second byte."""


def datagram_layer(data: bytes) -> Any:
    """Return the layer of a QUIC datagram; None for one that no release here knows."""
    if len(data) >= 2 and data[0] in KINDS:
        return KINDS[data[0]].get(data[1])
    return DATAGRAMS.get(data[0]) if data else None


def message_layer(message: bytes, *, from_host: bool) -> Any:
    """Return the layer of a control message without its length; None for what is none.

    Hello and Start are told apart by their length, which is how a capture that begins late shows them.
    """
    if message.startswith(TYPED):
        return Typed
    if not message.startswith(POSITIONAL):
        return None
    if from_host:
        return Welcome
    return Hello if len(message) >= 20 else Start
