"""Replies as clients read them: one ``<root status_code="…">``, UTF-8, no white space (gamestream section 2.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, tostring

from punktfunk.app import App

CONTENT_TYPE = "application/xml"

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write, not even escaped."""

Field = tuple[str, str | int]
"""An element of text below the root."""


def reply(fields: Iterable[Field] = (), *, status: int = 200, message: str = "", query: str = "") -> bytes:
    """Return a reply: ``status`` is what clients act by, ``message`` what some show, ``query`` the path asked for."""
    return _written(_root(fields, status=status, message=message, query=query))


def app_list(apps: Iterable[App], *, hdr: bool) -> bytes:
    """Return the reply to ``/applist`` (section 4.1); ``hdr`` says that a 10-bit codec is offered.

    It has no white space between elements: the parser of one client takes that for a title, and crashes.
    """
    root = _root(())
    for app in apps:
        element = SubElement(root, "App")
        for name, value in (("IsHdrSupported", int(hdr)), ("AppTitle", app.title), ("ID", app.id)):
            SubElement(element, name).text = _legal(str(value))
    return _written(root)


def _root(fields: Iterable[Field], *, status: int = 200, message: str = "", query: str = "") -> Element:
    root = Element("root", status_code=str(status))
    if query:
        root.set("query", _legal(query))
    if message:
        root.set("status_message", _legal(message))
    for name, value in fields:
        SubElement(root, name).text = _legal(str(value))
    return root


def _written(root: Element) -> bytes:
    body: bytes = tostring(root, encoding="utf-8", short_empty_elements=False)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + body


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)
