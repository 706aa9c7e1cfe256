"""The latest log lines, to look at and to take away."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import Query
from fastapi.responses import PlainTextResponse, Response

from punktfunk.log_ring import MAX_ENTRIES, LogEntry
from punktfunk.mgmt.live_models import LogLine
from punktfunk.mgmt.redact import Redaction
from punktfunk.mgmt.routing import Control, failures, router

routes = router("logs")

Limit = Annotated[int, Query(ge=1, le=MAX_ENTRIES, description="How many of the newest lines.")]


@routes.get("/logs", operation_id="listLogLines", responses=failures(401, 422))
async def lines(control: Control, limit: Limit = 500) -> list[LogLine]:
    """List the newest log lines, newest last; secrets were scrubbed before a line was kept."""
    return [LogLine.model_validate(entry) for entry in control.log.entries(limit)]


@routes.get(
    "/logs.txt",
    operation_id="downloadLog",
    response_class=Response,
    responses={
        **failures(401, 422),
        200: {"description": "The log.", "content": {"text/plain": {"schema": {"type": "string"}}}},
    },
)
async def download(
    control: Control,
    redact: Annotated[
        Literal["addresses"] | None, Query(description="Also hide addresses, fingerprints and names.")
    ] = None,
) -> PlainTextResponse:
    """Return the whole log as text, for a report."""
    redaction = None
    if redact is not None:
        names = {client.name for client in control.native_clients()}
        names |= {device.name for device in control.pending()} | {
            session.client.name for session in control.sessions()
        }
        redaction = Redaction(names | {control.facts().hostname})
    # A tenth of a second for a full log, which the event loop has better uses for.
    text = await asyncio.to_thread(_text, control.log.entries(), redaction)
    return PlainTextResponse(
        text, headers={"content-disposition": 'attachment; filename="punktfunk-log.txt"'}
    )


def _text(entries: list[LogEntry], redaction: Redaction | None) -> str:
    return "".join(f"{_line(entry, redaction)}\n" for entry in entries)


def _line(entry: LogEntry, redaction: Redaction | None) -> str:
    fields = entry.fields if redaction is None else redaction.fields(entry.fields)
    said = " ".join(f"{name}={value!r}" for name, value in fields.items())
    line = f"{entry.time} {entry.level:<7} {entry.concern}: {entry.event}" + (f" {said}" if said else "")
    return line if redaction is None else redaction.text(line)
