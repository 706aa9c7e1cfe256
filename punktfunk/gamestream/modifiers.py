"""Modifier keys that a client presses, or only says are down (gamestream section 11.2)."""

from __future__ import annotations

from typing import Final

from punktfunk.input import InputEvent, InputKind

_GROUPS: Final = {
    1: (0xA0, frozenset({0x10, 0xA0, 0xA1})),
    2: (0xA2, frozenset({0x11, 0xA2, 0xA3})),
    4: (0xA4, frozenset({0x12, 0xA4, 0xA5})),
    8: (0x5B, frozenset({0x5B, 0x5C})),
}
"""By the bit of the wire: shift, control, alt, meta; the key that stands for them, and all that are."""
_SAME_KEY: Final = {0x10: 0xA0, 0x11: 0xA2, 0x12: 0xA4}
"""A code for either side means the key on the left."""
_KEYS: Final = frozenset().union(*(keys for _, keys in _GROUPS.values()))


class ModifierKeys:
    """Keeps the modifiers that a client has down, and lends its other keys those that it only says are.

    A keyboard of a touch screen sends a letter with a bit for shift and no key for it. That key then goes down with the
    letter and up with it, unless the client presses it itself meanwhile, or another key comes without the bit.
    """

    def __init__(self) -> None:
        self._down: set[int] = set()
        self._lent: dict[int, set[int]] = {}
        """By bit, the keys for which its modifier was pressed."""

    def press(self, key: int, modifiers: int) -> tuple[InputEvent, ...]:
        """Return what a key that goes down means, with the modifiers that its client says are down."""
        if key in _KEYS:
            return self._press_modifier(key)
        events = []
        for bit, (stand_in, keys) in _GROUPS.items():
            lent = self._lent.get(bit)
            if not modifiers & bit:
                if lent is not None:
                    del self._lent[bit]
                    events.append(InputEvent(InputKind.KEY_UP, stand_in))
            elif lent is not None:
                lent.add(key)
            elif not self._down & keys:
                self._lent[bit] = {key}
                events.append(InputEvent(InputKind.KEY_DOWN, stand_in))
        return (*events, InputEvent(InputKind.KEY_DOWN, key))

    def release(self, key: int) -> tuple[InputEvent, ...]:
        """Return what a key that goes up means."""
        self._down.discard(key)
        events = [InputEvent(InputKind.KEY_UP, key)]
        for bit, (stand_in, _) in _GROUPS.items():
            lent = self._lent.get(bit)
            if lent is not None and key in lent:
                lent.discard(key)
                if not lent:
                    del self._lent[bit]
                    events.append(InputEvent(InputKind.KEY_UP, stand_in))
        return tuple(events)

    def _press_modifier(self, key: int) -> tuple[InputEvent, ...]:
        """The client's own key takes the place of the one that was lent."""
        self._down.add(key)
        events = [InputEvent(InputKind.KEY_DOWN, key)]
        for bit, (stand_in, keys) in _GROUPS.items():
            if key in keys and self._lent.pop(bit, None) is not None and _SAME_KEY.get(key, key) != stand_in:
                events.append(InputEvent(InputKind.KEY_UP, stand_in))
        return tuple(events)
