"""Text from outside made fit to be shown: the one place that decides what may reach a terminal, a log or a page.

A peer, a file or another program may put into its text what a terminal obeys (ESC, BEL, CR, the C1 controls), what
turns the direction of writing (bidirectional controls and isolates), what shows nothing (zero-width characters,
fillers, variation selectors), what ends a line unseen (U+2028, U+2029), what has no encoding (lone surrogates), or
64 KiB. Each such character becomes its escape as Python writes it, ``\\x1b`` or ``\\u202e``: what was sent stays
readable and does nothing. Text that is too long keeps its beginning and its end.

Whoever takes text from outside makes it one line (:func:`printable`) where it comes in; logs, errors, the terminal and
reports do it again for all that they are given (:func:`printable_lines`), so that one forgotten place harms nobody.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

MAX_LINE_CHARACTERS = 2000
"""Of one line, unless its place says less; what people write is far below."""
MAX_CHARACTERS = 100_000
"""Of a text of several lines, such as everything that is wrong with a scenario."""
MAX_PEER_CHARACTERS = 200
"""Of a reason or a name that a peer gives: it is part of one line of ours."""
MAX_NAME_CHARACTERS = 64
"""Of the name of a device; punktfunk/1 has room for 64 bytes."""

# Default_Ignorable_Code_Point of Unicode 15 as far as Python calls it printable, and the blank of braille: all show
# nothing, so that two different names look the same.
_SHOW_NOTHING = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)


def printable(text: str, limit: int = MAX_LINE_CHARACTERS) -> str:
    """Return ``text`` as one line that does nothing where it is shown, with ``limit`` of its characters at most.

    Line ends and tabs are escaped too; spaces of any width stay.
    """
    text = _shortened(text, limit)
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_shown(character) else _escape(character) for character in text)


def printable_lines(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return ``text`` likewise, but let line feeds and tabs be; no line is longer than 2000 characters."""
    return "\n".join(
        "\t".join(map(printable, _shortened(line, MAX_LINE_CHARACTERS).split("\t")))
        for line in _shortened(text, limit).split("\n")
    )


def device_name(name: str) -> str:
    """Return the name of a device or a host as people are shown it: 64 characters at most, never empty.

    What :func:`printable` escapes is left out, runs of white space become one space.
    """
    kept = "".join(_kept(name[: 16 * MAX_NAME_CHARACTERS]))
    return " ".join(kept.split())[:MAX_NAME_CHARACTERS].strip() or "unnamed device"


def is_printable(text: str) -> bool:
    """Return whether :func:`printable` would show every character as it is."""
    return all(map(_is_shown, text))


def _is_shown(character: str) -> bool:
    if not character.isprintable():
        return unicodedata.category(character) == "Zs"  # reports group digits with narrow ones
    return character not in _SHOW_NOTHING


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _kept(name: str) -> Iterator[str]:
    for character in name:
        if character.isspace():
            yield " "
        elif _is_shown(character):
            yield character


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    tail = limit // 4
    return f"{text[: limit - tail]} …{len(text) - limit} characters… {text[len(text) - tail :]}"
