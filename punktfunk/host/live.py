"""What the management API reads of a running host: its sessions, its counters, and what changes."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable, Mapping

from punktfunk.clock import monotonic_ns, realtime_ns
from punktfunk.host.history import ledger_of
from punktfunk.host.native.pairing import NativePairing
from punktfunk.host.readiness import examine_host
from punktfunk.host.served import Served
from punktfunk.host.session_report import SessionReport
from punktfunk.host.stream.telemetry import STAGES, TOTAL
from punktfunk.log import get as get_logger
from punktfunk.log_ring import LogRing
from punktfunk.mgmt.live import (
    Client,
    Fec,
    Handover,
    Latency,
    Loss,
    ReadinessReport,
    SessionEnd,
    SessionInfo,
    Setting,
    Stage,
    Totals,
    Watcher,
)

_NS_PER_S = 1_000_000_000


class LiveHost:
    """Implement :class:`~punktfunk.mgmt.live.LiveControl` over what ``punktfunk serve`` runs."""

    def __init__(self, serving: Served, pairing: NativePairing) -> None:
        self._serving = serving
        self._pairing = pairing
        self._say = get_logger("host")
        self._began_unix_s = realtime_ns() / _NS_PER_S
        self._watchers: list[Watcher] = []
        self._expiry: asyncio.TimerHandle | None = None
        self._unwatch: tuple[Callable[[], None], ...] = ()

    @property
    def log(self) -> LogRing:
        """The latest log lines."""
        return self._serving.log

    def sessions(self) -> list[SessionInfo]:
        """Return the sessions, oldest first."""
        return [self._info(report) for report in self._serving.host.sessions.all()]

    def end_session(self, number: int) -> bool:
        """End one from the host's side."""
        return self._serving.host.sessions.end_number(number)

    def totals(self) -> Totals:
        """Return what was counted."""
        host = self._serving.host
        management = self._serving.management
        history = host.sessions.history
        moonlight = self._serving.gamestream_pairing
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return Totals(
            sessions_begun=history.begun,
            sessions_failed=history.failed,
            ended=history.ledger,
            pairing={
                **self._pairing.counters,
                "pending_overflow": self._pairing.pending.overflow,
                **(
                    {} if moonlight is None else {f"gamestream_{k}": n for k, n in moonlight.counters.items()}
                ),
            },
            listener=host.counters,
            http={} if management is None else dict(management.counters),
            log_lines_forgotten=self.log.forgotten,
            log_lines_limited=host.stranger_log.left_out
            + (0 if management is None else management.stranger_log.left_out),
            cpu_seconds=time.process_time() + children.ru_utime + children.ru_stime,
            started_unix_s=self._began_unix_s,
        )

    async def readiness(self) -> ReadinessReport:
        """Check whether a client could stream now."""
        return await examine_host(self._serving)

    def settings(self) -> list[Setting]:
        """Return the settings with their effective values."""
        return self._serving.settings

    async def change_settings(self, changes: Mapping[str, object]) -> None:
        """Apply other values."""
        await self._serving.change_settings(changes)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Notify ``watcher`` of changes; while nobody watches, nothing is listened to and no timer runs."""
        self._watchers.append(watcher)
        if len(self._watchers) == 1:
            self._begin_watching()

        def stop() -> None:
            self._watchers.remove(watcher)
            if not self._watchers:
                self._end_watching()

        return stop

    def _begin_watching(self) -> None:
        serving = self._serving
        serving.session_listeners.append(self._session)
        self._pairing.on_change = self._pairing.pending.on_change = self._state
        stop = self._pairing.trust.on_removal(lambda _fingerprint: self._state())
        self._unwatch = (stop, lambda: serving.session_listeners.remove(self._session))
        self._wait_for_expiry()

    def _end_watching(self) -> None:
        self._pairing.on_change = self._pairing.pending.on_change = lambda: None
        for stop in self._unwatch:
            stop()
        self._unwatch = ()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _info(self, report: SessionReport) -> SessionInfo:
        """Describe a session; a paired client goes by the name that it was paired under."""
        fingerprint = report.peer.fingerprint
        paired = None if fingerprint is None else self._pairing.trust.find(fingerprint)
        return session_info(report, report.name if paired is None else paired.name)

    def _session(self, report: SessionReport) -> None:
        for watcher in tuple(self._watchers):
            if report.state == "ended":
                end = SessionEnd(report.number, report.reason, report.failed, ledger_of(report))
                watcher.session_ended(end)
            else:
                watcher.session_changed(self._info(report))

    def _state(self) -> None:
        self._wait_for_expiry()
        for watcher in tuple(self._watchers):
            watcher.state_changed()

    def _wait_for_expiry(self) -> None:
        """Wake when a PIN or a waiting device runs out, which nobody tells."""
        if self._expiry is not None:
            self._expiry.cancel()
        due = self._pairing.next_expiry_ns(monotonic_ns())
        loop = asyncio.get_running_loop()
        self._expiry = None if due is None else loop.call_at(due / _NS_PER_S + 0.001, self._state)


def session_info(report: SessionReport, name: str) -> SessionInfo:
    """Return what is told of a session with the client of that name."""
    counters = report.counters
    total = report.stages.get(TOTAL[0])
    return SessionInfo(
        number=report.number,
        state="ending" if report.state == "ended" else report.state,
        client=Client(name, report.peer.fingerprint, report.peer.address[0]),
        mode=report.mode,
        codec=report.codec,
        encoder=report.encoder,
        handover=None if report.handover is None else Handover(*report.handover),
        source=report.source,
        began_unix_ms=report.began_unix_ns // 1_000_000,
        seconds=round((monotonic_ns() - report.began_ns) / _NS_PER_S, 1),
        bitrate_kbps=report.bitrate_kbps,
        fec=Fec(report.fec_scheme, report.fec_percent, report.adaptive_fec),
        stages=tuple(_stage(name, report.stages[name]) for name, _, _ in STAGES if name in report.stages),
        total=None if total is None else Latency(*total),
        rates=dict(report.rates),
        ledger=ledger_of(report),
        loss=Loss(report.loss_reports, None if report.loss_ppm is None else report.loss_ppm / 1000),
        keyframes_requested=counters.get("keyframe_requests", 0),
        input=dict(report.datagrams),
        notices=tuple(report.notices.values()),
    )


def _stage(name: str, figures: list[int]) -> Stage:
    p50_us, p95_us, max_us = figures
    return Stage(name, p50_us, p95_us, max_us)
