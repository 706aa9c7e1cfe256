"""Types of the native core (punktfunk/core/python). stubtest holds this file against the compiled module."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, final

from typing_extensions import Buffer

__all__ = [
    "ABI_VERSION",
    "FLAG_KEY",
    "FLAG_PICTURE",
    "FLAG_PROBE",
    "FLAG_RECOVERY_ANCHOR",
    "FLAG_RECOVERY_POINT",
    "ClientReplay",
    "ClientStream",
    "EnetEndpoint",
    "EnetEvent",
    "GameStreamAudio",
    "GameStreamAudioReceiver",
    "GameStreamConfig",
    "HostStream",
    "LinkModel",
    "ReceivedFrame",
    "SimResult",
    "StreamConfig",
    "TunPump",
    "__version__",
    "fec_decode",
    "fec_encode",
    "fec_kernel",
    "geometry",
    "open_encrypted_video",
    "open_sealed",
    "packetize",
    "probe_receive",
    "probe_send",
    "recovery_shards",
    "seal",
    "simulate",
]

__version__: str
ABI_VERSION: int
"""Version of the C ABI that this core exports."""

_FecScheme = Literal["gf8", "gf16"]

FLAG_PICTURE: int
FLAG_KEY: int
FLAG_PROBE: int
FLAG_RECOVERY_POINT: int
FLAG_RECOVERY_ANCHOR: int

# --- FEC -----------------------------------------------------------------------------------------------------

def fec_encode(scheme: _FecScheme, shards: Sequence[Buffer], recovery: int) -> list[bytes]: ...
def fec_decode(
    scheme: _FecScheme, data_shards: int, recovery_shards: int, received: Mapping[int, Buffer]
) -> dict[int, bytes]: ...
def fec_kernel() -> str: ...
def geometry(config: StreamConfig | GameStreamConfig, frame_bytes: int) -> list[tuple[int, int]]:
    """Return the blocks ``(k, m)`` in which a host of these parameters sends an access unit.

    Raises InvalidConfigError beyond ``max_frame_bytes``, or what GameStream's four blocks can have.
    """

def recovery_shards(data_shards: int, fec_percent: int) -> int:
    """Return the recovery shards of a block, rounded up."""

# --- crypto and packets (for tests and tools; sessions do this themselves) ------------------------------------

def seal(key: Buffer, salt: Buffer, from_host: bool, seq: int, plaintext: Buffer) -> bytes: ...
def open_sealed(key: Buffer, salt: Buffer, from_host: bool, packet: Buffer) -> bytes: ...
def open_encrypted_video(key: Buffer, packet: Buffer) -> bytes:
    """Return the plain packet in an encrypted one of GameStream's video (gamestream section 7.8)."""

def packetize(
    config: StreamConfig | GameStreamConfig,
    access_unit: Buffer,
    pts_ns: int,
    flags: int,
    frame_index: int,
    stream_seq: int,
    *,
    age_ns: int | None = None,
) -> list[bytes]: ...

# --- sessions -------------------------------------------------------------------------------------------------

@final
class StreamConfig:
    def __new__(
        cls,
        *,
        scheme: _FecScheme = "gf16",
        fec_percent: int = 20,
        max_block_shards: int = 4096,
        shard_bytes: int = 1200,
        key: Buffer | None = None,
        salt: Buffer = b"pkf1",
        max_frame_bytes: int = 67108864,
        hold_undecodable: bool = True,
        reorder_window_ns: int = 20_000_000,
        loss_window_frames: int = 64,
        loss_window_ns: int = 120_000_000,
        memory_cap_bytes: int = 268435456,
    ) -> StreamConfig: ...
    @property
    def scheme(self) -> _FecScheme: ...
    @property
    def fec_percent(self) -> int: ...
    @property
    def shard_bytes(self) -> int: ...
    @property
    def encrypted(self) -> bool: ...

@final
class GameStreamConfig:
    """GameStream's video (gamestream section 7); ``packet_size`` is the announced one, ``key`` the session's rikey."""

    def __new__(
        cls,
        *,
        packet_size: int,
        fec_percent: int = 20,
        min_fec: int = 2,
        key: Buffer | None = None,
        codec: Literal["h264", "hevc", "av1"] = "h264",
        origin_ns: int = 0,
        hold_undecodable: bool = True,
        reorder_window_ns: int = 20_000_000,
        loss_window_frames: int = 64,
        loss_window_ns: int = 120_000_000,
        memory_cap_bytes: int = 268435456,
    ) -> GameStreamConfig: ...
    @property
    def packet_size(self) -> int: ...
    @property
    def payload_bytes(self) -> int: ...
    @property
    def encrypted(self) -> bool: ...

@final
class HostStream:
    """A paced host session on a connected UDP socket, of whose descriptor it takes a duplicate."""

    def __new__(
        cls,
        config: StreamConfig | GameStreamConfig,
        fd: int,
        *,
        rate_kbps: int,
        queue_frames: int = 8,
        burst_packets: int = 32,
        packets_per_ms: int = 100,
        rate_factor: float = 1.25,
        gso: bool = True,
        send_buffer_bytes: int = 8388608,
        record_frames: bool = True,
        realtime: bool = False,
    ) -> HostStream: ...
    def submit(
        self,
        access_unit: Buffer,
        pts_ns: int,
        flags: int,
        *,
        captured_ns: int = -1,
        converted_ns: int = -1,
        encode_begin_ns: int = -1,
        encode_end_ns: int = -1,
    ) -> int: ...
    def set_fec_percent(self, percent: int) -> None: ...
    def set_rate(self, rate_kbps: int) -> None: ...
    def take_recovery_request(self) -> bool: ...
    def take_refusals(self) -> tuple[int, int, int] | None: ...
    def stats(self) -> dict[str, int]: ...
    def take_records(self) -> dict[str, bytes]: ...
    def flush(self, timeout: float) -> bool: ...
    def close(self) -> None: ...

_BlockReport = tuple[int, int, int, int, int, int, int, int, int, int, int]
"""The fields of gamestream section 8.3 in their order."""

@final
class ClientStream:
    """Own receive thread around a client session; takes a duplicate of a connected UDP socket's descriptor."""

    def __new__(
        cls,
        config: StreamConfig | GameStreamConfig,
        fd: int,
        *,
        queue_frames: int = 16,
        gro: bool = True,
        receive_buffer_bytes: int = 33554432,
        record_frames: bool = True,
        realtime: bool = False,
        report_blocks: bool = False,
    ) -> ClientStream: ...
    def next_frame(self, timeout: float) -> ReceivedFrame | None: ...
    def take_recovery_request(self, retry: float | None = None) -> bool: ...
    def take_loss_report_ppm(self) -> int: ...
    def take_block_reports(self) -> list[_BlockReport]: ...
    def settle(self, frames: int, packets: int) -> None: ...
    def last_packet_ns(self) -> int | None: ...
    def stats(self) -> dict[str, int]: ...
    def take_records(self) -> dict[str, bytes]: ...
    def close(self) -> None: ...

@final
class ClientReplay:
    """A client's session without socket, thread or clock, for captured datagrams: the rules that a receiver has.

    Times are ns of any clock; one that goes back counts as the latest so far. ``first`` are the numbers of frame and
    packet with which a capture begins in mid-stream.
    """

    def __new__(
        cls, config: StreamConfig | GameStreamConfig, *, first: tuple[int, int] | None = None
    ) -> ClientReplay: ...
    def receive(self, datagram: Buffer, now_ns: int) -> str:
        """Take a datagram; return what became of it.

        That is ``stored``, ``completed`` (its frame), ``surplus`` (its block was whole), ``late_data`` (likewise, and
        FEC had rebuilt this shard), ``late`` (its frame's turn was over), ``duplicate`` or ``rejected_REASON``.
        """
    def settle(self) -> None: ...
    def stats(self) -> dict[str, int]: ...
    def take_records(self) -> dict[str, bytes]: ...

@final
class ReceivedFrame(Buffer):
    """One access unit, readable through the buffer protocol without a copy."""

    @property
    def index(self) -> int: ...
    @property
    def pts_ns(self) -> int: ...
    @property
    def flags(self) -> int: ...
    @property
    def key(self) -> bool: ...
    @property
    def decodable(self) -> bool: ...
    @property
    def gap(self) -> int: ...
    @property
    def recv_first_ns(self) -> int: ...
    @property
    def recv_last_ns(self) -> int: ...
    @property
    def complete_ns(self) -> int: ...
    @property
    def host_latency_ns(self) -> int: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class GameStreamAudio:
    """The packets of a stream of sound (gamestream sections 9.1 and 9.2); all Opus packets have one length."""

    def __new__(cls, key: Buffer | None, rikeyid: int, packet_ms: int) -> GameStreamAudio: ...
    @property
    def max_opus_bytes(self) -> int: ...
    def packet(self, opus: Buffer) -> list[bytes]: ...

@final
class GameStreamAudioReceiver:
    """Order, recovery and decryption of those; Opus packets are (sequence, lost before it, recovered, data)."""

    def __new__(cls, key: Buffer | None = None, rikeyid: int = 0) -> GameStreamAudioReceiver: ...
    def receive(self, datagram: Buffer) -> list[tuple[int, int, bool, bytes]]: ...
    def settle(self) -> list[tuple[int, int, bool, bytes]]: ...
    def stats(self) -> dict[str, int]: ...

# --- links ----------------------------------------------------------------------------------------------------

@final
class LinkModel:
    """The seeded link model, one direction, without I/O or clock.

    ``spec_json`` is a link spec (every key optional); a wrong one raises InvalidConfigError. The lost, duplicated and
    corrupted packets are a function of ``seed`` and ``direction`` (0 = a to b) and the packet's number alone.
    """

    def __new__(cls, spec_json: str, seed: int, direction: int = 0) -> LinkModel: ...
    def offer(self, now_ns: int, size_bytes: int) -> tuple[str, list[tuple[int, bool]]]:
        """Offer a packet of ``size_bytes`` of UDP payload; times never go back.

        Return ``"delivered"``, ``"lost"`` or ``"queue_dropped"`` and (arrival ns, corrupted) of each delivery.
        """
    def set_spec(self, spec_json: str, now_ns: int) -> None:
        """Apply another spec; packet numbers, counters and the queue stay, trace and changes start over."""
    def counters(self, now_ns: int | None = None) -> dict[str, int]:
        """Counts at ``now_ns``; without it, once everything in flight has arrived."""

@final
class TunPump:
    """Join two TUN descriptors with one link model a direction; runs in its own thread, without the GIL.

    Both descriptors must have vnet headers and UDP segmentation offload; they are duplicated. Decisions are taken for
    each datagram, also within a GSO train, and only UDP takes packet numbers. Traces and changes begin when the pump
    starts. ``realtime`` asks for SCHED_FIFO (else nice -20), ``coalesce`` joins survivors that leave together into
    one GSO packet, ``log_packets`` keeps up to ``log_rows`` rows between two calls of :meth:`take_log`,
    ``memory_bytes`` caps what is in flight and ``spin_us`` is how long before a departure the thread is awake.

    Raises InvalidConfigError for a wrong spec and OSError for unusable descriptors. Methods raise CoreError when the
    thread has died.
    """

    def __new__(
        cls,
        fd_a: int,
        fd_b: int,
        spec_ab_json: str,
        spec_ba_json: str,
        seed: int,
        *,
        realtime: bool = False,
        coalesce: bool = True,
        log_packets: bool = False,
        log_rows: int = 1000000,
        memory_bytes: int = 268435456,
        spin_us: int = 50,
        media_ports: Sequence[int] | None = None,
    ) -> TunPump: ...
    def counters(self) -> dict[str, dict[str, int]]:
        """Counts of ``"ab"`` and ``"ba"``; link_in + duplicated = dropped_total + delivered + in_flight.

        ``other_in``, ``other_delivered`` and ``other_checksum_dropped`` are those of them that are of none of
        ``media_ports``, the UDP ports of end a: sources of ``"ab"``, destinations of ``"ba"``. None: no others.
        """
    def lateness_ns(self) -> dict[str, int]:
        """How late datagrams left, both directions: count, p50, p90, p99, p999 (within 3 %), max."""
    def stats(self) -> dict[str, int]:
        """Costs: cpu_ns, reads, writes, write_errors, sleeps, naps, devices_lost, memory_bytes, log_missed."""
    def take_log(self) -> dict[str, bytes]:
        """Rows completed since the last call, as little-endian int64 columns; -1 = null.

        index, direction (0 = ab), copy (1 = duplicate), verdict (0 delivered, 1 lost, 2 queue dropped, 3 overflow,
        4 delivered with a wrong checksum, 5 delivered with a flipped bit), bytes, in_ns, due_ns, out_ns.
        """
    def set_spec(self, direction: str, spec_json: str) -> None:
        """Apply another spec to ``"ab"`` or ``"ba"`` now; packet numbers and counters stay."""
    def restart(self, spec_ab_json: str, spec_ba_json: str, seed: int) -> None:
        """Begin anew from packet 0 with empty counters, lateness and log; what is in flight is forgotten."""
    @property
    def realtime(self) -> bool:
        """Whether SCHED_FIFO was granted."""
    def stop(self) -> None:
        """End the thread; questions are still answered afterwards."""

def probe_send(
    fd: int, *, count: int, size_bytes: int, interval_ns: int = 0, segments: int = 1, first_index: int = 0
) -> dict[str, int]:
    """Send ``count`` numbered, stamped datagrams on a connected UDP socket, ``segments`` to a GSO train.

    ``interval_ns`` is the time between datagrams (0 = flat out); a train goes out at the time of its first. Return
    sent, dropped, first_tx_ns, last_tx_ns, late_max_ns, cpu_ns, gso. Raises OSError (EINVAL when a size is out of
    range: at least 24 bytes, a train at most 64 datagrams and 65487 bytes).
    """

def probe_receive(
    fd: int, *, idle_timeout_s: float, max_packets: int, size_bytes: int, gro: bool = True, keep: bool = True
) -> dict[str, bytes | int]:
    """Receive probes of ``size_bytes`` until ``max_packets`` came or none for ``idle_timeout_s``.

    Return count, byte_count, corrupted, foreign (another size), kernel_dropped (with checksum errors),
    receive_buffer_granted, first_rx_ns, last_rx_ns, cpu_ns, and with ``keep`` the little-endian int64 columns index,
    tx_ns, rx_ns (kernel), user_ns (this thread), corrupt (0/1) in order of arrival; index and tx_ns are -1 where a
    flipped bit hit the probe's head.
    """

# --- simulation -----------------------------------------------------------------------------------------------

@final
class SimResult:
    @property
    def ledger_json(self) -> str: ...
    @property
    def digest(self) -> str: ...
    def records(self) -> dict[str, bytes]: ...

def simulate(
    spec_json: str,
    follow: Callable[[int, int, int, int | None, list[_BlockReport]], int | None] | None = None,
) -> SimResult:
    """Run both ends over the link model in virtual time; the same specification gives the same bytes.

    ``follow`` gets virtual ns, frames and packets so far, the loss report in ppm (None on GameStream) and what
    came of damaged blocks, as often as ``loss_words`` has it; it returns the FEC percentage of the next frames,
    None to leave it.
    """

# --- ENet: the control stream of GameStream (section 10.1) -----------------------------------------------------

_Address = tuple[str, int] | tuple[str, int, int, int]
_Delivery = Literal["reliable", "unreliable", "unsequenced"]

@final
class EnetEvent:
    """What happened to a connection. What a kind has no use for is empty or 0."""

    kind: Literal["connected", "received", "disconnected"]
    peer: int
    """Names the connection, and no other one ever."""
    channel: int
    data: int
    """Of the CONNECT or DISCONNECT."""
    payload: bytes
    cause: Literal["", "peer", "local", "timeout"]
    """Why it was disconnected: its peer said so, it was asked to from here, or nothing was acknowledged for 10 s."""
    remote: _Address | None

@final
class EnetEndpoint:
    """An ENet host without sockets and without a clock: a server where ``admit`` lets peers in, a client by `connect`.

    Times are nanoseconds of a clock that only goes forward. After each call :meth:`datagrams` has what is to be sent,
    and :meth:`next_timeout` says when :meth:`tick` is due. Belongs to one thread.
    """

    def __new__(
        cls,
        *,
        peers: int = 64,
        channels: int = 48,
        seed: int,
        admit: Callable[[int, str], bool] | None = None,
    ) -> EnetEndpoint:
        """``seed`` makes the numbers of own connections. ``admit`` is asked, with a CONNECT's data and the address
        that it came from, whether a session waits for it: anybody can send that in any name. It may not call the
        endpoint. Without it nobody gets in."""

    def connect(self, remote: _Address, data: int = 0, *, now_ns: int, path: bytes = ...) -> int:
        """Begin a connection and return its name; an event says what became of it.

        Raises SessionClosedError when there is no room.
        """

    def feed(self, datagram: bytes, remote: _Address, *, now_ns: int, path: bytes = ...) -> list[EnetEvent]:
        """Take a datagram. ``path``, up to 23 bytes, comes back with each one that goes to that peer."""

    def tick(self, *, now_ns: int) -> list[EnetEvent]:
        """Retransmit, ping, give up what is overdue."""

    def next_timeout(self) -> int | None: ...
    def datagrams(self) -> list[tuple[bytes, _Address, bytes]]:
        """Return what is to be sent, where to, and its path; each once."""

    def send(
        self, peer: int, channel: int, payload: bytes, delivery: _Delivery = "reliable", *, now_ns: int
    ) -> bool:
        """Send a message; ``False`` when the peer is not connected, or does not acknowledge what it was sent.

        Raises ``ValueError`` for one that does not fit a datagram, which has 836 bytes for it. On a channel that the
        peer has not granted it goes by channel 0.
        """

    def unacknowledged(self, peer: int) -> int:
        """Return how many reliable messages the peer has not acknowledged; 0 for one that is gone."""

    def round_trip_ns(self, peer: int) -> int | None:
        """Return the smoothed time from a reliable message to its acknowledgement, ms in ns; ``None`` for a peer that
        is gone. Until the first acknowledgement it is what ENet assumes: half a second."""

    def disconnect(self, peer: int, data: int = 0, *, now_ns: int) -> None:
        """End a connection once all is acknowledged; ``disconnected`` follows."""

    def abandon(self, peer: int, data: int = 0, *, now_ns: int) -> None:
        """End a connection now; no event follows."""

    @property
    def peers(self) -> int:
        """How many connections there are, confirmed or not."""

    def counters(self) -> dict[str, int]: ...
