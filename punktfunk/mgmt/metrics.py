"""The host's metrics in the text format of Prometheus, made when they are asked for.

Names carry their unit. Labels are bounded: sessions by number and by the start of their client's fingerprint, and only
while they run; stages, quantiles and events by fixed lists. Counters cover the life of the host.

A metric is a :class:`Family` and a sample in :class:`_Snapshot`; a number that the host does not tell yet is a field in
``live``, which ``host/live.py`` fills.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from punktfunk.mgmt.events import EventHub
from punktfunk.mgmt.interface import HostControl
from punktfunk.mgmt.live import Latency, SessionInfo, Stage

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "punktfunk_"
FINGERPRINT_CHARACTERS: Final = 12

_SESSION: Final = ("session", "client")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name without the prefix, what it is, its labels."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()


FAMILIES: Final = {
    family.name: family
    for family in (
        Family("build_info", "gauge", "Version of the program and of its core's ABI; always 1.", ("version", "abi")),
        Family("start_time_seconds", "gauge", "When the host was started, Unix time."),
        Family("cpu_seconds_total", "counter", "CPU time of the host process and of its workers that are over."),
        Family("sessions", "gauge", "Sessions that run."),
        Family("sessions_begun_total", "counter", "Sessions that got a stream."),
        Family("sessions_failed_total", "counter", "Sessions that ended because their stream failed."),
        Family("frames_submitted_total", "counter", "Frames given to the core."),
        Family("frames_sent_total", "counter", "Frames whose last packet left."),
        Family("frames_queue_dropped_total", "counter", "Frames dropped in the send queue, before any packet left."),
        Family("packets_sealed_total", "counter", "Packets sealed, recovery packets included."),
        Family("packets_sent_total", "counter", "Packets that the socket took."),
        Family("packets_socket_dropped_total", "counter", "Packets that the socket refused."),
        Family("packets_queue_dropped_total", "counter", "Packets of frames dropped in the send queue."),
        Family("sent_bytes_total", "counter", "Payload of the UDP datagrams sent."),
        Family("key_frames_total", "counter", "Key frames encoded."),
        Family("keyframe_requests_total", "counter", "Key frames asked for by clients, or by frames dropped here."),
        Family("source_frames_skipped_total", "counter", "Frame times that passed without a frame."),
        Family("session_seconds", "gauge", "How long the session has run.", _SESSION),
        Family("session_frames_per_second", "gauge", "Frames sent in the last second.", _SESSION),
        Family("session_media_bits_per_second", "gauge", "Coded video of the last second.", _SESSION),
        Family("session_wire_bits_per_second", "gauge", "UDP payload of the last second, FEC included.", _SESSION),
        Family("session_target_bits_per_second", "gauge", "Bitrate that the encoder aims at.", _SESSION),
        Family("session_fec_ratio", "gauge", "Recovery packets by data packets.", _SESSION),
        Family("session_client_loss_ratio", "gauge", "Loss that the client reported last.", _SESSION),
        Family("session_loss_reports", "gauge", "Loss reports of the client so far.", _SESSION),
        Family(
            "session_stage_seconds",
            "gauge",
            "Time that frames of the last second spent in a stage of the host; total is the whole way.",
            (*_SESSION, "stage", "quantile"),
        ),
        Family("pairing_events_total", "counter", "What happened in pairing.", ("event",)),
        Family("pairing_armed", "gauge", "1 while a PIN is armed."),
        Family("paired_clients", "gauge", "Paired clients of the native host."),
        Family("pending_devices", "gauge", "Devices that wait for approval."),
        Family(
            "listener_events_total",
            "counter",
            "What the QUIC listener took and dropped, and what became of requests for streams.",
            ("event",),
        ),
        Family("http_events_total", "counter", "What happened to connections of this API.", ("event",)),
        Family("event_streams", "gauge", "Readers of the event stream."),
        Family("event_stream_events_total", "counter", "What happened on the event stream.", ("event",)),
        Family("log_lines_forgotten_total", "counter", "Log lines that made room in memory for later ones."),
        Family("log_lines_limited_total", "counter", "Log lines about strangers that were counted instead."),
    )
}  # fmt: skip
"""Every metric, by name."""

_LEDGER: Final = {
    "frames_submitted": "frames_submitted_total",
    "frames_sent": "frames_sent_total",
    "frames_queue_dropped": "frames_queue_dropped_total",
    "packets_sealed": "packets_sealed_total",
    "packets_sent": "packets_sent_total",
    "packets_socket_dropped": "packets_socket_dropped_total",
    "packets_queue_dropped": "packets_queue_dropped_total",
    "bytes_sent": "sent_bytes_total",
    "key_frames": "key_frames_total",
    "keyframe_requests": "keyframe_requests_total",
    "source_frames_skipped": "source_frames_skipped_total",
}
"""Counts of a session's ledger that are metrics of the host."""


def exposition(control: HostControl, hub: EventHub) -> bytes:
    """Return all metrics as they are now."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(control, hub))
    return generate_latest(registry)


class _Snapshot(Collector):
    """The metrics of one moment."""

    def __init__(self, control: HostControl, hub: EventHub) -> None:
        self._control = control
        self._hub = hub
        self._families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}

    def describe(self) -> list[Metric]:
        """Return nothing: names are checked by a test, not at each request."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the host once and give every family that has a sample."""
        self._families = {}
        self._host()
        sessions = self._control.sessions()
        self._ledgers(sessions)
        for session in sessions:
            self._session(session)
        yield from self._families.values()

    def _add(self, name: str, value: float, *labels: str) -> None:
        family = FAMILIES[name]
        if name not in self._families:
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            self._families[name] = kind(PREFIX + name, family.help, labels=family.labels)
        self._families[name].add_metric(labels, value)

    def _host(self) -> None:
        control, totals = self._control, self._control.totals()
        facts, pairing = control.facts(), control.pairing()
        self._add("build_info", 1, facts.version, str(facts.abi_version))
        self._add("start_time_seconds", totals.started_unix_s)
        self._add("cpu_seconds_total", totals.cpu_seconds)
        self._add("sessions_begun_total", totals.sessions_begun)
        self._add("sessions_failed_total", totals.sessions_failed)
        self._add("pairing_armed", pairing.armed)
        self._add("paired_clients", pairing.paired_clients)
        self._add("pending_devices", len(control.pending()))
        self._add("event_streams", self._hub.readers)
        self._add("log_lines_forgotten_total", totals.log_lines_forgotten)
        self._add("log_lines_limited_total", totals.log_lines_limited)
        for event, count in totals.pairing.items():
            self._add("pairing_events_total", count, event)
        for event, count in totals.listener.items():
            self._add("listener_events_total", count, event)
        for event, count in totals.http.items():
            self._add("http_events_total", count, event)
        for event, count in self._hub.counters.items():
            self._add("event_stream_events_total", count, event)

    def _ledgers(self, sessions: list[SessionInfo]) -> None:
        self._add("sessions", len(sessions))
        counts = Counter(self._control.totals().ended)
        for session in sessions:
            counts.update(session.ledger)
        for key, name in _LEDGER.items():
            self._add(name, counts[key])

    def _session(self, session: SessionInfo) -> None:
        who = (str(session.number), (session.client.fingerprint or "")[:FINGERPRINT_CHARACTERS])
        self._add("session_seconds", session.seconds, *who)
        self._add("session_target_bits_per_second", session.bitrate_kbps * 1000, *who)
        self._add("session_fec_ratio", session.fec.percent / 100, *who)
        self._add("session_loss_reports", session.loss.reports, *who)
        if session.loss.permille is not None:
            self._add("session_client_loss_ratio", session.loss.permille / 1000, *who)
        rates = session.rates
        if rates:
            self._add("session_frames_per_second", rates["fps"], *who)
            self._add("session_media_bits_per_second", rates["media_kbps"] * 1000, *who)
            self._add("session_wire_bits_per_second", rates["wire_kbps"] * 1000, *who)
        spans: dict[str, Stage | Latency] = {stage.name: stage for stage in session.stages}
        if session.total is not None:
            spans["total"] = session.total
        for name, times in spans.items():
            for quantile, us in (("0.5", times.p50_us), ("0.95", times.p95_us), ("1", times.max_us)):
                self._add("session_stage_seconds", us / 1e6, *who, name.replace(" ", "_"), quantile)
