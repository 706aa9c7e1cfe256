"""The typed face of the native protocol core: FEC, packets, crypto, pacing, sessions, link emulation.

Not here: pictures (``media``), and control messages (``native``); the core itself is the Rust beside this file.

A stream is a :class:`HostStream` on one side and a :class:`ClientStream` on the other, each with its own native
thread around the same state machine that :func:`simulate` drives in virtual time::

    config = StreamConfig(key=key, fec_percent=20)
    host = HostStream(config, host_socket.fileno(), rate_kbps=20_000)
    client = ClientStream(config, client_socket.fileno())
    host.submit(access_unit, pts_ns, FLAG_PICTURE | FLAG_KEY)
    frame = client.next_frame(timeout=0.1)

What the network does is counted, never raised. The counters balance to zero:

* host: ``packets_sealed = packets_sent + packets_socket_dropped + packets_queue_dropped + queue_packets``;
* client: ``packets_received = packets_used + packets_late + packets_duplicate + Σ rejected_*``,
  where ``packets_surplus`` of the used ones came when their block was whole already;
* client: ``data_shards_missing = data_shards_recovered + data_shards_unrecoverable``;
* client: ``frames_complete = frames_decodable + frames_undecodable``;
* both: ``frames_submitted = frames_complete + frames_unrecoverable + frames_expired`` once the client is closed and
  settled. A frame that the host dropped from its queue never comes, so the client counts it as unrecoverable too
  (and as ``frames_unseen``, like a frame whose every packet was lost).

Frame records are columns of little-endian 64-bit integers, -1 for null::

    {name: numpy.frombuffer(column, "<i8") for name, column in client.take_records().items()}

Times are nanoseconds of ``CLOCK_MONOTONIC`` everywhere but in ``pts_ns``, which is what the host puts on the wire.
"""

from typing import Literal, TypeAlias

from punktfunk.core._core import (
    ABI_VERSION,
    FLAG_KEY,
    FLAG_PICTURE,
    FLAG_PROBE,
    FLAG_RECOVERY_ANCHOR,
    FLAG_RECOVERY_POINT,
    ClientStream,
    EnetEndpoint,
    EnetEvent,
    HostStream,
    LinkModel,
    ReceivedFrame,
    SimResult,
    StreamConfig,
    TunPump,
    __version__,
    fec_decode,
    fec_encode,
    fec_kernel,
    geometry,
    open_sealed,
    packetize,
    probe_receive,
    probe_send,
    recovery_shards,
    seal,
    simulate,
)

FecScheme: TypeAlias = Literal["gf8", "gf16"]
"""Code of a stream (punktfunk/1 section 5): GF(2^8) Cauchy, at most 255 shards a block, or GF(2^16) Leopard, 65535."""

__all__ = [
    "ABI_VERSION",
    "FLAG_KEY",
    "FLAG_PICTURE",
    "FLAG_PROBE",
    "FLAG_RECOVERY_ANCHOR",
    "FLAG_RECOVERY_POINT",
    "ClientStream",
    "EnetEndpoint",
    "EnetEvent",
    "FecScheme",
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
    "open_sealed",
    "packetize",
    "probe_receive",
    "probe_send",
    "recovery_shards",
    "seal",
    "simulate",
]
