"""What stands around every request: headers of the answer, the gate, the cap of the body, and the last error."""

from __future__ import annotations

import json
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from punktfunk import log
from punktfunk.mgmt.gate import Gate, Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 65_536
MAX_HEAD_BYTES = 16_384
MAX_DRAIN_BYTES = 1_048_576
"""How much of a refused body is still read, so that its sender hears why; more is cut off."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
SECURITY_HEADERS: list[tuple[bytes, bytes]] = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


_COUNTED = frozenset({401, 403, 413, 421, 429, 431})


class _TooLargeError(Exception):
    """The body is longer than the cap."""


class Shell:
    """An ASGI application around the API's own. Counts ``refused_`` and the status, and ``failed``."""

    def __init__(self, app: Application, gate: Gate, counters: Counter[str]) -> None:
        self._app = app
        self._gate = gate
        self._counters = counters
        self._log = log.get("mgmt")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if message["status"] in _COUNTED:
                    self._counters[f"refused_{message['status']}"] += 1
                message = {**message, "headers": _with_security(message.get("headers", []))}
            await send(message)

        headers = _first_of_each(scope["headers"])
        malformed = _malformed(scope["headers"], headers)
        if malformed is not None:
            await _answer(guarded_send, malformed.status, malformed.text, close=True)
            return
        judged = self._gate.judge(scope["method"], scope["path"], headers)
        if isinstance(judged, Refusal):
            await _refuse(judged, _Body(headers, receive), guarded_send)
            return
        scope.setdefault("state", {})["principal"] = judged
        body = _Body(headers, receive)
        try:
            if body.announced:
                receive = _replay(await body.read(), receive)
            await self._app(scope, receive, guarded_send)
        except _TooLargeError:
            await _refuse(Refusal(413, f"a body may have {MAX_BODY_BYTES} bytes"), body, guarded_send)
        except Exception as error:
            self._counters["failed"] += 1
            # The last one to see it: it is logged, and answered in words.
            self._log.error("request failed", method=scope["method"], path=scope["path"], error=_place(error))
            if not started:
                await _answer(guarded_send, 500, "internal error")
            else:
                raise


def _place(error: Exception) -> str:
    """Return what failed and where; not its text, which may quote the request."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def error_payload(text: str) -> bytes:
    """Return the body of an error."""
    return json.dumps({"error": text}).encode()


def _with_security(headers: Any) -> list[tuple[bytes, bytes]]:
    given = {name for name, _ in headers}
    return [*headers, *(pair for pair in SECURITY_HEADERS if pair[0] not in given)]


def _first_of_each(headers: Any) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found.setdefault(name, value)
    return found


def _malformed(pairs: Any, headers: Mapping[bytes, bytes]) -> Refusal | None:
    """Refuse heads that are too long, though they came in one piece, and those whose length is ambiguous."""
    if sum(len(name) + len(value) for name, value in pairs) > MAX_HEAD_BYTES:
        return Refusal(431, f"the head of a request may have {MAX_HEAD_BYTES} bytes")
    if b"content-length" in headers and b"transfer-encoding" in headers:
        return Refusal(400, "a body has one length")
    return None


class _Body:
    """The body of one request, as far as it is listened to."""

    def __init__(self, headers: Mapping[bytes, bytes], receive: Receive) -> None:
        self.length = int(headers.get(b"content-length", b"0"))
        self.announced = self.length > 0 or b"transfer-encoding" in headers
        self._waits_to_be_asked = b"expect" in headers
        self._receive = receive
        self._over = not self.announced

    async def read(self) -> bytes:
        """Return all of it; raise ``_TooLargeError`` for more than the cap."""
        if self.length > MAX_BODY_BYTES:
            raise _TooLargeError
        whole = bytearray()
        while not self._over:
            whole += await self._piece()
            if len(whole) > MAX_BODY_BYTES:
                raise _TooLargeError
        return bytes(whole)

    async def drain(self) -> bool:
        """Read it to its end and forget it; ``False`` when it is too long for that."""
        if self.length > MAX_DRAIN_BYTES or (self._waits_to_be_asked and not self._over):
            return False
        left = MAX_DRAIN_BYTES
        while not self._over and left > 0:
            left -= len(await self._piece())
        return self._over

    async def _piece(self) -> bytes:
        message = await self._receive()
        self._over = message["type"] != "http.request" or not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body once, and after it what happens to the connection."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _refuse(refusal: Refusal, body: _Body, send: Send) -> None:
    """Answer without having listened to the body; close the connection unless the body was short."""
    whole = await body.drain()
    await _answer(send, refusal.status, refusal.text, close=not whole)


async def _answer(send: Send, status: int, text: str, *, close: bool = False) -> None:
    body = error_payload(text)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
