"""What the host's commands print: who this is, what to do next, a line for each session."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler

from punktfunk.addresses import EVERYWHERE
from punktfunk.host.config import NATIVE_PORT, HostConfig
from punktfunk.host.notices import ENCODER
from punktfunk.host.serve import Serving
from punktfunk.host.serve_config import ServeConfig
from punktfunk.host.service import Host
from punktfunk.host.session_report import SessionReport
from punktfunk.process.lifetime import until_told_to_end
from punktfunk.process.service_manager import ServiceManager
from punktfunk.terminal import say


async def serve_host(config: HostConfig) -> int:
    """Serve without a desktop until told to end or ``exit_after_sessions``; 1 when a stream failed."""
    told = _Told()
    async with Host(config) as serving:
        say(f"streaming {config.source.kind} on {config.bind} UDP port {serving.port}")
        say(f"fingerprint {serving.fingerprint}")
        say(f"next: punktfunk connect {_dialable(config.bind, serving.port)} --pin {serving.fingerprint}")
        await _until_over(serving, told)
    told.catch_up(serving)
    return told.status


async def serve(config: ServeConfig) -> int:
    """Run ``punktfunk serve`` until told to end or ``exit_after_sessions``; 1 when a stream failed.

    Under a service manager that tells nothing of the service, whose end is then 0: streams may fail, the host goes on.
    """
    told, manager = _Told(), ServiceManager.of_environment()
    with contextlib.ExitStack() as supervised:
        if manager is not None:
            # A host that hangs in its end is killed as well; what SIGABRT ends writes down where each thread was.
            supervised.enter_context(manager)
            faulthandler.enable()
        async with Serving(config) as serving:
            for line in serving.banner(secrets=manager is None):
                say(line)
            if manager is not None:
                _report_to(manager, serving)
            serving.session_listeners.append(told.changed)
            await _until_over(serving.host, told)
            if manager is not None:
                manager.stopping()
    told.catch_up(serving.host)
    return told.status if manager is None else 0


def _report_to(manager: ServiceManager, serving: Serving) -> None:
    """Report that clients can connect, and from now on how many stream."""

    def words() -> str:
        return f"ready, {len(serving.host.sessions.live())} streaming"

    serving.session_listeners.append(lambda _report: manager.status(words()))
    manager.ready(words())


class _Told:
    """What was printed of the sessions so far: a line for each that has ended, also for those that end last."""

    def __init__(self) -> None:
        self.count = 0
        self.status = 0
        self._warned: dict[int, str] = {}

    def changed(self, report: SessionReport) -> None:
        """Print what the banner said of the encoder and no longer holds, once for each session."""
        words = report.notices.get(ENCODER)
        if report.state == "ended":
            self._warned.pop(report.number, None)
        elif words is not None and words != self._warned.get(report.number):
            self._warned[report.number] = words
            say(f"WARNING      session {report.number}: {words}")

    def catch_up(self, host: Host) -> None:
        for report in host.sessions.history.ended(since=self.count):
            say(_session_line(report))
        self.count = host.sessions.history.over
        self.status = int(host.sessions.history.failed > 0)


async def _until_over(host: Host, told: _Told) -> None:
    """Print a line for each session that ends, until the host is told to end or has served enough."""
    limit = host.config.exit_after_sessions
    ending = asyncio.ensure_future(until_told_to_end())
    try:
        while not ending.done() and not (limit and told.count >= limit):
            waiting = asyncio.ensure_future(host.sessions_over(told.count + 1))
            await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                break
            told.catch_up(host)
    finally:
        ending.cancel()


def _session_line(report: SessionReport) -> str:
    counters = report.counters
    return (
        f"session {report.number} {report.peer.address[0]} {report.mode}: "
        f"{counters.get('frames_sent', 0)} frames, {counters.get('packets_sent', 0)} packets, "
        f"{counters.get('frames_queue_dropped', 0)} dropped here · {report.reason}"
    )


def _dialable(bind: str, port: int) -> str:
    address = {EVERYWHERE: "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104 - compared
    shown = f"[{address}]" if ":" in address else address
    return shown if port == NATIVE_PORT else f"{shown}:{port}"
