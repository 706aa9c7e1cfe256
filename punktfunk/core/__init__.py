"""The typed face of the native protocol core: FEC, packets, crypto, pacing, sessions, link emulation.

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

from punktfunk.core._core import (
    FLAG_KEY,
    FLAG_PICTURE,
    FLAG_PROBE,
    FLAG_RECOVERY_ANCHOR,
    FLAG_RECOVERY_POINT,
    ClientStream,
    HostStream,
    LinkModel,
    ReceivedFrame,
    SimResult,
    StreamConfig,
    __version__,
    simulate,
)

__all__ = [
    "FLAG_KEY",
    "FLAG_PICTURE",
    "FLAG_PROBE",
    "FLAG_RECOVERY_ANCHOR",
    "FLAG_RECOVERY_POINT",
    "ClientStream",
    "HostStream",
    "LinkModel",
    "ReceivedFrame",
    "SimResult",
    "StreamConfig",
    "__version__",
    "simulate",
]
