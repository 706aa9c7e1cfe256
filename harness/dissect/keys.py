"""Keys of sessions: those that somebody names, and those of a key log (SSLKEYLOGFILE).

A key log has a line for each secret of TLS: its label, the client's random number of the handshake, the secret.
Whoever has it reads the control connection, and finds the stream's own key in the host's Welcome.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from punktfunk.errors import UsageError
from punktfunk.key_log import RIKEY
from punktfunk.printable import printable
from punktfunk.regular_file import read_regular

MAX_KEY_LOG_BYTES: Final = 16 << 20
MAX_SECRETS: Final = 65_536
"""Lines of key logs that are kept, some 13,000 handshakes."""
MAX_KEYS: Final = 64
"""Keys that are tried on a stream."""
_LINE: Final = re.compile(r"([A-Z][A-Z0-9_]{0,63}) ([0-9a-fA-F]{64}) ([0-9a-fA-F]{32,128})")
_NAMED: Final = re.compile(r"([0-9a-fA-F]{32})(?::([0-9a-fA-F]{8}))?")
_SALT: Final = b"pkf1"
KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class StreamKey:
    """The AES-128 key of a stream; the salt is of punktfunk/1 alone. Neither is in ``repr``."""

    key: bytes = field(repr=False)
    salt: bytes = field(default=_SALT, repr=False)


class Keys:
    """What a capture can be opened with."""

    def __init__(self) -> None:
        self.streams: list[StreamKey] = []
        """Keys of streams, without their stream: whichever a packet opens with is its own."""
        self._secrets: dict[tuple[bytes, str], bytes] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.streams or self._secrets)

    def name(self, text: str) -> None:
        """Take a key as a person writes it: 32 hexadecimal digits, and behind a colon the 8 of another salt.

        Raises :class:`UsageError` for anything else.
        """
        found = _NAMED.fullmatch(text)
        if found is None:
            raise UsageError(
                "a key has 32 hexadecimal digits, and a salt of punktfunk/1 behind a colon 8 more",
                "it is the key of the Welcome, or the rikey of GameStream's /launch; a key log is given with --keys",
            )
        self.add(StreamKey(bytes.fromhex(found[1]), bytes.fromhex(found[2]) if found[2] else _SALT))

    def add(self, key: StreamKey) -> None:
        """Take the key of a stream; those beyond :data:`MAX_KEYS` are left out."""
        if key not in self.streams and len(self.streams) < MAX_KEYS:
            self.streams.append(key)

    def read(self, path: Path) -> None:
        """Take the secrets of a key log; raise :class:`UsageError` where there are none to be read."""
        try:
            text = read_regular(path, MAX_KEY_LOG_BYTES)
        except OSError as error:
            raise UsageError(
                f"the key log {path} cannot be read: {error.strerror}",
                "it is the file that SSLKEYLOGFILE named while the stream ran",
            ) from error
        if not self.take(text.splitlines()) and text.strip():
            raise UsageError(
                f"{printable(str(path))} is no key log: none of its lines is a label, a random number and a secret",
                "name the file that SSLKEYLOGFILE named",
            )

    def take(self, lines: Iterable[bytes]) -> int:
        """Take the lines of a key log; return how many of them are a secret. Others, comments above all, are passed
        over."""
        count = 0
        for line in lines:
            found = _LINE.fullmatch(line.decode("ascii", "replace").strip())
            if found is not None and len(self._secrets) < MAX_SECRETS:
                secret = bytes.fromhex(found[3])
                if found[1] == RIKEY and len(secret) == KEY_BYTES:
                    self.add(StreamKey(secret))
                self._secrets[bytes.fromhex(found[2]), found[1]] = secret
                count += 1
        return count

    def secret(self, client_random: bytes, label: str) -> bytes | None:
        """Return a secret of the handshake that the client's random number names."""
        return self._secrets.get((client_random, label))
