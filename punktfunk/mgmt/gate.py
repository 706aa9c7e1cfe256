"""Who may do what: a bearer token for programs, a cookie for the console, and nothing for everybody else.

What is not named as open is closed, whether there is a route or not. A change with a cookie also needs proof that
it comes from the console's own page (promise P10), and every request needs a Host header that names this host, so
that no page elsewhere can be made to speak to it under a name of its own (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from punktfunk.clock import monotonic_ns
from punktfunk.mgmt.console_sessions import ConsoleSession, ConsoleSessions
from punktfunk.mgmt.token import BearerToken

OPEN_PATHS = frozenset(
    {"/", "/api/v1/health", "/api/v1/openapi.json", "/api/docs", "/api/docs.css", "/console/me"}
)
"""What anybody may read; so are the files of the console."""
LOGIN_PATH = "/console/login"

UNAUTHORIZED = "missing or invalid bearer token"
NOT_SAME_ORIGIN = "this change does not come from the console's own page"

_READS = frozenset({"GET", "HEAD"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_CONSOLE_FILE = re.compile(r"/console/(?:[a-z0-9_-]{1,64}/)?[a-z0-9_-]{1,64}\.[a-z0-9]{1,8}")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request goes no further."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: nobody known, a program with the token, a browser with a session."""

    kind: Literal["anybody", "bearer", "session"]
    session: ConsoleSession | None = None


ANYBODY = Principal("anybody")
BEARER = Principal("bearer")


class Gate:
    """Judge requests by their head alone.

    ``port`` tells the cookies of hosts on one address apart (cookies know no ports). ``secure`` says that the
    server speaks TLS. ``names`` are further names of this host besides literal addresses and ``localhost``.
    """

    def __init__(
        self,
        token: BearerToken,
        sessions: ConsoleSessions,
        *,
        port: int,
        secure: bool = False,
        names: Iterable[str] = (),
    ) -> None:
        self.sessions = sessions
        self.secure = secure
        self.cookie = f"__Host-punktfunk-{port}" if secure else f"punktfunk-{port}"
        self._token = token
        self._names = frozenset({"localhost", *(name.lower() for name in names)})

    def judge(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> Principal | Refusal:
        """Return who asks, or why the request is refused."""
        if not self._names_this_host(headers.get(b"host", b"").decode("latin-1")):
            return Refusal(421, "the Host header names another host")
        if (method, path) == ("POST", LOGIN_PATH):
            return ANYBODY if self._same_origin(headers) else Refusal(403, NOT_SAME_ORIGIN)
        principal = self._who(headers)
        if principal is ANYBODY and not _is_open(method, path):
            return Refusal(401, UNAUTHORIZED)
        if principal.kind == "session" and method not in _SAFE and not self._same_origin(headers):
            return Refusal(403, NOT_SAME_ORIGIN)
        return principal

    def alive(self, principal: Principal) -> bool:
        """Return whether the answer to ``principal`` may go on; long answers ask now and then."""
        return principal.session is None or self.sessions.holds(principal.session, monotonic_ns())

    def set_cookie(self, value: str) -> str:
        """Return the Set-Cookie header for a session; an empty value takes it away."""
        end = "" if value else "; Max-Age=0"
        secure = "; Secure" if self.secure else ""
        return f"{self.cookie}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{end}"

    def _who(self, headers: Mapping[bytes, bytes]) -> Principal:
        authorization = headers.get(b"authorization")
        if authorization is None:
            session = self._session(headers)
            return ANYBODY if session is None else Principal("session", session)
        scheme, _, presented = authorization.partition(b" ")
        return BEARER if scheme == b"Bearer" and self._token.matches(presented) else ANYBODY

    def _session(self, headers: Mapping[bytes, bytes]) -> ConsoleSession | None:
        # A page of another port of this machine is of the same site, and its requests would carry the cookie.
        if headers.get(b"sec-fetch-site", b"none") not in (b"same-origin", b"none"):
            return None
        for pair in headers.get(b"cookie", b"").decode("latin-1").split(";"):
            name, _, value = pair.strip().partition("=")
            # Any other port of this address can set a cookie of the same name: it must not hide the true one.
            session = self.sessions.find(value, monotonic_ns()) if name == self.cookie else None
            if session is not None:
                return session
        return None

    def _same_origin(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether the console's own script made this request.

        No other page can set the header without asking first (CORS), and none is ever allowed to.
        """
        if headers.get(b"x-punktfunk-console") != b"1":
            return False
        site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
        if site is not None and site != b"same-origin":
            return False
        if origin is None:
            return site == b"same-origin"
        own = ("https" if self.secure else "http") + "://" + headers.get(b"host", b"").decode("latin-1")
        return origin.decode("latin-1").lower() == own.lower()

    def _names_this_host(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].strip("[]").lower().removesuffix(".")
        try:
            # A literal address is nobody's to redefine.
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True


def _is_open(method: str, path: str) -> bool:
    return method in _READS and (path in OPEN_PATHS or _CONSOLE_FILE.fullmatch(path) is not None)


def own_names() -> list[str]:
    """Return the names that this machine goes by in its network."""
    name = socket.gethostname().lower()
    return [name, f"{name.split('.', 1)[0]}.local"]
