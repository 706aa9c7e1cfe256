"""Ask the host that runs on this machine, as its own user: through its API, with its token (``punktfunk console``)."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from punktfunk.errors import CredentialError, ManagementError
from punktfunk.mgmt.token import URL_FILE, read_secret, token_of_environment, token_of_file

_ANSWER_LIMIT_S = 5.0
_MAX_ANSWER_BYTES = 1_048_576
_START_IT = "start it: punktfunk serve (with the same --state-dir)"


class RunningHost:
    """The host that uses a state folder. Raises ``ManagementError`` when none answers, ``CredentialError`` for a
    token that cannot be used.
    """

    def __init__(self, url: str, token: str, certificate: Path) -> None:
        self.url = url
        self._token = token
        self._certificate = certificate

    def __repr__(self) -> str:
        return f"RunningHost({self.url!r})"

    @classmethod
    def find(cls, state_dir: Path, *, certificate: Path, lock: Path) -> Self:
        """Read where the host of a state folder listens, and its token.

        ``lock`` is the file that a host locks while it runs. One that was killed has left its address behind, where
        by now another user's program may listen for the token.
        """
        where = state_dir / URL_FILE
        found = read_secret(where, "the address of the running host")
        if found is None or not _is_locked(lock):
            raise ManagementError(f"no host with a management API runs on {state_dir}", _START_IT)
        url = found.decode("ascii", "replace").strip()
        return cls(url, token_of_environment() or token_of_file(state_dir), certificate)

    def console_link(self) -> str:
        """Return a fresh link that signs a browser in once."""
        return f"{self.url}/#ticket={self.call('POST', '/console/ticket')['ticket']}"

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """Make a request; return what its answer's JSON says."""
        connection = self._connect()
        headers = {"Authorization": f"Bearer {self._token}"}
        content = None if body is None else json.dumps(body)
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            read = answer.read(_MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise ManagementError(f"the host at {self.url} does not answer: {error}", _START_IT) from error
        finally:
            connection.close()
        if answer.status == 401:
            raise CredentialError(
                f"the host at {self.url} has another token",
                "it was started with a token in its environment: set the same one here",
            )
        try:
            said = json.loads(read or b"null")
        except (ValueError, RecursionError):
            said = None
        if answer.status >= 400:
            why = f": {said['error']}" if isinstance(said, dict) and "error" in said else ""
            raise ManagementError(f"the host at {self.url} answers {answer.status}{why}")
        return said

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=_ANSWER_LIMIT_S)
        # The token goes to nobody but the holder of the identity in the state folder.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self._certificate)
        return http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=_ANSWER_LIMIT_S, context=context
        )


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
