"""The console's password (argon2id)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from punktfunk.errors import CredentialError, ManagementError
from punktfunk.mgmt.token import read_secret
from punktfunk.trust.private_file import write_private

PASSWORD_FILE = "console.json"  # noqa: S105 - its name
MIN_PASSWORD_CHARACTERS = 8
MAX_PASSWORD_CHARACTERS = 1024


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
        """Return whether this is the password."""
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
        raw = read_secret(self._path, "the console's password file")
        if raw is None:
            return None
        try:
            document = json.loads(raw)
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
