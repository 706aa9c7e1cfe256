"""Structured logs on standard error, with secrets scrubbed and texts made printable before anything is written.

Standard output belongs to results (a program's answer, JSON lines for the harness); everything that is said
about how it went goes to standard error: readable lines on a terminal, one JSON object a line otherwise.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TextIO, get_args

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from punktfunk.log_ring import LogEntry, LogRing
from punktfunk.printable import printable, printable_lines

Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)

SCRUBBED = "•••"
_SECRET_NAMES = re.compile(
    r"(^|_)(key|salt|pin|secret|token|password|passphrase|private|mac|spake|cookie|authorization)($|_)",
    re.IGNORECASE,
)
_PUBLIC_NAMES = frozenset({"key_interval", "key_frames", "key_frame", "public_key"})
_PEM_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL)
_BEARER = re.compile(r"(?i)\b(bearer\s+)\S+")
_OF_SEVERAL_LINES = frozenset({"exception", "stack"})
"""Fields of structlog that hold a traceback; every other text is one line."""
_MAX_TRACEBACK_CHARACTERS = 16_384
_KEY_SIZED_HEX = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{32}(?![0-9A-Fa-f])")


def scrub(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take secrets out of one log entry, however deep in its values they stand.

    A value is a secret by its name (key, salt, pin, token, ...), or by its look: PEM private keys, bearer
    tokens, byte strings, and lone runs of 32 hex digits, the length of an AES-128 key. Fingerprints have 64. What
    is left is made printable: names and reasons of peers are often part of it.
    """
    return {printable(str(name)): _clean(str(name), value) for name, value in event.items()}


def configure(
    *,
    level: Level = "info",
    json: bool | None = None,
    stream: TextIO | None = None,
) -> None:
    """Set logging up for this process. ``json`` defaults to "not a terminal"."""
    out = stream if stream is not None else sys.stderr
    as_json = not out.isatty() if json is None else json
    renderer: Processor = (
        structlog.processors.JSONRenderer(default=str) if as_json else structlog.dev.ConsoleRenderer()
    )
    _outlet.written = _rank(level)
    structlog.configure(
        processors=[_outlet.admit, *_COMMON, _outlet.remember, renderer],
        # Standard error is looked up when a logger is made: a program that swaps it for a while and closes the
        # substitute must not leave every later line to fail.
        logger_factory=lambda *_: structlog.WriteLogger(stream if stream is not None else sys.stderr),
        cache_logger_on_first_use=False,
    )
    _take_libraries_in()


def keep(ring: LogRing | None, level: Level = "info") -> None:
    """Keep lines of ``level`` and above in ``ring``, whatever is written; ``None`` keeps none."""
    _outlet.ring, _outlet.kept = ring, _rank(level)


def hand_over(take: Callable[[LogEntry], None], level: Level = "warning") -> None:
    """Give this process's lines of ``level`` and above to ``take``, scrubbed, and write none."""

    def give(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        take(_entry(event))
        raise structlog.DropEvent

    _outlet.written = _rank(level)
    structlog.configure(processors=[_outlet.admit, *_COMMON, give], cache_logger_on_first_use=False)
    _take_libraries_in()


def get(name: str) -> Any:
    """Return the logger of one concern, such as ``"host"`` or ``"client.worker"``."""
    if not structlog.is_configured():
        # Used as a library: say only what is wrong, and never on standard output.
        configure(level="warning")
    return structlog.get_logger(concern=name)


@dataclass(slots=True)
class _Outlet:
    """Where lines go and from which level on; it may change while loggers are in use."""

    written: int = logging.INFO
    kept: int = logging.INFO
    ring: LogRing | None = None

    def admit(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Drop first what nobody wants, before anything is computed for it."""
        if _rank(method) < (self.written if self.ring is None else min(self.written, self.kept)):
            raise structlog.DropEvent
        return event

    def remember(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Keep the scrubbed line, and go on only with one that is to be written."""
        rank = _rank(method)
        if self.ring is not None and rank >= self.kept:
            self.ring.append(_entry(event))
        if rank < self.written:
            raise structlog.DropEvent
        return event


class _Libraries(logging.Handler):
    """Warnings of libraries that use Python's own logging: scrubbed and kept like every other line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, and never fail for one."""
        try:
            level = "error" if record.levelno >= logging.ERROR else "warning"
            getattr(get(record.name), level)(record.getMessage(), exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - as the standard handlers do
            self.handleError(record)


def _take_libraries_in() -> None:
    root = logging.getLogger()
    if not any(isinstance(one, _Libraries) for one in root.handlers):
        root.addHandler(_Libraries(logging.WARNING))


def _rank(level: str) -> int:
    return logging.getLevelNamesMapping()["ERROR" if level == "exception" else level.upper()]


def _entry(event: EventDict) -> LogEntry:
    fields = dict(event)
    time, level = str(fields.pop("timestamp", "")), str(fields.pop("level", "info"))
    concern, text = str(fields.pop("concern", "")), str(fields.pop("event", ""))
    return LogEntry(time, level, concern, text, fields)


def _clean(name: str, value: object) -> object:
    if name not in _PUBLIC_NAMES and _SECRET_NAMES.search(name) and not isinstance(value, bool):
        return SCRUBBED if value is not None else None
    clean: object
    match value:
        case str():
            text = _BEARER.sub(rf"\1{SCRUBBED}", _PEM_KEY.sub(SCRUBBED, value))
            text = _KEY_SIZED_HEX.sub(SCRUBBED, text)
            several = name in _OF_SEVERAL_LINES
            clean = printable_lines(text, _MAX_TRACEBACK_CHARACTERS) if several else printable(text)
        case bytes() | bytearray() | memoryview():
            clean = f"<{len(value)} bytes>"
        case Mapping():
            clean = {printable(str(inner)): _clean(str(inner), item) for inner, item in value.items()}
        case list() | tuple() | set() | frozenset():
            clean = [_clean("", item) for item in value]
        case bool() | int() | float() | None:
            clean = value
        case _:
            clean = _clean("", str(value))
    return clean


_outlet = _Outlet()
_COMMON: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    scrub,
)
