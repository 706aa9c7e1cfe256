"""Bandwidth probes: filler on the data plane, asked for by a client, within limits that the host sets.

Filler goes through the same sender as video, sealed, paced and numbered with the frames. It carries no
recovery packets, so that the client sees what the path does to every packet, and the picture stands still
meanwhile, so that encoding disturbs nothing. What a client can make a host send is bounded four times: by the
rate, by five seconds and by the bytes of one test, and by the time and bytes of all tests of a session.
"""

from __future__ import annotations

import threading
from collections import deque

from punktfunk.clock import monotonic_ns
from punktfunk.host.stream import messages
from punktfunk.host.stream.pace import sleep_until
from punktfunk.host.stream.sender import Sender

MS, S = 1_000_000, 1_000_000_000
MAX_PROBE_MS = 5000
"""Duration of one test."""
MAX_TEST_BYTES = 1 << 30
MAX_SESSION_BYTES = 8 << 30
MAX_SESSION_NS = 120 * S
MAX_WAITING = 1
"""Tests that may wait for the one that runs; a client has no use for more, and more are refused."""

_TICK_NS = 500_000
"""Filler leaves at most this often: single packets up to some 20 Mbit/s, short trains above."""
_CATCH_UP_NS = 8 * MS
"""A stall longer than this is not made up for: the burst after it would measure the host, not the path."""
_MAX_UNIT_PACKETS = 512
_LEAVE_LIMIT_S = 0.25


class BandwidthProbes:
    """Take requests for bandwidth probes and carry them out; ``limit_kbps`` 0 refuses them all.

    Counters: ``probes`` run, ``probes_refused``, and ``probe_bytes`` of filler.
    """

    def __init__(self, limit_kbps: int) -> None:
        self.counters = {"probes": 0, "probes_refused": 0, "probe_bytes": 0}
        self._limit_kbps = limit_kbps
        self._waiting: deque[messages.SendProbe] = deque()
        self._time_left_ns = MAX_SESSION_NS

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

    def run(self, sender: Sender, stopping: threading.Event) -> messages.ProbeSent:
        """Carry the oldest request out. The caller applies the rate of its stream again."""
        wanted = self._waiting.popleft()
        payload = sender.payload_bytes
        kbps = min(wanted.target_kbps, self._limit_kbps)
        duration_ns = min(wanted.duration_ms * MS, MAX_PROBE_MS * MS, self._time_left_ns)
        budget = min(MAX_TEST_BYTES, MAX_SESSION_BYTES - self.counters["probe_bytes"])
        if kbps <= 0 or duration_ns <= 0 or not 0 < payload <= budget:
            self.counters["probes_refused"] += 1
            return messages.ProbeSent()
        self.counters["probes"] += 1
        sender.flush(_LEAVE_LIMIT_S)
        before = sender.stats()
        sender.set_rate(kbps)
        begun = monotonic_ns()
        units, packets = self._burst(sender, stopping, kbps=kbps, ends_ns=begun + duration_ns, budget=budget)
        sender.flush(_LEAVE_LIMIT_S)
        took_ns = monotonic_ns() - begun
        self._time_left_ns -= took_ns
        self.counters["probe_bytes"] += packets * payload
        # A loss in this host's own queue concerns filler only: no picture refers to it.
        sender.take_recovery_request()
        after = sender.stats()
        drops = sum(
            after.get(name, 0) - before.get(name, 0)
            for name in ("packets_socket_dropped", "packets_queue_dropped")
        )
        return messages.ProbeSent(
            goodput_bytes=packets * payload,
            access_units=units,
            duration_ms=took_ns // MS,
            packets_sent=after["packets_sent"] - before["packets_sent"],
            send_drops=drops,
        )

    def _burst(
        self,
        sender: Sender,
        stopping: threading.Event,
        *,
        kbps: int,
        ends_ns: int,
        budget: int,
    ) -> tuple[int, int]:
        """Send filler until the time or the bytes are over; return access units and packets."""
        payload = sender.payload_bytes
        packet_ns = payload * 8 * MS / kbps
        unit_packets = min(_MAX_UNIT_PACKETS, budget // payload)
        filler = memoryview(bytes(unit_packets * payload))
        units = packets = 0
        due_ns = float(monotonic_ns())
        while (now := monotonic_ns()) < ends_ns and not stopping.is_set():
            due_ns = max(due_ns, now - _CATCH_UP_NS)
            wanted = min(int((now - due_ns) / packet_ns) + 1, unit_packets) if now >= due_ns else 0
            if wanted:
                if (packets + wanted) * payload > budget:
                    break
                sender.fill(filler[: wanted * payload])
                # With one unit on its way at a time nothing is ever dropped from the queue.
                sender.flush(_LEAVE_LIMIT_S)
                units, packets = units + 1, packets + wanted
                due_ns += wanted * packet_ns
            sleep_until(min(max(round(due_ns), now + _TICK_NS), ends_ns), stopping)
        return units, packets
