"""Which wire a datagram is of, and what its header says.

Told by the bytes, not by ports, for a host may have others. Headers are read by the fields of the scapy layers
(:mod:`harness.dissect.fields`); encrypted packets are opened by the core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from harness.dissect import gamestream, punktfunk1
from harness.dissect.fields import header_bytes, picker
from harness.dissect.frames import Shard
from harness.dissect.keys import StreamKey
from punktfunk.core import _core
from punktfunk.errors import CryptoError
from punktfunk.gamestream.ping import LEGACY, PING_BYTES


class Kind(StrEnum):
    """What a datagram is."""

    SEALED = "punktfunk/1 sealed"
    PLAIN = "punktfunk/1 plain"
    PUNCH = "punktfunk/1 punch"
    QUIC = "QUIC"
    GAME_VIDEO = "GameStream video"
    GAME_ENCRYPTED = "GameStream encrypted"
    GAME_SOUND = "GameStream sound"
    GAME_PING = "GameStream ping"
    GAME_CONTROL = "GameStream control"
    OTHER = "other"


PUNKTFUNK1: Final = frozenset({Kind.SEALED, Kind.PLAIN})
GAMESTREAM: Final = frozenset({Kind.GAME_VIDEO, Kind.GAME_ENCRYPTED})
VIDEO: Final = PUNKTFUNK1 | GAMESTREAM
"""Kinds of which a stream's frames are made."""
ENCRYPTED: Final = frozenset({Kind.SEALED, Kind.GAME_ENCRYPTED})

_SEALED_LEAST: Final = 8 + 1 + punktfunk1.TAG_BYTES
_NEWEST_SEQUENCE: Final = 1 << 40
"""No stream sends so many packets: at a million a second it would last twelve days."""
_SHORT_LEAST: Final = 21
"""A 1-RTT packet of less could not be a stateless reset's like (RFC 9000 section 10.3)."""
_QUIC_V1: Final = b"\0\0\0\x01"
_QUIC_NEGOTIATION: Final = bytes(4)

_PF_HEADER: Final = header_bytes(punktfunk1.Video)
_pf_fields = picker(
    punktfunk1.Video,
    *("frame_index", "stream_seq", "frame_bytes", "user_flags", "block_index", "block_count"),
    *("k", "m", "shard_index", "shard_bytes", "magic", "scheme"),
)
_pf_magic = picker(punktfunk1.Video, "magic", "version", "shard_bytes")
_gs_fields = picker(
    gamestream.Video,
    *("rtp_flags", "payload_type", "sequence", "packet_index", "frame_index"),
    *("last_block", "block", "k", "shard_index", "fec_percent"),
)
_gs_encrypted = picker(gamestream.Encrypted, "counter", "frame_index")
_gs_short = picker(gamestream.ShortHeader, "type", "kind", "last_bytes")
_pf_sequence = picker(punktfunk1.Sealed, "sequence")


@dataclass(frozen=True, slots=True)
class Video:
    """What is known of a packet of video."""

    number: int
    """Of the packet in its stream, as far as it is on the wire."""
    bits: int
    """How many low bits of the number that is."""
    shard: Shard | None = None
    """None where the header cannot be read."""
    plain: bytes | None = None
    """Header and shard; None where they cannot be read."""
    why: str = ""
    """Why the header cannot be read."""
    frame: int | None = None
    """Number of the frame, which GameStream says in clear."""
    scheme: int = 0
    """The code that the packet names, on punktfunk/1."""
    percent: int = 0
    """The FEC percentage that the packet names, on GameStream."""


def kind_of(payload: bytes, *, quic: bool) -> Kind:
    """Return what a datagram is; ``quic`` where its two ends are known to speak QUIC."""
    if payload == punktfunk1.PUNCH:
        return Kind.PUNCH
    found = _gamestream_kind(payload) or _quic_or_plain(payload, quic=quic)
    if found is not None:
        return found
    if gamestream.enet_commands(payload) is not None:
        return Kind.GAME_CONTROL
    if len(payload) >= _SEALED_LEAST and _pf_sequence(payload)[0] < _NEWEST_SEQUENCE:
        return Kind.SEALED
    return Kind.OTHER


def _gamestream_kind(payload: bytes) -> Kind | None:
    # First, for an IV may begin with any bytes: the 144th of a stream as plain video does.
    if len(payload) > gamestream.ENCRYPTED_BYTES and payload[8:12] == gamestream.IV_END:
        return Kind.GAME_ENCRYPTED
    if len(payload) >= gamestream.VIDEO_HEADER_BYTES and payload[:2] == bytes([gamestream.RTP_FLAGS, 0]):
        return Kind.GAME_VIDEO
    if len(payload) > 12 and payload[0] == 0x80 and payload[1] in (gamestream.AUDIO, gamestream.AUDIO_FEC):
        return Kind.GAME_SOUND
    if payload == LEGACY or (len(payload) == PING_BYTES and payload[:16].isalnum()):
        return Kind.GAME_PING
    return None


def _quic_or_plain(payload: bytes, *, quic: bool) -> Kind | None:
    if len(payload) > _PF_HEADER:
        magic, version, shard_bytes = _pf_magic(payload)
        if magic == punktfunk1.MAGIC and version == 1 and shard_bytes == len(payload) - _PF_HEADER:
            return Kind.PLAIN
    first = payload[0] if payload else 0
    is_long = first & 0xC0 == 0xC0 and payload[1:5] in (_QUIC_V1, _QUIC_NEGOTIATION)
    return Kind.QUIC if is_long or (quic and first & 0xC0 == 0x40) else None


def may_be_quic(payload: bytes) -> bool:
    """Return whether a datagram may be a 1-RTT packet: nothing else of it is in clear (RFC 9000 section 17.3)."""
    return len(payload) >= _SHORT_LEAST and payload[0] & 0xC0 == 0x40


Open = Callable[[bytes], bytes]


def opener(kind: Kind, key: StreamKey) -> Open:
    """Return what opens encrypted packets of this kind from a host, by the core; it raises ``CryptoError``."""
    if kind is Kind.GAME_ENCRYPTED:
        return lambda packet: _core.open_encrypted_video(key.key, packet)
    return lambda packet: _core.open_sealed(key.key, key.salt, True, packet)


def read_video(kind: Kind, payload: bytes, length: int, open_: Open | None) -> Video:
    """Return what a packet of video says. ``length`` is what it had before the capture cut it; nothing raises.

    ``open_`` opens it where it is encrypted and a key is known.
    """
    if kind is Kind.PLAIN:
        return _punktfunk1(payload)
    if kind is Kind.GAME_VIDEO:
        return _gamestream(payload)
    number, frame = _in_clear(kind, payload)
    if open_ is None:
        return Video(number, 64, why="sealed", frame=frame)
    if len(payload) < length:
        return Video(number, 64, why="cut by the capture", frame=frame)
    try:
        plain = open_(payload)
    except CryptoError:
        return Video(number, 64, why="does not authenticate", frame=frame)
    read = _punktfunk1(plain) if kind is Kind.SEALED else _gamestream(plain)
    return Video(
        number,
        64,
        read.shard,
        read.plain,
        read.why,
        read.frame if frame is None else frame,
        read.scheme,
        read.percent,
    )


def _in_clear(kind: Kind, payload: bytes) -> tuple[int, int | None]:
    if kind is Kind.SEALED:
        return _pf_sequence(payload)[0], None
    counter, frame = _gs_encrypted(payload)
    return counter, frame


def _punktfunk1(plain: bytes) -> Video:
    if len(plain) < _PF_HEADER:
        return Video(0, 0, why="too short for a header")
    frame, number, frame_bytes, user_flags, block, blocks, k, m, index, size, magic, scheme = _pf_fields(
        plain
    )
    if magic != punktfunk1.MAGIC:
        return Video(number, 32, why=f"magic byte {magic:#04x}")
    if len(plain) < _PF_HEADER + size:
        return Video(number, 32, why="shorter than its shard", frame=frame)
    shard = Shard(frame, block, blocks, index, k, m, frame_bytes, bool(user_flags & punktfunk1.KEY))
    why = "" if shard.possible else "no block has such a shard"
    return Video(number, 32, shard if shard.possible else None, plain, why, frame, scheme)


def _gamestream(plain: bytes) -> Video:
    if len(plain) < gamestream.VIDEO_HEADER_BYTES:
        return Video(0, 0, why="too short for a header")
    flags, kind, sequence, packet_index, frame, last, block, k, index, percent = _gs_fields(plain)
    if flags != gamestream.RTP_FLAGS or kind:
        return Video(sequence, 16, why="no RTP header of video")
    m = _core.recovery_shards(k, percent)
    # Of data packets 24 bits of the number are on the wire; in recovery packets they are output of the code.
    is_data = index < k and packet_index & 0xFFFF == sequence
    number, bits = (packet_index, 24) if is_data else (sequence, 16)
    key = None
    if block == index == 0 and len(plain) >= gamestream.VIDEO_HEADER_BYTES + 8:
        short, frame_kind, _last = _gs_short(plain[gamestream.VIDEO_HEADER_BYTES :])
        key = frame_kind in (2, 104) if short == 1 else None
    shard = Shard(frame, block, last + 1, index, k, m, None, key)
    why = "" if shard.possible else "no block has such a shard"
    return Video(number, bits, shard if shard.possible else None, plain, why, frame, percent=percent)


def extended(near: int, low: int, bits: int) -> int:
    """Return the number nearest to ``near`` whose low ``bits`` are ``low``; none is below 0."""
    if bits >= 64:
        return low
    span = 1 << bits
    ahead = (low - near) % span
    if ahead < span // 2 or near + ahead < span:
        return near + ahead
    return near + ahead - span
