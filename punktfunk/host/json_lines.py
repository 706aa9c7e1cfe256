"""Run a host from its configuration, for programs: JSON lines on standard output, logs on standard error."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from punktfunk.host.config import HostConfig
from punktfunk.host.service import Host
from punktfunk.host.session_report import SessionReport
from punktfunk.process.lifetime import until_told_to_end
from punktfunk.terminal import say_json
from punktfunk.units import Bitrate


def say(event: str, **fields: Any) -> None:
    """Write one JSON line, at once."""
    say_json({"event": event, **fields})


def session_line(report: SessionReport) -> dict[str, Any]:
    """Return what a JSON line tells of an ended session."""
    return {
        "number": report.number,
        "peer": f"{report.peer.address[0]}:{report.peer.address[1]}",
        "fingerprint": report.peer.fingerprint,
        "mode": str(report.mode),
        "reason": report.reason,
        "stream": report.stream_reason,
        "failed": report.failed,
        "counters": report.counters,
    }


def obey(host: Host, line: bytes) -> None:
    """Do what a JSON line on standard input asks for: ``{"do": "bitrate", "kbps": 8000}`` or ``"keyframe"``.

    Both are for every stream. Anything else is answered with a ``refused`` line.
    """
    try:
        match json.loads(line):
            case {"do": "bitrate", "kbps": int(kbps)}:
                host.set_bitrate(Bitrate.from_kbps(kbps))
            case {"do": "keyframe"}:
                host.request_keyframe()
            case _:
                say("refused", reason="unknown order")
    except ValueError as error:
        say("refused", reason=str(error))


async def run_host(config: HostConfig) -> int:
    """Serve punktfunk/1 as :func:`run_made_host` does."""
    return await run_made_host(Host(config))


async def run_made_host(made: Host) -> int:
    """Serve until SIGTERM, SIGINT, the end of standard input or ``exit_after_sessions``.

    Lines: ``ready`` (port, fingerprint), ``session`` (an ended one), ``ended``. Returns the exit status: 1
    when a stream failed.
    """
    told, limit = 0, made.config.exit_after_sessions
    async with made as host:
        say("ready", port=host.port, fingerprint=host.fingerprint)
        ending = asyncio.ensure_future(until_told_to_end(lambda line: obey(host, line)))
        while not ending.done():
            waiting = asyncio.ensure_future(host.sessions_over(told + 1))
            await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                break
            told = _tell(host, told)
            if limit and told >= limit:
                break
        ending.cancel()
    _tell(host, told)
    say("ended", sessions=host.sessions.history.begun)
    return int(host.sessions.history.failed > 0)


def _tell(host: Host, told: int) -> int:
    """Write a line for each session that ended after the first ``told``; return how many have ended by now."""
    for report in host.sessions.history.ended(since=told):
        say("session", **session_line(report))
    return host.sessions.history.over
