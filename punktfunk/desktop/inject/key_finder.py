"""Which keys make a character on a keymap that is another's: for text where no keyboard can be made for it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from punktfunk.desktop.inject.keymap import (
    EVDEV_OFFSET,
    KEY_DOWN,
    KEY_UP,
    LAYOUT_EFFECTIVE,
    MODS_LOCKED,
    ONLY_CRITICAL,
    TEXT_V1,
    load_xkbcommon,
)
from punktfunk.errors import DesktopError

MAX_TABLES: Final = 16
"""Kept, one for each state of the locks and layout; begun anew when there is no room."""
_NO_INCLUDES: Final = 1
"""libxkbcommon's flag: a server's keymap is complete."""
_LIMIT: Final = 0x300
"""No key's evdev code is higher than KEY_MAX."""

_SHIFTS: Final = frozenset({0xFFE1, 0xFFE2})
_LEVELS: Final = (_SHIFTS, frozenset({0xFE03}), frozenset({0xFE11}))
"""Keysyms of the keys that are held for the other levels: Shift, ISO_Level3_Shift (AltGr), ISO_Level5_Shift."""
_USUAL: Final = (42, 100)
"""Left Shift and AltGr of a board: evdev's keymaps give their work to codes that no board has, too."""
_KEYPAD: Final = frozenset({55, 69, *range(71, 84), 96, 98, 117, 118, 121, 179, 180})
_BOARD: Final = frozenset(range(128)) - _KEYPAD
"""Codes that boards have. Beyond them are such as KEY_EURO, which makes its character on each keymap without a
modifier: a last choice, for programs of X11 know no code beyond 247."""
_FIXED: Final = {0x08: 14, 0x09: 15, 0x0A: 28, 0x0D: 28, 0x1B: 1, 0x20: 57, 0x7F: 111}
"""Backspace, tab, enter (twice), escape, space, delete: keys rather than characters, the same on each keymap."""
_DEAD: Final = {
    0xFE50: (0x300, 0x60),
    0xFE51: (0x301, 0x27),
    0xFE52: (0x302, 0x5E),
    0xFE53: (0x303, 0x7E),
    0xFE54: (0x304, None),
    0xFE55: (0x306, None),
    0xFE56: (0x307, None),
    0xFE57: (0x308, 0x22),
    0xFE58: (0x30A, None),
    0xFE59: (0x30B, None),
    0xFE5A: (0x30C, None),
    0xFE5B: (0x327, None),
    0xFE5C: (0x328, None),
}
"""Dead keysyms, dead_grave to dead_ogonek (xkbcommon-keysyms.h): the mark each puts on the next character, and what
it makes of a space in every Compose file of libX11 that has it."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A key to press, and the keys to hold meanwhile; evdev codes."""

    key: int
    held: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Table:
    characters: dict[int, Stroke]
    marks: dict[int, Stroke]
    """Dead keys by the combining character that they stand for."""


class KeyFinder:
    """A keymap, read backwards. Not safe for use by two threads at once."""

    def __init__(self, keymap: bytes) -> None:
        """Read a keymap in XKB's text format; raise DesktopError for one that is none."""
        self._library = load_xkbcommon()
        self._tables: dict[tuple[int, int], _Table] = {}
        self._keymap: Any = None
        self._own: Any = None
        """The state of the keyboard as far as :meth:`note` has heard."""
        context = self._library.xkb_context_new(_NO_INCLUDES)
        if context:
            self._library.xkb_context_set_log_level(context, ONLY_CRITICAL)
            self._keymap = self._library.xkb_keymap_new_from_buffer(context, keymap, len(keymap), TEXT_V1, 0)
            self._library.xkb_context_unref(context)
        if not self._keymap:
            raise DesktopError("the desktop's keymap cannot be read", "text is not typed; keys are")
        self._own = self._library.xkb_state_new(self._keymap)
        first = max(EVDEV_OFFSET, self._library.xkb_keymap_min_keycode(self._keymap))
        last = min(_LIMIT, self._library.xkb_keymap_max_keycode(self._keymap))
        codes = range(first - EVDEV_OFFSET, last - EVDEV_OFFSET + 1)
        self._holding = [
            *(code for code in _USUAL if code in codes),
            *(code for code in codes if code not in _USUAL),
        ]
        self._codes = sorted(codes, key=_rank)

    def strokes_of(self, code_point: int, *, locked: int = 0, group: int = 0) -> tuple[Stroke, ...] | None:
        """Return what makes a character, one stroke or a dead key and another; None where nothing does.

        ``locked`` and ``group`` are the modifiers that stay (caps lock) and the layout that is used; no other
        modifier may be down.
        """
        if code_point in _FIXED:
            return (Stroke(_FIXED[code_point]),)
        if not 0x20 <= code_point <= 0x10FFFF or 0x7F < code_point < 0xA0:
            return None
        table = self._table(locked, group)
        if (stroke := table.characters.get(code_point)) is not None:
            return (stroke,)
        return _with_dead_key(table, code_point)

    def character_of(self, code: int, *, locked: int = 0, group: int = 0) -> int:
        """Return the code point that a key makes by itself; 0 where it makes none."""
        with self._state(locked, group) as state:
            character: int = self._library.xkb_state_key_get_utf32(state, code + EVDEV_OFFSET)
        return character

    def note(self, code: int, *, down: bool) -> None:
        """Hear of a key that goes down or up on a keyboard with this keymap."""
        self._library.xkb_state_update_key(self._own, code + EVDEV_OFFSET, KEY_DOWN if down else KEY_UP)

    @property
    def locked(self) -> tuple[int, int]:
        """What the keys that were heard of have locked: the mask of modifiers, and the layout."""
        return (
            self._library.xkb_state_serialize_mods(self._own, MODS_LOCKED),
            self._library.xkb_state_serialize_layout(self._own, LAYOUT_EFFECTIVE),
        )

    def close(self) -> None:
        """Free the keymap. Closing twice is harmless."""
        own, self._own = self._own, None
        if own is not None:
            self._library.xkb_state_unref(own)
        keymap, self._keymap = self._keymap, None
        if keymap is not None:
            self._library.xkb_keymap_unref(keymap)

    def _table(self, locked: int, group: int) -> _Table:
        table = self._tables.get((locked, group))
        if table is None:
            if len(self._tables) >= MAX_TABLES:
                self._tables.clear()
            table = self._tables[locked, group] = self._read(locked, group)
        return table

    def _read(self, locked: int, group: int) -> _Table:
        table = _Table({}, {})
        holders = self._holders(locked, group)
        for count in range(len(holders) + 1):
            for held in combinations(holders, count):
                self._read_level(table, locked, group, held)
        return table

    def _read_level(self, table: _Table, locked: int, group: int, held: tuple[int, ...]) -> None:
        library = self._library
        with self._state(locked, group) as state:
            for code in held:
                library.xkb_state_update_key(state, code + EVDEV_OFFSET, KEY_DOWN)
            for code in self._codes:
                character = library.xkb_state_key_get_utf32(state, code + EVDEV_OFFSET)
                if character:
                    known = table.characters.get(character)
                    # What needs no Shift is no better where it is a keypad's.
                    if known is None or _rank(code) < _rank(known.key):
                        table.characters[character] = Stroke(code, held)
                    continue
                symbol = library.xkb_state_key_get_one_sym(state, code + EVDEV_OFFSET)
                if symbol in _DEAD:
                    table.marks.setdefault(_DEAD[symbol][0], Stroke(code, held))

    def _holders(self, locked: int, group: int) -> list[int]:
        """Return the keys that are held for the other levels, as far as this keymap has them."""
        found: list[int] = []
        with self._state(locked, group) as state:
            symbols = {
                code: self._library.xkb_state_key_get_one_sym(state, code + EVDEV_OFFSET)
                for code in self._holding
            }
        for wanted in _LEVELS:
            code = next((code for code in self._holding if symbols[code] in wanted), None)
            if code is not None:
                found.append(code)
        return found

    @contextmanager
    def _state(self, locked: int, group: int) -> Iterator[Any]:
        state = self._library.xkb_state_new(self._keymap)
        try:
            self._library.xkb_state_update_mask(state, 0, 0, locked & 0xFFFFFFFF, 0, 0, group & 0xFFFFFFFF)
            yield state
        finally:
            self._library.xkb_state_unref(state)


def _rank(code: int) -> int:
    """Return the place of a key among those that make the same character; the least is used."""
    return 0 if code in _BOARD else 1 if code in _KEYPAD else 2


def _with_dead_key(table: _Table, code_point: int) -> tuple[Stroke, ...] | None:
    """Return a dead key and the character that it marks."""
    for mark, alone in _DEAD.values():
        if alone == code_point and mark in table.marks:
            return table.marks[mark], Stroke(_FIXED[0x20])
    parts = unicodedata.normalize("NFD", chr(code_point))
    if len(parts) != 2:
        return None
    base, dead = table.characters.get(ord(parts[0])), table.marks.get(ord(parts[1]))
    return None if base is None or dead is None else (dead, base)
