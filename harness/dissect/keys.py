"""Keys of sessions: those that somebody names, and those of a key log (SSLKEYLOGFILE).

A key log has a line for each secret of TLS: its label, the client's random number of the handshake, the secret.
Whoever has it reads the control connection, and finds the stream's own key in the host's Welcome.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from punktfunk.errors import UsageError
from punktfunk.key_log import RIKEY
from punktfunk.printable import printable
from punktfunk.regular_file import read_regular

MAX_KEY_LOG_BYTES: Final = 16 << 20
MAX_SECRETS: Final = 65_536
"""Lines of key logs that are kept, some 13,000 handshakes; of more the newest, which a log has last."""
MAX_KEYS: Final = 64
"""Keys that are tried on a stream; of more those that were named, and then the newest."""
_LINE: Final = re.compile(r"([A-Z][A-Z0-9_]{0,63}) ([0-9a-fA-F]{64}) ([0-9a-fA-F]{32,128})")
_NAMED: Final = re.compile(r"([0-9a-fA-F]{32})(?::([0-9a-fA-F]{8}))?")
_SALT: Final = b"pkf1"
TRAFFIC: Final = ("CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0")
"""Labels of the secrets of what client and host send behind the handshake."""
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
        self.left_out = 0
        """Secrets and keys that were given up for newer ones."""
        self._named = 0
        """How many of the streams' keys a person named; they stand first and stay."""
        self._secrets: dict[tuple[bytes, str], bytes] = {}
        self._handshakes: dict[bytes, None] = {}
        """Random numbers of those whose traffic is known, the newest last: to find them costs no walk over secrets."""

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
        key = StreamKey(bytes.fromhex(found[1]), bytes.fromhex(found[2]) if found[2] else _SALT)
        if key in self.streams[: self._named]:
            return
        if self._named == MAX_KEYS:
            raise UsageError(
                f"more than {MAX_KEYS} keys were named", "name those of the streams in the capture"
            )
        if key in self.streams:
            self.streams.remove(key)
        self.streams.insert(self._named, key)
        self._named += 1
        self._forget()

    def add(self, key: StreamKey) -> None:
        """Take the key of a stream; beyond :data:`MAX_KEYS` in place of the oldest that nobody named."""
        if key not in self.streams:
            self.streams.append(key)
            self._forget()

    def _forget(self) -> None:
        if len(self.streams) > MAX_KEYS:
            # Where all are named it is the new one that goes.
            del self.streams[self._named]
            self.left_out += 1

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
            if found is not None:
                secret, handshake = bytes.fromhex(found[3]), (bytes.fromhex(found[2]), found[1])
                if found[1] == RIKEY and len(secret) == KEY_BYTES:
                    self.add(StreamKey(secret))
                self._secrets.pop(handshake, None)  # so that it stands where it was said last
                self._secrets[handshake] = secret
                if found[1] in TRAFFIC:
                    self._handshakes.pop(handshake[0], None)
                    self._handshakes[handshake[0]] = None
                if len(self._secrets) > MAX_SECRETS:
                    self._forget_oldest()
                count += 1
        return count

    def _forget_oldest(self) -> None:
        random, label = next(iter(self._secrets))
        del self._secrets[random, label]
        self.left_out += 1
        if not any((random, other) in self._secrets for other in TRAFFIC):
            self._handshakes.pop(random, None)

    @property
    def has_secrets(self) -> bool:
        """Whether there are secrets of handshakes, by which QUIC is opened."""
        return bool(self._secrets)

    def handshakes(self, most: int) -> Iterator[bytes]:
        """Yield the clients' random numbers of at most so many handshakes whose traffic is known, the newest first."""
        yield from islice(reversed(self._handshakes), most)

    def secret(self, client_random: bytes, label: str) -> bytes | None:
        """Return a secret of the handshake that the client's random number names."""
        return self._secrets.get((client_random, label))
