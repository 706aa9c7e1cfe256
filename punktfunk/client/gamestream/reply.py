"""What a GameStream host answers by HTTP: small XML documents, read within bounds, names made printable.

The host may be a foreign program or a hostile one: a document type, and with it every entity, is refused, and what is
too long, too deep or too much is refused before it is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from punktfunk.errors import ProtocolError, StatusError
from punktfunk.neighbours import is_mac
from punktfunk.printable import MAX_PEER_CHARACTERS, device_name, printable

MAX_BYTES: Final = 1 << 20
"""Of one answer. A list of 1000 apps takes a fifth of it."""
MAX_ELEMENTS: Final = 16_384
MAX_DEPTH: Final = 8
MAX_TEXT: Final = 65_536
"""Characters of one element: a certificate in hex takes 4000."""
MAX_APPS: Final = 1024
OK: Final = 200

_SUCCESS = {"gamesession", "resume", "cancel", "paired"}
_HINTS = {
    401: "pair this device first: punktfunk gamestream pair HOST",
    470: "another client has this host's session; quit it there",
    503: "look at the host: it says what it cannot do now",
}


@dataclass(frozen=True, slots=True)
class Element:
    """One element: what stands in it, white space around it left out, and the elements below it."""

    name: str
    text: str
    children: tuple[Element, ...] = ()

    def value(self, name: str) -> str:
        """Return the text of the first element of that name below this one, "" where there is none."""
        return next((child.text for child in self.children if child.name == name), "")

    def number(self, name: str) -> int:
        """Return the same as a number, 0 for what is none."""
        text = self.value(name)
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else 0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: the status that it has in its root, and what stands in that."""

    status: int
    message: str
    root: Element

    @classmethod
    def decode(cls, body: bytes) -> Reply:
        """Read an answer; raise ``ProtocolError`` for what is no XML, has no status, or is more than the bounds."""
        if len(body) > MAX_BYTES:
            raise _malformed(f"it has more than {MAX_BYTES} bytes")
        tree = _Tree()
        root, attributes = tree.read(body)
        status = attributes.get("status_code", "")
        if not (status.isascii() and status.removeprefix("-").isdecimal()) or len(status) > 10:
            raise _malformed("its root has no status_code")
        return cls(int(status), printable(attributes.get("status_message", ""), MAX_PEER_CHARACTERS), root)

    def accepted(self, what: str) -> Reply:
        """Return this answer; raise ``StatusError`` when the host refused ``what`` was asked of it."""
        if self.status != OK:
            words = f": {self.message}" if self.message else ""
            raise StatusError(
                f"the host refused to {what} (status {self.status}){words}",
                _HINTS.get(self.status, ""),
                status=self.status,
            )
        return self

    def said_yes(self, element: str) -> bool:
        """Return whether an element such as ``paired`` is there and neither empty nor 0."""
        assert element in _SUCCESS
        return self.root.value(element) not in {"", "0"}


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a host says of itself; texts are printable."""

    name: str
    unique_id: str
    version: tuple[int, int, int, int]
    https_port: int
    codec_modes: int
    paired: bool
    current_app: int
    state: str
    mac: str = ""
    """Hardware address to wake the host by, which paired clients are told; "" where there is none."""

    @property
    def busy(self) -> bool:
        """Whether an app runs. Only then ``current_app`` counts."""
        return self.state.endswith("_SERVER_BUSY")

    @property
    def extended(self) -> bool:
        """Whether the host speaks the dialect of this client: encrypted control, pings with payloads."""
        return self.version[:3] >= (7, 1, 431) and self.version[3] < 0

    @classmethod
    def of(cls, reply: Reply) -> ServerInfo:
        """Read ``/serverinfo``; raise ``ProtocolError`` without what no client can do without."""
        root = reply.accepted("say what it is").root
        info = cls(
            name=device_name(root.value("hostname")),
            unique_id=printable(root.value("uniqueid"), 64),
            version=_version(root.value("appversion")),
            https_port=root.number("HttpsPort"),
            codec_modes=root.number("ServerCodecModeSupport"),
            paired=root.value("PairStatus") == "1",
            current_app=root.number("currentgame"),
            state=printable(root.value("state"), 64),
            mac=mac if is_mac(mac := root.value("mac").strip().lower()) else "",
        )
        if not info.unique_id or not info.state or info.https_port > 65535:
            raise _malformed("it is no /serverinfo: uniqueid, state or HttpsPort are wrong")
        return info


@dataclass(frozen=True, slots=True)
class ListedApp:
    """An app of the host's list."""

    id: int
    title: str
    hdr: bool


def apps_of(reply: Reply) -> list[ListedApp]:
    """Read ``/applist``; raise ``ProtocolError`` for more than MAX_APPS. Entries without number are left out."""
    found = [child for child in reply.accepted("list its apps").root.children if child.name == "App"]
    if len(found) > MAX_APPS:
        raise _malformed(f"it lists more than {MAX_APPS} apps")
    apps = [
        ListedApp(app.number("ID"), device_name(app.value("AppTitle")), app.value("IsHdrSupported") == "1")
        for app in found
    ]
    return [app for app in apps if 0 < app.id < 1 << 31]


@dataclass(slots=True)
class _Open:
    """An element whose end has not come."""

    name: str
    text: list[str] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)
    characters: int = 0


class _Tree:
    """Builds elements while expat reads, and stops it at the first thing that is too much."""

    def __init__(self) -> None:
        self._attributes: dict[str, str] = {}
        self._open: list[_Open] = []
        self._root: Element | None = None
        self._elements = 0

    def read(self, body: bytes) -> tuple[Element, dict[str, str]]:
        # Whatever the document says of its encoding: it is UTF-8 (section 2.1), and for another one Python would be
        # asked, which has a hundred of them that raise as they like.
        parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype
        try:
            parser.Parse(body, True)
        except expat.ExpatError as error:
            raise _malformed(f"it is no XML: {error}") from error
        assert self._root is not None
        return self._root, self._attributes

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._open:
            self._attributes = attributes
        self._elements += 1
        if self._elements > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise _malformed("it has too many elements")
        self._open.append(_Open(name))

    def _end(self, _name: str) -> None:
        ended = self._open.pop()
        element = Element(ended.name, "".join(ended.text).strip(), tuple(ended.children))
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element

    def _text(self, text: str) -> None:
        innermost = self._open[-1]
        innermost.characters += len(text)
        if innermost.characters > MAX_TEXT:
            raise _malformed("one of its texts is too long")
        innermost.text.append(text)

    def _doctype(self, *_: object) -> None:
        raise _malformed("it has a document type")


def _version(text: str) -> tuple[int, int, int, int]:
    parts = text.split(".")
    if len(parts) != 4 or not all(part.removeprefix("-").isdecimal() and len(part) <= 9 for part in parts):
        raise _malformed("its appversion is not of four numbers")
    first, second, third, fourth = (int(part) for part in parts)
    return first, second, third, fourth


def _malformed(why: str) -> ProtocolError:
    return ProtocolError(f"the host's answer cannot be used: {why}", "is this the port of a GameStream host?")
