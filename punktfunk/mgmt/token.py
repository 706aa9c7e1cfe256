"""The bearer token: 256 random bits in a file that only the host's user can read, or from the environment.

It is never an argument of a program, where every user of the machine could read it, and is held as a digest.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from punktfunk.errors import CredentialError
from punktfunk.trust.private_file import read_private, write_private

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
        """Return whether these are the bytes of the token."""
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
    held = _read_token(path)
    if held is None:
        token = secrets.token_urlsafe(32)
        try:
            write_private(path, token.encode() + b"\n")
        except OSError as error:
            raise CredentialError(
                f"the token of the management API cannot be written to {path}: {error.strerror}",
                f"make its folder writable, or set {TOKEN_VARIABLE}",
            ) from error
        return token
    return held


def token_of_file(state_dir: Path) -> str:
    """Return the token in the file. Raises ``CredentialError`` when it is missing, blank or not private."""
    path = state_dir / TOKEN_FILE
    token = _read_token(path)
    if token is None:
        raise CredentialError(f"there is no token {path}", "start the host once: it makes one")
    return token


def token_of_environment(*, remove: bool = False) -> str | None:
    """Return the token of the environment, or ``None`` when it names none. Raises ``CredentialError`` as above."""
    given = os.environ.pop(TOKEN_VARIABLE, None) if remove else os.environ.get(TOKEN_VARIABLE)
    return None if given is None else _checked(given, TOKEN_VARIABLE)


def read_secret(path: Path, what: str) -> bytes | None:
    """Return what is in a file of secrets, at most 4096 bytes, ``None`` when there is none.

    Raises ``CredentialError`` unless it is a private file; see :mod:`punktfunk.trust.private_file`.
    """
    return read_private(path, what=what, error=CredentialError, limit=_MAX_SECRET_BYTES, secret=True)


def _read_token(path: Path) -> str | None:
    raw = read_secret(path, "the token of the management API")
    return None if raw is None else _checked(raw.decode("ascii", "replace"), str(path))


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
