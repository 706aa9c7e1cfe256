"""Run one client session from its configuration: JSON lines on standard output, logs on standard error."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from punktfunk.client import messages
from punktfunk.client.config import ClientConfig
from punktfunk.client.service import Client
from punktfunk.client.summary import Summary
from punktfunk.client.until_end import until_end
from punktfunk.errors import HandshakeError, UnitError
from punktfunk.terminal import say_json
from punktfunk.units import Bitrate, Mode

_WIND_DOWN_S = 1.5
_CHANGES: set[asyncio.Future[None]] = set()
"""Mode requests under way; the event loop itself would not keep them alive."""


def say(event: str, **fields: Any) -> None:
    """Write one JSON line, at once."""
    say_json({"event": event, **fields})


async def run_client(config: ClientConfig) -> int:
    """Receive until the stream ends, or SIGTERM, SIGINT or the end of standard input.

    Lines: ``ready`` (what the host offered), ``second``, ``ended`` (the summary). Returns the exit status: 1
    when verification or the worker failed.
    """
    client = Client(config.address, config)
    client.on_progress = _second
    async with client:
        welcome = client.welcome
        say(
            "ready",
            mode=str(client.mode),
            frames=welcome.frames,
            fec_percent=welcome.fec_percent,
            shard_bytes=welcome.shard_bytes,
            fingerprint=client.host_fingerprint,
        )
        await until_end(client, _WIND_DOWN_S, lambda line: obey(client, line))
    summary = await client.finished()
    say("ended", **summary_line(summary), control=client.control_counters, datagrams=client.datagrams)
    return exit_status(summary)


def obey(client: Client, line: bytes) -> None:
    """Do what a JSON line on standard input asks for.

    ``{"do": "bitrate", "kbps": 8000}``, ``{"do": "keyframe"}`` and ``{"do": "mode", "mode": "1280x720@60"}``,
    which a ``mode`` line answers. Anything else is answered with a ``refused`` line.
    """
    try:
        match json.loads(line):
            case {"do": "bitrate", "kbps": int(kbps)}:
                client.request_bitrate(Bitrate.from_kbps(kbps))
            case {"do": "keyframe"}:
                client.request_keyframe()
            case {"do": "mode", "mode": str(mode)}:
                change = asyncio.ensure_future(_change_mode(client, Mode.parse(mode)))
                _CHANGES.add(change)
                change.add_done_callback(_CHANGES.discard)
            case _:
                say("refused", reason="unknown order")
    except (ValueError, UnitError) as error:
        say("refused", reason=str(error))


async def _change_mode(client: Client, mode: Mode) -> None:
    try:
        answer = await client.request_mode(mode)
    except HandshakeError as error:
        say("mode", accepted=None, cause=error.cause)
    else:
        say("mode", accepted=answer.accepted, mode=str(answer.mode or "unknown"))


def summary_line(summary: Summary) -> dict[str, Any]:
    """Return what a JSON line tells of the end; null is unknown."""
    return {
        "end": summary.end,
        "reason": summary.reason,
        "hint": summary.hint,
        "frames_announced": summary.frames_announced,
        "verified": summary.verified,
        "failed": summary.failed,
        "last_packet_ns": summary.last_packet_ns,
        "silent_ns": summary.silent_ns,
        "packets_lost": summary.packets_lost,
        "frames_lost": summary.frames_lost,
        "counters": summary.counters,
        "at_least": summary.at_least,
    }


def exit_status(summary: Summary) -> int:
    """0 when the session was what it should be, 1 when not."""
    return int(summary.failed or summary.verified is False)


def _second(progress: messages.Progress) -> None:
    say(
        "second",
        frames=progress.frames,
        bytes=progress.bytes,
        latency_us=progress.latency_us,
        latency_error_us=progress.latency_error_us,
        last_packet_ns=progress.last_packet_ns,
    )
