"""Text by a keymap of its own: any Unicode character is typed, whatever layout the session's keyboard has."""

from __future__ import annotations

from typing import Final

MAX_CHARACTERS: Final = 200
"""Kept in the keymap at a time; keycodes end at 255. When there is no room it begins anew."""
_FIRST_KEYCODE: Final = 9
_OFFSET: Final = 8
"""XKB's keycodes are evdev's plus 8."""
_NAMED: Final = {
    0x08: "BackSpace",
    0x09: "Tab",
    0x0A: "Return",
    0x0D: "Return",
    0x1B: "Escape",
    0x7F: "Delete",
}
_SURROGATES: Final = range(0xD800, 0xE000)


class TextKeymap:
    """Gives each character a key, and says the keymap in which it has it."""

    def __init__(self) -> None:
        self._keys: dict[int, int] = {}

    def key_of(self, code_point: int) -> tuple[int, bytes | None] | None:
        """Return the evdev code of a character's key, and the keymap where that has changed.

        ``None`` for what is no character: surrogates, controls without a key, and numbers beyond Unicode.
        """
        if _symbol(code_point) is None:
            return None
        if (known := self._keys.get(code_point)) is not None:
            return known, None
        if len(self._keys) >= MAX_CHARACTERS:
            self._keys.clear()
        key = self._keys[code_point] = _FIRST_KEYCODE - _OFFSET + len(self._keys)
        return key, self._text()

    def _text(self) -> bytes:
        """Return the keymap in XKB's text format, version 1, without a terminating zero."""
        codes = "".join(f"<T{key}> = {key + _OFFSET};" for key in self._keys.values())
        symbols = "".join(f"key <T{key}> {{[ {_symbol(point)} ]}};" for point, key in self._keys.items())
        return (
            "xkb_keymap {"
            f'xkb_keycodes "text" {{ minimum = {_OFFSET}; maximum = 255; {codes} }};'
            'xkb_types "text" { include "complete" };'
            'xkb_compatibility "text" { include "complete" };'
            f'xkb_symbols "text" {{ {symbols} }};'
            "};"
        ).encode()


def _symbol(code_point: int) -> str | None:
    """Return XKB's name of a character's symbol."""
    if code_point in _NAMED:
        return _NAMED[code_point]
    if code_point < 0x20 or 0x7F < code_point < 0xA0 or code_point in _SURROGATES or code_point > 0x10FFFF:
        return None
    return f"U{code_point:04X}"
