"""What both ends of the control stream share: outputs, limits and the checks on what was negotiated.

:class:`~punktfunk.native.host_control.HostControl` and
:class:`~punktfunk.native.client_control.ClientControl` are sans-I/O: they take bytes and times, and ``poll``
gives what to send and what happened. They open no socket and read no clock; times are CLOCK_MONOTONIC ns.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass

from punktfunk.core._core import recovery_shards
from punktfunk.errors import ProtocolError, UnitError
from punktfunk.native.dialect import CloseCode
from punktfunk.native.handshake import Cipher, Codecs, FecCode, Hello, Start, Welcome
from punktfunk.native.messages import CursorShape, PairProof, PairRequest, ProbeResult
from punktfunk.units import Mode

MS = 1_000_000
S = 1_000_000_000

HANDSHAKE_BUDGET_NS = 10 * S
"""First message within 10 s of the connection; Hello to Start within another 10 s (section 2.3)."""
CLOCK_ROUNDS = 8
CLOCK_ROUND_LIMIT_NS = 2 * S
"""Clock rounds and how long one may take (section 2.4)."""
KEEP_QUIET_NS = CLOCK_ROUND_LIMIT_NS + 200 * MS
"""After an echo that is not the eighth, a client that asks no more has given up by then."""
FIRST_FRAME_WAIT_NS = 150 * MS
"""Wait for a client that binds its data socket late and never punches (section 2.6 point 6)."""
PUNCH_WAIT_NS = 2500 * MS
"""Wait for the punch of a client whose dialect has one (section 2.4)."""
PUNCH = b"PFpunch1"
PUNCH_INTERVAL_NS = 200 * MS
PUNCH_EARLY_COUNT = 15
PUNCH_LATE_INTERVAL_NS = 2 * S
LOSS_REPORT_INTERVAL_NS = 750 * MS
PROOF_WAIT_NS = 60 * S
"""How long a client may take between a pairing's challenge and its proof (section 6.1)."""
PAIRED_CLOSE_WAIT_NS = 5 * S
"""How long the host leaves the close of a pairing to the client (section 6.1)."""

MESSAGE_BURST, MESSAGE_INTERVAL_NS = 400, 5 * MS
"""Typed messages a peer may send, so many at once, then one each interval: answers
would pile up in memory when it never acknowledges them."""

MODES_BURST, MODE_INTERVAL_NS = 4, S
"""Mode changes: so many at once, then one each interval. Each opens a source and an encoder, 0.15 s of a core at 8192
by 8192."""
BITRATES_BURST, BITRATE_INTERVAL_NS = 8, 250 * MS
"""The same for bitrates; one beyond what an encoder was opened for opens it again. Clients measure for 750 ms."""
CURSOR_MODES_BURST, CURSOR_MODE_INTERVAL_NS = 8, 250 * MS
"""The same for who draws the pointer; each change is a frame. People grab a mouse and let go of it."""

MAX_FRAME_BYTES = 64 * 1024 * 1024
MAX_SHARD_BYTES = 9152
"""What receivers since v0.25.0 take (section 2.6), and this one; those before take 1984."""
_HEADER_BYTES, _SEAL_BYTES = 40, 24
"""Before the shard of a packet (section 4.2), and number and tag around it where it is sealed."""
_IP_UDP_BYTES = {4: 28, 6: 48}
MIN_BITRATE_KBPS = 500
MAX_BITRATE_KBPS = 8_000_000
DEFAULT_BITRATE_KBPS = 20_000
MAX_PROBE_KBPS = 10_000_000
MAX_PROBE_MS = 5000
"""What a bandwidth probe is clamped to (section 2.4); a host may allow less."""


@dataclass(frozen=True, slots=True)
class Transmit:
    """Bytes for the control stream; ``end`` says that none follow from this side."""

    data: bytes
    end: bool = False


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Close the QUIC connection with this application code; ``cause`` is for the log."""

    code: CloseCode
    reason: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """Host: an acceptable Hello came; answer with ``accept`` or ``reject``."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class StrangerRefused:
    """Host: a client that is not known asked for a stream and is refused; a person may approve it."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class PairingRequested:
    """Host: the connection is for a pairing; answer with ``challenge`` or ``reject``."""

    request: PairRequest


@dataclass(frozen=True, slots=True)
class PairingProven:
    """Host: the client's proof has come, in time; answer with ``pairing_over``."""

    proof: PairProof


@dataclass(frozen=True, slots=True)
class StartReceived:
    """Host: the client is ready."""

    start: Start


@dataclass(frozen=True, slots=True)
class StreamDue:
    """Host: video may flow now; ``punched`` says whether a punch told so."""

    punched: bool


@dataclass(frozen=True, slots=True)
class ModeRequested:
    """Host: answer with ``mode_changed``, always."""

    mode: Mode


@dataclass(frozen=True, slots=True)
class KeyframeRequested:
    """Host: the client cannot decode on."""


@dataclass(frozen=True, slots=True)
class LossReported:
    """Host: what the client lost, in parts per million."""

    loss_ppm: int


@dataclass(frozen=True, slots=True)
class BitrateRequested:
    """Host: answer with ``bitrate_changed``; already clamped to the protocol's range."""

    kbps: int


@dataclass(frozen=True, slots=True)
class ProbeRequested:
    """Host: a bandwidth probe is asked for, clamped already; answer with ``probe_over``."""

    target_kbps: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class CursorDrawnBy:
    """Host: who draws the pointer from now on; only of clients with which that was agreed on."""

    client: bool


@dataclass(frozen=True, slots=True)
class WelcomeReceived:
    """Client: bind the data socket, then ``start``."""

    welcome: Welcome


@dataclass(frozen=True, slots=True)
class ClockEstimate:
    """Offset of the host's pts clock against this machine's, from the round with the least round trip.

    ``host = local + offset_ns``, wrong by at most ``error_ns`` (half the round trip).
    """

    offset_ns: int
    rtt_ns: int
    rounds: int

    @property
    def error_ns(self) -> int:
        return (self.rtt_ns + 1) // 2


@dataclass(frozen=True, slots=True)
class ClockRoundsOver:
    """Client: the host may be sent other messages now; ``estimate`` is None when no echo came."""

    estimate: ClockEstimate | None


@dataclass(frozen=True, slots=True)
class ModeAnswered:
    """Client: the host's answer to ``request_mode``."""

    accepted: bool
    mode: Mode | None
    """What is streamed now; ``None`` where the host names nothing that is a mode, which counts as a refusal."""


@dataclass(frozen=True, slots=True)
class BitrateAnswered:
    """Client: the bitrate that the host now uses."""

    kbps: int


@dataclass(frozen=True, slots=True)
class ProbeAnswered:
    """Client: a bandwidth probe is over; a host that refuses one says that nothing was sent."""

    result: ProbeResult


@dataclass(frozen=True, slots=True)
class CursorShaped:
    """Client: a shape that cursor states may name from now on."""

    message: CursorShape


Output = (
    Transmit
    | CloseConnection
    | HelloReceived
    | StrangerRefused
    | PairingRequested
    | PairingProven
    | StartReceived
    | StreamDue
    | ModeRequested
    | KeyframeRequested
    | LossReported
    | BitrateRequested
    | ProbeRequested
    | WelcomeReceived
    | ClockRoundsOver
    | ModeAnswered
    | BitrateAnswered
    | ProbeAnswered
    | CursorDrawnBy
    | CursorShaped
)


class Outputs:
    """The queue behind ``poll`` and the named counters of one control state machine.

    Counters: ``messages`` (received and whole), ``malformed``, ``unknown``, ``unexpected`` (known, but not in
    this state or from this end), ``rate_limited`` (not handled, or given up for a newer request of the kind).
    """

    __slots__ = ("_queue", "counters")

    def __init__(self) -> None:
        self._queue: deque[Output] = deque()
        self.counters: Counter[str] = Counter()

    def put(self, output: Output) -> None:
        self._queue.append(output)

    def poll(self) -> Output | None:
        """Return the next thing to do or to know, or ``None``."""
        return self._queue.popleft() if self._queue else None


def clamp_bitrate_kbps(kbps: int) -> int:
    """Keep a wanted bitrate within 500 kbit/s to 8 Gbit/s (section 2.4)."""
    return min(max(kbps, MIN_BITRATE_KBPS), MAX_BITRATE_KBPS)


def fec_percent_within(percent: int, data_shards: int, welcome_percent: int, max_block_shards: int) -> int:
    """Return ``percent``, or Welcome's when a block would outgrow what old receivers allow (section 2.6 point 4).

    Receivers before v0.16.0 compute their largest block from Welcome's percentage, so a block of
    ``data_shards`` must never exceed ``max_block_shards`` shards with that percentage on top.
    """
    ceiling = max_block_shards + recovery_shards(max_block_shards, welcome_percent)
    block = min(data_shards, max_block_shards)
    fits = block + recovery_shards(block, percent) <= ceiling
    return percent if fits else min(percent, welcome_percent)


def ip_packet_bytes(shard_bytes: int, *, sealed: bool, ip_version: int) -> int:
    """Return the bytes of the IP packet (version 4 or 6) that carries a shard of the data plane."""
    return shard_bytes + _HEADER_BYTES + (_SEAL_BYTES if sealed else 0) + _IP_UDP_BYTES[ip_version]


def check_welcome(welcome: Welcome) -> None:
    """Raise ``ProtocolError`` unless the session can be received by the rules of section 2.6."""
    try:
        welcome.mode.checked()
    except UnitError as error:
        raise ProtocolError(f"Welcome's mode {welcome.mode} is none: {error.cause}") from error
    shard, block = welcome.shard_bytes, welcome.max_block_shards
    if shard == 0 or shard % 2 or shard > MAX_SHARD_BYTES:
        raise ProtocolError(
            f"Welcome asks for shards of {shard} bytes; they are even and at most {MAX_SHARD_BYTES}"
        )
    if block == 0:
        raise ProtocolError("Welcome allows no data shards in a block")
    ceiling = 65535 if welcome.fec is FecCode.GF16 else 255
    largest = block + recovery_shards(block, welcome.fec_percent)
    if largest > ceiling:
        raise ProtocolError(f"Welcome's blocks of {largest} shards do not fit {welcome.fec.name}")
    if math.ceil(math.ceil(MAX_FRAME_BYTES / shard) / block) > 65535:
        raise ProtocolError("Welcome's geometry cuts the largest frame into more than 65535 blocks")
    if welcome.encrypt and not any(welcome.key):
        raise ProtocolError("Welcome asks for encryption with a key of zeros")
    if welcome.cipher not in (None, Cipher.AES_128_GCM):
        raise ProtocolError("Welcome chose ChaCha20-Poly1305, which this client never offered")
    if welcome.udp_port == 0:
        raise ProtocolError("Welcome names no data port")
    if welcome.codec is not None and welcome.codec not in (Codecs.H264, Codecs.HEVC, Codecs.AV1):
        raise ProtocolError(f"Welcome chose codec {int(welcome.codec)}, which this client never offered")
