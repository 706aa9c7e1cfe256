"""The key log that a person asks for by SSLKEYLOGFILE, as of other programs with TLS: what opens a capture later on.

Whoever has it can read every connection of punktfunk/1 that this process makes, and by a host's Welcome the streams
of these; GameStream's streams too, by the key that a client gives with its launch. So it is written only where that
variable names a file, only to one that nobody else can read, and the log says that it is on.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO, cast

from punktfunk import log

if TYPE_CHECKING:
    from punktfunk.findings import Finding

VARIABLE: Final = "SSLKEYLOGFILE"
"""Names the file (draft-ietf-tls-keylogfile)."""
RIKEY: Final = "PUNKTFUNK_RIKEY"
"""Label of a GameStream session's key, where other lines have the random number of a handshake: rikeyid, in as many
digits. No other program knows it, and all pass over labels that they do not know."""
MEANING: Final = "whoever reads this file can read the connections and streams of this program"


def asked_for() -> Path | None:
    """Return the file that is asked for; None where none is."""
    name = os.environ.get(VARIABLE, "")
    return Path(name) if name else None


def obstacle(path: Path) -> str:
    """Return why a key log cannot be written there, with what to do about it; "" where it can or could be made."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        folder = path.absolute().parent
        return "" if os.access(folder, os.W_OK | os.X_OK) else f"its folder cannot be written to: {folder}"
    except (OSError, ValueError) as error:
        return _words(error)
    return _unfit(found, path)


def examine() -> Iterator[Finding]:
    """Yield for a doctor whether a key log is on, or why it cannot be; nothing where none is asked for."""
    from punktfunk.findings import Finding  # rich is behind it, which no session has a use for

    path = asked_for()
    if path is not None:
        why = obstacle(path)
        on = f"ON, by {VARIABLE}: {MEANING}: {path}"
        yield Finding("key log", not why, "reading a capture", why or on, f"or unset {VARIABLE}")


def _unfit(found: os.stat_result, path: Path) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "it is no regular file"
    if found.st_uid != os.geteuid():
        return f"it belongs to user {found.st_uid}"
    if found.st_mode & 0o077:
        return f"others can use it (mode {stat.S_IMODE(found.st_mode):04o}): chmod 600 {path}"
    return ""


@cache
def key_log() -> TextIO | None:
    """Return the key log of this process, opened and announced the first time; None where none is asked for.

    One that cannot be written, or that others could read, is none either: the log says why. What is written never
    fails.
    """
    path = asked_for()
    if path is None:
        return None
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
    except (OSError, ValueError) as error:
        _refuse(path, _words(error))
        return None
    why = _unfit(os.fstat(descriptor), path)
    if why:
        os.close(descriptor)
        _refuse(path, why)
        return None
    log.get("tls").warning("session secrets are written", file=str(path), because=VARIABLE, meaning=MEANING)
    return cast(TextIO, _KeyLog(descriptor, path))


def _words(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "no file can have that name"


def note_rikey(rikeyid: int, rikey: bytes) -> None:
    """Write the key of a GameStream session, which its video, sound and control are encrypted with, if a log is asked
    for."""
    written = key_log()
    if written is not None:
        written.write(f"{RIKEY} {rikeyid & 0xFFFF_FFFF:064x} {rikey.hex()}\n")


def _refuse(path: Path, why: str) -> None:
    log.get("tls").warning("session secrets are not written", file=str(path), why=why, because=VARIABLE)


class _KeyLog(io.TextIOBase):
    """Appends whole lines, so that several programs may share a file; a full disk ends the log, not a handshake."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor: int | None = descriptor
        self._path = path

    def write(self, line: str) -> int:
        """Append a line."""
        if self._descriptor is not None:
            try:
                os.write(self._descriptor, line.encode("ascii"))
            except OSError as error:
                os.close(self._descriptor)
                self._descriptor = None
                _refuse(self._path, error.strerror or "it cannot be written to")
        return len(line)

    def flush(self) -> None:
        """Do nothing: each line is written at once."""
