"""The console's password (argon2id), and how often it may be tried."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from punktfunk.errors import CredentialError, ManagementError
from punktfunk.mgmt.token import read_secret
from punktfunk.native.private_file import write_private

PASSWORD_FILE = "console.json"  # noqa: S105 - its name
MIN_PASSWORD_CHARACTERS = 8
MAX_PASSWORD_CHARACTERS = 1024

_S = 1_000_000_000
GLOBAL_COOL_DOWN_NS = _S // 2
"""After a wrong password nobody may try for this long."""
SOURCE_COOL_DOWN_NS = _S
MAX_SOURCE_COOL_DOWN_NS = 300 * _S
"""The address it came from waits 1 s, doubled for each further failure, 5 minutes at most."""
MAX_SOURCES = 256
"""Addresses remembered; the one that was quiet longest is forgotten first."""


@dataclass(slots=True)
class _Source:
    failures: int
    quiet_until_ns: int


class CoolDown:
    """Who has to wait before the next try. Times are CLOCK_MONOTONIC ns, given by the caller."""

    def __init__(self) -> None:
        self._global_ns = 0
        self._sources: OrderedDict[str, _Source] = OrderedDict()

    def wait_s(self, source: str, now_ns: int) -> int:
        """Return for how many seconds this address has to wait, rounded up; 0 when it may try."""
        known = self._sources.get(_origin(source))
        until_ns = max(self._global_ns, known.quiet_until_ns if known else 0)
        return max(0, -(-(until_ns - now_ns) // _S))

    def failed(self, source: str, now_ns: int) -> None:
        """Take note of a wrong password."""
        self._global_ns = now_ns + GLOBAL_COOL_DOWN_NS
        key = _origin(source)
        known = self._sources.pop(key, _Source(0, 0))
        wait = min(SOURCE_COOL_DOWN_NS << min(known.failures, 10), MAX_SOURCE_COOL_DOWN_NS)
        self._sources[key] = _Source(known.failures + 1, now_ns + wait)
        while len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)

    def passed(self, source: str) -> None:
        """Forget the failures of an address that knew the password."""
        self._sources.pop(_origin(source), None)


class Password:
    """The password in the state folder; there is none until somebody sets one.

    Raises ``CredentialError`` when the file is damaged or not private. Computations are another thread's, one at a
    time: each takes 64 MiB and some 50 ms.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / PASSWORD_FILE
        self._hasher = PasswordHasher()
        self._busy = asyncio.Lock()
        self._hash = self._load()

    @property
    def is_set(self) -> bool:
        """Whether there is a password."""
        return self._hash is not None

    @property
    def busy(self) -> bool:
        """Whether one is being checked or made; who comes now has to come again."""
        return self._busy.locked()

    async def check(self, password: str) -> bool:
        """Say whether this is the password."""
        hashed = self._hash
        async with self._busy:
            return hashed is not None and await asyncio.to_thread(self._verify, hashed, password)

    async def set(self, password: str) -> None:
        """Replace the password; on disk when this returns. Raises ``ManagementError`` when it cannot be written."""
        async with self._busy:
            hashed = await asyncio.to_thread(self._hasher.hash, password)
            document = json.dumps({"schema_version": 1, "password_hash": hashed})
            try:
                write_private(self._path, document.encode() + b"\n")
            except OSError as error:
                raise ManagementError(
                    f"the password cannot be stored in {self._path}: {error.strerror}", "nothing was changed"
                ) from error
            self._hash = hashed

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    def _load(self) -> str | None:
        if not self._path.exists() and not self._path.is_symlink():
            return None
        try:
            document = json.loads(read_secret(self._path))
            hashed = str(document["password_hash"])
            known = document["schema_version"] == 1 and hashed.startswith("$argon2id$")
        except (ValueError, KeyError, TypeError, RecursionError):
            known = False
        if not known:
            raise CredentialError(
                f"the console's password file {self._path} is damaged",
                "remove it to start without a password; the one-time link lets you in",
            )
        return hashed


def _origin(source: str) -> str:
    """Return who counts as one: an IPv4 address, or the /64 of an IPv6 one, of which everybody has 2^64."""
    try:
        address = ipaddress.ip_address(source.split("%", 1)[0])
    except ValueError:
        return source
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
