"""Structured logs on standard error, with secrets scrubbed and texts made printable before anything is written.

Standard output belongs to results (a program's answer, JSON lines for the harness); everything that is said
about how it went goes to standard error: readable lines on a terminal, one JSON object a line otherwise.
"""

from __future__ import annotations

import json as json_
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal, TextIO, get_args

from punktfunk.log_ring import LogEntry, LogRing
from punktfunk.printable import printable, printable_lines

Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)
_RANKS: Mapping[str, int] = {level: logging.getLevelNamesMapping()[level.upper()] for level in LEVELS}

_PRIORITIES: Mapping[str, int] = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""Those of syslog, which ``journalctl --priority`` selects by."""

SCRUBBED = "•••"
_SECRET_NAMES = re.compile(
    r"(^|_)(key|salt|pin|secret|token|password|passphrase|private|mac|spake|cookie|authorization)($|_)",
    re.IGNORECASE,
)
_PUBLIC_NAMES = frozenset({"key_interval", "key_frames", "key_frame", "public_key"})
_PEM_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL)
_BEARER = re.compile(r"(?i)\b(bearer\s+)\S+")
_TRACEBACK = "exception"
"""The field that holds a traceback; every other text is one line."""
_MAX_TRACEBACK_CHARACTERS = 16_384
_KEY_SIZED_HEX = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{32}(?![0-9A-Fa-f])")


Fields = dict[str, Any]


class Logger:
    """What writes the lines of one concern. The fields that are bound to it stand in each of them."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def bind(self, **fields: Any) -> Logger:
        """Return a logger whose lines have more fields."""
        return Logger({**self._fields, **fields})

    def debug(self, event: str, **fields: Any) -> None:
        """Write a line at that level, as the next three do."""
        _outlet.take("debug", event, {**self._fields, **fields})

    def info(self, event: str, **fields: Any) -> None:
        """Write a line of the normal course."""
        _outlet.take("info", event, {**self._fields, **fields})

    def warning(self, event: str, **fields: Any) -> None:
        """Write a line about something that should not be."""
        _outlet.take("warning", event, {**self._fields, **fields})

    def error(self, event: str, **fields: Any) -> None:
        """Write a line about a failure."""
        _outlet.take("error", event, {**self._fields, **fields})

    def exception(self, event: str, **fields: Any) -> None:
        """Write a line about a failure, with the traceback of the exception that is being handled."""
        _outlet.take("error", event, {**self._fields, "exc_info": True, **fields})


def configure(
    *,
    level: Level = "info",
    json: bool | None = None,
    stream: TextIO | None = None,
) -> None:
    """Set logging up for this process. ``json`` defaults to "neither a terminal nor the journal"."""
    out = stream if stream is not None else sys.stderr
    in_journal = json is None and is_journal(out)
    as_json = not (out.isatty() or in_journal) if json is None else json
    render = _for_the_journal if in_journal else _as_json if as_json else _for_a_terminal

    def write(entry: Fields) -> None:
        # Standard error is looked up for every line: a program that swaps it for a while and closes the substitute
        # must not leave every later line to fail.
        to = stream if stream is not None else sys.stderr
        to.write(render(entry) + "\n")
        to.flush()

    _outlet.use(write, level)


def is_journal(stream: TextIO) -> bool:
    """Return whether a stream leads to the journal, as ``JOURNAL_STREAM`` says (systemd.exec(5)): not in a child
    whose own output goes elsewhere.
    """
    said = os.environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no descriptor behind it, or a closed one
        return False
    return said == f"{found.st_dev}:{found.st_ino}"


def keep(ring: LogRing | None, level: Level = "info") -> None:
    """Keep lines of ``level`` and above in ``ring``, whatever is written; ``None`` keeps none."""
    _outlet.ring, _outlet.kept = ring, _RANKS[level]


def hand_over(take: Callable[[LogEntry], None], level: Level = "warning") -> None:
    """Give this process's lines of ``level`` and above to ``take``, scrubbed, and write none."""
    _outlet.use(lambda entry: take(_entry(entry)), level)


def reset() -> None:
    """Forget what was configured."""
    _outlet.write = None


def get(name: str) -> Logger:
    """Return the logger of one concern, such as ``"host"`` or ``"client.worker"``."""
    if _outlet.write is None:
        # Used as a library: say only what is wrong, and never on standard output.
        configure(level="warning")
    return Logger({"concern": name})


@dataclass(slots=True)
class _Outlet:
    """Where lines go and from which level on; it may change while loggers are in use."""

    written: int = logging.INFO
    kept: int = logging.INFO
    ring: LogRing | None = None
    write: Callable[[Fields], None] | None = None

    def use(self, write: Callable[[Fields], None], level: Level) -> None:
        self.write, self.written = write, _RANKS[level]
        root = logging.getLogger()
        if not any(isinstance(handler, _Libraries) for handler in root.handlers):
            root.addHandler(_Libraries(logging.WARNING))

    def take(self, level: Level, event: str, fields: Fields) -> None:
        """Keep and write one line; what nobody wants is dropped before anything is computed for it."""
        rank, ring = _RANKS[level], self.ring
        kept = ring is not None and rank >= self.kept
        written = self.write is not None and rank >= self.written
        if not (kept or written):
            return
        time = datetime.now(UTC).replace(tzinfo=None).isoformat() + "Z"
        exc_info = fields.pop("exc_info", None)
        fields = {**fields, "event": event, "level": level, "timestamp": time}
        trace = _traceback(exc_info) if exc_info else ""
        if trace:
            fields[_TRACEBACK] = trace
        entry = _scrubbed(fields)
        if ring is not None and kept:
            ring.append(_entry(entry))
        if self.write is not None and written:
            self.write(entry)


class _Libraries(logging.Handler):
    """Warnings of libraries that use Python's own logging: scrubbed and kept like every other line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, and never fail for one."""
        try:
            level = "error" if record.levelno >= logging.ERROR else "warning"
            getattr(get(record.name), level)(record.getMessage(), exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - as the standard handlers do
            self.handleError(record)


def _scrubbed(entry: Fields) -> Fields:
    """Take secrets out of one log entry, however deep in its values they stand.

    A value is a secret by its name (key, salt, pin, token, ...), or by its look: PEM private keys, bearer
    tokens, byte strings, and lone runs of 32 hex digits, the length of an AES-128 key. Fingerprints have 64. What
    is left is made printable: names and reasons of peers are often part of it.
    """
    return {printable(str(name)): _clean(str(name), value) for name, value in entry.items()}


def _as_json(entry: Fields) -> str:
    return json_.dumps(entry, default=str)


def _for_the_journal(entry: Fields) -> str:
    """Return ``<priority>concern: event name=value``, the priority before each line of it: the journal has the time."""
    fields = dict(entry)
    for name in ("timestamp", "level", "concern", "event", _TRACEBACK):
        fields.pop(name, None)
    words = " ".join(f"{name}={json_.dumps(value, default=str)}" for name, value in fields.items())
    head = f"{entry.get('concern', '')}: {entry['event']}" + (f" {words}" if words else "")
    lines = [head, *str(entry.get(_TRACEBACK, "")).splitlines()]
    return "\n".join(f"<{_PRIORITIES[entry['level']]}>{line}" for line in lines)


def _for_a_terminal(entry: Fields) -> str:
    return str(_terminal_renderer()(None, entry["level"], dict(entry)))


@cache
def _terminal_renderer() -> Any:
    # Loaded with the first line that a person reads: it takes longer than all else that a process needs for its log.
    import structlog

    return structlog.dev.ConsoleRenderer()


def _traceback(exc_info: object) -> str:
    error = exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1]
    if isinstance(exc_info, tuple):
        error = exc_info[1]
    return "" if error is None else "".join(traceback.format_exception(error)).rstrip("\n")


def _entry(entry: Fields) -> LogEntry:
    fields = dict(entry)
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
            several = name == _TRACEBACK
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
