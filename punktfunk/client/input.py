"""Input events as a person makes them: text typed on a US keyboard, taps, clicks, wheel notches, positions.

For :meth:`punktfunk.client.Client.send`, which takes one event at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from punktfunk.errors import UsageError
from punktfunk.input import NOTCH, InputEvent, InputKind, SurfaceSize

SHIFT: Final = 0x10

_PLAIN: Final = {
    **{letter: ord(letter.upper()) for letter in "abcdefghijklmnopqrstuvwxyz0123456789"},
    " ": 0x20,
    "\n": 0x0D,
    "\t": 0x09,
    "\b": 0x08,
    "\x1b": 0x1B,
    **dict(zip(";=,-./`", range(0xBA, 0xC1), strict=True)),
    **dict(zip("[\\]'", range(0xDB, 0xDF), strict=True)),
}
_SHIFTED: Final = dict(zip(':+<_>?~{|}"!@#$%^&*()', ";=,-./`[\\]'1234567890", strict=True))


def tap(*virtual_keys: int) -> Iterator[InputEvent]:
    """Press keys one upon the other, Windows virtual keys, and let them go in reverse."""
    for key in virtual_keys:
        yield InputEvent(InputKind.KEY_DOWN, key)
    for key in reversed(virtual_keys):
        yield InputEvent(InputKind.KEY_UP, key)


def text(characters: str) -> Iterator[InputEvent]:
    """Type text as on a US keyboard; raise UsageError for a character that has no key there."""
    for character in characters:
        if character.isascii() and character.isupper():
            yield from tap(SHIFT, ord(character))
        elif character in _SHIFTED:
            yield from tap(SHIFT, _PLAIN[_SHIFTED[character]])
        elif character in _PLAIN:
            yield from tap(_PLAIN[character])
        else:
            raise UsageError(f"{character!r} is on no key of a US keyboard", "send key events of your own")


def move_to(x: int, y: int, width: int, height: int) -> InputEvent:
    """Put the pointer at a position within an area of that size, pixels."""
    return InputEvent(InputKind.MOUSE_ABSOLUTE, 0, x, y, SurfaceSize(width, height))


def click(button: int = 1) -> Iterator[InputEvent]:
    """Press and release a button: 1 left, 2 middle, 3 right, 4 and 5 the side ones."""
    yield InputEvent(InputKind.BUTTON_DOWN, button)
    yield InputEvent(InputKind.BUTTON_UP, button)


def scroll(notches: int, *, horizontal: bool = False) -> InputEvent:
    """Turn the wheel; positive is up or to the right."""
    return InputEvent(InputKind.SCROLL, int(horizontal), notches * NOTCH)
