"""RTSP as GameStream has it: messages, read tolerantly and within bounds, and written as clients can read them.

There is one request a connection, and no interleaving (gamestream section 5.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from punktfunk.errors import StatusError
from punktfunk.printable import printable

MAX_HEAD_BYTES = 8192
"""Of request line and headers; those of clients are below 400."""
MAX_BODY_BYTES = 32_768
"""What a client announces is below 4000."""
MAX_HEADERS = 32
MAX_MESSAGE_BYTES = MAX_HEAD_BYTES + MAX_BODY_BYTES

_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(r"([A-Z_]{1,16}) (\S.{0,511}?) RTSP/1\.[0-9]")
_STATUS_LINE = re.compile(r"RTSP/1\.[0-9] ([1-9][0-9]{2})(?: (.*))?")
_STREAM = re.compile(r"streamid=([a-z]{1,16})")
REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    413: "Content Too Large",
    454: "Session Not Found",
    455: "Method Not Valid In This State",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


class Headers(Mapping[str, str]):
    """Header fields. They are found whatever their case, and are written as they were given."""

    def __init__(self, fields: Mapping[str, str] | None = None) -> None:
        self._fields = dict(fields or {})
        self._names = {name.lower(): name for name in self._fields}

    def __getitem__(self, name: str) -> str:
        return self._fields[self._names[name.lower()]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"


@dataclass(frozen=True, slots=True)
class RtspRequest:
    """What a client asks for."""

    method: str
    target: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = field(default=b"", repr=False)

    @property
    def stream(self) -> str | None:
        """The kind of stream that the target names, ``audio``, ``video`` or ``control``; ``None`` for none."""
        found = _STREAM.search(self.target)
        return None if found is None else found[1]

    @property
    def sequence(self) -> str | None:
        """What the answer has to repeat, where that is a number."""
        number = self.headers.get("CSeq", "")
        return number if number.isascii() and number.isdecimal() and len(number) <= 10 else None

    def encode(self) -> bytes:
        """Return its bytes. ``Content-length`` is a matter of ``headers``, where clients write it before their own."""
        return _encode(f"{self.method} {self.target} RTSP/1.0", self.headers, self.body)

    @classmethod
    def decode(cls, raw: bytes) -> RtspRequest:
        """Read one that is complete; raise ``StatusError`` where it is none, or longer than it says."""
        reader = RequestReader()
        request = reader.feed(raw)
        if request is None:
            raise _bad("the request is cut short")
        return request


@dataclass(frozen=True, slots=True)
class RtspResponse:
    """What a client is answered: a status, one header at least, and what the method gives."""

    status: int = 200
    headers: Headers = field(default_factory=Headers)
    body: bytes = field(default=b"", repr=False)
    reason: str = ""

    def encode(self) -> bytes:
        """Return its bytes; the client reads its body to the end of the connection."""
        reason = self.reason or REASONS.get(self.status, "Unknown")
        return _encode(f"RTSP/1.0 {self.status} {reason}", self.headers, self.body)

    @classmethod
    def decode(cls, raw: bytes) -> RtspResponse:
        """Read what a host has answered and closed behind; raise ``StatusError`` (502) for what is no answer."""
        head, end, body = raw.partition(_END)
        lines = _text(head).split("\r\n")
        matched = _STATUS_LINE.fullmatch(lines[0])
        if not end or matched is None:
            raise StatusError("the host's RTSP answer is none", "is that port really RTSP?", status=502)
        return cls(int(matched[1]), _headers(lines[1:]), body, matched[2] or "")


class RequestReader:
    """Puts together one request from pieces of any size."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._request: RtspRequest | None = None
        self._body_at = self._length = 0

    def feed(self, data: bytes) -> RtspRequest | None:
        """Take what came; return the request once it is complete.

        Raises ``StatusError``: 400 for what is no request, 413 for one that is too long.
        """
        searched = max(0, len(self._bytes) - len(_END) + 1)
        self._bytes += data
        if self._request is None:
            end = self._bytes.find(_END, searched)
            if (len(self._bytes) if end < 0 else end) > MAX_HEAD_BYTES:
                raise StatusError("the head of the request is too long", status=413)
            if end < 0:
                return None
            self._read_head(bytes(self._bytes[:end]))
            self._body_at = end + len(_END)
        assert self._request is not None
        missing = self._length - (len(self._bytes) - self._body_at)
        if missing > 0:
            return None
        if missing < 0:
            raise _bad("the request goes on after its end")
        body = bytes(self._bytes[self._body_at :])
        return RtspRequest(self._request.method, self._request.target, self._request.headers, body)

    def _read_head(self, head: bytes) -> None:
        lines = _text(head).split("\r\n")
        matched = _REQUEST_LINE.fullmatch(lines[0])
        if matched is None:
            raise _bad(f"not a request line of RTSP: {printable(lines[0], 80)}")
        headers = _headers(lines[1:])
        length = headers.get("Content-Length", "0")
        if not (length.isdecimal() and length.isascii()) or len(length) > 10:
            raise _bad("the length of the request is no number")
        self._length = int(length)
        if self._length > MAX_BODY_BYTES:
            raise StatusError("the body of the request is too long", status=413)
        self._request = RtspRequest(matched[1], matched[2], headers)


def _encode(first: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def _headers(lines: list[str]) -> Headers:
    if len(lines) > MAX_HEADERS:
        raise _bad(f"more than {MAX_HEADERS} headers")
    fields = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise _bad(f"not a header: {printable(line, 80)}")
        fields[name.strip()] = value.strip()
    return Headers(fields)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _bad(cause: str) -> StatusError:
    return StatusError(cause, status=400)
