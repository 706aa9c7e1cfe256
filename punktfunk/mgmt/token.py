"""The bearer token: 256 random bits in a file that only the host's user can read, or from the environment.

It is never an argument of a program, where every user of the machine could read it, and is held as a digest.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from punktfunk.errors import CredentialError
from punktfunk.native.private_file import write_private

TOKEN_FILE = "mgmt-token"  # noqa: S105 - its name
URL_FILE = "mgmt-url"
"""Where a running host says how programs of the same user reach it."""
TOKEN_VARIABLE = "PUNKTFUNK_MGMT_TOKEN"  # noqa: S105 - its name
MIN_TOKEN_CHARACTERS = 16
"""Shorter ones can be guessed over the network."""

_MAX_SECRET_BYTES = 4096


class BearerToken:
    """What a request has to show. Holds the SHA-256 of the token, and compares in constant time."""

    def __init__(self, token: str) -> None:
        self._digest = _digest(token.encode())

    def __repr__(self) -> str:
        return "BearerToken(•••)"

    def matches(self, presented: bytes) -> bool:
        """Say whether these are the bytes of the token."""
        return hmac.compare_digest(_digest(presented), self._digest)


def load_or_create_token(state_dir: Path) -> str:
    """Return the host's token: the environment's, the file's, or a fresh one that is written there.

    The variable is taken out of the environment, which the host's children inherit. Raises ``CredentialError`` for
    a blank or short token and for a file that others can read or write.
    """
    token = token_of_environment(remove=True)
    if token is not None:
        return token
    path = state_dir / TOKEN_FILE
    if not path.exists() and not path.is_symlink():
        token = secrets.token_urlsafe(32)
        try:
            write_private(path, token.encode() + b"\n")
        except OSError as error:
            raise CredentialError(
                f"the token of the management API cannot be written to {path}: {error.strerror}",
                f"make its folder writable, or set {TOKEN_VARIABLE}",
            ) from error
        return token
    return token_of_file(state_dir)


def token_of_file(state_dir: Path) -> str:
    """Return the token in the file. Raises ``CredentialError`` when it is missing, blank or not private."""
    path = state_dir / TOKEN_FILE
    return _checked(read_secret(path).decode("ascii", "replace"), str(path))


def token_of_environment(*, remove: bool = False) -> str | None:
    """Return the token of the environment, or ``None`` when it names none. Raises ``CredentialError`` as above."""
    given = os.environ.pop(TOKEN_VARIABLE, None) if remove else os.environ.get(TOKEN_VARIABLE)
    return None if given is None else _checked(given, TOKEN_VARIABLE)


def read_secret(path: Path) -> bytes:
    """Return what is in a file of secrets, at most 4096 bytes of it.

    Raises ``CredentialError`` unless it is a regular file of this user that nobody else may read or write.
    """
    try:
        # Opened first and judged then: what is read is what was judged. A FIFO must not hold the host up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise CredentialError(
            f"{path} cannot be read: {error.strerror}", f"make it a regular file of this user: rm {path}"
        ) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise CredentialError(f"{path} is no regular file", f"remove it: rm -r {path}")
        if found.st_uid != os.geteuid():
            raise CredentialError(
                f"{path} belongs to user {found.st_uid}, not to {os.geteuid()}",
                "start as its owner, or remove it",
            )
        if found.st_mode & 0o077:
            raise CredentialError(
                f"{path} can be used by others (mode {stat.S_IMODE(found.st_mode):04o})",
                f"whoever read it may know it: rm {path}, and start the host anew",
            )
        return os.read(descriptor, _MAX_SECRET_BYTES)
    finally:
        os.close(descriptor)


def _checked(token: str, where: str) -> str:
    token = token.strip()
    if not token:
        raise CredentialError(f"the token in {where} is blank", "remove it, and a fresh one is made")
    if len(token) < MIN_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable() or " " in token:
        raise CredentialError(
            f"the token in {where} is not {MIN_TOKEN_CHARACTERS} or more printable ASCII characters without a space",
            "make one: openssl rand -hex 32",
        )
    return token


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
