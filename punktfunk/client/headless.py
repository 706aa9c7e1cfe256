"""Run one client session from its configuration: JSON lines on standard output, logs on standard error."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from punktfunk.client import work
from punktfunk.client.config import ClientConfig
from punktfunk.client.service import Client, Summary
from punktfunk.native.lifetime import until_told_to_end

_WIND_DOWN_S = 1.5


def say(event: str, **fields: Any) -> None:
    """Write one JSON line, at once."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


async def run_client(config: ClientConfig, *, end_with_stdin: bool) -> int:
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
            mode=str(welcome.mode),
            frames=welcome.frames,
            fec_percent=welcome.fec_percent,
            shard_bytes=welcome.shard_bytes,
            fingerprint=client.host_fingerprint,
        )
        ending = asyncio.ensure_future(until_told_to_end(end_with_stdin))
        finishing = asyncio.ensure_future(client.finished())
        await asyncio.wait({ending, finishing}, return_when=asyncio.FIRST_COMPLETED)
        if not finishing.done():
            client.stop()
            await asyncio.wait({finishing}, timeout=_WIND_DOWN_S)
        ending.cancel()
    summary = await client.finished()
    say("ended", **summary_line(summary), control=client.control_counters)
    return exit_status(summary)


def summary_line(summary: Summary) -> dict[str, Any]:
    """Return what a JSON line tells of the end."""
    return {
        "reason": summary.reason,
        "frames_announced": summary.frames_announced,
        "verified": summary.verified,
        "failed": summary.failed,
        "counters": summary.counters,
    }


def exit_status(summary: Summary) -> int:
    """0 when the session was what it should be, 1 when not."""
    return int(summary.failed or summary.verified is False)


def _second(progress: work.Progress) -> None:
    say("second", frames=progress.frames, bytes=progress.bytes, latency_us=progress.latency_us)
