"""Bandwidth probes: filler on the data plane, asked for by a client, within limits that the host sets.

Filler goes through the same session as video: sealed, paced by the core, numbered with the frames. It carries no
recovery packets, so that the client sees what the path does to every packet, and the picture stands still
meanwhile, so that encoding disturbs nothing. What a client can make a host send is bounded four times: by the
rate, by five seconds and by the bytes of one test, and by the time and bytes of all tests of a session.
"""

from __future__ import annotations

import threading
from collections import deque

from punktfunk.clock import SessionClock, monotonic_ns
from punktfunk.core._core import FLAG_PROBE, HostStream
from punktfunk.host.stream import messages
from punktfunk.host.stream.pace import sleep_until
from punktfunk.native.control import MAX_PROBE_MS, MS, S

MAX_TEST_BYTES = 1 << 30
MAX_SESSION_BYTES = 8 << 30
MAX_SESSION_NS = 120 * S
MAX_WAITING = 1
"""Tests that may wait for the one that runs; a client has no use for more, and more are refused."""

_TICK_NS = 500_000
"""Filler leaves at most this often: single packets up to some 20 Mbit/s, short trains above."""
_CATCH_UP_NS = 8 * MS
"""A stall longer than this is not made up for: the burst after it would measure the host, not the path."""
_MAX_UNIT_SHARDS = 512
_LEAVE_LIMIT_S = 0.25


class BandwidthProbes:
    """Take requests for bandwidth probes and carry them out; ``limit_kbps`` 0 refuses them all.

    Counters: ``probes`` run, ``probes_refused``, and ``probe_bytes`` of filler.
    """

    def __init__(self, limit_kbps: int, shard_bytes: int) -> None:
        self.counters = {"probes": 0, "probes_refused": 0, "probe_bytes": 0}
        self._limit_kbps = limit_kbps
        self._shard_bytes = shard_bytes
        self._waiting: deque[messages.SendProbe] = deque()
        self._time_left_ns = MAX_SESSION_NS
        self._filler = memoryview(bytes(_MAX_UNIT_SHARDS * shard_bytes))

    @property
    def waiting(self) -> bool:
        """Whether :meth:`run` has something to do."""
        return bool(self._waiting)

    def ask(self, wanted: messages.SendProbe) -> None:
        """Take a request; one too many is dropped, since each of those before it is answered."""
        if len(self._waiting) <= MAX_WAITING:
            self._waiting.append(wanted)
        else:
            self.counters["probes_refused"] += 1

    def run(self, stream: HostStream, clock: SessionClock, stopping: threading.Event) -> messages.ProbeSent:
        """Carry the oldest request out. The caller applies rate and FEC of its stream again."""
        wanted = self._waiting.popleft()
        kbps = min(wanted.target_kbps, self._limit_kbps)
        duration_ns = min(wanted.duration_ms * MS, MAX_PROBE_MS * MS, self._time_left_ns)
        budget = min(MAX_TEST_BYTES, MAX_SESSION_BYTES - self.counters["probe_bytes"])
        if kbps <= 0 or duration_ns <= 0 or budget < self._shard_bytes:
            self.counters["probes_refused"] += 1
            return messages.ProbeSent()
        self.counters["probes"] += 1
        stream.flush(_LEAVE_LIMIT_S)
        before = stream.stats()
        stream.set_fec_percent(0)
        stream.set_rate(kbps)
        begun = monotonic_ns()
        units, shards = self._burst(
            stream, clock, stopping, kbps=kbps, ends_ns=begun + duration_ns, budget=budget
        )
        stream.flush(_LEAVE_LIMIT_S)
        took_ns = monotonic_ns() - begun
        self._time_left_ns -= took_ns
        self.counters["probe_bytes"] += shards * self._shard_bytes
        # A loss in this host's own queue concerns filler only: no picture refers to it.
        stream.take_recovery_request()
        after = stream.stats()
        drops = sum(
            after[name] - before[name] for name in ("packets_socket_dropped", "packets_queue_dropped")
        )
        return messages.ProbeSent(
            goodput_bytes=shards * self._shard_bytes,
            access_units=units,
            duration_ms=took_ns // MS,
            packets_sent=after["packets_sent"] - before["packets_sent"],
            send_drops=drops,
        )

    def _burst(
        self,
        stream: HostStream,
        clock: SessionClock,
        stopping: threading.Event,
        *,
        kbps: int,
        ends_ns: int,
        budget: int,
    ) -> tuple[int, int]:
        """Send filler until the time or the bytes are over; return access units and shards."""
        shard_ns = self._shard_bytes * 8 * MS / kbps
        unit_shards = min(_MAX_UNIT_SHARDS, budget // self._shard_bytes)
        units = shards = 0
        due_ns = float(monotonic_ns())
        while (now := monotonic_ns()) < ends_ns and not stopping.is_set():
            due_ns = max(due_ns, now - _CATCH_UP_NS)
            wanted = min(int((now - due_ns) / shard_ns) + 1, unit_shards) if now >= due_ns else 0
            if wanted:
                if (shards + wanted) * self._shard_bytes > budget:
                    break
                stream.submit(self._filler[: wanted * self._shard_bytes], clock.to_wire(now), FLAG_PROBE)
                # With one unit on its way at a time nothing is ever dropped from the queue.
                stream.flush(_LEAVE_LIMIT_S)
                units, shards = units + 1, shards + wanted
                due_ns += wanted * shard_ns
            sleep_until(min(max(round(due_ns), now + _TICK_NS), ends_ns), stopping)
        return units, shards
